package plan

import (
	"time"

	"myriad/link"
	"myriad/program"
)

// What a queue holds where its size was not asked for: enough for a moment,
// for what is on its way and comes back, and for a handful of packets.
const (
	queueTime    = 100 * time.Millisecond
	queueDelays  = 2
	queuePackets = 16
	packetBits   = 8 * program.TracePacket
)

// conditions are the tables that conditions are written into, and what finds
// again what is there already.
type conditions struct {
	program.Links // Conditions, Tables and Traces only
	refs          map[program.Condition]uint32
	tables        map[*link.Distribution]uint32
	traces        map[*link.Trace]uint32
	distributions []*link.Distribution // by table: what it was made from
	moments       []*link.Trace        // by trace
	over          bool                 // there were too many
}

// newConditions begins with the tables of l, which may be nil.
func newConditions(l *program.Links) *conditions {
	t := &conditions{refs: map[program.Condition]uint32{}, tables: map[*link.Distribution]uint32{}, traces: map[*link.Trace]uint32{}}
	if l == nil {
		return t
	}
	for i := range l.Tables {
		t.table(&link.Distribution{Name: l.Tables[i].Name, Values: l.Tables[i].Values})
	}
	for i := range l.Traces {
		t.trace(&link.Trace{Name: l.Traces[i].Name, Period: l.Traces[i].Period, At: l.Traces[i].At})
	}
	for _, c := range l.Conditions {
		t.Conditions = append(t.Conditions, c)
		t.refs[c] = uint32(len(t.Conditions))
	}
	return t
}

func (t *conditions) table(d *link.Distribution) uint32 {
	if d == nil {
		return 0
	}
	if t.tables[d] == 0 {
		t.Tables = append(t.Tables, program.Distribution{Name: d.Name, Values: d.Values})
		t.distributions = append(t.distributions, d)
		t.tables[d] = uint32(len(t.Tables))
	}
	return t.tables[d]
}

func (t *conditions) trace(r *link.Trace) uint32 {
	if r == nil {
		return 0
	}
	if t.traces[r] == 0 {
		t.Traces = append(t.Traces, program.Trace{Name: r.Name, Period: r.Period, At: r.At})
		t.moments = append(t.moments, r)
		t.traces[r] = uint32(len(t.Traces))
	}
	return t.traces[r]
}

// ref gives the reference to a condition: 0 to the one that changes nothing.
func (t *conditions) ref(c program.Condition) uint32 {
	if c == (program.Condition{}) {
		return 0
	}
	ref, ok := t.refs[c]
	if !ok && len(t.Conditions) >= 2*program.MaxConditions {
		t.over = true // some may turn out to be nobody's, but not that many
		return 0
	}
	if !ok {
		t.Conditions = append(t.Conditions, c)
		ref = uint32(len(t.Conditions))
		t.refs[c] = ref
	}
	return ref
}

// word gives the word of a pair's condition: 0 for the one that changes
// nothing.
func (t *conditions) word(c program.Condition) program.PairWord {
	if c == (program.Condition{Delay: c.Delay}) {
		if w, ok := program.WordOfDelay(c.Delay); ok {
			return w
		}
	}
	if ref := t.ref(c); ref != 0 {
		return program.PairIndexed | program.PairWord(ref)
	}
	return 0
}

// lower writes what is asked for as what is enforced. Times that can not be
// become the longest, or none.
func (t *conditions) lower(c *link.Conditions) program.Condition {
	if c == nil {
		return program.Condition{}
	}
	out := program.Condition{
		Delay: bounded(c.Delay), Jitter: bounded(c.Jitter), Distribution: t.table(c.Distribution), Ordered: c.Ordered,
		Loss: program.ShareOf(c.Loss), Corrupt: program.ShareOf(c.Corrupt),
		Duplicate: program.ShareOf(c.Duplicate), Reorder: program.ShareOf(c.Reorder),
		Rate: c.Rate, Trace: t.trace(c.Trace), ECN: c.ECN,
	}
	if b := c.Burst; b != nil {
		out.ToBad, out.ToGood, out.LossBad = program.ShareOf(b.ToBad), program.ShareOf(b.ToGood), program.ShareOf(b.Loss)
	}
	switch q := c.Queue; {
	case q.Time > 0:
		out.QueueTime = bounded(q.Time)
	case q.Bytes > 0:
		out.QueueBytes = q.Bytes
	case q.Packets > 0:
		out.QueueBytes = uint64(q.Packets) * program.TracePacket
	default:
		defaultQueue(&out, c.Trace)
	}
	return out
}

func bounded(d time.Duration) time.Duration { return min(max(d, 0), program.MaxDelay) }

// defaultQueue gives a rate, or a trace, a queue: the longest of the times
// above; of a trace, what goes out in that time on average. In integers:
// floating point may be rounded differently elsewhere.
func defaultQueue(c *program.Condition, trace *link.Trace) {
	const most = uint64(program.MaxDelay)
	wait := max(queueTime, queueDelays*c.Delay)
	switch {
	case c.Rate > 0:
		packets := queuePackets * packetBits * uint64(time.Second) / c.Rate
		c.QueueTime, c.Default = time.Duration(min(max(uint64(wait), packets), most)), true
	case trace != nil:
		moments := uint64(max(len(trace.At), 1))
		packets := queuePackets * uint64(trace.Period) * uint64(time.Millisecond) / moments
		ms := min(max(uint64(wait), packets), most) / uint64(time.Millisecond)
		c.QueueBytes, c.Default = (moments*program.TracePacket*ms+uint64(trace.Period)-1)/uint64(max(trace.Period, 1)), true
	}
}

// raise gives what was asked for, from what is enforced.
func (t *conditions) raise(c program.Condition) link.Conditions {
	out := link.Conditions{Delay: c.Delay, Jitter: c.Jitter, Ordered: c.Ordered, Loss: c.Loss.Float(), Corrupt: c.Corrupt.Float(),
		Duplicate: c.Duplicate.Float(), Reorder: c.Reorder.Float(), Rate: c.Rate, ECN: c.ECN}
	if c.Distribution > 0 {
		out.Distribution = t.distributions[c.Distribution-1]
	}
	if c.Trace > 0 {
		out.Trace = t.moments[c.Trace-1]
	}
	if c.ToBad|c.ToGood|c.LossBad != 0 {
		out.Burst = &link.Burst{ToBad: c.ToBad.Float(), ToGood: c.ToGood.Float(), Loss: c.LossBad.Float()}
	}
	switch packets := c.QueueBytes / program.TracePacket; {
	case c.Default:
	case packets > 0 && packets*program.TracePacket == c.QueueBytes && packets < 1<<32:
		out.Queue.Packets = uint32(packets)
	default:
		out.Queue = link.Queue{Time: c.QueueTime, Bytes: c.QueueBytes}
	}
	return out
}

// raiseWord gives what was asked of a pair. A delay that was rounded to a word
// is the one with the fewest digits that becomes the same word.
func (t *conditions) raiseWord(w program.PairWord) link.Conditions {
	c := t.raise(t.PairCondition(w))
	if w&program.PairIndexed == 0 {
		c.Delay = shortDelay(w, c.Delay)
	}
	return c
}

func shortDelay(w program.PairWord, exact time.Duration) time.Duration {
	for unit := time.Millisecond; unit > 1; unit /= 10 {
		short := exact.Round(unit)
		if same, ok := program.WordOfDelay(short); ok && same == w {
			return short
		}
	}
	return exact
}

// Asked gives what was asked for where l has a condition, as text says it
// best.
func Asked(l *program.Links, c program.Condition) link.Conditions {
	if l == nil {
		l = &program.Links{}
	}
	t := newConditions(&program.Links{Tables: l.Tables, Traces: l.Traces})
	asked := t.raise(c)
	if w, ok := program.WordOfDelay(c.Delay); ok && c == (program.Condition{Delay: time.Duration(w) * program.DelayUnit}) {
		asked.Delay = shortDelay(w, c.Delay)
	}
	return asked
}
