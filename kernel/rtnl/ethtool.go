package rtnl

import (
	"bytes"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Commands of linux/ethtool.h that the unix package lacks.
const (
	ethtoolGetStrings  = 0x1b
	ethtoolSetInfo     = 0x37
	ethtoolGetFeatures = 0x3a
	ethtoolSetFeatures = 0x3b
	ethStringsFeatures = 4
	ethStringLen       = 32
)

// Features gives the features of a link that are switched on, by the names
// that ethtool has for them. Sockets of any kind serve for these calls, in the
// namespace that they belong to: also those of netlink.
func (c *Conn) Features(link string) (map[string]bool, error) {
	names, words, err := c.features(link)
	if err != nil {
		return nil, err
	}
	on := map[string]bool{}
	for i, name := range names {
		if active := words[i/32*getBlock+2]; active&(1<<(i%32)) != 0 {
			on[name] = true
		}
	}
	return on, nil
}

// SetFeatures switches features of a link on or off. Those that the link or
// the kernel does not have, or that never change, are left out.
func (c *Conn) SetFeatures(link string, set map[string]bool) error {
	names, words, err := c.features(link)
	if err != nil {
		return err
	}
	const block = 2 // valid, requested
	q := make([]uint32, 2+block*blocks(names))
	q[0], q[1] = ethtoolSetFeatures, uint32(blocks(names))
	for i, name := range names {
		bit := uint32(1) << (i % 32)
		on, ok := set[name]
		if available, never := words[i/32*getBlock], words[i/32*getBlock+3]; !ok || available&^never&bit == 0 {
			continue
		}
		q[2+block*(i/32)] |= bit
		if on {
			q[2+block*(i/32)+1] |= bit
		}
	}
	err = c.ethtool("set features", link, unsafe.Pointer(&q[0]))
	runtime.KeepAlive(q)
	return err
}

// getBlock is the number of words for each 32 features of a link: available,
// requested, active, never changed.
const getBlock = 4

func (c *Conn) features(link string) (names []string, words []uint32, err error) {
	if names, err = c.featureNames(link); err != nil {
		return nil, nil, err
	}
	q := make([]uint32, 2+getBlock*blocks(names))
	q[0], q[1] = ethtoolGetFeatures, uint32(blocks(names))
	err = c.ethtool("read features", link, unsafe.Pointer(&q[0]))
	runtime.KeepAlive(q)
	return names, q[2:], err
}

func blocks(names []string) int { return (len(names) + 31) / 32 }

// featureNames are the names of features by their number, which are the same
// for every link of a kernel.
func (c *Conn) featureNames(link string) ([]string, error) {
	known.Lock()
	defer known.Unlock()
	if known.features != nil {
		return known.features, nil
	}
	info := struct {
		cmd, _ uint32
		mask   uint64
		count  uint32
		_      uint32
	}{cmd: ethtoolSetInfo, mask: 1 << ethStringsFeatures}
	if err := c.ethtool("count features", link, unsafe.Pointer(&info)); err != nil {
		return nil, err
	}
	const head = 12 // struct ethtool_gstrings
	text := make([]uint32, (head+int(info.count)*ethStringLen)/4)
	text[0], text[1], text[2] = ethtoolGetStrings, ethStringsFeatures, info.count
	if err := c.ethtool("list features", link, unsafe.Pointer(&text[0])); err != nil {
		return nil, err
	}
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&text[0])), len(text)*4)[head:]
	for i := range int(info.count) {
		name, _, _ := bytes.Cut(raw[i*ethStringLen:(i+1)*ethStringLen], []byte{0})
		known.features = append(known.features, string(name))
	}
	return known.features, nil
}

// known is what was asked of the kernel once.
var known struct {
	sync.Mutex
	features []string
}

// ethtool makes one call: data begins with its command.
func (c *Conn) ethtool(op, link string, data unsafe.Pointer) error {
	var q struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	if len(link) >= len(q.name) {
		return &OpError{Op: op, Name: link, Errno: unix.EINVAL}
	}
	copy(q.name[:], link)
	q.data = data
	for {
		_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(c.fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&q)))
		switch e {
		case 0: // or a positive number, of features that it has changed otherwise
			return nil
		case unix.EINTR:
		default:
			return &OpError{Op: op, Name: link, Errno: e}
		}
	}
}
