package coord

import (
	"slices"

	"myriad/plan"
)

// judge looks at the world when nothing is under way any more.
func (w *world) judge() {
	for a := Asker(1); a <= w.askers; a++ {
		if n := w.ended[a]; n > 1 || n == 0 && !w.gone[a] {
			w.errorf("asker %d heard of %d ends", a, n)
		}
	}
	for name, p := range w.m.platforms {
		if len(p.queue) > 0 {
			w.errorf("%s has %d requests that wait", name, len(p.queue))
		}
		if (p.record == nil) != (w.stored[name] == nil) {
			w.errorf("%s is remembered: %v; as stored: %v", name, p.record != nil, w.stored[name] != nil)
		}
	}
	at := map[string]string{} // vnodes
	for _, n := range w.sorted() {
		for name, k := range n.kernel {
			p := w.m.platforms[name]
			if p != nil && p.plan == nil && (n.given || w.fails) {
				continue // it was given up with what it carries, or that could not be removed
			}
			if p == nil || p.plan == nil {
				w.errorf("%s carries %s, which nobody knows", n.name, name)
				continue
			}
			want := vnodesAt(p.plan, n.name)
			for _, v := range k.vnodes {
				if !slices.Contains(want, v) && !w.fails {
					w.errorf("%s of %s is on %s, and the plan has it elsewhere", v, name, n.name)
				}
				if other := at[name+" "+v]; other != "" && !w.fails {
					w.errorf("%s of %s is on %s and on %s", v, name, other, n.name)
				}
				at[name+" "+v] = n.name
			}
		}
	}
}

// judgePlans looks whether all is as planned, after an up of each platform.
func (w *world) judgePlans() {
	if w.fails {
		return
	}
	for name, p := range w.m.platforms {
		if p.plan == nil || w.last[name] == nil {
			continue
		}
		if p.record.Digest != w.last[name].Digest {
			w.errorf("%s is not what was asked for last", name)
		}
		for _, n := range w.sorted() {
			want, has := vnodesAt(p.plan, n.name), n.kernel[name]
			if len(want) == 0 {
				if has != nil && len(has.vnodes) > 0 {
					w.errorf("%s has %v of %s, and should have none", n.name, has.vnodes, name)
				}
				continue
			}
			if has == nil || !slices.Equal(has.vnodes, want) || has.plan != p.plan {
				w.errorf("%s has %+v of %s, want %v", n.name, has, name, want)
				continue
			}
			if force := p.links.state.force; has.links != force || p.links.state.touched && force != w.kept[name].Force {
				w.errorf("links of %s at %s: %s in the kernel, want %s", name, n.name, conditions(has.links), conditions(force))
			}
		}
	}
}

func vnodesAt(p *plan.Plan, pnode string) (out []string) {
	number, err := p.PnodeNumber(pnode)
	if err != nil {
		return nil
	}
	for _, k := range p.Own(number).Racks {
		for _, v := range k.Vnodes {
			out = append(out, v.Name)
		}
	}
	slices.Sort(out)
	return out
}
