package coord

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"myriad/bus"
	"myriad/plan"
	"myriad/program"
	"myriad/store"
	"myriad/topo"
)

// event reads a line.
func (s *story) event(f []string) Event {
	arg := func(i int) string {
		if i < len(f) {
			return f[i]
		}
		return ""
	}
	var err error
	fails := func(from int) []string {
		if from < len(f) && f[from] == "broken" {
			err = &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "stream", Cause: "the other side has gone"}
			return f[:from]
		}
		if from < len(f) {
			err = errors.New(strings.Join(f[from:], " "))
			return f[:from]
		}
		return f
	}
	switch f[0] {
	case "up":
		return UpAsked{askerOf(f[1]), s.source(f[2], f[3], f[4:]...)}
	case "down":
		return DownAsked{askerOf(f[1]), f[2]}
	case "gone":
		return Gone{askerOf(f[1])}
	case "planned":
		fails(2)
		p := s.plans[f[1]]
		delete(s.plans, f[1])
		if err != nil {
			return Planned{Platform: f[1], Err: err}
		}
		source := p.Source
		if source == nil {
			source = s.sources[f[1]]
		}
		made, err := plan.Make(source.Topology, p.Pnodes, planOptions(p, 1))
		return Planned{f[1], source, made, err}
	case "saved":
		fails(2)
		return Saved{f[1], err}
	case "count":
		n, _ := strconv.Atoi(f[3])
		return Counted{Platform: f[1], Pnode: f[2], Call: s.call(f), Count: n}
	case "applied", "removed", "changed":
		last := len(f)
		for i := 3; i < len(f); i++ {
			if !strings.Contains(f[i], "=") {
				last = i
				break
			}
		}
		fails(last)
		r := report(f[1], f[2], f[3:last])
		if p := new(program.Problem); errors.As(err, &p) {
			r = nil
		}
		switch f[0] {
		case "applied":
			return Applied{f[1], f[2], s.call(f), nil, r, err}
		case "removed":
			return Removed{f[1], f[2], s.call(f), nil, r, err}
		}
		return Changed{bus.Racks{By: s.from(f[2]), Report: *r}}
	case "came":
		return Came{Hello: s.hello(f[1], arg(2), f[min(3, len(f)):])}
	case "links", "reset", "play", "stop", "made", "kept", "shaped", "overload", "wake":
		if from, ok := map[string]int{"kept": 2, "shaped": 3}[f[0]]; ok {
			fails(from)
		}
		return s.linkEvent(f, err)
	case "went":
		by := s.from(f[1])
		delete(s.agents, f[1])
		return Went{by}
	case "beat":
		n, _ := strconv.Atoi(f[3])
		return Heard{{From: bus.From{Pnode: f[1], Session: f[2], Seq: uint64(n)}, At: s.now()}}
	case "deaf", "hears":
		return Deaf(f[0] == "deaf")
	case "drain", "undrain":
		return DrainAsked{askerOf(f[1]), f[2], f[0] == "undrain"}
	case "forget":
		return ForgetAsked{askerOf(f[1]), f[2]}
	case "stored":
		fails(1)
		return PnodesSaved{s.pnodes.Asker, err}
	case "checked":
		e := Checked{Platform: f[1]}
		if fails(2); err != nil {
			e.Problems = append(e.Problems, program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: err.Error()})
		}
		return e
	case "measured":
		n, err := strconv.Atoi(f[3])
		return Measured{From: strings.Trim(f[1], "-"), To: f[2], Takes: time.Duration(n) * time.Microsecond, Err: err}
	case "tick":
		return Tick{}
	case "ending":
		return Ending{}
	}
	s.t.Fatalf("a story says %q", f)
	return nil
}

func askerOf(name string) Asker { return Asker(name[0]) }

// call is the last call to a pnode about a platform.
func (s *story) call(f []string) uint64 { return s.calls[f[1]+" "+f[2]] }

// from is by what an agent says something.
func (s *story) from(pnode string) bus.From {
	h := s.agents[pnode]
	if h == nil {
		return bus.From{Pnode: pnode}
	}
	h.Seq++
	return h.From
}

// hello is what an agent says: the one that was there, unless it has gone, or
// its machine was started anew.
func (s *story) hello(pnode, boot string, f []string) bus.Hello {
	h := bus.Hello{From: bus.From{Pnode: pnode, Session: fmt.Sprintf("%s-%d", pnode, s.clock), Seq: 0}, Protocol: bus.Protocol, Version: "v1",
		Machine: "m-" + pnode, Boot: boot, Address: netip.AddrFrom4([4]byte{192, 0, 2, pnode[0]})}
	if was := s.agents[pnode]; was != nil && was.Boot == boot {
		h.From = was.From
	}
	h.Seq++
	for len(f) > 0 {
		key, value, ok := strings.Cut(f[0], "=")
		n, _ := strconv.Atoi(value)
		switch {
		case !ok:
			key = ""
		case key == "session":
			h.Session, h.Seq = value, 1
		case key == "seq":
			h.Seq = uint64(n)
		case key == "machine":
			h.Machine = value
		case key == "version":
			h.Version = value
		case key == "protocol":
			h.Protocol = n
		case key == "coordinator":
			h.Coordinator = value
		case key == "site":
			h.Site = value
		case key == "clock":
			h.Now = s.now().Add(time.Duration(n) * time.Second)
		case key == "mtu":
			h.MTU = uint16(n)
		case key == "at":
			h.Address = netip.MustParseAddr(value)
		}
		if key == "" {
			break
		}
		f = f[1:]
	}
	for _, p := range strings.Split(strings.Join(f, " "), ";") {
		if w := strings.Fields(p); len(w) > 0 {
			h.Platforms = append(h.Platforms, *report(w[0], pnode, w[1:]))
		}
	}
	kept := h
	s.agents[pnode] = &kept
	return h
}

func (s *story) source(platform, vnodes string, options ...string) *Source {
	text := fmt.Sprintf("platform: %s\nvnetworks: {lan: 10.0.0.0/16}\nvnodes: [{nodes: 'n[1-%s]', vifaces: [lan]}]\n", platform, vnodes)
	for _, policy := range []string{"continue", "replace"} {
		if slices.Contains(options, policy) {
			text += "placement: {loss: " + policy + "}\n"
		}
	}
	top, err := topo.Parse(platform, []byte(text))
	if err != nil {
		s.t.Fatal(err)
	}
	return &Source{File: platform, Text: text, Digest: store.Digest(text, nil), Topology: top, Force: slices.Contains(options, "force")}
}
