package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"myriad/program"
)

// listeningFile is there, with the address, from when a daemon begins to
// listen for other machines until it ends in good order. A daemon that was
// killed leaves it: whoever starts the next one is about to, and one that up
// starts in the meantime would be in its way, and deaf to the other pnodes.
const listeningFile = "listening"

// noteListening makes the file, or removes one of a daemon before; one that nobody
// started by hand gives way to the one that is to come.
func (d *daemon) noteListening() (done func(), err error) {
	path := filepath.Join(d.StateDir, listeningFile)
	if d.Auto {
		text, err := os.ReadFile(path)
		if err != nil {
			return func() {}, nil
		}
		at := strings.TrimSpace(string(text))
		return nil, &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "start a daemon",
			Cause: "the one that listened for other machines at " + at + " did not end in good order, and is not back yet", Remedy: "start it again: myriad serve --listen " + at}
	}
	if !d.listens() {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("note that this daemon does not listen: %w", err)
		}
		return func() {}, nil
	}
	if err := os.WriteFile(path, []byte(d.Listen+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("note that this daemon listens: %w", err)
	}
	return func() { os.Remove(path) }, nil
}
