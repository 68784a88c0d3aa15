package rack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// Exit codes of a command that did not run, as shells have them.
const (
	codeCannotRun = 126
	codeNotFound  = 127
)

// command is what every process of an Exec call has in common. It is worked
// out once per call: nothing but the vnode's name differs between processes.
type command struct {
	path string
	argv []string
	dir  string
	env  []string // the last entry is replaced by the vnode's name
	fail *Exit    // why no process of it can start; nil if one may
}

// The environment variables that tell a process where it is.
const (
	envVnode    = "MYRIAD_VNODE"
	envPlatform = "MYRIAD_PLATFORM"
)

// checkExec refuses what cannot be meant.
func checkExec(req *ExecRequest, vnodes int) error {
	switch {
	case len(req.Argv) == 0 || req.Argv[0] == "":
		return errors.New("no command given")
	case req.Tty && vnodes != 1:
		return fmt.Errorf("a terminal is for one vnode, not for %d", vnodes)
	case req.Timeout < 0 || req.Window < 0:
		return errors.New("timeout and window cannot be negative")
	}
	for _, list := range [][]string{req.Argv, req.Env, req.Vnodes, {req.Dir}} {
		for _, s := range list {
			if strings.IndexByte(s, 0) >= 0 {
				return errors.New("an argument contains a zero byte")
			}
		}
	}
	return nil
}

// newCommand finds the program and puts its environment together.
func newCommand(req *ExecRequest, platform string) command {
	c := command{path: req.Argv[0], argv: req.Argv, dir: req.Dir}
	if c.dir == "" {
		c.dir = "/"
	}
	c.env = mergeEnv(os.Environ(), req.Env, []string{envPlatform + "=" + platform})
	c.env = append(c.env, envVnode+"=")
	if fi, err := os.Stat(c.dir); err != nil {
		c.fail = &Exit{Code: codeCannotRun, Err: "working directory " + c.dir + ": " + errnoText(err)}
	} else if !fi.IsDir() {
		c.fail = &Exit{Code: codeCannotRun, Err: "working directory " + c.dir + ": not a directory"}
	} else if !strings.Contains(c.path, "/") { // else it is relative to dir: execve finds it
		c.look(req.Argv[0])
	}
	return c
}

// look finds a program in PATH.
func (c *command) look(name string) {
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		c.path = path
	case errors.Is(err, fs.ErrPermission):
		c.fail = &Exit{Code: codeCannotRun, Err: name + ": permission denied"}
	default:
		c.fail = &Exit{Code: codeNotFound, Err: name + ": not found in PATH"}
	}
}

// mergeEnv joins environments; of two values of a name the later one holds.
func mergeEnv(lists ...[]string) []string {
	var out []string
	at := map[string]int{}
	for _, list := range lists {
		for _, entry := range list {
			name, _, ok := strings.Cut(entry, "=")
			if !ok || name == "" || name == envVnode {
				continue
			}
			if i, seen := at[name]; seen {
				out[i] = entry
				continue
			}
			at[name] = len(out)
			out = append(out, entry)
		}
	}
	return out
}

// errNoVnode says that a name is not that of a vnode of this rack.
var errNoVnode = errors.New("no such vnode in this rack")

// notStarted is how it ends when a process cannot be started.
func (c *command) notStarted(rack uint32, err error) Exit {
	e := Exit{Code: codeCannotRun}
	switch {
	case errors.Is(err, errNoVnode):
		e.Code = codeNotFound
		e.Err = fmt.Sprintf("no such vnode in rack %d", rack)
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE),
		errors.Is(err, unix.EBADF): // between fork and exec, the last descriptors cannot be moved
		e.Err = "start " + c.path + ": too many open files (lower the window, or raise the limit of open files)"
	case errors.Is(err, unix.EAGAIN):
		e.Err = "start " + c.path + ": no more processes allowed (lower the window, or raise the limit of processes)"
	case errors.Is(err, unix.ENOMEM):
		e.Err = "start " + c.path + ": out of memory (lower the window)"
	case errors.Is(err, unix.ENOENT):
		e.Code = codeNotFound
		e.Err = "start " + c.path + ": it, or its interpreter, does not exist"
	default:
		e.Err = "start " + c.path + ": " + errnoText(err)
	}
	return e
}

// errnoText is the kernel's word alone, if it is in an error.
func errnoText(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}
