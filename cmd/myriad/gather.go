package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"myriad/nodeset"
	"myriad/rack"
)

// gather holds outputs back and writes each different one once, under the
// folded names of the vnodes that wrote it. Equal outputs are stored once, so
// it needs the memory of the different outputs and of the commands that run.
type gather struct {
	stdout, stderr io.Writer
	running        map[stream][]byte
	blocks         [2]map[outcome]*block // of standard output, of standard error
}

// outcome is what vnodes must have in common to be gathered.
type outcome struct {
	text  string
	code  int
	ended bool
}

// block is one output and who wrote it.
type block struct {
	outcome
	first  string // least name, for the order
	vnodes []string
}

func newGather(stdout, stderr io.Writer) *gather {
	g := &gather{stdout: stdout, stderr: stderr, running: map[stream][]byte{}}
	g.blocks[0], g.blocks[1] = map[outcome]*block{}, map[outcome]*block{}
	return g
}

func (g *gather) output(o rack.Output) {
	s := stream{o.Vnode, o.Stderr}
	g.running[s] = append(g.running[s], o.Data...)
}

func (g *gather) exit(e rack.Exit) {
	g.end(stream{e.Vnode, false}, e.Code, true)
	g.end(stream{e.Vnode, true}, e.Code, true)
}

// end moves what a stream wrote to its block.
func (g *gather) end(s stream, code int, ended bool) {
	text := g.running[s]
	if len(text) == 0 {
		return
	}
	delete(g.running, s)
	blocks := g.blocks[0]
	if s.stderr {
		blocks = g.blocks[1]
	}
	b := blocks[outcome{string(text), code, ended}] // no allocation: the conversion does not escape
	if b == nil {
		key := outcome{string(text), code, ended}
		b = &block{outcome: key, first: s.vnode}
		blocks[key] = b
	}
	b.first = min(b.first, s.vnode)
	b.vnodes = append(b.vnodes, s.vnode)
}

func (g *gather) flush() error { return nil }

func (g *gather) close() error {
	for s := range g.running {
		g.end(s, 0, false)
	}
	if err := writeBlocks(g.stdout, g.blocks[0]); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	if err := writeBlocks(g.stderr, g.blocks[1]); err != nil {
		return fmt.Errorf("write error output: %w", err)
	}
	return nil
}

// rule is the line above and below the names: the form that people know from
// clush -b and dshbak -c.
const rule = "---------------\n"

// writeBlocks writes the most common output first.
func writeBlocks(w io.Writer, blocks map[outcome]*block) error {
	sorted := make([]*block, 0, len(blocks))
	for _, b := range blocks {
		sorted = append(sorted, b)
	}
	slices.SortFunc(sorted, func(a, b *block) int {
		return cmp.Or(cmp.Compare(len(b.vnodes), len(a.vnodes)), cmp.Compare(len(a.first), len(b.first)),
			cmp.Compare(a.first, b.first), cmp.Compare(a.code, b.code))
	})
	out := bufio.NewWriterSize(w, 1<<16)
	for _, b := range sorted {
		out.WriteString(rule + b.header() + "\n" + rule)
		out.WriteString(b.text)
		if !strings.HasSuffix(b.text, "\n") {
			out.WriteByte('\n')
		}
	}
	return out.Flush()
}

// header names the vnodes, and says how they ended when not well.
func (b *block) header() string {
	h := fold(b.vnodes)
	switch {
	case !b.ended:
		h += " unfinished"
	case b.code != 0:
		h += fmt.Sprintf(" exit code %d", b.code)
	}
	return h
}

// fold gives names in folded form, and their number when there are several.
func fold(names []string) string {
	if len(names) == 1 {
		return names[0]
	}
	return fmt.Sprintf("%s (%d)", nodeset.Of(names...), len(names))
}

// briefly is fold for messages: a set that takes many words is cut short.
func briefly(names []string) string {
	s := fold(names)
	if len(s) <= briefLength {
		return s
	}
	head := s[:briefLength]
	head = head[:max(strings.LastIndexByte(head, ','), 0)]
	closing := ""
	if strings.LastIndexByte(head, '[') > strings.LastIndexByte(head, ']') {
		closing = "]"
	}
	return fmt.Sprintf("%s,…%s (%d)", head, closing, len(names))
}

const briefLength = 240
