package fabric

import (
	"errors"
	"slices"
	"testing"
	"time"

	"myriad/program"
)

// TestRoomBeside: conditions that have no room beside those in force get maps
// that have, however those in force came to fill theirs.
func TestRoomBeside(t *testing.T) {
	l := newShapedLab(t, false, testProgram(), onLeg("out", program.Condition{Delay: time.Millisecond}))
	traced := func(moments int) *program.Links {
		at := make([]uint32, moments)
		for i := range at {
			at[i] = uint32(i)
		}
		links := onLeg("out", program.Condition{Trace: 1})
		links.Traces = []program.Trace{{Name: "t", Period: uint32(moments), At: at}}
		return links
	}
	l.shape(testProgram(), traced(10_000))
	l.change(traced(11_000)) // behind it
	l.shape(testProgram(), traced(10_500))

	p := crowd(60)
	l.shape(p, onLeg("out", program.Condition{Delay: time.Millisecond}))
	paired := func(n int) *program.Links {
		links := &program.Links{Seed: seed, Vifaces: []program.LinkRange{{Network: 1, Host: 1, Count: 60}}}
		for from := uint32(1); len(links.Pairs) < n; from++ {
			for to := uint32(1); to <= 60 && len(links.Pairs) < n; to++ {
				if from != to {
					links.Pairs = append(links.Pairs, program.Pair{Network: 1, From: from, To: to, Word: program.PairWord(n)})
				}
			}
		}
		return links
	}
	l.shape(p, paired(1000))
	l.change(onLeg("out", program.Condition{Delay: time.Millisecond}))
	l.change(paired(2700)) // which are nearly all that the map holds
	l.shape(p, paired(200))
}

// TestExchange: vnodes that come in the place of others, all with conditions,
// find room for theirs.
func TestExchange(t *testing.T) {
	const vnodes = 1000
	p := crowd(2 * vnodes)
	all := p.Racks[0].Vifaces
	all = append(slices.Clone(all), p.Racks[1].Vifaces...)
	of := func(first int) (*program.Program, *program.Links) {
		q := *p
		q.Racks = []program.Rack{{Vifaces: all[first : first+vnodes]}}
		links := everyone(program.Condition{Delay: time.Millisecond}, program.Condition{})
		links.Vifaces = []program.LinkRange{{Network: 1, Host: uint32(first) + 1, Count: vnodes, Out: 1}}
		return &q, links
	}
	plain := *p
	plain.Racks = []program.Rack{{Vifaces: all}}
	l := newSpine(t)
	l.addRack(0)
	l.ensure(&plain) // so large that the places of all have room
	l.withHolder(false)
	l.shape(of(0))
	l.shape(of(vnodes))
}

// TestOneByOne: vnodes that get their conditions one after the other fill the
// maps to the last entry, and then get bigger ones.
func TestOneByOne(t *testing.T) {
	const vnodes = 300
	p := crowd(vnodes)
	links := &program.Links{Seed: seed, Conditions: []program.Condition{{Delay: time.Millisecond}}}
	links.Vifaces = []program.LinkRange{{Network: 1, Host: 1, Count: 1, Out: 1}}
	r := newRig(t, p, &Shaping{Links: links})
	for ; links.Vifaces[0].Count < vnodes; links.Vifaces[0].Count++ {
		c, err := r.f.Prepare(links)
		if errors.Is(err, ErrRoom) {
			return
		}
		if err == nil {
			_, err = c.Commit()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Error("the maps were never full")
}
