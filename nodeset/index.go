package nodeset

import "slices"

// index finds boxes that differ in one dimension: for each dimension, where
// the boxes are that have the same sides in all others.
type index struct {
	fs    folds
	gone  []bool // joined to another one
	where []map[uint64][]int
}

func newIndex(fs folds) *index {
	x := &index{fs: slices.Clone(fs), gone: make([]bool, len(fs))}
	x.where = make([]map[uint64][]int, len(fs[0].sides))
	for dim := range x.where {
		x.where[dim] = make(map[uint64][]int, len(fs))
	}
	for i, f := range fs {
		all := f.hash()
		for dim := range f.sides {
			key := all - f.hashSide(dim)
			x.where[dim][key] = append(x.where[dim][key], i)
		}
	}
	return x
}

// hash depends on what the sides hold and on their places, and is a sum over
// the sides.
func (f folding) hash() (h uint64) {
	for dim := range f.sides {
		h += f.hashSide(dim)
	}
	return h
}

func (f folding) hashSide(dim int) uint64 {
	return scramble(f.sides[dim].sum + uint64(dim))
}

// next is the first box after place at that differs from f in one dimension,
// which it gives too; -1 if there is none. Box f stands at place i, and no
// box before it will be asked for again.
func (x *index) next(f folding, i, at int) (place, dim int) {
	place = -1
	all := f.hash()
	for d := range f.sides {
		key := all - f.hashSide(d)
		list := x.where[d][key]
		for len(list) > 0 && (list[0] <= i || x.gone[list[0]]) {
			list = list[1:]
		}
		x.where[d][key] = list
		k, _ := slices.BinarySearch(list, at+1)
		for _, j := range list[k:] {
			if place >= 0 && j >= place {
				break
			}
			if x.gone[j] {
				continue
			}
			if got, one := f.differs(x.fs[j]); one {
				place, dim = j, got
				break
			}
		}
	}
	return place, dim
}
