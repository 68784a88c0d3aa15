package rtnl

import "golang.org/x/sys/unix"

// NoNumber is the number of a namespace that has none in another.
const NoNumber = -1 // NETNSA_NSID_NOT_ASSIGNED

// Number gives the number by which the socket's namespace knows the one of a
// descriptor, NoNumber if it does not (net/core/net_namespace.c,
// rtnl_net_getid). It has none for itself.
func (c *Conn) Number(netns int) (int32, error) {
	c.out.Reset()
	c.out.begin("look up number of namespace", "", unix.RTM_GETNSID, unix.NLM_F_REQUEST)
	c.out.u32(unix.AF_UNSPEC) // struct rtgenmsg, with its padding
	c.out.attrU32(unix.NETNSA_FD, uint32(netns))
	c.out.end()
	number := int32(NoNumber)
	err := c.get(unix.RTM_NEWNSID, func(p []byte) {
		if len(p) < 4 {
			return
		}
		for typ, v := range attrs(p[4:]) {
			if typ == unix.NETNSA_NSID {
				number = int32(u32(v))
			}
		}
	})
	return number, err
}
