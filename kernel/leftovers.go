package kernel

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Leftovers lists what is of this instance on the machine, one thing a line:
// after everything was removed, nothing should be.
func (p *Pnode) Leftovers(context.Context) ([]string, error) {
	var out []string
	var errs []error
	for _, look := range []func() ([]string, error){p.leftMounts, p.leftGroups, p.leftFiles, p.leftUnderlay, p.leftSysctls} {
		found, err := look()
		out, errs = append(out, found...), append(errs, err)
	}
	return out, errors.Join(errs...)
}

func (p *Pnode) leftMounts() ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	dir := p.RunDir
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	octal := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var out []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 4 {
			if at := octal.Replace(fields[4]); strings.HasPrefix(at, dir+"/") {
				out = append(out, "mount "+at)
			}
		}
	}
	return out, lines.Err()
}

func (p *Pnode) leftGroups() ([]string, error) {
	if p.group == nil || !p.group.Exists() {
		return nil, nil
	}
	out := []string{"cgroup " + p.group.Path}
	pids, err := p.group.Procs()
	for _, pid := range pids {
		command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // empty if it has just ended
		out = append(out, fmt.Sprintf("process %d %s", pid, strings.TrimSpace(strings.ReplaceAll(string(command), "\x00", " "))))
	}
	return out, err
}

func (p *Pnode) leftFiles() ([]string, error) {
	entries, err := os.ReadDir(p.RunDir)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if !e.IsDir() || !p.inhabited(e.Name()) {
			continue
		}
		files, err := os.ReadDir(p.dir(e.Name()))
		if err != nil {
			return out, err
		}
		for _, f := range files {
			if platformFile(f.Name()) {
				out = append(out, "file "+filepath.Join(p.dir(e.Name()), f.Name()))
			}
		}
	}
	return out, nil
}

// leftSysctls lists the platforms of this instance for which settings of the
// machine are raised, and the record if it is nobody's.
func (p *Pnode) leftSysctls() ([]string, error) {
	holders, err := p.sysctls.holders()
	var out []string
	for _, h := range holders {
		if p.holds(h) {
			out = append(out, fmt.Sprintf("settings raised for %s (%s)", h, p.sysctls.record))
		}
	}
	if _, e := os.Stat(p.sysctls.record); e == nil && err == nil && len(holders) == 0 {
		out = append(out, "settings raised for nobody ("+p.sysctls.record+")")
	}
	return out, err
}
