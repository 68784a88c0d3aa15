package rack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Dir is where the sockets and logs of a platform's racks are.
func Dir(runDir, platform string) string { return filepath.Join(runDir, platform) }

// Socket is the path of a rack's socket.
func Socket(runDir, platform string, index uint32) string {
	return filepath.Join(Dir(runDir, platform), fmt.Sprintf("rack-%d.sock", index))
}

// Log is the path of what a rack writes to its standard error.
func Log(runDir, platform string, index uint32) string {
	return filepath.Join(Dir(runDir, platform), fmt.Sprintf("rack-%d.log", index))
}

// socketIndex gives the index of the rack that a socket's name belongs to.
func socketIndex(name string) (uint32, bool) {
	s, ok := strings.CutPrefix(name, "rack-")
	if !ok {
		return 0, false
	}
	if s, ok = strings.CutSuffix(s, ".sock"); !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || s != strconv.FormatUint(n, 10) {
		return 0, false
	}
	return uint32(n), true
}

// maxSocketPath is the longest path that a socket address holds: 108 bytes
// with the zero at its end.
const maxSocketPath = 107

// withShort calls fn with a path that fits a socket address and names the
// same file as path.
func withShort(path string, fn func(short string) error) error {
	if len(path) <= maxSocketPath {
		return fn(path)
	}
	dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: filepath.Dir(path), Err: err}
	}
	defer unix.Close(dir)
	return fn(fmt.Sprintf("/proc/self/fd/%d/%s", dir, filepath.Base(path)))
}

// dial connects to a rack's socket.
func dial(ctx context.Context, path string) (*net.UnixConn, error) {
	var conn net.Conn
	err := withShort(path, func(short string) error {
		var err error
		conn, err = new(net.Dialer).DialContext(ctx, "unix", short)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", path, cause(err))
	}
	return conn.(*net.UnixConn), nil
}

// cause drops the address that the net package adds to an error: a shortened
// path means nothing to a reader.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// errServed says that a living rack answers on a socket already.
var errServed = errors.New("another process answers on the socket")

// listen makes a rack's socket. It takes the place of one on which nobody
// answers any more, and is there for others only once it answers.
func listen(path string) (*net.UnixListener, error) {
	unlock, err := lockDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if answers(path) {
		return nil, fmt.Errorf("listen on %s: %w", path, errServed)
	}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if e := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); e != nil {
			return e
		}
		return err // the file that bind makes has the mode of the socket
	}}
	fresh := fmt.Sprintf("%s.%d", path, os.Getpid())
	os.Remove(fresh)
	var ln *net.UnixListener
	err = withShort(fresh, func(short string) error {
		l, err := config.Listen(context.Background(), "unix", short)
		if err == nil {
			ln = l.(*net.UnixListener)
			ln.SetUnlinkOnClose(false)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, cause(err))
	}
	if err := os.Rename(fresh, path); err != nil {
		ln.Close()
		os.Remove(fresh)
		return nil, err
	}
	return ln, nil
}

// answers says whether some process accepts connections on a socket.
func answers(path string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	conn, err := dial(ctx, path)
	if err == nil {
		conn.Close()
		return true
	}
	// A full queue of connections means somebody is there; so does anything
	// but a plain refusal.
	return !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.ENOENT)
}

// removeStale removes a socket on which nobody answers.
func removeStale(path string) error {
	unlock, err := lockDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer unlock()
	if answers(path) {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// lockDir keeps other processes from judging and replacing the sockets of a
// directory meanwhile.
func lockDir(dir string) (unlock func(), err error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	for {
		err = unix.Flock(fd, unix.LOCK_EX)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "lock", Path: dir, Err: err}
	}
	return func() { unix.Close(fd) }, nil
}

// checkPeer refuses connections of other users: whoever is let in can run
// anything as the user that the rack runs as.
func checkPeer(conn *net.UnixConn) error {
	peer, err := peerOf(conn)
	if err != nil {
		return err
	}
	if peer.Uid != 0 && int(peer.Uid) != os.Geteuid() {
		return fmt.Errorf("connection of user %d refused", peer.Uid)
	}
	return nil
}

// peerOf says who is at the other end: who connected, or who listened.
func peerOf(conn *net.UnixConn) (*unix.Ucred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var peer *unix.Ucred
	err2 := raw.Control(func(fd uintptr) {
		peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, err2); err != nil {
		return nil, fmt.Errorf("ask who is at the other end: %w", err)
	}
	return peer, nil
}
