package plan

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"myriad/link"
	"myriad/program"
)

func TestLower(t *testing.T) {
	const ms = time.Millisecond
	second := &link.Trace{Name: "t", Period: 1000, At: make([]uint32, 100)}
	for _, test := range []struct {
		name  string
		asked link.Conditions
		want  program.Condition
	}{
		{"nothing", link.Conditions{}, program.Condition{}},
		{"loss of all", link.Conditions{Loss: 1}, program.Condition{Loss: program.ShareOne}},
		{"loss of nearly all", link.Conditions{Loss: 0.99999999999}, program.Condition{Loss: program.ShareOne - 1}},
		{"loss of nearly none", link.Conditions{Loss: 1e-12}, program.Condition{Loss: 1}},
		{"bursts", link.Conditions{Burst: &link.Burst{ToBad: 0.5, ToGood: 1, Loss: 0.25}}, program.Condition{ToBad: program.ShareOne / 2, ToGood: program.ShareOne, LossBad: program.ShareOne / 4}},
		{"a queue of a moment", link.Conditions{Rate: 1e9}, program.Condition{Rate: 1e9, QueueTime: 100 * ms, Default: true}},
		{"a queue of two delays", link.Conditions{Rate: 1e9, Delay: 300 * ms}, program.Condition{Rate: 1e9, Delay: 300 * ms, QueueTime: 600 * ms, Default: true}},
		{"a queue of 16 packets", link.Conditions{Rate: 193_792}, program.Condition{Rate: 193_792, QueueTime: time.Second, Default: true}},
		{"the longest queue", link.Conditions{Rate: 1}, program.Condition{Rate: 1, QueueTime: program.MaxDelay, Default: true}},
		{"a queue of packets", link.Conditions{Rate: 1e9, Queue: link.Queue{Packets: 3}}, program.Condition{Rate: 1e9, QueueBytes: 3 * 1514}},
		{"a queue of a time", link.Conditions{Rate: 1e9, Queue: link.Queue{Time: ms}}, program.Condition{Rate: 1e9, QueueTime: ms}},
		{"a queue of bytes", link.Conditions{Rate: 1e9, Queue: link.Queue{Bytes: 77}, ECN: true}, program.Condition{Rate: 1e9, QueueBytes: 77, ECN: true}},
		{"a trace of 100 packets a second", link.Conditions{Trace: second}, program.Condition{Trace: 1, QueueBytes: 16 * 1514, Default: true}},
		{"the same, far away", link.Conditions{Trace: second, Delay: time.Second}, program.Condition{Trace: 1, Delay: time.Second, QueueBytes: 200 * 1514, Default: true}},
		{"too long", link.Conditions{Delay: 1 << 62, Jitter: -1}, program.Condition{Delay: program.MaxDelay}},
	} {
		tables := newConditions(nil)
		if got := tables.lower(&test.asked); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

// What was asked for can be told from what is enforced, as far as that is
// possible: it becomes the same again.
func TestRaise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		share := rapid.Float64Range(0, 1)
		asked := rapid.SampledFrom(asks).Draw(t, "asked")
		if rapid.Bool().Draw(t, "odd") {
			asked.Loss, asked.Delay = share.Draw(t, "loss"), time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "delay"))
		}
		tables := newConditions(nil)
		lowered := tables.lower(&asked)
		w := tables.word(lowered)
		again := newConditions(&tables.Links)
		if raised := again.raise(lowered); again.lower(&raised) != lowered || !reflect.DeepEqual(again.Tables, tables.Tables) {
			t.Fatalf("%s becomes %s, and that %s", asked, lowered, again.lower(&raised))
		}
		raised := again.raiseWord(w)
		if got := again.word(again.lower(&raised)); got != w {
			t.Fatalf("%s becomes the word %s, and that %s", asked, w, got)
		}
	})
	// Figures of few digits stay what they were.
	for _, asked := range asks {
		tables := newConditions(nil)
		w := tables.word(tables.lower(&asked))
		if got := tables.raiseWord(w); got.String() != asked.String() {
			t.Errorf("%s becomes %s", asked, got)
		}
	}
}
