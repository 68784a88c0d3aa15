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
//
// The conditions of links that were put into force since then have a journal
// of their own beside it. There is none while the program's are in force; an
// empty one says that there are no conditions.

func journalPath(runDir, platform string) string {
	return filepath.Join(runDir, platform, "program.cbor")
}

func linksPath(runDir, platform string) string {
	return filepath.Join(runDir, platform, "links.cbor")
}

// writeJournal replaces the journal of a platform: from now on, the conditions
// of its links are the program's.
func writeJournal(runDir, platform string, encoded []byte) error {
	path := journalPath(runDir, platform)
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = replace(path, encoded)
	}
	if err == nil {
		err = removeFile(linksPath(runDir, platform))
	}
	if err != nil {
		_ = syscall.Rmdir(filepath.Dir(path)) // one that was made for nothing
		return fmt.Errorf("journal program: %w", err)
	}
	return nil
}

// writeLinks replaces the journal of conditions, and gives what puts back the
// one of before.
func writeLinks(runDir, platform string, encoded []byte) (undo func() error, err error) {
	path := linksPath(runDir, platform)
	old, err := os.ReadFile(path)
	none := errors.Is(err, fs.ErrNotExist)
	if err == nil || none {
		err = replace(path, encoded)
	}
	if err != nil {
		return nil, fmt.Errorf("journal link conditions: %w", err)
	}
	return func() error {
		if none {
			return removeFile(path)
		}
		return replace(path, old)
	}, nil
}

// replace replaces a file at once: after a crash it is the old or the new one,
// whole.
func replace(path string, data []byte) error {
	tmp := path + ".new"
	err := writeSynced(tmp, data)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		os.Remove(tmp)
	}
	return err
}

// removeFile removes a file that may not be there.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return err
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

// readJournal gives what the journals want: vnodes by rack, and whether links
// have conditions. Without a journal it is empty.
func readJournal(runDir, platform string) (wanted map[uint32]int, shaped bool, err error) {
	b, err := os.ReadFile(journalPath(runDir, platform))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	} else if err != nil {
		return nil, false, fmt.Errorf("read journal: %w", err)
	}
	p, err := program.Decode(b)
	if err != nil {
		return nil, false, fmt.Errorf("read journal: %w", err)
	}
	shaped = p.Links != nil
	if links, err := os.Stat(linksPath(runDir, platform)); err == nil {
		shaped = links.Size() > 0
	}
	return wants(p), shaped, nil
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
	paths := []string{linksPath(runDir, platform), journalPath(runDir, platform)}
	for _, path := range paths {
		if err := removeFile(path); err != nil {
			return fmt.Errorf("remove journal: %w", err)
		}
		os.Remove(path + ".new")
	}
	_ = syscall.Rmdir(filepath.Dir(paths[0])) // it stays if something of the user's is in it
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
