package plan

import (
	"fmt"
	"strings"
	"time"

	"myriad/link"
	"myriad/program"
)

// What links take. Sizes are those of the fabric's maps, with their room for
// more; the rest was measured on a VM of 2 cores.
const (
	bytesViface    = 140 // both halves, and what it remembers
	bytesCondition = 280
	bytesWord      = 8   // of the matrix: both halves
	bytesPair      = 150 // an entry of a hash map, and room for a change
	bytesTable     = 2 * 4 * program.DistributionSize
	bytesMoment    = 16

	// One core holds so much of TCP, or so many single packets.
	holdBits    = 6_000_000_000
	holdPackets = 150_000
	// Below this rate, and where packets are drawn for, they are held one by
	// one, else in bundles of up to 64 KB.
	singleRate = 200_000_000

	// Where a pnode was not calibrated.
	typicalFloor    = 20 * time.Microsecond
	typicalLateness = 60 * time.Microsecond

	// The fabric drops what would be held for longer: it could not be told from
	// what is overdue.
	horizon = 1000 * time.Second
)

// LinkForecast is what a plan asks of its links, and what that takes.
type LinkForecast struct {
	Vifaces    int           `json:"vifaces"`    // with conditions, their own or of pairs
	Classes    int           `json:"classes"`    // of vifaces that differ in their pairs
	Exceptions int           `json:"exceptions"` // pairs that are not as their classes
	Tables     uint64        `json:"tables"`     // bytes of kernel memory, on each pnode
	Steps      int           `json:"steps"`      // of the schedule
	Conditions []LinkSummary `json:"conditions"` // the most frequent ones
	More       int           `json:"more"`       // conditions that are not listed
	Notes      []LinkNote    `json:"notes,omitempty"`
}

// LinkNote is something asked of links that cannot be met, or may surprise.
type LinkNote struct {
	Nodes  string `json:"nodes"`        // nodeset
	To     string `json:"to,omitempty"` // nodeset, of pairs
	What   string `json:"what"`         // what is asked, and what there is
	Remedy string `json:"remedy"`
}

func (n *LinkNote) String() string {
	where := clip(n.Nodes)
	if n.To != "" {
		where += " to " + clip(n.To)
	}
	return fmt.Sprintf("%s: %s; %s", where, n.What, n.Remedy)
}

// linkForecast says what the conditions of links take; nil if there are none.
func (p *Plan) linkForecast() *LinkForecast {
	l := p.links
	if l == nil {
		if len(p.schedule) > 0 {
			return &LinkForecast{Steps: len(p.schedule)}
		}
		return nil
	}
	c := p.newCensus(l)
	f := &LinkForecast{Vifaces: c.vifaces, Classes: int(l.Classes), Exceptions: len(l.Pairs), Steps: len(p.schedule), Tables: tablesSize(l, c.vifaces)}
	f.Conditions, f.More = c.summaries()
	n := c.noter()
	for _, note := range []func(){n.floors, n.rates, n.queues, n.surprises, n.far, n.load} {
		note()
	}
	f.Notes = n.notes
	return f
}

// tablesSize is what the tables take of each pnode's memory.
func tablesSize(l *program.Links, vifaces int) uint64 {
	moments := 0
	for _, t := range l.Traces {
		moments += len(t.At)
	}
	return uint64(vifaces)*bytesViface + uint64(len(l.Conditions))*bytesCondition + uint64(len(l.Matrix))*bytesWord +
		uint64(len(l.Pairs))*bytesPair + uint64(len(l.Tables))*bytesTable + uint64(moments)*bytesMoment
}

// String is the forecast of links for people.
func (f *LinkForecast) String() string {
	var b strings.Builder
	var parts []string
	if f.Vifaces > 0 {
		parts = append(parts, "conditions on "+count(f.Vifaces, "viface"))
	}
	if f.Classes == 1 {
		parts = append(parts, "pairs of 1 class")
	} else if f.Classes > 0 {
		parts = append(parts, fmt.Sprintf("pairs of %d classes", f.Classes))
	}
	if f.Exceptions > 0 {
		parts = append(parts, count(f.Exceptions, "single pair"))
	}
	if f.Steps > 0 {
		parts = append(parts, count(f.Steps, "step")+" of a schedule")
	}
	fmt.Fprintf(&b, "links: %s", strings.Join(parts, ", "))
	if f.Tables > 0 {
		fmt.Fprintf(&b, "; %s of tables on each pnode", size(f.Tables))
	}
	b.WriteString("\n")
	for _, s := range f.Conditions {
		what := map[string]string{"out": "out of " + count(s.Count, "viface"), "in": "into " + count(s.Count, "viface"), "pair": "between " + count(s.Count, "pair")}[s.Side]
		fmt.Fprintf(&b, "  %s: %s\n", what, s.Asked)
	}
	if f.More > 0 {
		fmt.Fprintf(&b, "  and %s\n", count(f.More, "other"))
	}
	for i := range f.Notes {
		fmt.Fprintf(&b, "  note: %s\n", &f.Notes[i])
	}
	return b.String()
}

// noter finds what cannot be met.
type noter struct {
	*census
	book     *conditions
	floor    time.Duration // of a delay that is held
	lateness time.Duration // of timers
	measured bool
	notes    []LinkNote
}

func (c *census) noter() *noter {
	n := &noter{census: c, book: newConditions(c.l), floor: typicalFloor, lateness: typicalLateness}
	for i := range c.pnodes {
		k := c.pnodes[i].Calibration
		if k == nil || c.VnodesOn(i) == 0 {
			continue
		}
		if !n.measured {
			n.measured, n.floor, n.lateness = true, 0, 0
		}
		n.floor, n.lateness = max(n.floor, k.Base()), max(n.lateness, k.TimerP50)
	}
	return n
}

// Unmet says which delays of l are shorter than what the way through a pnode
// takes by itself, as k has measured it; nothing where that is not known (nil).
func (p *Plan) Unmet(l *program.Links, k *program.Calibration) []LinkNote {
	if l == nil || k.Base() <= 0 {
		return nil
	}
	n := p.newCensus(l).noter()
	n.floor, n.measured = k.Base(), true
	n.floors()
	return n.notes
}

// source says where a figure comes from.
func (n *noter) source() string {
	if n.measured {
		return "measured here"
	}
	return "typical, not measured here"
}

func (n *noter) note(nodes, to, remedy, format string, args ...any) {
	n.notes = append(n.notes, LinkNote{Nodes: nodes, To: to, What: fmt.Sprintf(format, args...), Remedy: remedy})
}

// with gives the vnodes that have a condition that is like some.
func (n *noter) with(like func(c *program.Condition, side int) bool) (nodes []rowRange) {
	var is [2][]bool
	for side := range is {
		is[side] = make([]bool, len(n.l.Conditions)+1)
		for i := range n.l.Conditions {
			is[side][i+1] = like(&n.l.Conditions[i], side)
		}
	}
	n.eachViface(func(row uint32, vnode int, _ *kindViface) {
		if is[0][n.out[row]] || is[1][n.in[row]] {
			nodes = appendRow(nodes, vnode)
		}
	})
	return nodes
}

// appendRow appends a row to those before it.
func appendRow(rows []rowRange, row int) []rowRange {
	if k := len(rows) - 1; k >= 0 && rows[k].to >= row {
		rows[k].to = max(rows[k].to, row+1)
		return rows
	}
	return append(rows, rowRange{row, row + 1})
}

// pairsWith gives the vnodes at both ends of pairs with words that are like
// some.
func (n *noter) pairsWith(like func(program.PairWord) bool) (from, to []rowRange) {
	classes := int(n.l.Classes)
	sends, gets := make([]bool, classes+1), make([]bool, classes+1)
	for i := range classes {
		for j, w := range n.l.Matrix[i*classes : (i+1)*classes] {
			if w != 0 && w != program.PairIndexed && like(w) {
				sends[i+1], gets[j+1] = true, true
			}
		}
	}
	n.eachViface(func(row uint32, vnode int, _ *kindViface) {
		if sends[n.class[row]] {
			from = append(from, rowRange{vnode, vnode + 1})
		}
		if gets[n.class[row]] {
			to = append(to, rowRange{vnode, vnode + 1})
		}
	})
	for _, e := range n.l.Pairs {
		if e.Word == program.PairIndexed || !like(e.Word) {
			continue
		}
		network := n.networkAt(e.Network)
		x, _ := n.rowAt(network, e.From)
		y, _ := n.rowAt(network, e.To)
		from, to = append(from, n.vnodeOf(x)), append(to, n.vnodeOf(y))
	}
	return joinRows(from), joinRows(to)
}

// vnodeOf gives the vnode of a viface.
func (p *Plan) vnodeOf(row uint32) rowRange {
	lo, hi := 0, len(p.viface)-1
	for lo+1 < hi {
		if mid := (lo + hi) / 2; p.viface[mid] <= row {
			lo = mid
		} else {
			hi = mid
		}
	}
	return rowRange{lo, lo + 1}
}

// floors notes delays that are shorter than the way itself takes. What the
// other legs of any way delay at least counts, too.
func (n *noter) floors() {
	out, in := n.leastDelay(n.out), n.leastDelay(n.in)
	pair := time.Duration(0) // some pairs may have none
	remedy := fmt.Sprintf("ask for %s or more, or for none", link.FormatDelay(n.floor))
	short := func(d, others time.Duration) bool { return d > 0 && d+others < n.floor }
	least := time.Duration(1 << 62)
	nodes := n.with(func(c *program.Condition, side int) bool {
		others := [2]time.Duration{pair + in, out + pair}[side]
		if !short(c.Delay, others) {
			return false
		}
		least = min(least, c.Delay)
		return true
	})
	if len(nodes) > 0 {
		n.note(n.namesOf(nodes).String(), "", remedy, "a delay of %s is asked for, the way itself takes %s (%s)",
			link.FormatDelay(least), link.FormatDelay(n.floor), n.source())
	}
	least = 1 << 62
	from, to := n.pairsWith(func(w program.PairWord) bool {
		d := time.Duration(w) * program.DelayUnit
		if w&program.PairIndexed != 0 {
			d = n.l.Conditions[w&^program.PairIndexed-1].Delay
		}
		if !short(d, out+in) {
			return false
		}
		least = min(least, n.book.raiseWord(w).Delay)
		return true
	})
	if len(from) > 0 {
		n.note(n.namesOf(from).String(), n.namesOf(to).String(), remedy, "a delay of %s is asked for, the way itself takes %s (%s)",
			link.FormatDelay(least), link.FormatDelay(n.floor), n.source())
	}
}

// leastDelay is the shortest delay that vifaces have.
func (n *noter) leastDelay(refs []uint32) time.Duration {
	least := program.MaxDelay
	for _, ref := range refs {
		if ref == 0 {
			return 0
		}
		least = min(least, n.l.Conditions[ref-1].Delay)
	}
	return least
}

// rates notes rates at which a packet takes less time than timers are late.
func (n *noter) rates() {
	most := uint64(0)
	limit := packetBits * uint64(time.Second) / uint64(max(n.lateness, 1))
	nodes := n.with(func(c *program.Condition, _ int) bool {
		if c.Rate > limit {
			most = max(most, c.Rate)
		}
		return c.Rate > limit
	})
	if len(nodes) == 0 {
		return
	}
	takes := time.Duration(packetBits * uint64(time.Second) / most)
	n.note(n.namesOf(nodes).String(), "", "nothing, if packets need not come one by one: the rate holds",
		"at %s a packet takes %s, and timers are %s late (%s): packets leave about %d at a time",
		link.FormatRate(most), link.FormatDelay(takes), link.FormatDelay(n.lateness), n.source(), (n.lateness+takes-1)/max(takes, 1))
}

// queues notes queues in which no packet has room.
func (n *noter) queues() {
	var first *program.Condition
	nodes := n.with(func(c *program.Condition, _ int) bool {
		if c.Default || c.Rate == 0 && c.Trace == 0 {
			return false
		}
		is := c.QueueBytes > 0 && c.QueueBytes < program.TracePacket
		if c.Rate > 0 && c.QueueTime > 0 {
			is = uint64(c.QueueTime) < packetBits*uint64(time.Second)/c.Rate
		}
		if is && first == nil {
			first = c
		}
		return is
	})
	if len(nodes) > 0 {
		asked := n.book.raise(*first)
		n.note(n.namesOf(nodes).String(), "", "ask for queue=2p or more, or leave it out",
			"in a queue of %s, at %s, no full packet has room: of two that come together, one is lost", asked.Queue, link.FormatRate(first.Rate))
	}
}

// surprises notes what conditions say of themselves.
func (n *noter) surprises() {
	for i := range n.l.Conditions {
		c := n.l.Conditions[i]
		asked := n.book.raise(c)
		for _, text := range asked.Notes() {
			if len(n.notes) < maxNotes {
				nodes := n.with(func(other *program.Condition, _ int) bool { return *other == c })
				word := program.PairIndexed | program.PairWord(i+1)
				from, to := n.pairsWith(func(w program.PairWord) bool { return w == word })
				n.note(n.namesOf(joinRows(append(nodes, from...))).String(), n.namesOf(to).String(), "ask for a longer delay, or a smaller jitter", "%s: %s", asked, text)
			}
		}
	}
}

// maxNotes bounds what is noted of single conditions.
const maxNotes = 10

// far notes ways on which packets would be held for too long.
func (n *noter) far() {
	var most [3]time.Duration
	longest := func(to *time.Duration, ref uint32) {
		if ref > 0 {
			c := &n.l.Conditions[ref-1]
			*to = max(*to, c.Delay+c.Jitter+c.QueueTime)
		}
	}
	for row := range n.out {
		longest(&most[0], n.out[row])
		longest(&most[2], n.in[row])
	}
	for _, words := range [][]program.PairWord{n.l.Matrix, n.exceptionWords()} {
		for _, w := range words {
			if w&program.PairIndexed != 0 {
				longest(&most[1], uint32(w&^program.PairIndexed))
			} else {
				most[1] = max(most[1], time.Duration(w)*program.DelayUnit)
			}
		}
	}
	if sum := most[0] + most[1] + most[2]; sum > horizon {
		n.note(n.nodes.String(), "", "ask for shorter delays or queues", "a packet may be on its way for %s; one that would be held for more than %s is dropped", sum.Round(time.Second), horizon)
	}
}

func (n *noter) exceptionWords() []program.PairWord {
	words := make([]program.PairWord, len(n.l.Pairs))
	for i, e := range n.l.Pairs {
		words[i] = e.Word
	}
	return words
}
