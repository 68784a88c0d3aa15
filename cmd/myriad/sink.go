package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"

	"myriad/rack"
)

// sink receives what the commands of an exec write and how they end, in the
// order of arrival. exit comes once per vnode, after its last output.
type sink interface {
	output(o rack.Output)
	exit(e rack.Exit)
	// flush is called after each batch of the above.
	flush() error
	// close writes what is still held: all of it, when not every command
	// came to its end.
	close() error
}

// lineMax is how much of an unfinished line is held for its end.
const lineMax = 1 << 20

// stream names one of the two outputs of a vnode.
type stream struct {
	vnode  string
	stderr bool
}

// lines writes every line as it comes, after the name of its vnode.
type lines struct {
	out, err *bufio.Writer
	partial  map[stream][]byte // lines whose end has not come
	width    int               // least width of a label; 0 leaves labels as long as they are
}

func newLines(stdout, stderr io.Writer, width int) *lines {
	return &lines{
		out:     bufio.NewWriterSize(stdout, 1<<16),
		err:     bufio.NewWriterSize(stderr, 1<<12),
		partial: map[stream][]byte{},
		width:   width,
	}
}

func (l *lines) output(o rack.Output) {
	s := stream{o.Vnode, o.Stderr}
	data := o.Data
	if held := l.partial[s]; held != nil {
		data = append(held, data...)
		delete(l.partial, s)
	}
	for {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			break
		}
		l.line(s, data[:end])
		data = data[end+1:]
	}
	switch {
	case len(data) > lineMax:
		l.line(s, data)
	case len(data) > 0:
		l.partial[s] = bytes.Clone(data)
	}
}

func (l *lines) line(s stream, text []byte) {
	w := l.out
	if s.stderr {
		w = l.err
	}
	w.WriteString(s.vnode)
	w.WriteString(": ")
	if pad := l.width - len(s.vnode); pad > 0 {
		w.WriteString(strings.Repeat(" ", pad))
	}
	w.Write(text)
	w.WriteByte('\n')
}

func (l *lines) exit(e rack.Exit) {
	for _, s := range []stream{{e.Vnode, false}, {e.Vnode, true}} {
		if held := l.partial[s]; held != nil {
			l.line(s, held)
			delete(l.partial, s)
		}
	}
}

func (l *lines) flush() error {
	if err := l.out.Flush(); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	if err := l.err.Flush(); err != nil {
		return fmt.Errorf("write error output: %w", err)
	}
	return nil
}

func (l *lines) close() error {
	for s, held := range l.partial {
		l.line(s, held)
	}
	clear(l.partial)
	return l.flush()
}
