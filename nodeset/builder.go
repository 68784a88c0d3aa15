package nodeset

import (
	"maps"
	"slices"
)

// builder collects names and sets in any order, and makes their union at once.
type builder struct {
	calc    *calc
	scan    scanner
	buckets map[string]*bucket
}

// bucket is what a builder has of one shape.
type bucket struct {
	dims   int
	points []rank // dims ranks for each single name
	axes   []*axis
}

func newBuilder(c *calc) *builder {
	return &builder{calc: c, buckets: make(map[string]*bucket)}
}

// name adds one name, taken as it is.
func (b *builder) name(name string) {
	b.scan.reset()
	b.scan.text(name)
	k := b.bucket(b.scan.shape, len(b.scan.ranks))
	k.points = append(k.points, b.scan.ranks...)
}

// product adds the names of one shape with any rank out of each dimension.
func (b *builder) product(shape []byte, dims [][]span) {
	k := b.bucket(shape, len(dims))
	if len(dims) > 0 {
		k.axes = append(k.axes, newProduct(dims))
	}
}

func (b *builder) set(s *Set) {
	for _, p := range s.all() {
		k := b.bucket([]byte(p.shape), p.axis.dims())
		if p.axis != nil {
			k.axes = append(k.axes, p.axis)
		}
	}
}

func (b *builder) bucket(shape []byte, dims int) *bucket {
	k := b.buckets[string(shape)]
	if k == nil {
		k = &bucket{dims: dims}
		b.buckets[string(shape)] = k
	}
	return k
}

// finish makes the set, and empties the builder.
func (b *builder) finish() *Set {
	defer b.calc.forget()
	s := &Set{parts: make([]part, 0, len(b.buckets))}
	for _, shape := range slices.Sorted(maps.Keys(b.buckets)) {
		k := b.buckets[shape]
		axes := k.axes
		if len(k.points) > 0 {
			axes = append(axes, b.calc.points(k.points, k.dims))
		}
		s.parts = append(s.parts, newPart(shape, b.calc.unite(axes)))
	}
	clear(b.buckets)
	return s
}

// points is the axis of single vectors, given one after the other.
func (c *calc) points(ranks []rank, dims int) *axis {
	if dims == 1 {
		slices.Sort(ranks)
		return c.group(len(ranks), func(i int) (rank, *axis) { return ranks[i], nil })
	}
	vectors := make([][]rank, 0, len(ranks)/dims)
	for v := range slices.Chunk(ranks, dims) {
		vectors = append(vectors, v)
	}
	slices.SortFunc(vectors, slices.Compare)
	return c.nest(vectors, 0)
}

// nest is the axis of sorted vectors that agree in their first depth ranks.
func (c *calc) nest(vectors [][]rank, depth int) *axis {
	if depth == len(vectors[0])-1 {
		return c.group(len(vectors), func(i int) (rank, *axis) { return vectors[i][depth], nil })
	}
	var runs [][][]rank // vectors with the same rank at depth
	for start, i := 0, 1; i <= len(vectors); i++ {
		if i == len(vectors) || vectors[i][depth] != vectors[start][depth] {
			runs = append(runs, vectors[start:i])
			start = i
		}
	}
	return c.group(len(runs), func(i int) (rank, *axis) {
		return runs[i][0][depth], c.nest(runs[i], depth+1)
	})
}

// group is the axis of n ranks in ascending order, which may repeat, each with
// what follows it.
func (c *calc) group(n int, at func(int) (rank, *axis)) *axis {
	var spans []span
	for i := range n {
		r, sub := at(i)
		if k := len(spans); k > 0 && spans[k-1].hi == r {
			continue
		}
		spans = c.keep(spans, span{r, r, sub}, true)
	}
	return newAxis(slices.Clip(spans))
}
