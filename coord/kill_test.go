package coord_test

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"myriad/agent"
	"myriad/api"
	"myriad/bus"
	"myriad/coord"
	"myriad/kernel/mem"
	"myriad/program"
	"myriad/store"
	"myriad/trust"
)

var kills = flag.Int("kills", 6, "how often TestKilled kills the coordinator")

// coordinatorDir is where a process of this test binary keeps what it
// remembers, and coordinatorListen where it can be reached.
const (
	coordinatorDir    = "MYRIAD_TEST_COORDINATOR_DIR"
	coordinatorListen = "MYRIAD_TEST_COORDINATOR_LISTEN"
)

// request is what that process is asked, a line each; it answers in lines.
type request struct {
	Do       string // up, down, drain, undrain, state
	Platform string
	Source   string
}

type answer struct {
	Do        string
	Err       string
	Platforms []api.Platform
	Pnodes    []api.Pnode
}

// TestCoordinator is that process: a bus, and a coordinator. Otherwise it does
// nothing.
func TestCoordinator(t *testing.T) {
	dir := os.Getenv(coordinatorDir)
	if dir == "" {
		return
	}
	authority, err := trust.Load(dir + "/trust")
	must(t, err)
	server, err := bus.NewServer(bus.ServerOptions{Dir: dir + "/records", Listen: os.Getenv(coordinatorListen), TLS: authority.Server(), Secret: authority.Token().Secret})
	must(t, err)
	conn, err := server.Connect("coordinator")
	must(t, err)
	records, err := store.Open(t.Context(), conn)
	must(t, err)
	c := coord.New(coord.Config{Conn: conn, Store: records, Identity: "me", Version: "v1", Logf: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }})
	go func() { _ = c.Run(t.Context()) }()
	var mu sync.Mutex
	say := func(a answer) {
		mu.Lock()
		defer mu.Unlock()
		b, _ := json.Marshal(a)
		fmt.Printf("\n%s\n", b)
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var q request
		must(t, json.Unmarshal(lines.Bytes(), &q))
		go func() { say(carryOut(t.Context(), c, q)) }()
	}
}

func carryOut(ctx context.Context, c *coord.Coordinator, q request) answer {
	a := answer{Do: q.Do}
	var err error
	quiet := func(api.Event) {}
	switch q.Do {
	case "up":
		_, err = c.Up(ctx, &api.UpRequest{File: q.Platform, Source: q.Source}, quiet)
	case "down":
		err = c.Down(ctx, q.Platform, quiet)
	case "drain", "undrain":
		err = c.Drain(ctx, q.Platform, q.Do == "undrain", quiet)
	case "state":
		if a.Platforms, err = c.Platforms(ctx); err == nil {
			a.Pnodes, err = c.Pnodes(ctx)
		}
	}
	if err != nil {
		a.Err = err.Error()
	}
	return a
}

// killed is the world of TestKilled: agents on kernels in memory, and a
// coordinator in a process of its own.
type killed struct {
	t       *testing.T
	dir     string
	listen  string
	remote  bus.Remote
	kernels []*mem.Pnode
	dirs    []string
	stops   []func()
	random  *rand.Rand

	cmd     *exec.Cmd
	in      io.Writer
	answers chan answer
}

// TestKilled kills the coordinator, and its bus with it, at random moments of
// up, change, down, drain and the loss of pnodes. Started again, it comes to
// an end with all: nothing is lost, and nothing doubled.
func TestKilled(t *testing.T) {
	k := &killed{t: t, dir: t.TempDir(), random: rand.New(rand.NewPCG(1, uint64(*kills)))}
	authority, err := trust.Init(k.dir+"/trust", []string{"127.0.0.1"})
	must(t, err)
	k.listen = free(t)
	k.remote = bus.Remote{URL: "tls://" + k.listen, TLS: authority.Token().Client(), Secret: authority.Token().Secret}
	k.start()
	const pnodes = 5
	for i := range pnodes {
		k.kernels, k.dirs, k.stops = append(k.kernels, mem.New(mem.Options{PerVnode: 300 * time.Microsecond})), append(k.dirs, t.TempDir()), append(k.stops, nil)
		k.join(i)
	}
	k.await(func(a *answer) bool { return count(a.Pnodes, "up") == pnodes })
	for range *kills {
		k.disturb()
		time.Sleep(time.Duration(k.random.IntN(400)) * time.Millisecond)
		k.kill()
		k.start()
	}
	for i := range pnodes {
		k.join(i)
	}
	k.await(func(a *answer) bool {
		for i := range a.Platforms {
			if s := a.Platforms[i].State; s == "applying" || s == "removing" {
				return false
			}
		}
		return count(a.Pnodes, "up") == pnodes
	})
	k.judge(false)
	for i := range pnodes {
		k.ask(request{Do: "undrain", Platform: name(i)})
	}
	for _, platform := range []string{"x", "y"} {
		for _, do := range []string{"up", "down", "up"} {
			if a := k.ask(request{Do: do, Platform: platform, Source: k.source(platform, 150)}); a.Err != "" && do == "up" {
				t.Errorf("%s %s in the end: %s", do, platform, a.Err)
			}
			k.judge(true)
		}
	}
}

func name(i int) string { return fmt.Sprintf("p%d", i) }

func count(pnodes []api.Pnode, state string) (n int) {
	for i := range pnodes {
		if pnodes[i].State == state {
			n++
		}
	}
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// free gives an address at which nobody listens.
func free(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

// start starts the coordinator.
func (k *killed) start() {
	k.t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run", "^TestCoordinator$")
	cmd.Env = append(os.Environ(), coordinatorDir+"="+k.dir, coordinatorListen+"="+k.listen)
	var err error
	k.in, err = cmd.StdinPipe()
	must(k.t, err)
	out, err := cmd.StdoutPipe()
	must(k.t, err)
	log, err := os.OpenFile(k.dir+"/log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(k.t, err)
	defer log.Close()
	cmd.Stderr = log
	must(k.t, cmd.Start())
	answers := make(chan answer, 100)
	k.cmd, k.answers = cmd, answers
	go func() {
		defer close(answers)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<24)
		for lines.Scan() {
			var a answer
			if strings.HasPrefix(lines.Text(), "{") && json.Unmarshal(lines.Bytes(), &a) == nil {
				answers <- a
			}
		}
	}()
	k.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}

func (k *killed) kill() {
	_ = k.cmd.Process.Kill()
	_ = k.cmd.Wait()
}

// tell asks the coordinator for something, and does not wait.
func (k *killed) tell(q request) {
	b, err := json.Marshal(q)
	must(k.t, err)
	_, _ = k.in.Write(append(b, '\n'))
}

// ask asks the coordinator for something.
func (k *killed) ask(q request) answer {
	k.t.Helper()
	k.tell(q)
	timeout := time.After(30 * time.Second)
	for {
		select {
		case a, ok := <-k.answers:
			if !ok {
				k.fail("the coordinator has ended, asked for %+v", q)
			}
			if a.Do == q.Do {
				return a
			}
		case <-timeout:
			k.fail("no end of %+v", q)
		}
	}
}

func (k *killed) fail(format string, args ...any) {
	k.t.Helper()
	if log, err := os.ReadFile(k.dir + "/log"); err == nil {
		k.t.Logf("%s", log)
	}
	k.t.Fatalf(format, args...)
}

func (k *killed) await(cond func(*answer) bool) {
	k.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		a := k.ask(request{Do: "state"})
		if a.Err == "" && cond(&a) {
			return
		}
		if time.Now().After(deadline) {
			k.fail("it never comes true: %+v", a)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// join starts the agent of a pnode, unless it runs.
func (k *killed) join(i int) {
	if k.stops[i] != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	conn, err := bus.Join(ctx, name(i), k.remote, nil)
	must(k.t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := agent.Run(ctx, conn, agent.Config{Name: name(i), Machine: name(i), Version: "v1", RunDir: k.dirs[i], Pnode: k.kernels[i],
			Address: func() (netip.Addr, uint16) { return netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)}), 65535 }})
		if err != nil && ctx.Err() == nil {
			k.t.Error(err)
		}
	}()
	stop := sync.OnceFunc(func() {
		conn.Close() // as if it were killed: it has no time for a word
		cancel()
		<-ended
	})
	k.stops[i] = stop
	k.t.Cleanup(stop)
}

func (k *killed) source(platform string, vnodes int) string {
	loss := []string{"fail", "continue", "replace"}[k.random.IntN(3)]
	return fmt.Sprintf("platform: %s\nvnetworks: {lan: 10.0.0.0/16}\nvnodes: [{nodes: 'n[1-%d]', vifaces: [lan]}]\nplacement: {loss: %s}\n", platform, vnodes, loss)
}

// disturb has something begin.
func (k *killed) disturb() {
	for range 1 + k.random.IntN(3) {
		platform := string("xy"[k.random.IntN(2)])
		i := k.random.IntN(len(k.kernels))
		switch k.random.IntN(8) {
		case 0:
			k.tell(request{Do: "down", Platform: platform})
		case 1:
			k.tell(request{Do: "drain", Platform: name(i)})
		case 2:
			k.tell(request{Do: "undrain", Platform: name(i)})
		case 3:
			if k.stops[i] != nil {
				k.stops[i]()
				k.stops[i] = nil
			}
		case 4:
			k.join(i)
		default:
			k.tell(request{Do: "up", Platform: platform, Source: k.source(platform, 50+k.random.IntN(300))})
		}
	}
}

// judge compares what the kernels have with what the coordinator says; with
// all, everything must be there.
func (k *killed) judge(all bool) {
	k.t.Helper()
	state := k.ask(request{Do: "state"})
	at := map[string]string{}
	has := map[string]int{}
	for i, kernel := range k.kernels {
		platforms, err := kernel.Platforms()
		must(k.t, err)
		for _, platform := range platforms {
			if !slices.ContainsFunc(state.Platforms, func(p api.Platform) bool { return p.Name == platform }) {
				k.t.Errorf("%s carries %s, which nobody knows", name(i), platform)
			}
			p, err := kernel.Observe(k.t.Context(), platform)
			must(k.t, err)
			for _, v := range vnodes(p) {
				key := platform + " " + v
				if at[key] != "" {
					k.t.Errorf("%s is on %s and on %s", key, at[key], name(i))
				}
				at[key] = name(i)
				has[platform]++
			}
		}
	}
	for _, p := range state.Platforms {
		if p.State == "foreign" || all && (p.State != "up" || has[p.Name] != p.Vnodes) || p.Up != has[p.Name] {
			k.t.Errorf("%s is %s with %d of %d vnodes up, and the kernels have %d: %+v", p.Name, p.State, p.Up, p.Vnodes, has[p.Name], p.Problems)
		}
	}
	if k.t.Failed() {
		k.fail("the world is not as it should be")
	}
}

func vnodes(p *program.Program) (out []string) {
	for i := range p.Racks {
		for _, v := range p.Racks[i].Vnodes {
			out = append(out, v.Name)
		}
	}
	return out
}
