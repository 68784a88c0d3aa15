package trust

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"myriad/program"
)

// identityBytes is how long an identity is.
const identityBytes = 16

// Identity gives the identity kept in the file, and makes a random one if
// there is none: 32 letters of hexadecimal. Its directory is made if need be.
func Identity(path string) (string, error) {
	for range 2 {
		b, err := os.ReadFile(path)
		if err == nil {
			id := strings.TrimSpace(string(b))
			if raw, err := hex.DecodeString(id); err != nil || len(raw) != identityBytes {
				return "", &program.Problem{Kind: program.KindConflict, Rack: -1, Op: "read the identity in " + path, Cause: "it is damaged",
					Remedy: "restore the file, or remove it: this machine then has a new identity"}
			}
			return id, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fileProblem("read", path, err)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return "", fileProblem("make", filepath.Dir(path), err)
		}
		id := make([]byte, identityBytes)
		_, _ = rand.Read(id) // never fails
		// Of two who make one at once, the second reads the first one's.
		if err := place(path, []byte(hex.EncodeToString(id)+"\n"), os.Link); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
	return "", &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "read the identity in " + path, Cause: "the file comes and goes"}
}

// writeFile puts a file in place, whole or not at all, for its owner alone.
func writeFile(path string, b []byte) error { return place(path, b, os.Rename) }

// place writes a file beside, and puts it into its place by link or rename.
func place(path string, b []byte, put func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return fileProblem("write", path, err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = put(f.Name(), path)
	}
	if errors.Is(err, fs.ErrExist) {
		return fs.ErrExist
	}
	if err != nil {
		return fileProblem("write", path, err)
	}
	// Without this the name may be lost with the machine, though not the bytes.
	if d, err := os.Open(filepath.Dir(path)); err == nil {
		_ = d.Sync() // some file systems cannot
		_ = d.Close()
	}
	return nil
}

// lock keeps others from making files in dir until unlock is called.
func lock(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, fileProblem("open", dir, err)
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX); err != nil {
		_ = d.Close()
		return nil, fileProblem("lock", dir, err)
	}
	return func() { _ = d.Close() }, nil
}

func fileProblem(what, path string, err error) error {
	p := &program.Problem{Kind: program.KindInternal, Rack: -1, Op: what + " " + path, Cause: err.Error()}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		p.Cause = pe.Err.Error()
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		p.Kind, p.Remedy = program.KindPermission, "run as the user who owns the state directory, or choose another with --state-dir"
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		p.Kind, p.Remedy = program.KindExhausted, "make room there"
	}
	return p
}
