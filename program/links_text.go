package program

import (
	"bufio"
	"fmt"
	"strings"
)

// String lists what the condition changes, as in "delay=20ms loss=1%"; tables
// and traces are named by their number. It is "none" if that is nothing.
func (c Condition) String() string {
	var words []string
	add := func(is bool, format string, args ...any) {
		if is {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	add(c.Delay != 0, "delay=%s", c.Delay)
	add(c.Jitter != 0, "jitter=%s", c.Jitter)
	add(c.Distribution != 0, "distribution=%d", c.Distribution)
	add(c.Ordered, "ordered")
	add(c.Loss != 0, "loss=%s", c.Loss)
	add(c.ToBad|c.ToGood|c.LossBad != 0, "burst=%s,%s,%s", c.ToBad, c.ToGood, c.LossBad)
	add(c.Corrupt != 0, "corrupt=%s", c.Corrupt)
	add(c.Duplicate != 0, "duplicate=%s", c.Duplicate)
	add(c.Reorder != 0, "reorder=%s", c.Reorder)
	add(c.Rate != 0, "rate=%dbit", c.Rate)
	add(c.Trace != 0, "trace=%d", c.Trace)
	by := "queue"
	if c.Default {
		by = "default-queue"
	}
	add(c.QueueTime != 0, "%s=%s", by, c.QueueTime)
	add(c.QueueBytes != 0, "%s=%dB", by, c.QueueBytes)
	add(c.ECN, "ecn")
	if words == nil {
		return "none"
	}
	return strings.Join(words, " ")
}

// String is what the word says: a delay, a reference to a condition, or none.
func (w PairWord) String() string {
	switch {
	case w == 0:
		return "-"
	case w == PairIndexed:
		return "none"
	case w&PairIndexed != 0:
		return fmt.Sprintf("#%d", w&^PairIndexed)
	}
	var l *Links
	return l.PairCondition(w).Delay.String()
}

// writeText writes all tables, a line a row. Networks that are not in the
// program are written by their numbers.
func (l *Links) writeText(b *bufio.Writer, networks map[uint16]Network) {
	if l == nil {
		return
	}
	fmt.Fprintf(b, "links seed %d\n", l.Seed)
	for i := range l.Conditions {
		fmt.Fprintf(b, "  condition #%d %s\n", i+1, l.Conditions[i])
	}
	for i, t := range l.Tables {
		fmt.Fprintf(b, "  distribution %d %s\n", i+1, t.Name)
	}
	for i, t := range l.Traces {
		fmt.Fprintf(b, "  trace %d %s %d moments in %d ms\n", i+1, t.Name, len(t.At), t.Period)
	}
	place := func(network uint16, host uint32) string {
		if n, ok := networks[network]; ok {
			return n.Addr(host).String()
		}
		return fmt.Sprint(host)
	}
	name := func(network uint16) string {
		if n, ok := networks[network]; ok {
			return n.Name
		}
		return fmt.Sprintf("network %d", network)
	}
	ref := func(r uint32) string {
		if r == 0 {
			return "none"
		}
		return fmt.Sprintf("#%d", r)
	}
	for _, r := range l.Vifaces {
		fmt.Fprintf(b, "  viface %s %s", name(r.Network), place(r.Network, r.Host))
		if r.Count > 1 {
			fmt.Fprintf(b, " - %s", place(r.Network, r.Host+r.Count-1))
		}
		fmt.Fprintf(b, " out %s in %s class %d\n", ref(r.Out), ref(r.In), r.Class)
	}
	for i := range l.Classes {
		fmt.Fprintf(b, "  class %d to", i+1)
		writeRow(b, l.Matrix[i*l.Classes:(i+1)*l.Classes])
	}
	for _, p := range l.Pairs {
		fmt.Fprintf(b, "  pair %s %s to %s %s\n", name(p.Network), place(p.Network, p.From), place(p.Network, p.To), p.Word)
	}
}

// writeRow writes a row of the matrix: like words that follow each other once,
// with their number.
func writeRow(b *bufio.Writer, row []PairWord) {
	for len(row) > 0 {
		n := 1
		for n < len(row) && row[n] == row[0] {
			n++
		}
		fmt.Fprintf(b, " %s", row[0])
		if n > 1 {
			fmt.Fprintf(b, "*%d", n)
		}
		row = row[n:]
	}
	b.WriteString("\n")
}
