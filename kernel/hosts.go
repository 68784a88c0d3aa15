package kernel

import (
	"bufio"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"myriad/program"
)

// writeHosts makes the platform's hosts file say what want says, and returns
// whether it had to be written. It is replaced at once: racks mount the new
// file when they see that it is another.
func (p *Pnode) writeHosts(want *program.Program) (changed bool, err error) {
	path := filepath.Join(p.dir(want.Platform), "hosts")
	if same, err := p.sameHosts(path, want); err != nil || same {
		return false, err
	}
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return false, err
	}
	w := bufio.NewWriterSize(f, 64<<10)
	err = program.WriteHosts(w, want)
	err = errors.Join(err, w.Flush(), f.Close())
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		os.Remove(path + ".new")
		return false, err
	}
	return true, nil
}

// sameHosts says whether the file has the text already.
func (p *Pnode) sameHosts(path string, want *program.Program) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 64<<10)
	c := &comparer{r: r}
	if err := program.WriteHosts(c, want); err != nil && !c.differs {
		return false, err
	}
	_, err = r.ReadByte() // nothing may follow
	return !c.differs && err != nil, nil
}

// comparer is a writer that compares what it is given with what it reads.
type comparer struct {
	r       *bufio.Reader
	differs bool
}

var errDiffers = errors.New("it differs")

func (c *comparer) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), c.r.Size())
		have, _ := c.r.Peek(n)
		if !bytes.Equal(have, rest[:n]) {
			c.differs = true
			return 0, errDiffers
		}
		_, _ = c.r.Discard(n) // it was there
		rest = rest[n:]
	}
	return len(p), nil
}
