// Package netns makes, enters and keeps network namespaces, and waits until
// the kernel has let go of them. It is the only package that locks operating
// system threads: it hands out descriptors and short visits, so that nobody
// else has a thread in the wrong namespace.
//
// The process's main thread is never moved: /proc/<pid>/ns/net goes on naming
// the namespace that the process was started in.
package netns

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Open opens the namespace at a path: a bind mount, or /proc/<pid>/ns/net.
func Open(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open namespace", Path: path, Err: err}
	}
	if ok, err := isNamespace(fd); err != nil || !ok {
		unix.Close(fd)
		return -1, fmt.Errorf("open namespace %s: not a namespace", path)
	}
	return fd, nil
}

// nsfsMagic is the type of the file system that namespaces are files of.
const nsfsMagic = 0x6e736673

func isNamespace(fd int) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return false, err
	}
	return st.Type == nsfsMagic, nil
}

// ID identifies a namespace while it lives. IDs are comparable.
type ID struct {
	dev, ino uint64
}

// IDOf identifies the namespace behind a descriptor.
func IDOf(fd int) (ID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return ID{}, fmt.Errorf("identify namespace: %w", err)
	}
	return ID{st.Dev, st.Ino}, nil
}

// IDAt identifies the namespace at a path, without opening it.
func IDAt(path string) (ID, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return ID{}, &os.PathError{Op: "identify namespace", Path: path, Err: err}
	}
	return ID{st.Dev, st.Ino}, nil
}

// Pin keeps a namespace alive at a path, by a bind mount over an empty file
// that it makes. It is the only kind of mount made in the machine's table.
func Pin(fd int, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return err
	}
	f.Close()
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", fd), path, "", unix.MS_BIND, ""); err != nil {
		os.Remove(path)
		return &os.PathError{Op: "pin namespace", Path: path, Err: err}
	}
	return nil
}

// Pinned says whether a namespace is pinned at a path.
func Pinned(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == nsfsMagic
}

// Unpin ends what Pin did, in any state of it. Nothing there is no error.
func Unpin(path string) error {
	for Pinned(path) {
		if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return &os.PathError{Op: "unpin namespace", Path: path, Err: err}
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
