package graphml

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"strconv"
	"strings"
)

// Limits of a file.
const (
	MaxSize  = 64 << 20
	maxDepth = 200 // of elements in elements
	maxNodes = 100_000
	maxEdges = 200_000
)

// Read reads a graph. name is what errors call the file. If anything is wrong
// with it, the error is an Errors value that has every problem.
//
// Custom entities are not expanded, and nothing is fetched.
func Read(name string, src []byte, names Names) (*Graph, error) {
	r := &reader{problems: &problems{file: name}, keys: map[string]*key{}, standard: map[string]string{}, ids: map[string]int{}}
	names.check(r.problems)
	if len(src) > MaxSize {
		r.report(place{1, 1}, "", "import a part of it", "the file has %d MB, more than the limit of %d MB", (len(src)+1<<20-1)>>20, MaxSize>>20)
		return nil, r.err()
	}
	if r.document(src); len(r.list) == 0 || r.whole {
		r.connect()
		r.interpret(names)
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return &r.graph, nil
}

// reader turns elements into rawNodes and rawEdges, and those into a Graph.
type reader struct {
	*problems
	graph Graph
	keys  map[string]*key

	standard map[string]string // defaults by name, in small letters
	ids      map[string]int    // of nodes

	nodes   []*raw
	edges   []*raw
	data    []datum // of the graph
	graphs  int     // at top level
	whole   bool    // the file was read to its end
	d       *xml.Decoder
	stack   []frame
	text    strings.Builder
	capture int // depth of the element whose text is collected; 0: none
}

// raw is a node or an edge as it stands.
type raw struct {
	place
	id, source, target string
	data               []datum
	label              string // as drawn
	x, y               float64
	drawn, group       bool
	ends               []endpoint // of a hyperedge
}

type endpoint struct {
	place
	node string
}

// datum is an attribute's value.
type datum struct {
	place
	key, value string
}

// key is a declared attribute.
type key struct{ name string }

// frame is an element that is open.
type frame struct {
	name  string
	owner *raw   // the node or edge that its data belong to; nil: the graph
	key   string // of data
	place
}

// document goes through the elements. It needs no recursion, whatever their
// depth.
func (r *reader) document(src []byte) {
	r.d = xml.NewDecoder(bytes.NewReader(src))
	r.d.Entity = xml.HTMLEntity
	r.d.CharsetReader = charset
	seen := false
	for {
		line, column := r.d.InputPos()
		at := place{line, column}
		token, err := r.d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			r.syntax(at, err)
			return
		}
		switch t := token.(type) {
		case xml.StartElement:
			if !seen && t.Name.Local != "graphml" {
				r.report(at, "", "is it another format?", "not GraphML: it begins with the element %s", quote(t.Name.Local))
				return
			}
			if seen = true; len(r.stack) >= maxDepth {
				r.report(at, t.Name.Local, "no GraphML is nested so deeply", "more than %d elements in each other", maxDepth)
				return
			}
			r.start(at, t)
		case xml.EndElement:
			r.end()
		case xml.CharData:
			if r.capture > 0 && r.capture == len(r.stack) {
				r.text.Write(t)
			}
		}
		if len(r.nodes) > maxNodes || len(r.edges) > maxEdges {
			r.report(at, "", "import a part of it", "more than %d nodes or %d edges", maxNodes, maxEdges)
			return
		}
	}
	switch {
	case !seen && len(bytes.TrimSpace(src)) > 0:
		r.report(place{1, 1}, "", "is it the right file?", "not GraphML: there is no XML in it")
	case !seen:
		r.report(place{1, 1}, "", "is it the right file?", "the file is empty")
	case r.graphs == 0:
		r.report(place{1, 1}, "", "is it the right file?", "there is no graph in it")
	case len(r.nodes) == 0:
		r.report(place{1, 1}, "", "is it the right file?", "its graph has no nodes")
	}
	r.whole = true
}

// syntax reports what the XML library says.
func (r *reader) syntax(at place, err error) {
	var bad *xml.SyntaxError
	remedy := "is the file complete?"
	msg := err.Error()
	if errors.As(err, &bad) {
		if msg = bad.Msg; bad.Line > at.line {
			at = place{bad.Line, 1}
		}
		if strings.Contains(msg, "entity") {
			remedy = "write the character itself: entities of a DTD are not expanded"
		}
	}
	var enc *charsetError
	if errors.As(err, &enc) {
		msg, remedy = enc.Error(), "convert it to UTF-8, for example with iconv"
	}
	r.report(at, "", remedy, "not readable as XML: %s", msg)
}

type charsetError struct{ name string }

func (e *charsetError) Error() string { return fmt.Sprintf("encoding %s is not known", quote(e.name)) }

// charset reads the encodings that GraphML comes in beside UTF-8.
func charset(name string, in io.Reader) (io.Reader, error) {
	switch strings.ToLower(name) {
	case "utf8", "us-ascii", "ascii":
		return in, nil
	case "iso-8859-1", "latin1":
		src, err := io.ReadAll(in)
		if err != nil {
			return nil, err
		}
		var b strings.Builder
		for _, c := range src {
			b.WriteRune(rune(c))
		}
		return strings.NewReader(b.String()), nil
	}
	return nil, &charsetError{name}
}

func attr(t xml.StartElement, name string) (string, bool) {
	for _, a := range t.Attr {
		if a.Name.Local == name && a.Name.Space == "" {
			return a.Value, true
		}
	}
	return "", false
}

func (r *reader) start(at place, t xml.StartElement) {
	f := frame{name: t.Name.Local, place: at}
	inData := false
	if n := len(r.stack); n > 0 {
		f.owner = r.stack[n-1].owner
		f.key = r.stack[n-1].key
		inData = f.key != "" && r.stack[n-1].name != "key"
	}
	r.stack = append(r.stack, f)
	top := &r.stack[len(r.stack)-1]
	if inData {
		r.drawing(top, t)
		return
	}
	switch f.name {
	case "key":
		top.key, _ = attr(t, "id")
		name, ok := attr(t, "attr.name")
		if !ok {
			name = top.key
		}
		if r.keys[top.key] == nil {
			r.keys[top.key] = &key{name: name}
		}
	case "default":
		r.collect()
	case "graph":
		if top.owner != nil {
			top.owner.group = true
			top.owner = nil
		} else if r.graphs++; r.graphs == 2 {
			r.report(at, "graph", "leave one of them out", "the file has a second graph")
		}
	case "node":
		top.owner = r.node(at, t)
	case "edge":
		top.owner = r.edge(at, t)
	case "hyperedge":
		top.owner = &raw{place: at, ends: []endpoint{}}
		r.edges = append(r.edges, top.owner)
	case "endpoint":
		if node, ok := attr(t, "node"); ok && top.owner != nil && top.owner.ends != nil {
			top.owner.ends = append(top.owner.ends, endpoint{at, node})
		}
	case "data":
		if top.key, _ = attr(t, "key"); top.key == "" {
			r.report(at, "data", "", "the attribute key is missing")
			top.key = "?"
		}
		r.collect()
	}
}

// collect begins to collect the text of the innermost element.
func (r *reader) collect() {
	r.text.Reset()
	r.capture = len(r.stack)
}

func (r *reader) node(at place, t xml.StartElement) *raw {
	id, ok := attr(t, "id")
	if !ok || id == "" {
		r.report(at, "node", "give it one", "the attribute id is missing")
	} else if first, twice := r.ids[id]; twice {
		r.report(at, "node "+clip(id), "give one of them another id", "that is also the id of the node in line %d", r.nodes[first].line)
	} else {
		r.ids[id] = len(r.nodes)
	}
	n := &raw{place: at, id: id}
	r.nodes = append(r.nodes, n)
	return n
}

func (r *reader) edge(at place, t xml.StartElement) *raw {
	e := &raw{place: at}
	e.id, _ = attr(t, "id")
	e.source, _ = attr(t, "source")
	e.target, _ = attr(t, "target")
	if e.source == "" || e.target == "" {
		r.report(at, "edge", "name the nodes that it joins", "the attribute source or target is missing")
		return e
	}
	r.edges = append(r.edges, e)
	return e
}

// drawing reads what yEd and yFiles say of how a node or an edge is drawn.
func (r *reader) drawing(f *frame, t xml.StartElement) {
	switch f.name {
	case "NodeLabel", "EdgeLabel":
		if f.owner != nil && f.owner.label == "" {
			r.collect()
		}
	case "Geometry":
		if f.owner == nil || f.owner.drawn {
			return
		}
		x, okX := number(t, "x")
		y, okY := number(t, "y")
		w, _ := number(t, "width")
		h, _ := number(t, "height")
		if okX && okY {
			f.owner.x, f.owner.y, f.owner.drawn = x+w/2, y+h/2, true
		}
	}
}

// number reads an attribute that is a plain number of sensible size.
func number(t xml.StartElement, name string) (float64, bool) {
	s, _ := attr(t, name)
	v, err := strconv.ParseFloat(s, 64)
	return v, err == nil && v > -1e9 && v < 1e9
}

func (r *reader) end() {
	f := r.stack[len(r.stack)-1]
	if r.capture == len(r.stack) {
		r.capture = 0
		text := strings.TrimSpace(html.UnescapeString(r.text.String()))
		switch {
		case f.name == "default":
			if k := r.keys[f.key]; k != nil && r.standard[strings.ToLower(k.name)] == "" {
				r.standard[strings.ToLower(k.name)] = text
			}
		case f.name == "data" && text != "":
			d := datum{f.place, f.key, text}
			if f.owner != nil {
				f.owner.data = append(f.owner.data, d)
			} else {
				r.data = append(r.data, d)
			}
		case f.name != "data" && f.owner != nil:
			f.owner.label = text
		}
	}
	r.stack = r.stack[:len(r.stack)-1]
	if n := len(r.stack); n == 0 || f.name == "data" {
		r.capture = 0
	}
}
