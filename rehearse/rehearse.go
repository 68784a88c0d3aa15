// Package rehearse runs a coordinator with thousands of agents on vnodes in
// memory, to see what the control plane costs at scales beyond the machine.
//
// Everything between file and report is as in earnest: the coordinator with its
// bus, which listens and is secured, its records and plans; and for each pnode
// an agent with a connection of its own, which journals what it is told. Only
// the vnodes are rows of a table (kernel/mem). The agents live in a child
// process, so that the memory of the coordinator is measured by itself.
package rehearse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"myriad/api"
	"myriad/bus"
	"myriad/coord"
	"myriad/store"
	"myriad/trust"
)

// Options say what is rehearsed.
type Options struct {
	Exe     string // the myriad command, whose hidden role the agents are
	Version string // of it
	Pnodes  int    // of the last step
	Vnodes  int    // of the last step
	Steps   int    // each has four times as much as the one before; 0: three
	// File, unless nil, is the platform in the place of vnodes in one vnetwork;
	// then all steps have it.
	File *api.UpRequest
	Idle time.Duration // how long the platform is left alone, to count what is said then; 0: three seconds

	Say      func(line string)                   // what goes on; nil: silence
	Progress func(doing string, done, total int) // how far it is; nil: silence
}

// Step is what was measured at one scale.
type Step struct {
	Pnodes int `json:"pnodes"`
	Vnodes int `json:"vnodes"`

	Join float64 `json:"join_s"` // until every agent is taken in: TLS, tokens, hello
	Up   float64 `json:"up_s"`   // from the text of the file to all vnodes reported up
	Down float64 `json:"down_s"`

	// Messages that the bus took during up, and bytes that it took and gave, less
	// what goes on all the time: Idle messages a second, with which agents and
	// coordinator tell each other that they live.
	Messages int     `json:"messages"`
	Bytes    int     `json:"bytes"`
	Idle     float64 `json:"idle_messages_s"`

	Memory      uint64 `json:"coordinator_bytes"` // greatest resident memory of the coordinator, from the start of the step to the end of up
	AgentMemory uint64 `json:"agents_bytes"`      // of all agents together, after up
}

// PerPnode gives messages and bytes of up for each pnode.
func (s Step) PerPnode() (messages, bytes float64) {
	return float64(s.Messages) / float64(s.Pnodes), float64(s.Bytes) / float64(s.Pnodes)
}

// gcPercent is that of a daemon.
const gcPercent = 50

// Run rehearses step by step, and tells each of what was found.
func Run(ctx context.Context, o Options, each func(Step)) error {
	if o.Pnodes < 1 || o.Vnodes < o.Pnodes {
		return errors.New("rehearse: needs a pnode, and no fewer vnodes than pnodes")
	}
	if o.Steps == 0 {
		o.Steps = 3
	}
	if o.Idle == 0 {
		o.Idle = 3 * time.Second
	}
	defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	for i := range o.Steps {
		share := 1 << (2 * (o.Steps - 1 - i))
		n, v := o.Pnodes/share, o.Vnodes/share
		if n == 0 || v == 0 {
			continue
		}
		s, err := o.step(ctx, n, v)
		if err != nil {
			return fmt.Errorf("rehearse %d pnodes: %w", n, err)
		}
		each(*s)
	}
	return nil
}

func (o *Options) say(format string, args ...any) {
	if o.Say != nil {
		o.Say(fmt.Sprintf(format, args...))
	}
}

func (o *Options) progress(doing string, done, total int) {
	if o.Progress != nil {
		o.Progress(doing, done, total)
	}
}

// scene is a coordinator with its bus and its agents.
type scene struct {
	*Options
	dir         string
	server      *bus.Server
	coordinator *coord.Coordinator
	agents      *crowd
	platform    string // name, once it is up
	stop        func() // the coordinator
}

func (o *Options) step(ctx context.Context, pnodes, vnodes int) (_ *Step, err error) {
	debug.FreeOSMemory()
	resetPeak()
	s := &scene{Options: o}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	out := &Step{Pnodes: pnodes}
	if out.Join, err = s.join(ctx, pnodes); err != nil {
		return nil, err
	}
	if err := s.up(ctx, vnodes, out); err != nil {
		return nil, err
	}
	before := s.count()
	if err := sleep(ctx, o.Idle); err != nil {
		return nil, err
	}
	after := s.count()
	out.Idle = float64(after.messages-before.messages) / o.Idle.Seconds()
	share := out.Up / o.Idle.Seconds()
	out.Messages -= int(share * float64(after.messages-before.messages))
	out.Bytes -= int(share * float64(after.bytes-before.bytes))
	begin := time.Now()
	if err := s.coordinator.Down(ctx, s.platform, func(e api.Event) { o.follow("down", e) }); err != nil {
		return nil, err
	}
	out.Down = time.Since(begin).Seconds()
	return out, nil
}

// open starts the coordinator, as daemon does.
func (s *scene) open(ctx context.Context) (err error) {
	if s.dir, err = os.MkdirTemp("", "rehearse"); err != nil {
		return err
	}
	authority, err := trust.Init(filepath.Join(s.dir, "trust"), []string{"127.0.0.1"})
	if err != nil {
		return err
	}
	token := authority.Token()
	s.server, err = bus.NewServer(bus.ServerOptions{Dir: filepath.Join(s.dir, "records"), Logf: s.say,
		Listen: "127.0.0.1:0", TLS: authority.Server(), Secret: token.Secret})
	if err != nil {
		return err
	}
	conn, err := s.server.Connect("coordinator")
	if err != nil {
		return err
	}
	records, err := store.Open(ctx, conn)
	if err != nil {
		conn.Close()
		return err
	}
	s.coordinator = coord.New(coord.Config{Conn: conn, Store: records, Identity: "rehearsal", Version: s.Version, Logf: s.say})
	running, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() {
		if err := s.coordinator.Run(running); err != nil {
			s.say("coordinator: %v", err)
		}
	})
	s.stop = func() { cancel(); work.Wait() }
	s.agents, err = startCrowd(s.Exe, crowdConfig{URL: "tls://" + s.server.Addr(), Token: token.String(), Dir: filepath.Join(s.dir, "agents"), Version: s.Version})
	return err
}

func (s *scene) close() error {
	var errs []error
	if s.agents != nil {
		errs = append(errs, s.agents.close())
	}
	if s.stop != nil {
		s.stop()
	}
	if s.server != nil {
		s.server.Close()
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// join has agents join, and gives the seconds until all are taken in.
func (s *scene) join(ctx context.Context, n int) (float64, error) {
	begin := time.Now()
	if err := s.agents.say(order{Agents: n}); err != nil {
		return 0, err
	}
	for {
		list, err := s.coordinator.Pnodes(ctx)
		if err != nil {
			return 0, err
		}
		up := 0
		for _, p := range list {
			if p.State == "up" {
				up++
			}
		}
		s.progress("join", up, n)
		if up == n {
			return time.Since(begin).Seconds(), nil
		}
		if err := s.agents.failed(); err != nil {
			return 0, err
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// up brings the platform up, and measures that.
func (s *scene) up(ctx context.Context, vnodes int, out *Step) error {
	q := s.File
	if q == nil {
		q = flat(vnodes)
	}
	before := s.count()
	begin := time.Now()
	p, err := s.coordinator.Up(ctx, q, func(e api.Event) { s.follow("up", e) })
	if err != nil {
		return err
	}
	out.Up = time.Since(begin).Seconds()
	after := s.count()
	out.Messages, out.Bytes = after.messages-before.messages, after.bytes-before.bytes
	s.platform, out.Vnodes = p.Name, p.Up
	if p.Up != p.Vnodes || p.State != "up" {
		return fmt.Errorf("the platform is %s: %d of %d vnodes are up", p.State, p.Up, p.Vnodes)
	}
	if out.Memory, err = memory(os.Getpid(), "VmHWM"); err != nil {
		return err
	}
	out.AgentMemory, err = memory(s.agents.pid(), "VmRSS")
	return err
}

func (o *Options) follow(doing string, e api.Event) {
	if e.Total > 0 {
		o.progress(doing, e.Done, e.Total)
	}
}

// flat is a platform of vnodes in one vnetwork.
func flat(vnodes int) *api.UpRequest {
	return &api.UpRequest{File: "rehearsal.yaml", Source: fmt.Sprintf(
		"platform: rehearsal\nvnetworks: {lan: 10.0.0.0/8}\nvnodes: [{nodes: \"peer[1-%d]\", vifaces: [lan]}]\n", vnodes)}
}

type traffic struct{ messages, bytes int }

// count is what the bus has carried so far.
func (s *scene) count() traffic {
	messages, _, in, out := s.server.Stats()
	return traffic{int(messages), int(in + out)}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
