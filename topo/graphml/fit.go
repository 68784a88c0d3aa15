package graphml

import (
	"math"
	"slices"

	"myriad/link"
)

// fit says how well a drawing is a map.
type fit struct {
	used    bool
	anchors int
	off     float64 // km: median error of anchors, each left out in turn
}

const (
	fitAnchors = 10   // so many of the nearest say where a node is
	fitMost    = 2000 // more known places are not looked at
	fitLeast   = 6    // with fewer known places a drawing says nothing
	fitQuality = 0.2  // the median error, in units of the size of the network, beyond which a drawing is no map
)

// fitDrawing places drawn nodes as the known ones around them are, by the
// affine map that fits those best: drawings of networks are maps of changing
// scale, with insets.
func (p *placer) fitDrawing() (f fit) {
	var anchors []int
	for _, i := range p.placed() {
		if p.Nodes[i].Drawn && len(anchors) < fitMost {
			anchors = append(anchors, i)
		}
	}
	if len(anchors) < fitLeast {
		return f
	}
	f.anchors, f.off = len(anchors), median(p.leaveOneOut(anchors))
	if f.off > fitQuality*p.extent(anchors) {
		return f
	}
	for i, n := range p.Nodes {
		if p.source[i] == unplaced && n.Drawn {
			p.set(i, p.locate(n.X, n.Y, anchors, -1), fitted)
			f.used = true
		}
	}
	return f
}

// leaveOneOut gives, for each anchor, how far from its place the others put it.
func (p *placer) leaveOneOut(anchors []int) []float64 {
	errors := make([]float64, len(anchors))
	for j, i := range anchors {
		errors[j] = link.Distance(p.at[i], p.locate(p.Nodes[i].X, p.Nodes[i].Y, anchors, i))
	}
	return errors
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// extent is the median distance of places from their middle.
func (p *placer) extent(nodes []int) float64 {
	middle, ok := p.middle(nodes)
	if !ok {
		return 0
	}
	far := make([]float64, len(nodes))
	for j, i := range nodes {
		far[j] = link.Distance(p.at[i], middle)
	}
	return median(far)
}

// locate maps a point of the drawing to a place.
func (p *placer) locate(x, y float64, anchors []int, without int) link.Position {
	near := p.nearest(x, y, anchors, without)
	scale := near[len(near)-1].far + 1e-9 // of the neighbourhood
	origin := p.at[near[0].node]
	var lat, lon regression
	for _, n := range near {
		dx, dy := (p.Nodes[n.node].X-x)/scale, (p.Nodes[n.node].Y-y)/scale
		w := 1 / (dx*dx + dy*dy + 0.01)
		lat.add(w, dx, dy, p.at[n.node].Latitude)
		lon.add(w, dx, dy, origin.Longitude+turned(p.at[n.node].Longitude-origin.Longitude))
	}
	return rounded(lat.atOrigin(), lon.atOrigin())
}

// neighbour is a node, and how far away it is drawn.
type neighbour struct {
	node int
	far  float64
}

// nearest gives the fitAnchors nearest of some nodes, nearest first.
func (p *placer) nearest(x, y float64, nodes []int, without int) []neighbour {
	near := make([]neighbour, 0, fitAnchors+1)
	for _, i := range nodes {
		far := math.Hypot(p.Nodes[i].X-x, p.Nodes[i].Y-y)
		if i == without || len(near) == fitAnchors && far >= near[fitAnchors-1].far {
			continue
		}
		at, _ := slices.BinarySearchFunc(near, far, func(n neighbour, far float64) int {
			if n.far <= far {
				return -1
			}
			return 1
		})
		near = slices.Insert(near, at, neighbour{i, far})
		near = near[:min(len(near), fitAnchors)]
	}
	return near
}

// turned is an angle between -180 and 180 degrees.
func turned(a float64) float64 {
	for a > 180 {
		a -= 360
	}
	for a < -180 {
		a += 360
	}
	return a
}

// regression fits v = a + b x + c y by weighted least squares. A little weight
// on b and c being 0 keeps it sane where points lie on a line.
type regression struct {
	m [3][4]float64
}

func (r *regression) add(w, x, y, v float64) {
	row := [4]float64{1, x, y, v}
	for i := range 3 {
		for j := range 4 {
			r.m[i][j] += w * row[i] * row[j]
		}
	}
}

// atOrigin gives a.
func (r *regression) atOrigin() float64 {
	m := r.m
	ridge := 1e-3 * (m[1][1] + m[2][2])
	m[1][1] += ridge + 1e-12
	m[2][2] += ridge + 1e-12
	for i := range 3 { // the matrix is positive definite: no pivots needed
		for k := range 3 {
			if k == i {
				continue
			}
			f := m[k][i] / m[i][i]
			for j := range 4 {
				m[k][j] -= f * m[i][j]
			}
		}
	}
	return m[0][3] / m[0][0]
}
