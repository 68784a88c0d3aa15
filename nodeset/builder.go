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
	c.spend(len(ranks))
	if dims == 1 {
		slices.Sort(ranks)
		return line(len(ranks), func(i int) rank { return ranks[i] })
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
		return line(len(vectors), func(i int) rank { return vectors[i][depth] })
	}
	var out layer
	for start, i := 0, 1; i <= len(vectors); i++ {
		r := vectors[start][depth]
		if i == len(vectors) || vectors[i][depth] != r {
			c.keep(&out, span{r, r}, c.nest(vectors[start:i], depth+1))
			start = i
		}
	}
	return newAxis(out.spans, out.subs)
}

// line is the axis of n ranks in ascending order, which may repeat.
func line(n int, at func(int) rank) *axis {
	var spans []span
	for i := range n {
		r := at(i)
		if k := len(spans); k > 0 && r <= spans[k-1].hi+1 {
			spans[k-1].hi = r
			continue
		}
		spans = append(spans, span{r, r})
	}
	return newAxis(slices.Clip(spans), nil)
}
