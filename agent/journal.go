package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"myriad/program"
)

// The journal of a platform is the program that its pnode was last asked to
// match, written before the kernel is touched. With it an agent that finds
// nothing in the kernel still knows what there ought to be.

func journalPath(runDir, platform string) string {
	return filepath.Join(runDir, platform, "program.cbor")
}

// writeJournal replaces the journal at once: after a crash it is the old or
// the new one, whole.
func writeJournal(runDir, platform string, encoded []byte) error {
	path := journalPath(runDir, platform)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("journal program: %w", err)
	}
	tmp := path + ".new"
	err := writeSynced(tmp, encoded)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		os.Remove(tmp)
		return fmt.Errorf("journal program: %w", err)
	}
	return nil
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readJournal gives what the journal wants: vnodes by rack. Without a journal
// it is empty.
func readJournal(runDir, platform string) (map[uint32]int, error) {
	b, err := os.ReadFile(journalPath(runDir, platform))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	p, err := program.Decode(b)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	return wants(p), nil
}

func wants(p *program.Program) map[uint32]int {
	out := make(map[uint32]int, len(p.Racks))
	for i := range p.Racks {
		out[p.Racks[i].Index] = len(p.Racks[i].Vnodes)
	}
	return out
}

// removeJournal forgets a platform that is no more, and its directory unless
// something else is in it.
func removeJournal(runDir, platform string) error {
	path := journalPath(runDir, platform)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("remove journal: %w", err)
	}
	os.Remove(path + ".new")
	_ = syscall.Rmdir(filepath.Dir(path)) // it stays if something of the user's is in it
	return nil
}

// journals names the platforms that have a journal.
func journals(runDir string) ([]string, error) {
	entries, err := os.ReadDir(runDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if _, err := os.Stat(journalPath(runDir, e.Name())); err == nil && program.ValidPlatformName(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
