package rehearse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"myriad/agent"
	"myriad/bus"
	"myriad/kernel/mem"
	"myriad/trust"
)

// crowdConfig is what the process of the agents must know: its first line of
// input, because others may read a command line, and the token is secret.
type crowdConfig struct {
	URL, Token, Dir, Version string
}

// order is each line after that: how many agents there are to be.
type order struct{ Agents int }

// complaint is a line that the process of the agents writes.
type complaint struct{ Failed string }

// crowd is the process of the agents, as the coordinator's sees it.
type crowd struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *json.Encoder
	read  sync.WaitGroup

	mu  sync.Mutex
	err error
}

// startCrowd starts the process. There are no agents yet.
func startCrowd(exe string, config crowdConfig) (*crowd, error) {
	c := &crowd{cmd: exec.Command(exe, "rehearse", "agents")}
	c.cmd.Args[0] = "myriad"
	c.cmd.Stderr = os.Stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is ours; the end of its input is how it ends
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the agents: %w", err)
	}
	c.lines = json.NewEncoder(c.in)
	c.read.Go(func() {
		for d := json.NewDecoder(out); ; {
			var line complaint
			if err := d.Decode(&line); err != nil {
				return // its end says why
			}
			c.fail(errors.New(line.Failed))
		}
	})
	return c, c.say(config)
}

func (c *crowd) pid() int { return c.cmd.Process.Pid }

// say writes a line to the agents' process.
func (c *crowd) say(line any) error {
	if err := c.lines.Encode(line); err != nil {
		return fmt.Errorf("tell the agents: %w", err)
	}
	return nil
}

func (c *crowd) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = errors.Join(c.err, err)
}

// failed is what went wrong with agents so far.
func (c *crowd) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// close ends the agents and waits for that.
func (c *crowd) close() error {
	c.in.Close()
	const patience = 20 * time.Second
	enough := time.AfterFunc(patience, func() { _ = c.cmd.Process.Kill() })
	defer enough.Stop()
	c.read.Wait()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("the agents: %w", err)
	}
	return nil
}

// joining is how many agents join at the same time: on their own machines they
// would not wait for each other, but here they share the cores.
const joining = 32

// Agents is the process of the agents, until the end of its input.
func Agents(ctx context.Context, in io.Reader, out io.Writer) error {
	d := json.NewDecoder(in)
	var config crowdConfig
	if err := d.Decode(&config); err != nil {
		return fmt.Errorf("rehearse agents: read what to do: %w", err)
	}
	token, err := trust.ParseToken(config.Token)
	if err != nil {
		return err
	}
	a := &actors{crowdConfig: config, out: json.NewEncoder(out), cache: agent.NewSharedCache(),
		remote: bus.Remote{URL: config.URL, TLS: token.Client(), Secret: token.Secret}, slots: make(chan struct{}, joining)}
	ctx, cancel := context.WithCancel(ctx)
	defer a.work.Wait()
	defer cancel()
	for n := 0; ; {
		var q order
		if err := d.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		for i := n; i < q.Agents; i++ {
			a.work.Go(func() { a.run(ctx, i) })
		}
		n = max(n, q.Agents)
	}
}

// actors are the agents of a process.
type actors struct {
	crowdConfig
	remote bus.Remote
	cache  *agent.SharedCache
	slots  chan struct{}
	work   sync.WaitGroup

	mu  sync.Mutex
	out *json.Encoder
}

// run is one agent, with a connection of its own.
func (a *actors) run(ctx context.Context, i int) {
	if err := a.act(ctx, i); err != nil && ctx.Err() == nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		_ = a.out.Encode(complaint{Failed: fmt.Sprintf("agent %d: %v", i+1, err)})
	}
}

func (a *actors) act(ctx context.Context, i int) error {
	name := fmt.Sprintf("pnode%d", i+1)
	dir := filepath.Join(a.Dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	select {
	case a.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	conn, err := bus.Join(ctx, name, a.remote, nil)
	<-a.slots
	if err != nil {
		return err
	}
	addr := netip.AddrFrom4([4]byte{127, byte(64 + (i+1)>>16), byte((i + 1) >> 8), byte(i + 1)}) // of this machine, as all of 127/8
	return agent.Run(ctx, conn, agent.Config{
		Name: name, Machine: name, RunDir: dir, Version: a.Version, Pnode: mem.New(mem.Options{}), Cache: a.cache,
		Address: func() (netip.Addr, uint16) { return addr, 1500 },
	})
}
