package fabric

import (
	"errors"

	"golang.org/x/sys/unix"

	"myriad/kernel/rtnl"
	"myriad/program"
)

// Ensure makes the trunks, links of the spine that c belongs to, run the
// fabric of a program: the one that is there, changed in place, or else a new
// one. It returns the number of writes: none where all is as it should be.
//
// With an overlay in p, the link OverlayIndex runs it too, which must be there.
//
// With conditions in s, the fabric enforces them, and runs on the links of
// s.Holder too, which must be there; without, links have none.
func Ensure(c *rtnl.Conn, trunks []int32, p *program.Program, s *Shaping) (*Fabric, int, error) {
	f, without, err := Find(c, trunks)
	if err != nil {
		return nil, 0, err
	}
	if f == nil {
		return replace(c, trunks, p, s, nil)
	}
	posts, err := f.posts(c, trunks, without, p, s)
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	if posts == nil {
		return replace(c, trunks, p, s, f)
	}
	writes, err := f.settleIn(p, s)
	if errors.Is(err, errRoom) || errors.Is(err, ErrRoom) {
		f, n, err := replace(c, trunks, p, s, f)
		return f, writes + n, err
	}
	if err != nil {
		return nil, writes, errors.Join(err, f.Close())
	}
	n, err := f.man(c, posts)
	if err != nil {
		return nil, writes + n, errors.Join(err, f.Close())
	}
	return f, writes + n, nil
}

// entrances lists the links besides trunks where frames come that the program
// trunk is to meet.
func entrances(p *program.Program, s *Shaping) []int32 {
	var links []int32
	if s.wanted() && s.Holder.Cut != 0 { // first, so that what the others send there is met
		links = append(links, s.Holder.CutLeave)
	}
	if p.Overlay != nil {
		links = append(links, OverlayIndex)
	}
	return links
}

// post is a link where a program of the fabric is to stand.
type post struct {
	link    int32
	release bool // the program release, else trunk
}

// posts lists the posts of f that are not manned, given the trunks that are
// not. It returns nil if f is not the kind of fabric that is wanted.
func (f *Fabric) posts(c *rtnl.Conn, trunks, without []int32, p *program.Program, s *Shaping) ([]post, error) {
	if s.wanted() != (f.shaping != nil) {
		return nil, nil
	}
	posts := make([]post, 0, 1)
	for _, link := range without {
		posts = append(posts, post{link: link})
	}
	more, err := f.unmanned(c, entrances(p, s))
	if err != nil {
		return nil, err
	}
	posts = append(posts, more...)
	if !s.wanted() {
		return posts, nil
	}
	fits, err := f.suits(&s.Holder)
	if err != nil || !fits {
		return nil, err
	}
	id, _, missing, err := elect(c, s.Holder.exits(trunks), releaseName)
	if err != nil || id == 0 {
		return nil, err
	}
	if f.shaping.release, err = adopt(id, nil); err != nil {
		return nil, err
	}
	for _, link := range missing {
		posts = append(posts, post{link, true})
	}
	return posts, nil
}

// unmanned lists those of some links that do not run f's program trunk.
func (f *Fabric) unmanned(c *rtnl.Conn, links []int32) (posts []post, err error) {
	info, err := f.objects.Trunk.Info()
	if err != nil {
		return nil, err
	}
	own, _ := info.ID()
	for _, link := range links {
		id, _, _, err := elect(c, []int32{link}, f.name())
		if err != nil {
			return nil, err
		}
		if id != own {
			posts = append(posts, post{link: link})
		}
	}
	return posts, nil
}

// everywhere lists all posts.
func everywhere(trunks []int32, p *program.Program, s *Shaping) []post {
	var posts []post
	if s.wanted() { // first, as the cut
		for _, link := range s.Holder.exits(trunks) {
			posts = append(posts, post{link, true})
		}
	}
	for _, link := range append(entrances(p, s), trunks...) {
		posts = append(posts, post{link: link})
	}
	return posts
}

// man puts the programs of f onto links, in place of those of others.
func (f *Fabric) man(c *rtnl.Conn, posts []post) (writes int, err error) {
	var b rtnl.Batch
	for _, p := range posts {
		if p.release {
			add(&b, p.link, f.shaping.release, releaseName)
		} else {
			f.Attach(&b, p.link)
		}
	}
	return attach(c, &b)
}

// settleIn makes f know the holder, and what update does.
func (f *Fabric) settleIn(p *program.Program, s *Shaping) (writes int, err error) {
	if f.shaping != nil {
		mem, err := f.shaping.maps.open()
		if err != nil {
			return 0, err
		}
		writes = s.Holder.fill(mem.control)
		mem.close()
	}
	n, err := f.update(p, s)
	return writes + n, err
}

// replace puts a new fabric in the place of old, which goes on where old is,
// and then changes it: so that what changes does so at once, for all racks.
func replace(c *rtnl.Conn, trunks []int32, p *program.Program, s *Shaping, old *Fabric) (f *Fabric, writes int, err error) {
	if old != nil {
		defer func() { err = errors.Join(err, old.Close()) }()
		if old.shaping != nil && !s.wanted() {
			if writes, err = old.unshape(); err != nil {
				return nil, writes, err
			}
		}
	}
	if f, err = load(p, s, old); err != nil {
		return nil, writes, err
	}
	n, err := f.man(c, everywhere(trunks, p, s))
	writes += n
	if err == nil {
		n, err = f.update(p, s)
		writes += n
	}
	if err != nil {
		return nil, writes, errors.Join(err, f.Close())
	}
	return f, writes, nil
}

// unshape ends all conditions at the same moment.
func (f *Fabric) unshape() (writes int, err error) {
	c, err := f.Prepare(nil)
	if err != nil {
		return 0, err
	}
	return c.Commit()
}

// suits says whether the programs are of the kind that a holder needs.
func (f *Fabric) suits(h *Holder) (bool, error) {
	mem, err := f.shaping.maps.open()
	if err != nil {
		return false, err
	}
	defer mem.close()
	return (mem.control.Kind == kindFQ) == h.FQ, nil
}

// attach sends a batch of pairs of messages: a qdisc, which may be there, and
// a filter. It returns the number of writes.
func attach(c *rtnl.Conn, b *rtnl.Batch) (int, error) {
	writes := b.Len()
	var refused error
	err := c.DoEach(b, func(i int, err *rtnl.OpError) {
		writes--
		if qdisc := i%2 == 0; !qdisc || !errors.Is(err, unix.EEXIST) {
			refused = errors.Join(refused, err)
		}
	})
	return writes, errors.Join(err, refused)
}
