package bench

import (
	"math"
	"testing"
)

func TestParseStat(t *testing.T) {
	s := parseStat("cpu  100 0 50 800 20 1 9 20 77 0\ncpu0 50 0 25 400 10 0 4 10 0 0\n")
	if s.total != 1000 || s.idle != 820 || s.steal != 20 {
		t.Errorf("%+v, want 1000 ticks, 820 idle, 20 stolen", s)
	}
}

func TestStealMeter(t *testing.T) {
	m := &stealMeter{samples: []cpuSample{{10, 0, 0, 0}, {20, 100, 50, 0}, {30, 200, 100, 10}, {40, 300, 150, 10}}}
	for _, c := range []struct {
		from, to int64
		want     bool
	}{{11, 19, false}, {11, 21, true}, {25, 26, true}, {31, 39, false}, {29, 35, true}, {5, 12, false}} {
		if got := m.during(c.from, c.to); got != c.want {
			t.Errorf("stolen during %d … %d: %v", c.from, c.to, got)
		}
	}
}

func TestStealNow(t *testing.T) {
	m := newStealMeter()
	defer m.close()
	at := monotonic()
	for x := 0.0; monotonic() < at+3e8; x++ {
		_ = math.Sqrt(x)
	}
	if steal, busy := m.since(at); steal < 0 || steal > 1 || busy <= 0 || busy > 1 {
		t.Errorf("steal %v, busy %v after 0.3 s of work", steal, busy)
	}
}
