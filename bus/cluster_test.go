package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"myriad/bus"
	"myriad/program"
)

// built is where natsServer has put something; empty: it was not needed.
var built string

// natsServer builds the server that people run beside Myriad.
var natsServer = sync.OnceValues(func() (string, error) {
	var err error
	if built, err = os.MkdirTemp("", "bus-nats-server-"); err != nil {
		return "", err
	}
	binary := filepath.Join(built, "nats-server")
	out, err := exec.Command("go", "build", "-o", binary, "github.com/nats-io/nats-server/v2").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return binary, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// cluster is some nats-server processes.
type cluster struct {
	t     testing.TB
	dir   string
	ports []int // of clients
	nodes []*exec.Cmd
}

// newCluster starts n servers with JetStream that know each other.
func newCluster(t testing.TB, n int) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), nodes: make([]*exec.Cmd, n)}
	free := freePorts(t, 2*n)
	c.ports = free[:n]
	var routes []string
	for _, p := range free[n:] {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", p))
	}
	for i := range n {
		conf := fmt.Sprintf(`server_name: n%d
listen: 127.0.0.1:%d
jetstream { store_dir: %q }
authorization { user: u, password: "p%%w" }
`, i, c.ports[i], filepath.Join(c.dir, fmt.Sprint(i)))
		if n > 1 {
			conf += fmt.Sprintf("cluster { name: c, listen: \"127.0.0.1:%d\", routes: [%s] }\n", free[n+i], strings.Join(routes, ", "))
		}
		must(t, os.WriteFile(c.conf(i), []byte(conf), 0o600))
		c.start(i)
	}
	t.Cleanup(func() {
		for i := range n {
			c.kill(i)
		}
	})
	return c
}

func (c *cluster) conf(i int) string { return filepath.Join(c.dir, fmt.Sprintf("n%d.conf", i)) }

func (c *cluster) start(i int) {
	c.t.Helper()
	binary, err := natsServer()
	must(c.t, err)
	c.nodes[i] = exec.Command(binary, "-c", c.conf(i), "-l", filepath.Join(c.dir, fmt.Sprintf("n%d.log", i)))
	c.nodes[i].SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // with the test, however that ends
	must(c.t, c.nodes[i].Start())
}

func (c *cluster) kill(i int) {
	if n := c.nodes[i]; n != nil {
		_ = n.Process.Kill()
		_ = n.Wait()
		c.nodes[i] = nil
	}
}

// url gives the addresses of the given servers, of all if none is given.
func (c *cluster) url(nodes ...int) string {
	var urls []string
	for i, p := range c.ports {
		if len(nodes) == 0 || nodes[0] == i {
			urls = append(urls, fmt.Sprintf("nats://u:p%%25w@127.0.0.1:%d", p))
		}
	}
	return strings.Join(urls, ",")
}

// freePorts gives ports that nobody listens on.
func freePorts(t testing.TB, n int) (ports []int) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// ready waits until the cluster keeps records.
func (c *cluster) ready(conn *bus.Conn) {
	c.t.Helper()
	await(c.t, "the cluster keeps records", func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
		defer cancel()
		b, err := conn.Bucket(ctx, "ready")
		if err == nil {
			err = b.Put(ctx, "x", nil)
		}
		return err == nil
	})
}

// TestCluster: while one of three servers is killed and comes back, nothing
// that was written is lost, and nothing written twice.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	a, b := join(t, "a", bus.Remote{URL: c.url()}), join(t, "b", bus.Remote{URL: c.url()})
	c.ready(a)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	bucket, err := a.Bucket(ctx, "records")
	must(t, err)
	log, err := a.Log(ctx, "events", 1000)
	must(t, err)
	objects, err := a.Objects(ctx, "plans")
	must(t, err)
	counter, err := bucket.Create(ctx, "counter", []byte("0"))
	must(t, err)
	if _, err := bucket.Create(ctx, "counter", nil); bus.ProblemOf(err).Kind != program.KindConflict {
		t.Errorf("made twice: %v", err)
	}
	if _, err := bucket.Update(ctx, "counter", nil, counter+1); bus.ProblemOf(err).Kind != program.KindConflict {
		t.Errorf("changed by who has not seen it: %v", err)
	}

	stop := make(chan struct{})
	var work sync.WaitGroup
	loop := func(f func(i int) error) *int {
		done := new(int)
		work.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := f(i); err != nil {
					t.Error(err)
					return
				}
				*done = i + 1
			}
		})
		return done
	}
	puts := loop(func(i int) error { return bucket.Put(ctx, fmt.Sprintf("k%d", i%50), fmt.Append(nil, i)) })
	appends := loop(func(i int) error { return log.Append(ctx, fmt.Append(nil, i)) })
	big := bytes.Repeat([]byte("plan"), 100_000)
	objs := loop(func(i int) error { return objects.Put(ctx, fmt.Sprintf("o%d", i%3), fmt.Append(big, i)) })
	var counted atomic.Int64
	for _, conn := range []*bus.Conn{a, b} {
		own, err := conn.Bucket(ctx, "records")
		must(t, err)
		loop(func(int) error {
			old, rev, err := own.GetRev(ctx, "counter")
			if err != nil {
				return err
			}
			n, _ := strconv.Atoi(string(old))
			_, err = own.Update(ctx, "counter", strconv.AppendInt(nil, int64(n+1), 10), rev)
			if err == nil {
				counted.Add(1)
			} else if bus.ProblemOf(err).Kind == program.KindConflict {
				err = nil
			}
			return err
		})
	}
	time.Sleep(500 * time.Millisecond)
	c.kill(0)
	time.Sleep(time.Second)
	c.start(0)
	c.ready(join(t, "watch", bus.Remote{URL: c.url(0)}))
	close(stop)
	work.Wait()
	t.Logf("%d records, %d entries, %d objects, %d counts", *puts, *appends, *objs, counted.Load())

	for i := max(0, *puts-50); i < *puts; i++ {
		if v, err := bucket.Get(ctx, fmt.Sprintf("k%d", i%50)); err != nil || string(v) != fmt.Sprint(i) {
			t.Errorf("record %d is %q, %v", i, v, err)
		}
	}
	n := 0
	must(t, log.Read(ctx, func(e []byte) bool {
		if want := fmt.Sprint(max(0, *appends-1000) + n); string(e) != want {
			t.Errorf("entry %q, want %q", e, want)
			return false
		}
		n++
		return true
	}))
	if n != min(1000, *appends) {
		t.Errorf("the log has %d of %d entries", n, *appends)
	}
	for i := max(0, *objs-3); i < *objs; i++ {
		if v, err := objects.Get(ctx, fmt.Sprintf("o%d", i%3)); err != nil || string(v[len(big):]) != fmt.Sprint(i) {
			t.Errorf("object %d: %d bytes, %v", i, len(v), err)
		}
	}
	if v, err := bucket.Get(ctx, "counter"); err != nil || string(v) != fmt.Sprint(counted.Load()) {
		t.Errorf("the counter is %q after %d successes, %v", v, counted.Load(), err)
	}
	keys, err := bucket.Keys(ctx)
	if err != nil || len(keys) != min(50, *puts)+1 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}

// TestClusterOfTwo: where there are not three servers, records are kept once,
// and that is said.
func TestClusterOfTwo(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2)
	c.ready(join(t, "first", bus.Remote{URL: c.url()}))
	var log lines
	conn, err := bus.Join(t.Context(), "a", bus.Remote{URL: c.url(0)}, log.logf)
	must(t, err)
	defer conn.Close()
	for range 2 {
		b, err := conn.Bucket(t.Context(), "records")
		must(t, err)
		must(t, b.Put(t.Context(), "x", []byte("1")))
	}
	if told := log.all(); len(told) != 1 || !strings.Contains(told[0], "not safe against its loss") {
		t.Errorf("told %q", told)
	}
	strict, err := bus.Join(t.Context(), "b", bus.Remote{URL: c.url(0), Replicas: 3}, log.logf)
	must(t, err)
	defer strict.Close()
	if _, err := strict.Bucket(t.Context(), "others"); bus.ProblemOf(err) == nil || bus.ProblemOf(err).Kind != program.KindUnavailable {
		t.Errorf("three places are asked for, and there are two: %v", err)
	}
}

// carry sends numbers through a stream to and fro until it breaks or stop
// says so, and checks that what comes back is what was sent, in order. It
// gives how many came.
func carry(t *testing.T, s *bus.Stream, stop <-chan struct{}) (n int, err error) {
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				_ = s.CloseSend()
				return
			default:
			}
			if s.Send(append([]int{i}, make([]int, i%2000)...)) != nil {
				return
			}
		}
	}()
	for {
		var got []int
		if err := s.Recv(&got); err != nil {
			return n, err
		}
		if got[0] != n || len(got) != 1+n%2000 {
			t.Errorf("message %d is %d of %d", n, got[0], len(got))
		}
		n++
	}
}

// TestClusterStreams: a server that is killed takes along what it had; streams
// through it notice, and new ones work.
func TestClusterStreams(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	a := join(t, "a", bus.Remote{URL: c.url(0)}) // and learns of the others
	b := join(t, "b", bus.Remote{URL: c.url(1)})
	must(t, bus.HandleStream(a, "echo", echo))
	flush(t, a)
	var s *bus.Stream
	await(t, "the servers know each other", func() bool {
		var err error
		s, err = bus.Open(t.Context(), b, "echo", "")
		return err == nil
	})
	stop := make(chan struct{})
	go func() {
		time.Sleep(300 * time.Millisecond)
		c.kill(0)
		time.Sleep(time.Second)
		close(stop)
	}()
	begun := time.Now()
	n, err := carry(t, s, stop)
	<-stop
	t.Logf("%d messages, then %v, after %v", n, err, time.Since(begun))
	if took := time.Since(begun); n == 0 || took > 30*time.Second {
		t.Errorf("%d messages in %v", n, took)
	}
	if p := bus.ProblemOf(err); !errors.Is(err, io.EOF) && p.Kind != program.KindUnavailable {
		t.Error(err)
	}
	await(t, "a stream opens through the others", func() bool {
		s, err := bus.Open(t.Context(), b, "echo", "")
		if err == nil {
			err = s.Send("x")
		}
		if err == nil {
			err = s.Recv(new(string))
		}
		return err == nil
	})
}
