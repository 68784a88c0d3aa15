package rack

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"myriad/program"
)

func TestExecEverywhere(t *testing.T) {
	c := open(t, 20)
	before := descriptors(t)
	o := run(t.Context(), c, sh("hostname; echo $MYRIAD_VNODE $MYRIAD_PLATFORM; echo oops >&2; cat; pwd"))
	o.ok(t, 20)
	for i := range 20 {
		v := fmt.Sprintf("v%d", i)
		if want := v + "\n" + v + " p\n/\n"; o.stdout[v] != want {
			t.Errorf("%s said %q, want %q", v, o.stdout[v], want)
		}
		if o.stderr[v] != "oops\n" {
			t.Errorf("%s complained %q, want oops", v, o.stderr[v])
		}
		if o.exits[v].Took <= 0 {
			t.Errorf("%s took %d ns", v, o.exits[v].Took)
		}
	}
	sameDescriptors(t, before)
}

// TestExecPlace: each process is in its vnode's namespaces, alone in its
// session, and holds no descriptor of the rack's.
func TestExecPlace(t *testing.T) {
	c := open(t, 3)
	o := run(t.Context(), c, sh("readlink /proc/self/ns/net; readlink /proc/self/ns/uts; cut -d' ' -f1,5,6 /proc/$$/stat"))
	o.ok(t, 3)
	seen := map[string]bool{}
	own, _ := os.Readlink("/proc/self/ns/net")
	for v, text := range o.stdout {
		f := strings.Fields(text)
		if len(f) != 5 {
			t.Fatalf("%s: %q, want two namespaces and three ids", v, text)
		}
		if f[0] == own || seen[f[0]] || seen[f[1]] {
			t.Errorf("%s shares a namespace: %v", v, f)
		}
		seen[f[0]], seen[f[1]] = true, true
		if f[2] != f[3] || f[3] != f[4] {
			t.Errorf("%s: process %s is in group %s, session %s", v, f[2], f[3], f[4])
		}
	}
	o = run(t.Context(), c, &ExecRequest{Argv: []string{"ls", "/proc/self/fd"}})
	o.ok(t, 3)
	for v, text := range o.stdout {
		if text != "0\n1\n2\n3\n" { // 3 is the directory that ls reads
			t.Errorf("%s has descriptors %q", v, text)
		}
	}
}

func TestExecExits(t *testing.T) {
	c := open(t, 1)
	dir := t.TempDir()
	script := dir + "/script"
	os.WriteFile(script, []byte("#!/no/such/interpreter\n"), 0o755)
	plain := dir + "/plain"
	os.WriteFile(plain, []byte("x"), 0o644)
	for _, test := range []struct {
		name   string
		req    ExecRequest
		code   int
		signal int
		err    string
	}{
		{"a code", *sh("exit 7"), 7, 0, ""},
		{"a signal", *sh("kill -9 $$"), 137, 9, ""},
		{"an unknown program", ExecRequest{Argv: []string{"no-such-program"}}, 127, 0, "no-such-program: not found in PATH"},
		{"an unknown path", ExecRequest{Argv: []string{"/no/such/program"}}, 127, 0, "does not exist"},
		{"an unknown interpreter", ExecRequest{Argv: []string{script}}, 127, 0, "interpreter"},
		{"no program", ExecRequest{Argv: []string{plain}}, 126, 0, "permission denied"},
		{"a directory", ExecRequest{Argv: []string{dir}}, 126, 0, "permission denied"},
		{"no such working directory", ExecRequest{Argv: []string{"true"}, Dir: "/no/such"}, 126, 0, "/no/such: no such file"},
		{"a relative program", ExecRequest{Argv: []string{"./plain"}, Dir: dir}, 126, 0, "permission denied"},
		{"an unknown vnode", ExecRequest{Argv: []string{"true"}, Vnodes: []string{"v9"}}, 127, 0, "no such vnode in rack 3"},
	} {
		o := run(t.Context(), c, &test.req)
		if o.err != nil {
			t.Errorf("%s: %v", test.name, o.err)
		}
		if len(o.exits) != 1 {
			t.Errorf("%s: %d exits", test.name, len(o.exits))
		}
		for _, e := range o.exits {
			if e.Code != test.code || e.Signal != test.signal || !strings.Contains(e.Err, test.err) || (e.Err == "") != (test.err == "") {
				t.Errorf("%s: %+v, want code %d, signal %d, %q", test.name, e, test.code, test.signal, test.err)
			}
		}
	}
}

func TestExecRefuses(t *testing.T) {
	c := open(t, 2)
	for _, req := range []*ExecRequest{
		{}, {Argv: []string{""}}, {Argv: []string{"true", "a\x00b"}}, {Argv: []string{"true"}, Env: []string{"A=\x00"}},
		{Argv: []string{"true"}, Tty: true}, {Argv: []string{"true"}, Window: -1}, {Argv: []string{"true"}, Timeout: -1},
	} {
		o := run(t.Context(), c, req)
		var p *program.Problem
		if !errors.As(o.err, &p) || p.Kind != program.KindInvalid {
			t.Errorf("%+v: %v, want it refused", req, o.err)
		}
	}
}

func TestExecEnvironment(t *testing.T) {
	t.Setenv("RACK_OWN", "1")
	t.Setenv("RACK_BOTH", "1")
	c := open(t, 1)
	req := sh("env; pwd")
	req.Env = []string{"RACK_BOTH=2", "RACK_CALL=3", "MYRIAD_VNODE=liar", "garbage"}
	req.Dir = "/usr"
	o := run(t.Context(), c, req)
	o.ok(t, 1)
	got := "\n" + o.stdout["v0"]
	for _, want := range []string{"RACK_OWN=1", "RACK_BOTH=2", "RACK_CALL=3", "MYRIAD_VNODE=v0", "MYRIAD_PLATFORM=p", "/usr"} {
		if strings.Count(got, "\n"+want+"\n") != 1 {
			t.Errorf("%s is not there once:%s", want, got)
		}
	}
}

// TestExecPieces: what arrives ends at line ends, in order, however it was
// written.
func TestExecPieces(t *testing.T) {
	c := open(t, 1)
	o := run(t.Context(), c, sh(`printf 'a'; sleep 0.05; printf 'b\nc'; sleep 0.05; printf 'd\n\ne'`))
	o.ok(t, 1)
	if o.stdout["v0"] != "ab\ncd\n\ne" {
		t.Errorf("it said %q", o.stdout["v0"])
	}
	for i, p := range o.pieces {
		if last := i == len(o.pieces)-1; !last && !bytes.HasSuffix(p.Data, []byte("\n")) {
			t.Errorf("piece %d does not end a line: %q", i, p.Data)
		}
	}
	// A line without an end is passed on in pieces.
	o = run(t.Context(), c, sh(`head -c 3000000 /dev/zero | tr '\0' x`))
	o.ok(t, 1)
	if got := o.stdout["v0"]; got != strings.Repeat("x", 3000000) {
		t.Errorf("%d bytes came, want 3000000 x", len(got))
	}
}

// TestExecStream: output does not wait for the end of the process.
func TestExecStream(t *testing.T) {
	t.Parallel()
	c := open(t, 1)
	began := time.Now()
	var came time.Duration
	err := c.Exec(t.Context(), sh("echo now; sleep 1"), nil, func(r *Reply) error {
		if len(r.Outputs) > 0 && came == 0 {
			came = time.Since(began)
		}
		return nil
	})
	if err != nil || came == 0 || came > 500*time.Millisecond {
		t.Errorf("the first line came after %v (%v), want it at once", came, err)
	}
}

func TestExecStdin(t *testing.T) {
	c := open(t, 7)
	before := descriptors(t)
	req := &ExecRequest{Argv: []string{"md5sum"}, Stdin: true, Window: 2}
	text := strings.Repeat("forty-two\n", 100_000)
	o := run(t.Context(), c, req, Input{Data: []byte(text[:10])}, Input{Data: []byte(text[10:])}, Input{EOF: true})
	o.ok(t, 7)
	for v, sum := range o.stdout {
		if want := fmt.Sprintf("%x  -\n", md5.Sum([]byte(text))); sum != want {
			t.Errorf("%s read other bytes: %q, want %q", v, sum, want)
		}
	}
	o = run(t.Context(), c, &ExecRequest{Vnodes: []string{"v1"}, Argv: []string{"cat"}, Stdin: true}, Input{Data: []byte(text), EOF: true})
	o.ok(t, 1)
	if o.stdout["v1"] != text {
		t.Errorf("%d bytes came back, %d sent", len(o.stdout["v1"]), len(text))
	}
	// Those who do not read do not stop those who do.
	req = sh("case $MYRIAD_VNODE in v[0-3]) exit 0;; *) wc -c;; esac")
	req.Stdin = true
	o = run(t.Context(), c, req, Input{Data: []byte(text)}, Input{EOF: true})
	o.ok(t, 7)
	if want := "1000000\n"; o.stdout["v6"] != want {
		t.Errorf("v6 counted %q, want %q", o.stdout["v6"], want)
	}
	sameDescriptors(t, before)
}

// TestExecStdinFar: input longer than the rack keeps passes through, as far
// as the slowest process reads, and is not kept.
func TestExecStdinFar(t *testing.T) {
	c := open(t, 2)
	const frames = 96
	ch := make(chan Input)
	go func() {
		for range frames {
			ch <- Input{Data: make([]byte, 1<<20)}
		}
		ch <- Input{EOF: true}
		close(ch)
	}()
	out := ""
	err := c.Exec(t.Context(), &ExecRequest{Argv: []string{"wc", "-c"}, Stdin: true, Window: 2}, ch, func(r *Reply) error {
		for _, p := range r.Outputs {
			out += string(p.Data)
		}
		return nil
	})
	if want := strings.Repeat(strconv.Itoa(frames<<20)+"\n", 2); err != nil || out != want {
		t.Errorf("%q, %v, want %q", out, err, want)
	}
}

// TestExecStdinHangup: a client that goes while its input is ahead of a
// process that does not read is noticed.
func TestExecStdinHangup(t *testing.T) {
	t.Parallel()
	c := open(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	ch := make(chan Input)
	go func() {
		for range 30 { // blocks once the rack has enough
			select {
			case ch <- Input{Data: make([]byte, 1<<20)}:
			case <-time.After(20 * time.Millisecond):
			}
		}
		cancel()
	}()
	began := time.Now()
	err := c.Exec(ctx, &ExecRequest{Argv: []string{"sleep", "60.125"}, Stdin: true}, ch, func(*Reply) error { return nil })
	if !errors.Is(err, context.Canceled) || time.Since(began) > 12*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	if n := running("sleep", "60.125"); n > 0 {
		t.Errorf("%d processes left", n)
	}
}

func TestExecTimeout(t *testing.T) {
	t.Parallel()
	c := open(t, 2)
	began := time.Now()
	req := sh("sleep 61 & wait")
	req.Timeout = int64(200 * time.Millisecond)
	o := run(t.Context(), c, req)
	if took := time.Since(began); o.err != nil || took > 2*time.Second {
		t.Errorf("took %v, %v: want them ended at 0.2 s", took, o.err)
	}
	for _, e := range o.exits {
		if e.Err != "timeout" || e.Code != 143 || e.Signal != 15 {
			t.Errorf("%+v, want a timeout by signal 15", e)
		}
	}
	req = sh("trap '' TERM; while :; do sleep 62; done", "v0")
	req.Timeout = int64(100 * time.Millisecond)
	began = time.Now()
	o = run(t.Context(), c, req)
	took := time.Since(began)
	if e := o.exits["v0"]; e.Err != "timeout" || e.Code != 137 || took < killAfter || took > killAfter+2*time.Second {
		t.Errorf("%+v after %v, want it killed after %v", e, took, killAfter)
	}
	if n := running("sleep", "61") + running("sleep", "62"); n > 0 {
		t.Errorf("%d processes left", n)
	}
}

// running counts processes by their command line.
func running(argv ...string) int {
	want := strings.Join(argv, "\x00") + "\x00"
	entries, _ := os.ReadDir("/proc")
	n := 0
	for _, e := range entries {
		if b, err := os.ReadFile("/proc/" + e.Name() + "/cmdline"); err == nil && string(b) == want {
			n++
		}
	}
	return n
}

// TestExecCancel: a call that is cancelled ends what it started, before it
// returns; one whose connection breaks, soon.
func TestExecCancel(t *testing.T) {
	c := open(t, 6)
	before := descriptors(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel)
	o := run(ctx, c, &ExecRequest{Argv: []string{"sleep", "63"}, Window: 4})
	if !errors.Is(o.err, context.Canceled) || len(o.exits) != 4 {
		t.Errorf("%v, %d exits, want the call cancelled and 4", o.err, len(o.exits))
	}
	if n := running("sleep", "63"); n > 0 {
		t.Errorf("%d processes left", n)
	}

	call, err := Open(t.Context(), c.path, &Request{Exec: &ExecRequest{Argv: []string{"sleep", "64"}, Window: 6}})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "six to run", func() bool { return running("sleep", "64") == 6 })
	call.Close()
	waitFor(t, "none to run", func() bool { return running("sleep", "64") == 0 })

	stop := errors.New("enough")
	err = c.Exec(t.Context(), &ExecRequest{Argv: []string{"yes"}}, nil, func(r *Reply) error { return stop })
	if !errors.Is(err, stop) {
		t.Errorf("%v, want %v", err, stop)
	}
	sameDescriptors(t, before)
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("waited in vain for " + what)
}

// TestExecDaemon: what a process leaves running, with its outputs in hand,
// does not hold the call up; the process's own words all come.
func TestExecDaemon(t *testing.T) {
	c := open(t, 5)
	before := descriptors(t)
	began := time.Now()
	o := run(t.Context(), c, sh("sleep 1.5 & echo started; (while :; do echo x; done) & echo done; kill -9 $!"))
	o.ok(t, 5)
	if took := time.Since(began); took > 1200*time.Millisecond {
		t.Errorf("took %v, want little more than %v", took, grace)
	}
	for v, text := range o.stdout {
		if !strings.Contains(text, "started\n") {
			t.Errorf("%s said %q", v, text)
		}
	}
	sameDescriptors(t, before)
}

// TestExecFlood: much output passes, in order, and a slow reader slows the
// writer rather than fill memory.
func TestExecFlood(t *testing.T) {
	c := open(t, 2)
	const size = 256 << 20
	var n, last int
	err := c.Exec(t.Context(), sh(fmt.Sprintf("yes 0123456789 | head -c %d", size), "v0"), nil, func(r *Reply) error {
		for _, p := range r.Outputs {
			n += len(p.Data)
			last = len(p.Data)
		}
		return nil
	})
	if err != nil || n != size || last == 0 {
		t.Errorf("%d bytes, %v, want %d", n, err, size)
	}
	seen := 0
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_ = c.Exec(ctx, &ExecRequest{Argv: []string{"yes"}}, nil, func(r *Reply) error {
		for _, p := range r.Outputs {
			seen += len(p.Data)
		}
		time.Sleep(50 * time.Millisecond)
		return nil
	})
	if seen > 32<<20 {
		t.Errorf("a reader of 20 frames a second got %d bytes in one second", seen)
	}
	if n := running("yes"); n > 0 {
		t.Errorf("%d processes left", n)
	}
}
