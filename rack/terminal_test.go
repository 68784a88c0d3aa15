package rack

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// tty is a call of the shell on a terminal.
func tty(script string) *ExecRequest {
	req := sh(script, "v0")
	req.Tty, req.Rows, req.Columns = true, 33, 99
	return req
}

// dialogue runs a command on a terminal, and types what the answers call for.
func dialogue(t *testing.T, c *Client, req *ExecRequest, lines ...[2]string) (string, Exit, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ch := make(chan Input, 10)
	var text string
	var exit Exit
	err := c.Exec(ctx, req, ch, func(r *Reply) error {
		for _, o := range r.Outputs {
			text += string(o.Data)
		}
		for _, e := range r.Exits {
			exit = e
		}
		for len(lines) > 0 && strings.Contains(text, lines[0][0]) {
			ch <- Input{Data: []byte(lines[0][1])}
			lines = lines[1:]
		}
		return nil
	})
	for _, l := range lines {
		t.Errorf("%q was never seen in %q", l[0], text)
	}
	return text, exit, err
}

func TestTerminal(t *testing.T) {
	c := open(t, 1)
	before := descriptors(t)
	text, exit, err := dialogue(t, c, tty("hostname; tty; stty size; ls /proc/self/fd; echo $MYRIAD_VNODE; exit 9"))
	if err != nil || exit.Code != 9 || exit.Vnode != "v0" || exit.Took <= 0 {
		t.Errorf("%+v, %v, want exit 9", exit, err)
	}
	f := strings.Fields(text)
	if len(f) != 9 || f[0] != "v0" || !strings.HasPrefix(f[1], "/dev/pts/") || f[2] != "33" || f[3] != "99" ||
		strings.Join(f[4:8], "") != "0123" || f[8] != "v0" {
		t.Errorf("it said %q", text)
	}
	sameDescriptors(t, before)
}

// TestTerminalDialogue: an interactive shell with job control: Ctrl-C ends
// what runs in the foreground and not the shell; Ctrl-Z stops it.
func TestTerminalDialogue(t *testing.T) {
	c := open(t, 1)
	req := tty("")
	req.Argv = []string{"bash", "--norc", "-i"}
	req.Env = []string{"PS1=ready> ", "TERM=dumb", "HISTFILE="}
	text, exit, err := dialogue(t, c, req,
		[2]string{"ready> ", "sh -c 'echo $((40+2)) runs; exec sleep 81'\n"},
		[2]string{"42 runs", "\x03"},
		[2]string{"^C", "echo code $?; sh -c 'echo $((42+1)) runs; exec sleep 82'\n"},
		[2]string{"code 130", ""},
		[2]string{"43 runs", "\x1a"},
		[2]string{"Stopped", "kill %1; echo by$((0))e; exit 3\n"},
		[2]string{"by0e", "exit 3\n"}, // bash warns of the stopped job first
	)
	if err != nil || exit.Code != 3 {
		t.Errorf("%+v, %v, want exit 3; it said %q", exit, err, text)
	}
	if strings.Contains(text, "no job control") {
		t.Errorf("no job control: %q", text)
	}
}

func TestTerminalResize(t *testing.T) {
	c := open(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ch := make(chan Input, 1)
	text := ""
	err := c.Exec(ctx, tty("trap 'stty size; exit 0' WINCH; echo now; while :; do sleep 0.05; done"), ch, func(r *Reply) error {
		for _, o := range r.Outputs {
			text += string(o.Data)
		}
		if text == "now\r\n" {
			ch <- Input{Resize: &[2]uint16{44, 111}}
		}
		return nil
	})
	if err != nil || !strings.Contains(text, "44 111") {
		t.Errorf("%q, %v", text, err)
	}
}

func TestTerminalEnd(t *testing.T) {
	c := open(t, 1)
	before := descriptors(t)
	// End of file.
	o := run(t.Context(), c, tty("cat; echo over"), Input{Data: []byte("x\n")}, Input{EOF: true})
	o.ok(t, 1)
	if got := o.stdout["v0"]; !strings.Contains(got, "over") {
		t.Errorf("it said %q", got)
	}
	// The client goes: the terminal hangs up.
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	o = run(ctx, c, tty("sleep 83 & sleep 84"))
	if !errors.Is(o.err, context.DeadlineExceeded) || o.exits["v0"].Signal != 1 || time.Since(began) > 2*time.Second {
		t.Errorf("%v, %+v after %v, want it hung up", o.err, o.exits, time.Since(began))
	}
	waitFor(t, "the background job's end", func() bool { return running("sleep", "83")+running("sleep", "84") == 0 })
	// What it types is not read, and then it goes.
	ctx, cancel = context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	o = run(ctx, c, tty("stty raw; sleep 86"), Input{Data: make([]byte, 1<<20)})
	if !errors.Is(o.err, context.DeadlineExceeded) {
		t.Error(o.err)
	}
	waitFor(t, "the end of all", func() bool { return running("sleep", "86") == 0 })
	sameDescriptors(t, before)
	// What cannot be started says why.
	req := tty("")
	req.Argv = []string{"/no/such/program"}
	if e := run(t.Context(), c, req).exits["v0"]; e.Code != 127 {
		t.Errorf("%+v, want 127", e)
	}
	req = tty("true")
	req.Vnodes = []string{"v7"}
	if e := run(t.Context(), c, req).exits["v7"]; e.Code != 127 || !strings.Contains(e.Err, "no such vnode") {
		t.Errorf("%+v, want 127", e)
	}
	sameDescriptors(t, before)
}

// TestTerminalTimeout: time is over, and the command ignores that.
func TestTerminalTimeout(t *testing.T) {
	t.Parallel()
	c := open(t, 1)
	req := tty("trap '' HUP TERM; while :; do sleep 85; done")
	req.Timeout = int64(100 * time.Millisecond)
	o := run(t.Context(), c, req)
	if e := o.exits["v0"]; o.err != nil || e.Code != 137 || e.Err != "timeout" {
		t.Errorf("%v, %+v, want a timeout", o.err, e)
	}
	waitFor(t, "the end of all", func() bool { return running("sleep", "85") == 0 })
}
