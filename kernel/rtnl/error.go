package rtnl

import (
	"errors"

	"syscall"
)

// OpError is what the kernel said to one message.
type OpError struct {
	Op    string        // what was attempted: "make macvlan", "add route"
	Name  string        // on what, where a name is known
	Errno syscall.Errno // 0 if the answer made no sense
	Text  string        // the kernel's own explanation, where it gives one
}

// Error gives operation, object, cause and explanation.
func (e *OpError) Error() string {
	s := e.Op
	if e.Name != "" {
		s += " " + e.Name
	}
	return s + ": " + e.Cause()
}

// Cause is the kernel's part of the message.
func (e *OpError) Cause() string {
	s := e.Errno.Error()
	if e.Errno == 0 {
		s = "malformed answer"
	}
	if e.Text != "" {
		s += " (" + e.Text + ")"
	}
	return s
}

// Unwrap makes errors.Is(err, unix.EEXIST) work.
func (e *OpError) Unwrap() error { return e.Errno }

// errno gives the number within an error of a system call.
func errno(err error) syscall.Errno {
	var n syscall.Errno
	if errors.As(err, &n) {
		return n
	}
	return 0
}
