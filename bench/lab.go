package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"myriad/testbed"
)

// lab is Myriad on several pnodes of this machine, and how a bench uses it: by
// the commands of who is in control.
type lab struct {
	*testbed.Lab
	*instance
}

// newLab makes a bed with Myriad on all its pnodes.
func newLab(ctx context.Context, o Options, bed testbed.Options) (*lab, error) {
	b, err := testbed.New(ctx, bed)
	if err != nil {
		return nil, err
	}
	l, err := testbed.NewLab(ctx, b, testbed.LabOptions{Exe: o.Exe})
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return &lab{Lab: l, instance: &instance{exe: l.Exe, dir: filepath.Dir(l.RunDir(testbed.Control))}}, nil
}

// close takes everything down.
func (l *lab) close() error {
	if l.Lab == nil {
		return nil
	}
	err := errors.Join(l.Lab.Close(), l.Bed.Close())
	l.Lab = nil
	return err
}

// alone is Myriad on one machine, with its daemon running before anything is
// timed, as that of a lab is.
type alone struct {
	*instance
	daemon *exec.Cmd
}

func newAlone(ctx context.Context, o Options) (*alone, error) {
	in, err := newInstance(o.Exe)
	if err != nil {
		return nil, err
	}
	a := &alone{instance: in, daemon: in.command(ctx, "serve")}
	log, err := os.Create(filepath.Join(in.dir, "serve.log"))
	if err == nil {
		defer log.Close()
		a.daemon.Stdout, a.daemon.Stderr = log, log
		err = a.daemon.Start()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(in.dir))
	}
	for begun := time.Now(); in.run(ctx, nil, "status") != nil; time.Sleep(20 * time.Millisecond) {
		if ctx.Err() != nil || time.Since(begun) > 20*time.Second {
			text, _ := os.ReadFile(log.Name())
			return nil, errors.Join(fmt.Errorf("the daemon does not answer: %s", tail(string(text), 400)), a.close())
		}
	}
	return a, nil
}

func (a *alone) close() error {
	err := a.instance.run(context.Background(), nil, "down", "--all")
	_ = a.daemon.Cancel()
	return errors.Join(err, a.daemon.Wait(), os.RemoveAll(a.dir))
}
