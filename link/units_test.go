package link

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseDelay(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"20ms": 20 * time.Millisecond, "1.5s": 1500 * time.Millisecond, "250us": 250 * time.Microsecond, "250µs": 250 * time.Microsecond,
		"250μs": 250 * time.Microsecond, "100ns": 100, "0": 0, "0ms": 0, "900s": 15 * time.Minute, "0.0000015ms": 2, "1.0004us": 1000,
	} {
		if got, err := ParseDelay(text); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestParseMoment(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "10s": 10 * time.Second, "1m30s": 90 * time.Second, "2min": 2 * time.Minute, "1.5h": 90 * time.Minute, "8784h": MaxMoment,
	} {
		if got, err := ParseMoment(text); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]uint64{
		"10mbit": 10e6, "512kbit": 512e3, "1gbit": 1e9, "1.5Mbit/s": 1.5e6, "1.25MB/s": 10e6, "100KiB/s": 819200, "100kB/s": 800e3, "100KB/s": 800e3,
		"1tbit": 1e12, "100bit": 100, "12.5B/s": 100, "0": 0, "1MiB/s": 8 << 20, "2GBIT": 2e9,
	} {
		if got, err := ParseRate(text); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", text, got, err, want)
		}
	}
}

// TestRefused has what is refused, and a part of what is said of it.
func TestRefused(t *testing.T) {
	for _, test := range []struct {
		field, text, want string
	}{
		{"delay", "20", "may be milliseconds or seconds (write 20ms or 20s)"},
		{"delay", "20m", "may be milliseconds or minutes"},
		{"delay", "1,5ms", "comma for a decimal point (write 1.5ms)"},
		{"delay", "-1ms", "negative"},
		{"delay", "NaN", "not a time"},
		{"delay", "Infs", "not a time"},
		{"delay", "1e3ms", "exponent"},
		{"delay", "20 ms", "space"},
		{"delay", "2h", "not a unit of time"},
		{"delay", "3601s", "too long"},
		{"delay", "0.1ns", "too short"},
		{"delay", strings.Repeat("9", 400) + "s", "more than any time"},
		{"delay", "1.2.3s", "not a time"},
		{"delay", "ms", "not a time"},
		{"rate", "10mbps", "megabits or megabytes per second: tc reads mbps as bytes, most others as bits (write 10mbit or 10MB/s)"},
		{"rate", "10Mbps", "megabits or megabytes"},
		{"rate", "10kbps", "kilobits or kilobytes"},
		{"rate", "10bps", "bits or bytes"},
		{"rate", "10MB", "is an amount, and may be meant per second, or as bits (write 10MB/s, or 10mbit)"},
		{"rate", "10M", "bits or bytes per second (write 10mbit or 10MB/s)"},
		{"rate", "10k", "(write 10kbit or 10kB/s)"},
		{"rate", "10Mb/s", "the letter b is used for both"},
		{"rate", "10mb/s", "the letter b is used for both"},
		{"rate", "10", "has no unit"},
		{"rate", "10furlongs", "not a unit of rate"},
		{"rate", "0bit", "is no rate"},
		{"rate", "99bit", "too slow"},
		{"rate", "2tbit", "too fast"},
		{"rate", strings.Repeat("9", 100) + "tbit", "too fast"},
		{"loss", "0.1", "a share of 1 or a percentage (write 0.1% or 10%)"},
		{"loss", "5", "has no unit (write 5%)"},
		{"loss", "101%", "more than all"},
		{"loss", "1/1000", "not a unit of shares"},
		{"loss", "0.00000001%", "never happen"},
		{"queue", "64", "packets, bytes or a time (write 64p, 64kB or 64ms)"},
		{"queue", "64K", "not a unit of queues"},
		{"queue", "1.5p", "not a unit of queues"},
		{"queue", "0p", "nothing wait"},
		{"queue", "0ms", "nothing wait"},
		{"queue", "99999999TB", "more than the limit"},
		{"queue", "9999999999p", "more than the limit"},
		{"burst", "1%", "1 parts"},
		{"burst", "0%,1%", "never reached"},
		{"burst", "1%,0", "never left"},
		{"burst", "1%,1%,0", "nothing is lost"},
		{"burst", "1%,x", "not a share"},
		{"ecn", "yes", "neither true nor false"},
		{"distribution", "nromal", "not a distribution"},
		{"distribution", "a/b", "cannot be read here"},
		{"trace", "lte", "write ./lte"},
		{"bandwidth", "1mbit", "unknown field of link conditions (write rate)"},
		{"colour", "1mbit", "known: delay, jitter"},
		{"delay", "", "has no value"},
		{"profile", "lte", "cannot be set here"},
	} {
		_, err := ParsePatch([]string{test.field + "=" + test.text}, nil)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), test.field+": ") {
			t.Errorf("%s=%s: got %v; want %s", test.field, test.text, err, test.want)
		}
	}
}

// TestAllAtOnce has several things wrong at once.
func TestAllAtOnce(t *testing.T) {
	_, err := ParsePatch([]string{"delay=20", "loss=1", "delay=1ms", "rate"}, nil)
	var all Errors
	if !errors.As(err, &all) || len(all) != 4 {
		t.Errorf("got %v", err)
	}
	var one *Error
	if !errors.As(err, &one) || one.Field != "delay" || one.Remedy == "" {
		t.Errorf("first is %#v", one)
	}
	if _, err := ParsePatch([]string{"rate=1mbit", "rate=2mbit"}, nil); err == nil {
		t.Error("a field was given twice")
	}
}

func TestRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(MaxDelay)).Draw(t, "delay"))
		if got, err := ParseDelay(FormatDelay(d)); err != nil || got != d {
			t.Errorf("delay %d: %s gives %d, %v", d, FormatDelay(d), got, err)
		}
		r := rapid.Uint64Range(MinRate, MaxRate).Draw(t, "rate")
		if got, err := ParseRate(FormatRate(r)); err != nil || got != r {
			t.Errorf("rate %d: %s gives %d, %v", r, FormatRate(r), got, err)
		}
		p := rapid.Float64Range(minShare, 1).Draw(t, "share")
		if got, err := ParseShare(FormatShare(p)); err != nil || got != p {
			t.Errorf("share %v: %s gives %v, %v", p, FormatShare(p), got, err)
		}
		q := drawQueue(t)
		if got, err := ParseQueue(q.String()); err != nil || got != q {
			t.Errorf("queue %v: %s gives %v, %v", q, q, got, err)
		}
	})
}

func drawQueue(t *rapid.T) Queue {
	switch rapid.IntRange(0, 2).Draw(t, "kind") {
	case 0:
		return Queue{Time: time.Duration(rapid.Int64Range(1, int64(MaxDelay)).Draw(t, "time"))}
	case 1:
		return Queue{Bytes: rapid.Uint64Range(1, MaxQueue).Draw(t, "bytes")}
	}
	return Queue{Packets: uint32(rapid.Uint64Range(1, MaxQueue/1514).Draw(t, "packets"))}
}

// FuzzSetting parses any value of any field: no panic, and what is accepted
// is written so that it is read the same.
func FuzzSetting(f *testing.F) {
	for _, field := range Fields() {
		for _, e := range field.Examples {
			f.Add(field.Name + "=" + e)
		}
	}
	f.Add("rate=1e400mbit")
	f.Add("delay=0.00000000000000000000000000000000001s")
	files := func(string) ([]byte, error) { return []byte("1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n"), nil }
	f.Fuzz(func(t *testing.T, setting string) {
		name, text, _ := strings.Cut(setting, "=")
		p, err := ParsePatch([]string{setting}, files)
		if i := fieldIndex(name); i >= 0 && err == nil && !fields[i].matches(text) {
			t.Errorf("%s is accepted, against its pattern", setting)
		}
		if err != nil {
			var all Errors
			if !errors.As(err, &all) || len(all) != 1 || len(err.Error()) > 2000 {
				t.Fatalf("%s: %v", setting, err)
			}
			return
		}
		again, err := ParsePatch(strings.Split(p.String(), " "), files)
		if err != nil && !strings.Contains(text, " ") || err == nil && again.String() != p.String() {
			t.Errorf("%s: written %s, which gives %s, %v", setting, p, again, err)
		}
		c, err := p.Apply(Conditions{Delay: 1, Jitter: 1, Rate: 1e6})
		if err != nil || math.IsNaN(c.Loss) {
			t.Errorf("%s: %v", setting, err)
		}
	})
}
