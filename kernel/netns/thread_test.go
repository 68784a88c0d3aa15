package netns

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestCloseAllTwice: what is closed twice, as after OwnFiles has failed, is not
// somebody else's the second time.
func TestCloseAllTwice(t *testing.T) {
	th, err := newThread()
	if err != nil {
		t.Fatal(err)
	}
	th.closeAll()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil { // it gets the numbers that are free
		t.Fatal(err)
	}
	th.closeAll()
	for _, fd := range p {
		if err := unix.Close(fd); err != nil {
			t.Errorf("descriptor %d was closed by another: %v", fd, err)
		}
	}
}
