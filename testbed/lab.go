package testbed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"myriad/api"
)

// LabOptions say how Myriad runs in a bed.
type LabOptions struct {
	Exe   string   // the myriad command; empty: the one that runs
	Label string   // tells several labs of one bed apart; empty: lab
	Port  int      // of the coordinator's bus; 0: 4222. Two of one bed have two
	Args  []string // of serve, more than there are
	// Agent gives more arguments for the agent of a pnode; nil: there are none.
	// Without an --address among them, it is told its address on the underlay.
	Agent func(i int) []string
	Only  int // agents are started on the first so many pnodes; 0: on all; negative: on none
}

// Lab is Myriad in a bed: a coordinator that listens on the control network,
// and an agent on each pnode. Everything is done by commands, as users do.
type Lab struct {
	*Bed
	LabOptions
	Client *api.Client

	mu          sync.Mutex
	coordinator *Process
	agents      []*Process // by pnode; nil: none was started
}

// patience is how long parts may take to begin.
const patience = 30 * time.Second

// NewLab starts Myriad in a bed, and returns when every agent is taken in.
// Close ends it, and not the bed.
func NewLab(ctx context.Context, b *Bed, o LabOptions) (_ *Lab, err error) {
	l := &Lab{Bed: b, LabOptions: o, agents: make([]*Process, b.Options.Pnodes)}
	if l.Exe == "" {
		l.Exe = "/proc/self/exe"
	}
	if l.Exe, err = filepath.EvalSymlinks(l.Exe); err != nil {
		return nil, err
	}
	if l.Label == "" {
		l.Label = "lab"
	}
	if l.Port == 0 {
		l.Port = 4222
	}
	if l.Only == 0 {
		l.Only = b.Options.Pnodes
	}
	l.Client = api.NewClient(filepath.Join(l.RunDir(Control), "api.sock"))
	if err = l.begin(ctx); err != nil {
		err = errors.Join(fmt.Errorf("start a lab: %w", err), l.Close())
	}
	return l, err
}

func (l *Lab) begin(ctx context.Context) error {
	if err := os.MkdirAll(l.dir(Control), 0o700); err != nil {
		return err
	}
	if err := l.Myriad(ctx, Control, nil, "init", "--host", l.ControlAddr(Control).String()+","+l.Addr(Control).String()); err != nil {
		return err
	}
	var token bytes.Buffer
	if err := l.Myriad(ctx, Control, &token, "token"); err != nil {
		return err
	}
	if err := os.WriteFile(l.tokenFile(), token.Bytes(), 0o600); err != nil {
		return err
	}
	if err := l.StartCoordinator(ctx); err != nil {
		return err
	}
	for i := range l.Only {
		if err := l.StartAgent(i); err != nil {
			return err
		}
	}
	return l.AwaitPnodes(ctx, max(l.Only, 0))
}

func (l *Lab) dir(i int) string { return filepath.Join(l.PnodeDir(i), l.Label) }

// RunDir and StateDir are what Myriad is told there with --run-dir and
// --state-dir.
func (l *Lab) RunDir(i int) string { return filepath.Join(l.dir(i), "run") }

// StateDir see RunDir.
func (l *Lab) StateDir(i int) string { return filepath.Join(l.dir(i), "state") }

func (l *Lab) tokenFile() string { return filepath.Join(l.dir(Control), "token") }

// Token is what agents join with.
func (l *Lab) Token() (string, error) {
	text, err := os.ReadFile(l.tokenFile())
	return strings.TrimSpace(string(text)), err
}

// URL is where agents join, on the control network.
func (l *Lab) URL() string { return fmt.Sprintf("tls://%s:%d", l.ControlAddr(Control), l.Port) }

// UnderlayURL is where they can join on the underlay.
func (l *Lab) UnderlayURL() string { return fmt.Sprintf("tls://%s:%d", l.Addr(Control), l.Port) }

// StartCoordinator starts the coordinator, and returns when it answers.
func (l *Lab) StartCoordinator(ctx context.Context) error {
	cmd := l.command(Control, append([]string{"serve", "--no-agent", "--listen", fmt.Sprintf("0.0.0.0:%d", l.Port)}, l.Args...)...)
	p, err := l.Start(Control, l.Label+"-serve", cmd)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.coordinator = p
	l.mu.Unlock()
	return l.await(ctx, "the coordinator answers", p, func() bool {
		_, err := l.Client.Version(ctx)
		return err == nil
	})
}

// Coordinator is the process of the coordinator that was started last.
func (l *Lab) Coordinator() *Process {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.coordinator
}

// StartAgent starts the agent of a pnode, with more arguments if wanted.
func (l *Lab) StartAgent(i int, more ...string) error {
	args := []string{"agent", "--join", l.URL(), "--token-file", l.tokenFile(), "--name", l.Name(i)}
	if l.Agent != nil {
		more = append(l.Agent(i), more...)
	}
	args = append(args, more...)
	if !strings.Contains(strings.Join(more, " ")+" ", "--address") && !strings.Contains(strings.Join(more, " "), "--join") {
		args = append(args, "--address", l.Addr(i).String())
	}
	if err := os.MkdirAll(l.dir(i), 0o700); err != nil {
		return err
	}
	p, err := l.Start(i, l.Label+"-agent", l.command(i, args...))
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.agents[i] = p
	l.mu.Unlock()
	return nil
}

// AgentOf is the process of the agent of a pnode that was started last.
func (l *Lab) AgentOf(i int) *Process {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.agents[i]
}

// AwaitPnodes returns when so many pnodes are up.
func (l *Lab) AwaitPnodes(ctx context.Context, n int) error {
	return l.await(ctx, fmt.Sprintf("%d pnodes are up", n), l.Coordinator(), func() bool {
		list, err := l.Client.Pnodes(ctx)
		up := 0
		for _, p := range list {
			if p.State == "up" {
				up++
			}
		}
		return err == nil && up == n
	})
}

// AwaitPnode returns when a pnode is in a state.
func (l *Lab) AwaitPnode(ctx context.Context, i int, state string) error {
	return l.await(ctx, l.Name(i)+" is "+state, l.Coordinator(), func() bool {
		list, err := l.Client.Pnodes(ctx)
		for _, p := range list {
			if p.Name == l.Name(i) {
				return err == nil && p.State == state
			}
		}
		return false
	})
}

// await waits until something is true, as long as p lives.
func (l *Lab) await(ctx context.Context, what string, p *Process, true func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not within %v: %s", patience, what))
	defer cancel()
	for !true() {
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), l.complaints())
		case <-p.Done():
			return p.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// complaints gives the ends of logs, for whoever must find out.
func (l *Lab) complaints() error {
	var errs []error
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range append([]*Process{l.coordinator}, l.agents...) {
		if p == nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(p.Tail()), "\n")
		errs = append(errs, fmt.Errorf("%s ends: %s", filepath.Base(filepath.Dir(p.Log))+"/"+filepath.Base(p.Log), strings.Join(lines[max(0, len(lines)-3):], " | ")))
		if len(errs) == 6 {
			break
		}
	}
	return errors.Join(errs...)
}

func (l *Lab) command(i int, args ...string) *exec.Cmd {
	cmd := exec.Command(l.Exe, append([]string{"--run-dir", l.RunDir(i), "--state-dir", l.StateDir(i)}, args...)...)
	cmd.Args[0] = "myriad"
	return cmd
}

// Myriad runs the myriad command of a pnode, or of who is in control; what it
// writes goes to out, which may be nil.
func (l *Lab) Myriad(ctx context.Context, i int, out io.Writer, args ...string) error {
	cmd := l.command(i, args...)
	text, err := l.Run(ctx, i, append([]string{l.Exe}, cmd.Args[1:]...)...)
	if err == nil && out != nil {
		_, err = io.WriteString(out, text)
	}
	return err
}

// Ask runs a command of who is in control, and decodes each value of JSON that
// it prints.
func Ask[T any](ctx context.Context, l *Lab, args ...string) ([]T, error) {
	var out bytes.Buffer
	if err := l.Myriad(ctx, Control, &out, append([]string{"-o", "json"}, args...)...); err != nil {
		return nil, err
	}
	var values []T
	for d := json.NewDecoder(&out); ; {
		var raw json.RawMessage
		if err := d.Decode(&raw); errors.Is(err, io.EOF) {
			return values, nil
		} else if err != nil {
			return nil, err
		}
		if raw[0] == '[' {
			var list []T
			if err := json.Unmarshal(raw, &list); err != nil {
				return nil, err
			}
			values = append(values, list...)
			continue
		}
		var v T
		if err := json.Unmarshal(raw, &v); err != nil {
			return nil, err
		}
		values = append(values, v)
	}
}

// Pids are the processes of a pnode that belong to the lab: see Bed.Pids.
func (l *Lab) Pids(i int, role string) ([]int, error) { return pids(l.dir(i)+"/", role) }

// KillAll kills the lab's processes of a pnode, as a loss of power would.
func (l *Lab) KillAll(i int) error { return killAll(l.Pids(i, "")) }

// Close takes down all that the lab has made, whatever state it is in.
func (l *Lab) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	l.mu.Lock()
	processes := append([]*Process{l.coordinator}, l.agents...)
	l.mu.Unlock()
	for _, p := range processes {
		if p != nil {
			p.Kill()
		}
	}
	errs := make([]error, l.Bed.Options.Pnodes+1)
	var wait sync.WaitGroup
	slots := make(chan struct{}, 4)
	for k := range errs {
		i := k - 1 // Control, too: a command may have started a daemon there
		if _, err := os.Stat(l.RunDir(i)); err != nil {
			continue // it never came to that
		}
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs[k] = errors.Join(l.Myriad(ctx, i, nil, "down", "--all"), l.KillAll(i))
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}
