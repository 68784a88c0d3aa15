package coord

import (
	"testing"
	"time"

	"myriad/bus"
)

// TestHeard: what is listed as heard was heard, also where a pnode is spared
// because nobody could be.
func TestHeard(t *testing.T) {
	m, now := NewMachine("me", "v1"), time.Unix(1000, 0)
	m.Step(now, Came{Hello: bus.Hello{From: bus.From{Pnode: "a", Session: "s", Seq: 1}, Protocol: bus.Protocol, Version: "v1"}})
	m.Step(now, Deaf(true))
	for range 100 {
		now = now.Add(PulseEvery)
		m.Step(now, Pulse{})
	}
	list := m.listPnodes(nil)
	if len(list) != 1 || list[0].State != "up" || now.Sub(list[0].Heard) != 100*PulseEvery {
		t.Errorf("%v: %+v", now, list)
	}
}
