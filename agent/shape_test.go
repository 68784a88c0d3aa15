package agent

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"myriad/bus"
	"myriad/kernel/mem"
	"myriad/program"
)

// delays are conditions under which all hosts of the sample delay what they
// send.
func delays(d time.Duration) *program.Links {
	return &program.Links{Conditions: []program.Condition{{Delay: d}}, Vifaces: []program.LinkRange{{Network: 1, Host: 1, Count: 3, Out: 1}}}
}

// shape asks for other conditions, and gives the answer.
func (s *site) shape(t *testing.T, ctx context.Context, platform string, l *program.Links, at time.Time) (program.Shaped, error) {
	t.Helper()
	stream, err := bus.Open(ctx, s.Conn, bus.SubjectOf(pnode, "shape"), bus.Shape{Name: platform, At: at, Order: bus.Order{Epoch: s.epoch}})
	must(t, err)
	defer stream.Close()
	must(t, stream.SendBytes(program.EncodeLinks(l)))
	var shaped program.Shaped
	return shaped, stream.Recv(&shaped)
}

func inKernel(t *testing.T, p *mem.Pnode, platform string) string {
	t.Helper()
	o, err := p.Observe(t.Context(), platform)
	must(t, err)
	if o.Links == nil {
		return "plain"
	}
	return o.Links.Conditions[0].String()
}

func TestShape(t *testing.T) {
	server, dir, p := newServer(t), t.TempDir(), mem.New(mem.Options{})
	s, _ := start(t, server, dir, p, nil)
	if _, err := s.shape(t, t.Context(), "x", nil, time.Time{}); bus.ProblemOf(err).Kind != program.KindNotFound {
		t.Errorf("of a platform that is not there: %v", err)
	}
	s.apply(t, sample("x", 3))
	got, err := s.shape(t, t.Context(), "x", delays(time.Millisecond), time.Time{})
	if err != nil || got.Entries == 0 || inKernel(t, p, "x") != "delay=1ms" {
		t.Errorf("shaped %+v, %v: %s", got, err, inKernel(t, p, "x"))
	}
	if again, err := s.shape(t, t.Context(), "x", delays(time.Millisecond), time.Time{}); err != nil || again.Entries != 0 {
		t.Errorf("the same again: %+v, %v", again, err)
	}
	if _, err := os.Stat(linksPath(dir, "x")); err != nil {
		t.Errorf("journal: %v", err)
	}

	// At a time, whatever the clock says.
	at := time.Now().Add(150 * time.Millisecond)
	got, err = s.shape(t, t.Context(), "x", nil, at)
	if early := time.Until(at); err != nil || early > 0 || inKernel(t, p, "x") != "plain" {
		t.Errorf("%v before its time: %+v, %v", early, got, err)
	}

	// The program has the last word, and the journal of before counts no more.
	s.shape(t, t.Context(), "x", delays(time.Second), time.Time{})
	q := sample("x", 3)
	q.Links = delays(7 * time.Millisecond)
	s.apply(t, q)
	if _, err := os.Stat(linksPath(dir, "x")); !os.IsNotExist(err) || inKernel(t, p, "x") != "delay=7ms" {
		t.Errorf("after apply: journal %v, %s", err, inKernel(t, p, "x"))
	}
	s.shape(t, t.Context(), "x", delays(time.Second), time.Time{})
	s.remove(t, "x")
	if left := journalled(t, dir); len(left) != 0 {
		t.Errorf("after remove: %v", left)
	}
}

// TestStopShape: what is not wanted any more before its time is not put into
// force, and the journal is as before.
func TestStopShape(t *testing.T) {
	dir, p := t.TempDir(), mem.New(mem.Options{})
	s, _ := start(t, newServer(t), dir, p, nil)
	s.apply(t, sample("x", 3))
	_, err := s.shape(t, t.Context(), "x", delays(time.Millisecond), time.Time{})
	must(t, err)
	stream, err := bus.Open(t.Context(), s.Conn, bus.SubjectOf(pnode, "shape"), bus.Shape{Name: "x", At: time.Now().Add(time.Hour)})
	must(t, err)
	must(t, stream.SendBytes(program.EncodeLinks(delays(time.Second))))
	time.Sleep(50 * time.Millisecond)
	must(t, stream.Send(bus.None{}))
	if err := stream.Recv(new(program.Shaped)); err == nil || err == io.EOF {
		t.Errorf("stopped: %v", err)
	}
	b, err := os.ReadFile(linksPath(dir, "x"))
	must(t, err)
	if l, err := program.DecodeLinks(b); err != nil || l.Conditions[0].Delay != time.Millisecond || inKernel(t, p, "x") != "delay=1ms" {
		t.Errorf("journal %v, %v; kernel %s", l, err, inKernel(t, p, "x"))
	}

	// The one who asked goes away: so does what was asked.
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	s.shape(t, ctx, "x", delays(time.Second), time.Now().Add(time.Hour))
	if _, err := s.shape(t, t.Context(), "x", nil, time.Time{}); err != nil || inKernel(t, p, "x") != "plain" {
		t.Errorf("after one that left: %v, %s", err, inKernel(t, p, "x"))
	}
}

// TestCalibrate: before links get conditions, and not otherwise, the pnode is
// to know what its path costs.
func TestCalibrate(t *testing.T) {
	p := mem.New(mem.Options{})
	s, _ := start(t, newServer(t), t.TempDir(), p, nil)
	s.stop()
	var calls atomic.Int32
	server := newServer(t)
	conn, err := server.Connect("coordinator")
	must(t, err)
	agentConn, err := server.Connect("agent")
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	hello := make(chan bus.Hello, 1)
	welcome(t, conn, hello)
	must(t, conn.Flush(t.Context()))
	go func() {
		ended <- Run(ctx, agentConn, Config{Name: pnode, RunDir: t.TempDir(), Pnode: p, Logf: t.Logf,
			Calibrate: func(_ context.Context, say func(string)) error {
				calls.Add(1)
				say("measuring")
				return nil
			}})
	}()
	wait(t, hello)
	s = &site{Conn: conn}
	s.apply(t, sample("x", 3))
	if n := calls.Load(); n != 0 {
		t.Errorf("calibrated %d times without conditions", n)
	}
	q := sample("x", 3)
	q.Links = delays(time.Millisecond)
	stream := s.begin(t, t.Context(), q)
	said := ""
	for {
		var step bus.Progress
		if err := stream.Recv(&step); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		said += step.Doing
	}
	if n := calls.Load(); n != 1 || said != "measuring" {
		t.Errorf("calibrated %d times, saying %q", n, said)
	}
	cancel()
	must(t, <-ended)
	conn.Close()
}

// TestAdoptShaped: an agent that comes after another knows that links have
// conditions, by the journal that counts.
func TestAdoptShaped(t *testing.T) {
	server, dir, p := newServer(t), t.TempDir(), mem.New(mem.Options{})
	s, _ := start(t, server, dir, p, nil)
	for _, name := range []string{"plain", "shaped", "file", "reset"} {
		q := sample(name, 3)
		if name == "file" || name == "reset" {
			q.Links = delays(time.Millisecond)
		}
		s.apply(t, q)
	}
	s.shape(t, t.Context(), "shaped", delays(time.Second), time.Time{})
	s.shape(t, t.Context(), "reset", nil, time.Time{})
	s.stop()
	for name, want := range map[string]bool{"plain": false, "shaped": true, "file": true, "reset": false} {
		if _, got, err := readJournal(dir, name); err != nil || got != want {
			t.Errorf("%s has conditions: %v, %v", name, got, err)
		}
	}
}

func TestLoad(t *testing.T) {
	read := func(at int, stat, pressure string) load {
		l, err := readLoad(fstest.MapFS{"stat": {Data: []byte(stat)}, "pressure/cpu": {Data: []byte(pressure)}}, time.Unix(int64(at), 0))
		must(t, err)
		return l
	}
	first := read(1, "cpu  100 0 100 1000 50 0 10 20 0 0\ncpu0 1 2 3\n", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n")
	for _, c := range []struct {
		stat, pressure string
		bad            string
	}{
		{"cpu  110 0 110 1170 60 0 10 20 0 0\n", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1100000\n", ""},
		{"cpu  200 0 190 1002 50 0 20 20 0 0\n", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1100000\n", "cpu"},
		{"cpu  110 0 110 1170 50 0 10 20 0 0\n", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1950000\n", "cpu"},
		{"cpu  110 0 110 1150 50 0 10 40 0 0\n", "", "steal"},
	} {
		var bad []string
		for _, s := range read(2, c.stat, c.pressure).since(first) {
			if s.bad {
				bad = append(bad, s.what)
			}
		}
		if got := strings.Join(bad, " "); got != c.bad {
			t.Errorf("%s%s: overloaded by %q, want %q", c.stat, c.pressure, got, c.bad)
		}
	}
	// Columns are hexadecimal, one line for each CPU: frames, of them dropped.
	backlog := func(at int, text string) load {
		l, err := readLoad(fstest.MapFS{"stat": {Data: fmt.Appendf(nil, "cpu %d 0 0 %d 0 0 0 0 0 0\n", at, 100*at)}, "net/softnet_stat": {Data: []byte(text)}}, time.Unix(int64(at), 0))
		must(t, err)
		return l
	}
	before := backlog(1, "12d429a2 000000ff 00000041\n0657205f 00000001 00000047\n")
	for text, want := range map[string]string{
		"12d429ff 000000ff 00000042\n06572060 00000001 00000047\n": "",
		"12d429ff 000000ff 00000042\n06572060 00000011 00000047\n": "the kernel has no room for 16 frames a second between devices (net.core.netdev_max_backlog)",
		"00000000 00000001 00000000\n":                             "", // a CPU has gone
		"":                                                         "",
	} {
		got := ""
		for _, s := range backlog(2, text).since(before) {
			if s.bad {
				got += s.detail
			}
		}
		if got != want {
			t.Errorf("%q after %d dropped: %q, want %q", text, before.dropped, got, want)
		}
	}
	if signs := first.since(load{}); signs != nil {
		t.Errorf("the first reading says %v", signs)
	}
	if _, err := readLoad(fstest.MapFS{"stat": {Data: []byte("rubbish")}}, time.Time{}); err == nil {
		t.Error("rubbish is read")
	}
}

func TestHoldingSigns(t *testing.T) {
	before := &program.LinkStats{Lateness: make([]uint64, program.LatenessBuckets), Lost: 5}
	after := &program.LinkStats{Lateness: make([]uint64, program.LatenessBuckets), Lost: 5}
	before.Lateness[program.LatenessBucket(time.Second)] = 1000 // long ago
	copy(after.Lateness, before.Lateness)
	after.Lateness[2] = 1000
	for _, s := range holding(after, before) {
		if s.bad {
			t.Errorf("all is well, and yet: %+v", s)
		}
	}
	after.Lost = 6
	if s := holding(after, before)[1]; !s.bad {
		t.Errorf("one is lost, and yet: %+v", s)
	}
	after.Lost = 5
	after.Lateness[program.LatenessBucket(5*time.Millisecond)] = 20
	after.Counters = []program.Counter{{Name: "drop_queue_full", Packets: 1000}, {Name: "drop_no_state", Packets: 1}}
	for _, s := range holding(after, before) {
		if !s.bad {
			t.Errorf("1 frame in 50 is late, one is lost, and yet: %+v", s)
		}
	}
	anew := &program.LinkStats{Lateness: make([]uint64, program.LatenessBuckets)}
	anew.Lateness[program.LatenessBucket(5*time.Millisecond)] = 3
	for _, s := range holding(anew, before) {
		if s.bad {
			t.Errorf("3 frames left a holder that was made anew, and yet: %+v", s)
		}
	}
}

func TestOverloads(t *testing.T) {
	var o overloads
	at := func(second int) time.Time { return time.Unix(int64(second), 0) }
	look := func(second int, bad bool, much float64, detail string) []bus.Overload {
		return o.note(at(second-1), at(second), []sign{{"cpu", bad, much, detail}})
	}
	if say := look(1, false, 0.5, ""); len(say) != 0 {
		t.Errorf("without a sign: %+v", say)
	}
	if say := look(2, true, 0.96, "96"); len(say) != 1 || say[0].Ended {
		t.Errorf("it begins: %+v", say)
	}
	look(3, true, 0.99, "99")
	look(4, false, 0.1, "")
	look(5, true, 0.97, "97") // the same stretch
	for second := 6; second < 7; second++ {
		if say := look(second, false, 0, ""); len(say) != 0 {
			t.Errorf("second %d: %+v", second, say)
		}
	}
	look(7, false, 0, "")
	say := look(8, false, 0, "")
	if len(say) != 1 || !say[0].Ended || !say[0].From.Equal(at(1)) || !say[0].To.Equal(at(5)) || say[0].Detail != "99" {
		t.Errorf("it has ended: %+v", say)
	}
	// Soon afterwards it is listed, but not announced again; and the list has
	// a bound.
	for i := range 1000 {
		if say := append(look(20+10*i, true, 1, ""), look(25+10*i, false, 0, "")...); i < 3 && len(say) > 0 {
			t.Errorf("announced again: %+v", say)
		}
	}
	if n := len(o.list()); n != overKept {
		t.Errorf("%d stretches are remembered, want %d", n, overKept)
	}
}
