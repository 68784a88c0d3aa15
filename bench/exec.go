package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Exec measures `myriad exec @all -- true` on n vnodes beside as many bare
// fork+exec+wait of the same program on all cores.
func Exec(ctx context.Context, o Options) ([]Row, error) {
	in, err := newInstance(o.Exe)
	if err != nil {
		return nil, err
	}
	defer in.close()
	file, err := in.file("flat.yaml", flat("bench-exec", 1, o.N, ""))
	if err != nil {
		return nil, err
	}
	o.say("exec: %d vnodes coming up", o.N)
	if err := in.run(ctx, nil, "up", file); err != nil {
		return nil, err
	}
	nodes := fmt.Sprintf("peer[1-%d]", o.N)
	var plain, gathered []sample
	for run := range o.Runs {
		o.say("exec: run %d of %d", run+1, o.Runs)
		floor, err := forkFloor(ctx, o.Exe, o.N)
		if err != nil {
			return nil, err
		}
		ours, err := in.timed(ctx, "exec", nodes, "--", "/bin/true")
		if err != nil {
			return nil, err
		}
		plain = append(plain, sample{ours, floor})
		ours, err = in.timed(ctx, "exec", "--gather", nodes, "--", "/bin/echo", "ok")
		if err != nil {
			return nil, err
		}
		gathered = append(gathered, sample{ours, floor})
	}
	const name = "bare fork+exec+wait of true, all cores"
	return []Row{
		newRow("exec", "true", o.N, "s", name, atMost("ratio", 2), plain),
		newRow("exec", "echo, gathered", o.N, "s", name, Bar{}, gathered),
	}, in.close()
}

// forkFloor starts and awaits n processes, and gives the seconds it took. A
// process per core does so: one process would have its cores take turns, for
// the lock that Go holds while it forks.
func forkFloor(ctx context.Context, exe string, n int) (float64, error) {
	workers := runtime.NumCPU()
	errs := make([]error, workers)
	var wait sync.WaitGroup
	start := time.Now()
	for w := range workers {
		share := n / workers
		if w < n%workers {
			share++
		}
		wait.Go(func() {
			out, err := exec.CommandContext(ctx, exe, "bench", "forks", "--vnodes", fmt.Sprint(share)).CombinedOutput()
			if err != nil {
				errs[w] = fmt.Errorf("fork floor: %w: %s", err, out)
			}
		})
	}
	wait.Wait()
	return time.Since(start).Seconds(), errors.Join(errs...)
}

// Forks starts and awaits n processes, one after the other.
func Forks(ctx context.Context, n int) error {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	attr := &syscall.ProcAttr{Files: []uintptr{null.Fd(), null.Fd(), null.Fd()}}
	for range n {
		if err := forkOne(attr); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

func forkOne(attr *syscall.ProcAttr) error {
	pid, err := syscall.ForkExec("/bin/true", []string{"true"}, attr)
	if err != nil {
		return fmt.Errorf("fork: %w", err)
	}
	for {
		_, err = syscall.Wait4(pid, nil, 0, nil)
		if err != syscall.EINTR {
			return err
		}
	}
}
