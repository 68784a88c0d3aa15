package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"myriad/topo"
)

// references reads the files that a file or a command line refers to, and
// keeps them to be sent along: the daemon opens no files of a client.
type references struct {
	dir string // that their names are relative to
	got map[string][]byte
}

// referencesOf is for the files that a FILE argument refers to: relative to
// it, or to the working directory if it is standard input.
func referencesOf(file string) *references {
	dir := "."
	if file != "-" {
		dir = filepath.Dir(file)
	}
	return &references{dir: dir, got: map[string][]byte{}}
}

// read reads a file by the name that is used for it.
func (r *references) read(name string) ([]byte, error) {
	if b, ok := r.got[name]; ok {
		return b, nil
	}
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(r.dir, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, r.named(err, name)
	}
	defer f.Close()
	// One byte more than is allowed, and topo says what the limit is.
	b, err := io.ReadAll(io.LimitReader(f, topo.MaxFileSize+1))
	if err != nil {
		return nil, r.named(err, name)
	}
	r.got[name] = b
	return b, nil
}

// named is an error about a file, with the name that is used for it and the
// folder where it was looked for.
func (r *references) named(err error, name string) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		err = e.Err
	}
	if r.dir == "." || filepath.IsAbs(name) {
		return &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return &fs.PathError{Op: "read", Path: filepath.Join(r.dir, name), Err: err}
}
