package nodeset

import "strconv"

// run is consecutive indexes as they are written between brackets: with pad 0
// without padding, else with zeros in front up to pad digits.
type run struct {
	pad    int
	lo, hi uint64
}

// runs cuts the first indexes of a into as few runs as ClusterShell does.
func (a *axis) runs() []run {
	var f folder
	for s := range a.stretches {
		f.add(s)
	}
	return f.runs
}

// folder makes runs out of stretches in ascending order.
//
// A run goes on as long as indexes follow each other and need no other
// padding: a padded one ends where the number of digits changes, an unpadded
// one where the first padded index comes. Whether an index that could be
// either, such as 10, counts as padded is taken over from the index before it;
// only where a run of two or more ends does the next index decide for itself.
// So "08,10-99,100" is cut at 99, because 08 makes a padded number of 10, and
// "08-09,11-100" is not, because 11 comes after a run. This is what nodeset -f
// does, whatever its reasons.
type folder struct {
	runs   []run
	padded bool   // whether indexes count as padded
	digits int    // of the index that decided this
	last   uint64 // the index added last
	gap    uint64 // from the one before it; 0 if that one did not fit
}

func (f *folder) add(s stretch) {
	padded := s.width > 1 && s.lo < pow10[s.width-1]
	clash := padded
	if f.padded {
		clash = s.width != f.digits
	}
	switch gap := s.lo - f.last; {
	case len(f.runs) == 0 || clash:
		f.padded, f.digits, f.gap = padded, s.width, 0
		f.start(s.lo)
	case gap == 1: // only from 9 to 10, 99 to 100 and so on
		f.gap = 1
	default:
		if f.gap == 1 {
			f.padded, f.digits = padded, s.width
		}
		f.gap = gap
		f.start(s.lo)
	}
	if s.hi > s.lo {
		f.gap = 1
	}
	f.runs[len(f.runs)-1].hi = s.hi
	f.last = s.hi
}

func (f *folder) start(lo uint64) {
	pad := 0
	if f.padded {
		pad = f.digits
	}
	f.runs = append(f.runs, run{pad: pad, lo: lo})
}

// appendFolded appends the first indexes of a, in brackets if they are several.
func (a *axis) appendFolded(buf []byte) []byte {
	if len(a.spans) == 1 && a.spans[0].lo == a.spans[0].hi {
		return a.spans[0].lo.appendTo(buf)
	}
	sep := byte('[')
	for _, r := range a.runs() {
		buf = append(buf, sep)
		buf = r.appendTo(buf)
		sep = ','
	}
	return append(buf, ']')
}

func (r run) appendTo(buf []byte) []byte {
	buf = r.appendBound(buf, r.lo)
	if r.hi > r.lo {
		buf = append(buf, '-')
		buf = r.appendBound(buf, r.hi)
	}
	return buf
}

func (r run) appendBound(buf []byte, value uint64) []byte {
	if r.pad == 0 {
		return strconv.AppendUint(buf, value, 10)
	}
	return appendPadded(buf, r.pad, value)
}
