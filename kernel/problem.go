package kernel

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"myriad/kernel/rtnl"
	"myriad/program"
)

// cause is what a kind of error of the kernel means to a user.
type cause struct {
	errno  unix.Errno
	kind   program.Kind
	remedy string
}

var causes = []cause{
	{unix.ENOSPC, program.KindExhausted, "raise the number of network namespaces: sysctl -w user.max_net_namespaces=1000000"},
	{unix.EMFILE, program.KindExhausted, "raise the limit of open files: a rack needs one per vnode (ulimit -n, LimitNOFILE=)"},
	{unix.ENFILE, program.KindExhausted, "raise the machine's limit of open files: sysctl -w fs.file-max=10000000"},
	{unix.ENOMEM, program.KindExhausted, "free some memory, or use fewer vnodes: each takes about 270 KB of kernel memory"},
	{unix.ENOBUFS, program.KindExhausted, "free some memory, or use fewer vnodes: each takes about 270 KB of kernel memory"},
	{unix.EAGAIN, program.KindExhausted, "raise the limit of processes: sysctl -w kernel.pid_max=4194304 kernel.threads-max=1000000"},
	{unix.EPERM, program.KindPermission, "run as root"},
	{unix.EACCES, program.KindPermission, "run as root"},
	{unix.EROFS, program.KindPermission, "the run directory must be writable"},
	{unix.EOPNOTSUPP, program.KindUnsupported, "see myriad doctor for what this kernel lacks"},
	{unix.EAFNOSUPPORT, program.KindUnsupported, "see myriad doctor for what this kernel lacks"},
	{unix.EEXIST, program.KindConflict, ""},
	{unix.EBUSY, program.KindConflict, ""},
	{unix.EADDRINUSE, program.KindConflict, ""},
}

// problemOf makes a Problem of an error. An error that is one already keeps
// its words.
func problemOf(rack int32, vnode, op string, err error) program.Problem {
	var p *program.Problem
	if errors.As(err, &p) {
		return *p
	}
	q := program.Problem{Kind: program.KindInternal, Rack: rack, Vnode: vnode, Op: op, Cause: err.Error()}
	var message *rtnl.OpError
	if errors.As(err, &message) {
		q.Cause = message.Cause()
		q.Op = message.Op
		if message.Name != "" {
			q.Op += " " + message.Name
		}
	}
	for _, c := range causes {
		if errors.Is(err, c.errno) {
			q.Kind, q.Remedy = c.kind, c.remedy
			break
		}
	}
	var file *fs.PathError
	if errors.As(err, &file) && errors.Is(err, unix.ENOSPC) {
		q.Remedy = "make room in the file system of " + filepath.Dir(file.Path)
	}
	return q
}

// exhausted says whether an error means that more of the same is useless.
func exhausted(err error) bool {
	for _, c := range causes {
		if c.kind == program.KindExhausted && errors.Is(err, c.errno) {
			return true
		}
	}
	return false
}

// cancelled says whether an error means only that the caller gave up.
func cancelled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
