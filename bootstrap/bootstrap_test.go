package bootstrap

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"myriad/kernel/kerneltest"
	"myriad/program"
)

// The binary that is put onto machines here is the test itself: it notes what
// it is told to do, and helps as the real one does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "agent", "down":
			os.Exit(pretend(os.Args[1:]))
		case "bootstrap":
			if err := Relay(context.Background(), os.Stdin, os.Stdout); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	kerneltest.Main(m)
}

// pretend notes a call in the machine's state directory, where DefaultDir is.
func pretend(args []string) int {
	dir := args[slices.Index(args, "--state-dir")+1]
	if _, err := os.Stat(filepath.Join(dir, "daemon")); err == nil {
		fmt.Fprintln(os.Stderr, "a daemon runs here")
		return 1
	}
	f, err := os.OpenFile(filepath.Join(dir, "calls"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 1
	}
	defer f.Close()
	if token, err := os.ReadFile(filepath.Join(dir, "token")); err == nil && strings.TrimSpace(string(token)) == "wrong" && slices.Contains(args, "--background") {
		fmt.Fprintln(os.Stderr, "the token is refused")
		return 1
	}
	fmt.Fprintln(f, strings.Join(args, " "))
	return 0
}

// machines are SSH servers on addresses of the loopback network. Each has
// file systems of its own at DefaultDir and /run.
type machines struct {
	t     *testing.T
	dir   string
	port  int
	known string
	key   string
	names []string
}

func startMachines(t *testing.T, n int) *machines {
	t.Helper()
	kerneltest.RequireRoot(t)
	sshd, err := exec.LookPath("/usr/sbin/sshd")
	if err != nil {
		kerneltest.Skip(t, "there is no sshd: install openssh-server")
	}
	m := &machines{t: t, dir: t.TempDir(), port: freePort(t)}
	m.key = m.newKey("client")
	m.newKey("host")
	public, err := os.ReadFile(filepath.Join(m.dir, "client.pub"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(m.dir, "authorized"), public, 0o600))
	host, err := os.ReadFile(filepath.Join(m.dir, "host.pub"))
	must(t, err)
	m.known = filepath.Join(m.dir, "known")
	var known strings.Builder
	for i := range n {
		addr := fmt.Sprintf("127.0.9.%d", i+1)
		m.names = append(m.names, fmt.Sprintf("%s:%d", addr, m.port))
		fmt.Fprintf(&known, "[%s]:%d %s", addr, m.port, host)
		m.start(sshd, addr)
	}
	must(t, os.WriteFile(m.known, []byte(known.String()), 0o600))
	for _, name := range m.names {
		await(t, name)
	}
	return m
}

// start starts a machine. The pipe is how it ends: its shell waits for the
// end of its input.
func (m *machines) start(sshd, addr string) {
	conf := filepath.Join(m.dir, addr+".conf")
	must(m.t, os.WriteFile(conf, []byte(fmt.Sprintf("Port %d\nListenAddress %s\nHostKey %s/host\nAuthorizedKeysFile %s/authorized\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nPidFile none\nMaxStartups 100\n",
		m.port, addr, m.dir, m.dir)), 0o600))
	script := fmt.Sprintf("mount -t tmpfs none /run && mkdir /run/sshd && mount -t tmpfs none /var/lib && exec %s -D -e -f %s", sshd, conf)
	cmd := exec.Command("/bin/sh", "-c", script)
	log, err := os.Create(filepath.Join(m.dir, addr+".log"))
	must(m.t, err)
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	must(m.t, cmd.Start())
	m.t.Cleanup(func() {
		_ = cmd.Process.Kill() // and with it all processes of its namespace
		_ = cmd.Wait()
		if m.t.Failed() {
			text, _ := os.ReadFile(log.Name())
			m.t.Logf("%s: %s", addr, text)
		}
	})
}

func (m *machines) newKey(name string) string {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	must(m.t, err)
	block, err := ssh.MarshalPrivateKey(private, name)
	must(m.t, err)
	path := filepath.Join(m.dir, name)
	must(m.t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	key, err := ssh.NewPublicKey(public)
	must(m.t, err)
	must(m.t, os.WriteFile(path+".pub", ssh.MarshalAuthorizedKey(key), 0o600))
	return path
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.9.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func await(t *testing.T, addr string) {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < 10*time.Second; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return
		}
	}
	t.Fatalf("%s does not answer", addr)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// options are those of a run on all machines.
func (m *machines) options() Options {
	return Options{Hosts: slices.Clone(m.names), Binary: "/proc/self/exe", Join: "tls://coordinator:4222", Token: "secret", Arity: -1,
		SSH: SSH{Config: os.DevNull, KnownHosts: []string{m.known}, Identities: []string{m.key}}}
}

// sh runs a command on a machine, and gives its output.
func (m *machines) sh(i int, command string) string {
	m.t.Helper()
	o := m.options()
	keys, err := o.SSH.open()
	must(m.t, err)
	defer keys.close()
	c, err := (&tree{Options: o, keys: keys}).dial(m.t.Context(), m.names[i])
	must(m.t, err)
	defer c.Close()
	out, err := c.run(command, nil)
	must(m.t, err)
	return out
}

// calls gives what the binary was told to do on a machine since the last time.
func (m *machines) calls(i int) string {
	return m.sh(i, "cat "+DefaultDir+"/calls; rm -f "+DefaultDir+"/calls")
}

func (m *machines) run(o Options) []Event {
	m.t.Helper()
	events, err := Run(m.t.Context(), o)
	must(m.t, err)
	if len(events) != len(o.Hosts) {
		m.t.Fatalf("%d machines, %d events", len(o.Hosts), len(events))
	}
	return events
}

func (m *machines) all(events []Event, state State) {
	m.t.Helper()
	for _, e := range events {
		if e.State != state {
			m.t.Errorf("%s is %s: %v", e.Host, e.State, e.Err)
		}
	}
}

func TestUpAndUndo(t *testing.T) {
	m := startMachines(t, 2)
	o := m.options()
	o.Site, o.Args = "paris", []string{"--address", "10.0.0.1"}
	m.all(m.run(o), StateUp)
	want := fmt.Sprintf("agent --stop --state-dir %[1]s --run-dir /run/myriad\ndown --all --state-dir %[1]s --run-dir /run/myriad\nagent --join tls://coordinator:4222 --token-file %[1]s/token --state-dir %[1]s --run-dir /run/myriad --name %[2]s --site paris --address 10.0.0.1 --background\n",
		DefaultDir, strings.Replace(m.names[1], ":", "-", 1))
	if got := m.calls(1); got != want {
		t.Errorf("it was told\n%swant\n%s", got, want)
	}
	if got := m.sh(0, "stat -c %a "+DefaultDir+" "+DefaultDir+"/token"); got != "700\n600\n" {
		t.Errorf("modes %q", got)
	}
	// Again, with the same binary: the agent of before is stopped, nothing is copied.
	inode := m.sh(0, "stat -c %i "+DefaultDir+"/bin/myriad")
	m.calls(0)
	o.Keep = true
	m.all(m.run(o), StateUp)
	if got := m.calls(0); !strings.HasPrefix(got, "agent --stop --state-dir "+DefaultDir+" --run-dir /run/myriad\nagent --join") {
		t.Errorf("a second time it was told\n%s", got)
	}
	if again := m.sh(0, "stat -c %i "+DefaultDir+"/bin/myriad"); again != inode {
		t.Error("the same binary was copied again")
	}
	o.Undo = true
	m.calls(1)
	m.all(m.run(o), StateRemoved)
	m.calls(0)
	m.calls(1)
	m.sh(0, "rmdir "+DefaultDir)
	m.sh(1, "rmdir "+DefaultDir)
	m.all(m.run(o), StateRemoved) // also where there is nothing
	if got := m.sh(0, "ls /var/lib"); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

// A directory that was there before stays, with what others have in it; and so
// does what others put there afterwards.
func TestUndoLeavesWhatOthersHave(t *testing.T) {
	m := startMachines(t, 2)
	m.sh(0, "mkdir -p "+DefaultDir+"/bin && cd "+DefaultDir+" && touch mine machine bin/other")
	o := m.options()
	m.all(m.run(o), StateUp)
	m.calls(0)
	m.calls(1)
	m.sh(0, "cd "+DefaultDir+" && touch lock calibration.json agent.log")
	m.sh(1, "cd "+DefaultDir+" && mkdir trust && touch trust/ca lock machine calibration.json agent.log")
	o.Undo = true
	m.all(m.run(o), StateRemoved)
	m.calls(0)
	m.calls(1)
	for i, want := range []string{".\n./bin\n./bin/other\n./machine\n./mine\n", ".\n./trust\n./trust/ca\n"} {
		if got := m.sh(i, "cd "+DefaultDir+" && find . | sort"); got != want {
			t.Errorf("machine %d has\n%swant\n%s", i, got, want)
		}
	}
}

// A machine where a daemon runs, which may have vnodes everywhere, is left
// alone: it is as it was.
func TestDaemonRunsThere(t *testing.T) {
	m := startMachines(t, 1)
	m.sh(0, "mkdir "+DefaultDir+" && touch "+DefaultDir+"/daemon")
	e := m.run(m.options())[0]
	if e.State != StateFailed || e.Err == nil || !strings.Contains(e.Err.Cause, "a daemon runs here") {
		t.Errorf("%+v", e)
	}
	if got := m.sh(0, "ls "+DefaultDir); got != "daemon\n" {
		t.Errorf("it has now %s", got)
	}
}

func TestFailures(t *testing.T) {
	m := startMachines(t, 2)
	o := m.options()
	nobody := fmt.Sprintf("127.0.9.99:%d", m.port)
	o.Hosts = append(o.Hosts, nobody)
	events := m.run(o)
	m.all(events[:2], StateUp)
	if e := events[2]; e.State != StateFailed || e.Err == nil || e.Err.Kind != program.KindUnavailable {
		t.Errorf("a machine that is not there: %+v", e)
	}

	o = m.options()
	o.Token = "wrong"
	for _, e := range m.run(o) {
		if e.State != StateFailed || e.Err == nil || !strings.Contains(e.Err.Cause, "the token is refused") {
			t.Errorf("an agent that does not start: %+v", e)
		}
	}

	o = m.options()
	o.SSH.KnownHosts = []string{filepath.Join(m.dir, "none")}
	for _, e := range m.run(o) {
		if e.Err == nil || e.Err.Kind != program.KindPermission || !strings.Contains(e.Err.Remedy, "--accept-new") {
			t.Errorf("an unknown machine: %+v", e)
		}
	}
	o.AcceptNew = true
	events = m.run(o)
	m.all(events, StateUp)
	must(t, o.SSH.Remember([]string{events[0].Key, events[1].Key}))
	o.AcceptNew = false
	m.all(m.run(o), StateUp)

	o = m.options()
	must(t, os.WriteFile(filepath.Join(m.dir, "authorized"), nil, 0o600))
	for _, e := range m.run(o) {
		if e.Err == nil || e.Err.Kind != program.KindPermission || !strings.Contains(e.Err.Remedy, "authorized_keys") {
			t.Errorf("a key that is not taken: %+v", e)
		}
	}
}

// Machines that are reached help to reach the others, in a tree.
func TestTree(t *testing.T) {
	m := startMachines(t, 9)
	o := m.options()
	o.Arity = 2
	nobody := fmt.Sprintf("127.0.9.99:%d", m.port)
	o.Hosts = append([]string{nobody}, o.Hosts...)
	var mu sync.Mutex
	final := map[string]int{}
	o.Tell = func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.State != StateWorking {
			final[e.Host]++
		}
	}
	events := m.run(o)
	m.all(events[1:], StateUp)
	if events[0].State != StateFailed {
		t.Errorf("a machine that is not there: %+v", events[0])
	}
	via := map[string]int{}
	for _, e := range events {
		via[e.Via]++
	}
	if via[""] != 3 || len(via) < 4 {
		t.Errorf("machines by who reached them: %v", via)
	}
	for _, h := range m.names {
		if final[h] != 1 {
			t.Errorf("%s ended %d times", h, final[h])
		}
	}
}

// What a helper cannot do is done from here.
func TestHelperFails(t *testing.T) {
	m := startMachines(t, 4)
	o := m.options()
	o.Arity = 1
	o.Binary = "/bin/true" // it succeeds in everything, and helps nobody
	events := m.run(o)
	m.all(events, StateUp)
	for _, e := range events {
		if e.Via != "" {
			t.Errorf("%s was reached by %s", e.Host, e.Via)
		}
	}
}

// What is removed as root is not what a slip of the hand says.
func TestDirectories(t *testing.T) {
	for _, dir := range []string{"/", "relative", "/a/../b", "/a/", "/a\nb", "/a%b"} {
		if _, err := Run(t.Context(), Options{Hosts: []string{"a"}, Undo: true, Dir: dir}); err == nil || !strings.Contains(err.Error(), "no directory") {
			t.Errorf("%q: %v", dir, err)
		}
	}
}

// A helper is believed of what it was told to do, and no key of a machine that
// is not among those, or has one, comes into the known hosts by it.
func TestHostileHelper(t *testing.T) {
	known, other := publicKey(t), publicKey(t)
	file := filepath.Join(t.TempDir(), "known")
	must(t, os.WriteFile(file, []byte("old "+known+"\n"), 0o600))
	keys := &keys{files: []string{file}}
	must(t, keys.openKnown(SSH{}))
	hosts := []string{"new", "old"}
	hear := func(accept bool, line string) (Event, error) {
		tr := &tree{Options: Options{Hosts: hosts, AcceptNew: accept}, keys: keys, ended: map[string]Event{}}
		err := tr.hear(&client{name: "helper"}, strings.NewReader(line), hosts)
		return tr.ended["new"], err
	}
	for _, line := range []string{
		`{"host":"new","state":"failed"}`, `{"host":"new","state":"removed"}`, `{"host":"new"}`, `nonsense`,
	} {
		if e, err := hear(true, line); err == nil {
			t.Errorf("%s is believed: %+v", line, e)
		}
	}
	up := func(host, key string) string { return fmt.Sprintf(`{"host":%q,"state":"up","key":%q}`, host, key) }
	for _, c := range []struct {
		accept bool
		key    string
		taken  bool
	}{
		{true, "new " + other, true},
		{false, "new " + other, false},
		{true, "bank " + other, false},
		{true, "new,bank " + other, false},
		{true, "* " + other, false},
		{true, "@cert-authority new " + other, false},
		{true, "new " + other + "\nbank " + other, false},
		{true, "new " + other + " comment", false},
		{true, "nonsense", false},
	} {
		e, err := hear(c.accept, up("new", c.key))
		if err != nil || e.State != StateUp || (e.Key != "") != c.taken {
			t.Errorf("key %q, accept %v: %v, %+v", c.key, c.accept, err, e)
		}
	}
	tr := &tree{Options: Options{AcceptNew: true}, keys: keys, ended: map[string]Event{}}
	must(t, tr.hear(&client{}, strings.NewReader(up("old", "old "+other)+"\n"+up("elsewhere", "elsewhere "+other)), hosts))
	if e := tr.ended["old"]; e.State != StateUp || e.Key != "" || len(tr.ended) != 1 {
		t.Errorf("it said of machines %+v", tr.ended)
	}
}

// Of a machine's keys, those that are known are asked for.
func TestAlgorithms(t *testing.T) {
	file := filepath.Join(t.TempDir(), "known")
	key := publicKey(t)
	must(t, os.WriteFile(file, []byte("\none "+key+"\n@cert-authority two "+key+"\n"), 0o600))
	keys := &keys{files: []string{file}}
	must(t, keys.openKnown(SSH{}))
	for host, want := range map[string][]string{"one:22": {ssh.KeyAlgoED25519}, "two:22": nil, "three:22": nil} {
		if got := keys.algorithms(host); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", host, got, want)
		}
	}
}

// publicKey makes a key of a machine, as known_hosts has it.
func publicKey(t *testing.T) string {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	key, err := ssh.NewPublicKey(public)
	must(t, err)
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

func TestInterrupted(t *testing.T) {
	m := startMachines(t, 1)
	ctx, cancel := context.WithCancelCause(t.Context())
	o := m.options()
	stopped := fmt.Errorf("stopped")
	o.Tell = func(e Event) {
		if e.Doing == "copying the binary" {
			cancel(stopped)
		}
	}
	events, err := Run(ctx, o)
	if err != stopped || events[0].State == StateUp {
		t.Errorf("%v, %+v", err, events)
	}
	o.Tell = nil
	m.all(m.run(o), StateUp)
}
