package fabric

import (
	"testing"
	"time"

	"myriad/program"
)

func TestShapedSanity(t *testing.T) {
	p := testProgram()
	l := newLab(t, p)
	l.withHolder()
	links := &program.Links{
		Conditions: []program.Condition{{Delay: 20 * time.Millisecond}, {Rate: 100e6}},
		Vifaces:    []program.LinkRange{{Network: 1, Host: 1, Count: 3, Out: 1, In: 2}},
	}
	t.Log(l.shape(p, links), "writes")
	t.Log(l.ping("1/1", "10.1.0.10"), mustCount(t, l.fabric))
	t.Log(l.ping("1/1", "10.1.0.2"), mustCount(t, l.fabric))
	begin := time.Now()
	l.checkTCP("1/1", "1/10")
	t.Log(time.Since(begin), mustCount(t, l.fabric))
	t.Log(l.shape(p, links), "writes")
	t.Log(l.change(links), "entries")
	late, err := l.fabric.Lateness()
	t.Log(late, err)
	t.Log(l.ensure(p), "writes")
	t.Log(l.ping("1/1", "10.1.0.10"), mustCount(t, l.fabric))
}
