package plan

import "myriad/program"

// grid says what goes from each class of vifaces to each other. Class 0 is the
// one in which all are at first.
type grid struct {
	n, stride int
	words     []program.PairWord // from class i to class j: at i*stride + j
	stamps    []uint32           // by which step each was written last; nil if that does not matter
	written   bool               // not all are 0
}

func newGrid(classes int) grid {
	return grid{n: classes, stride: classes, words: make([]program.PairWord, classes*classes)}
}

func (g *grid) at(from, to int) program.PairWord { return g.words[from*g.stride+to] }

func (g *grid) stampAt(from, to int) uint32 {
	if g.stamps == nil {
		return 0
	}
	return g.stamps[from*g.stride+to]
}

func (g *grid) set(from, to int, w program.PairWord, step uint32) {
	at := from*g.stride + to
	g.words[at], g.written = w, true
	if g.stamps != nil {
		g.stamps[at] = step
	}
}

// reserve makes room for classes.
func (g *grid) reserve(classes int) {
	if classes <= g.stride {
		return
	}
	g.words = restride(g.words, g.n, g.stride, classes)
	if g.stamps != nil {
		g.stamps = restride(g.stamps, g.n, g.stride, classes)
	}
	g.stride = classes
}

func restride[T any](cells []T, n, stride, wider int) []T {
	out := make([]T, wider*wider)
	for i := range n {
		copy(out[i*wider:], cells[i*stride:i*stride+n])
	}
	return out
}

// split adds a class that is like another one, and gives its number.
func (g *grid) split(class int) int {
	if g.n == g.stride {
		g.reserve(min(2*g.n+8, max(program.MaxClasses+1, g.n+1)))
	}
	if g.written {
		double(g.words, g.n, g.stride, class)
	}
	if g.stamps != nil {
		double(g.stamps, g.n, g.stride, class)
	}
	g.n++
	return g.n - 1
}

// double makes row and column n like those of a class.
func double[T any](cells []T, n, stride, class int) {
	for i := range n {
		cells[i*stride+n] = cells[i*stride+class]
	}
	copy(cells[n*stride:n*stride+n+1], cells[class*stride:class*stride+n+1])
}

// stamp begins to remember which step wrote what.
func (g *grid) stamp() {
	if g.stamps == nil {
		g.stamps = make([]uint32, len(g.words))
	}
}

// matrix is the words without gaps between the rows.
func (g *grid) matrix() []program.PairWord {
	if g.n == g.stride {
		return g.words
	}
	out := make([]program.PairWord, 0, g.n*g.n)
	for i := range g.n {
		out = append(out, g.words[i*g.stride:i*g.stride+g.n]...)
	}
	return out
}
