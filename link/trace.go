package link

import (
	"math"
	"strconv"
	"strings"
	"time"

	"myriad/program"
)

// maxTrace is how many packets a trace may have: at 1 Gbit/s, two minutes.
const maxTrace = 10_000_000

// ParseTrace reads a trace in the mahimahi format: each line is the
// millisecond at which one packet of 1,500 bytes may leave. The trace repeats
// after its last line. Empty lines, and those that begin with #, are left out.
func ParseTrace(name string, data []byte) (*Trace, error) {
	f := findings{file: name}
	t := &Trace{Name: name}
	f.eachLine(data, func(line int, text string) bool {
		text = strings.TrimSpace(text)
		n, err := strconv.ParseUint(text, 10, 32)
		switch {
		case err != nil:
			f.at(line, 0, "each line is a whole number of milliseconds", "%s is not a moment of a trace", quote(text))
		case len(t.At) > 0 && uint32(n) < t.At[len(t.At)-1]:
			f.at(line, 0, "sort the lines", "goes back from %d to %d ms", t.At[len(t.At)-1], n)
		case len(t.At) == maxTrace:
			f.at(line, 0, "cut it: it repeats", "has more than %d lines", maxTrace)
			return false
		default:
			t.At = append(t.At, uint32(n))
		}
		return true
	})
	switch {
	case f.count > 0:
	case len(t.At) == 0:
		f.at(1, 0, "each line is the millisecond at which one packet may leave", "is empty")
	case t.At[len(t.At)-1] == 0:
		f.at(1, 0, "the trace repeats after its last line, which must be later than 0", "ends at millisecond 0")
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	t.Period = t.At[len(t.At)-1]
	return t, nil
}

// Rate is what the trace lets through on average, in bit/s.
func (t *Trace) Rate() uint64 {
	if t.Period == 0 {
		return 0
	}
	return uint64(len(t.At)) * program.TracePacket * 8 * 1000 / uint64(t.Period)
}

// Moment is when a field of conditions changes, and to what.
type Moment struct {
	At   time.Duration
	Set  Patch
	Line int // of the file
}

// maxMoments is how many changes a series may have.
const maxMoments = 200_000

// ParseSeries reads changes of conditions from a text file, in lines of the
// form "date value": a time in seconds or with a unit, and the value that the
// field has from then on. A value with = in it names its field itself, and
// there may be several: "10s delay=20ms loss=1%". Then field may be empty.
func ParseSeries(name, field string, data []byte, files Files) ([]Moment, error) {
	f := findings{file: name}
	var moments []Moment
	f.eachLine(data, func(line int, text string) bool {
		if len(moments) == maxMoments {
			f.at(line, 0, "use a coarser one", "has more than %d lines", maxMoments)
			return false
		}
		words := strings.Fields(text)
		when, err := seriesTime(words[0])
		if err != nil {
			f.at(line, 1, err.Remedy, "%s", err.Msg)
			return true
		}
		if n := len(moments); n > 0 && when < moments[n-1].At {
			f.at(line, 1, "sort the lines", "goes back from %s to %s", moments[n-1].At, when)
			return true
		}
		settings := words[1:]
		switch {
		case len(settings) == 0:
			f.at(line, 0, "write a time and a value, such as 10 20ms", "has a time and no value")
			return true
		case strings.Contains(settings[0], "="):
		case field == "":
			f.at(line, 0, "write delay=20ms, or say which field it is where the file is named", "does not say which field %s is for", quote(settings[0]))
			return true
		case len(settings) > 1:
			f.at(line, 0, "", "has more than one value")
			return true
		default:
			settings = []string{field + "=" + settings[0]}
		}
		p, wrong := ParsePatch(settings, files)
		if wrong != nil {
			e := first(wrong)
			f.at(line, 0, e.Remedy, "%s: %s", e.Field, e.Msg)
			return true
		}
		moments = append(moments, Moment{At: when, Set: p, Line: line})
		return true
	})
	if f.count == 0 && len(moments) == 0 {
		f.at(1, 0, "write lines of a time and a value, such as 10 20ms", "is empty")
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	return moments, nil
}

// seriesTime reads the time of a line: a number of seconds, or any time.
func seriesTime(s string) (time.Duration, *Error) {
	if seconds, err := strconv.ParseFloat(s, 64); err == nil && numberForm.MatchString(s) {
		if seconds > MaxMoment.Seconds() {
			return 0, problem("a schedule ends within a year", "%s is too long", quote(s))
		}
		return time.Duration(math.Round(seconds * 1e9)), nil
	}
	d, err := ParseMoment(s)
	if err != nil {
		return 0, err.(*Error)
	}
	return d, nil
}
