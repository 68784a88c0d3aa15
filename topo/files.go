package topo

import (
	"errors"
	"path"

	"myriad/link"
)

// Limits of the files that a topology file refers to.
const (
	MaxFileSize  = 64 << 20
	MaxFilesSize = 256 << 20 // of all together
)

// library reads the files that a topology file refers to, each once.
type library struct {
	read  func(path string) ([]byte, error)
	known map[string]file
	total int
	said  map[link.Error]bool // problems of files that were reported
}

type file struct {
	data []byte
	err  error
}

// get gives the contents of a file. The error is for people.
func (l *library) get(name string) ([]byte, error) {
	name = path.Clean(name)
	if f, ok := l.known[name]; ok {
		return f.data, f.err
	}
	f := l.fetch(name)
	if l.known == nil {
		l.known = map[string]file{}
	}
	l.known[name] = f
	return f.data, f.err
}

func (l *library) fetch(name string) file {
	if l.read == nil {
		return file{err: errors.New("the file " + quote(name) + " cannot be read here")}
	}
	data, err := l.read(name)
	switch {
	case err != nil:
		return file{err: err}
	case len(data) > MaxFileSize:
		return file{err: errors.New(quote(name) + " has more than 64 MB")}
	case l.total+len(data) > MaxFilesSize:
		return file{err: errors.New("the files up to " + quote(name) + " have more than 256 MB together")}
	}
	l.total += len(data)
	return file{data: data}
}

// open gives the contents of the file that v names.
func (b *builder) open(v value) ([]byte, bool) {
	data, err := b.files.get(v.text)
	if err != nil {
		b.report(v.place, "", "%s", err)
		return nil, false
	}
	return data, true
}

// reportLink reports errors of the package link at p; those of files where
// they are in the file.
func (b *builder) reportLink(p *place, err error) {
	var all link.Errors
	if !errors.As(err, &all) {
		var one *link.Error
		if !errors.As(err, &one) {
			b.report(p, "", "%s", err)
			return
		}
		all = link.Errors{one}
	}
	for _, e := range all {
		msg := e.Msg
		if e.Field != "" && e.Field != p.step {
			msg = e.Field + ": " + msg
		}
		switch {
		case e.File == "":
			b.report(p, e.Remedy, "%s", msg)
		case !b.files.said[*e]:
			if b.files.said == nil {
				b.files.said = map[link.Error]bool{}
			}
			b.files.said[*e] = true
			b.reportIn(e.File, p, e.Line, e.Column, e.Remedy, msg)
		}
	}
}
