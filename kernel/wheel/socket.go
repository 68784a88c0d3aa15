package wheel

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socketMemory is the kernel's memory for frames that the wheel has not read
// yet, and for those on their way out. The kernel doubles it.
const socketMemory = 32 << 20

// listen opens a packet socket on a device of the thread's namespace: all that
// comes in there, and nothing else. note says what it could not have.
func listen(device int32) (fd int, note string, err error) {
	// Without a protocol it hears nothing until it is bound to the device.
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, "", fmt.Errorf("open packet socket: %w", err)
	}
	if note, err = prepare(fd); err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: int(device), Protocol: bigEndian(unix.ETH_P_ALL)})
		if err != nil {
			err = fmt.Errorf("bind packet socket to link %d: %w", device, err)
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, "", err
	}
	return fd, note, nil
}

func bigEndian(v uint16) uint16 { return v<<8 | v>>8 }

// prepare sets the options of a packet socket.
func prepare(fd int) (note string, err error) {
	for _, o := range []struct {
		name  string
		value int
	}{
		{"PACKET_VNET_HDR", unix.PACKET_VNET_HDR},
		{"PACKET_IGNORE_OUTGOING", unix.PACKET_IGNORE_OUTGOING},
		{"PACKET_QDISC_BYPASS", unix.PACKET_QDISC_BYPASS},
	} {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, o.value, 1); err != nil {
			return "", fmt.Errorf("set %s: %w", o.name, err)
		}
	}
	for _, o := range []struct{ force, plain int }{
		{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF},
		{unix.SO_SNDBUFFORCE, unix.SO_SNDBUF},
	} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, o.force, socketMemory); err == nil {
			continue
		}
		note = "small socket buffers (it needs CAP_NET_ADMIN in the machine's own user namespace for large ones)"
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, o.plain, socketMemory); err != nil {
			return "", fmt.Errorf("set the size of socket buffers: %w", err)
		}
	}
	return note, nil
}

// batch is how many frames one system call moves at most.
const batch = 64

// message is struct mmsghdr.
type message struct {
	hdr unix.Msghdr
	n   uint32
}

// messages are the arguments of recvmmsg or sendmmsg: one buffer for each
// message. They must not move.
type messages struct {
	m   [batch]message
	iov [batch]unix.Iovec
}

func newMessages() *messages {
	v := &messages{}
	for i := range v.m {
		v.m[i].hdr.Iov = &v.iov[i]
		v.m[i].hdr.SetIovlen(1)
	}
	return v
}

// set says where message i is.
func (v *messages) set(i int, at unsafe.Pointer, n int) {
	v.iov[i].Base = (*byte)(at)
	v.iov[i].SetLen(n)
}

// receive reads what has come, without waiting. It is called raw, as it does
// not take long: the thread keeps its place in Go's scheduler.
func (v *messages) receive(fd int) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&v.m[0])), batch, unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// send sends messages i to n-1, and says how many went.
func (v *messages) send(fd, i, n int) (int, unix.Errno) {
	done, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&v.m[i])), uintptr(n-i), unix.MSG_DONTWAIT, 0, 0)
	return int(done), errno
}

// linkState is what a wheel must know of its device.
type linkState uint8

const (
	linkUp linkState = iota
	linkDown
	linkGone
)

// stateOf gives the state of the link of an index in the namespace of a socket.
func stateOf(fd int, device int32) linkState {
	var req struct { // struct ifreq
		name  [unix.IFNAMSIZ]byte
		value [24]byte // the link's index, and its flags
	}
	*(*int32)(unsafe.Pointer(&req.value)) = device
	for _, op := range []uintptr{unix.SIOCGIFNAME, unix.SIOCGIFFLAGS} {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), op, uintptr(unsafe.Pointer(&req)))
		if errno == unix.ENODEV {
			return linkGone
		}
	}
	if *(*uint16)(unsafe.Pointer(&req.value))&unix.IFF_UP == 0 {
		return linkDown
	}
	return linkUp
}
