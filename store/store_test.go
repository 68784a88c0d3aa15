package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"myriad/bus"
	"myriad/plan"
	"myriad/program"
	"myriad/store"
	"myriad/topo"
)

// open opens the store of a directory, for the life of the test or until
// close is called.
func open(t *testing.T, dir string) (s *store.Store, c *bus.Conn, close func()) {
	t.Helper()
	server, err := bus.NewServer(bus.ServerOptions{Dir: dir, Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	c, err = server.Connect("store")
	if err != nil {
		t.Fatal(err)
	}
	once := false
	close = func() {
		if !once {
			once = true
			c.Close()
			server.Close()
		}
	}
	t.Cleanup(close)
	s, err = store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return s, c, close
}

func source(name string, vnodes int) string {
	return fmt.Sprintf("platform: %s\nvnetworks: {lan: 10.0.0.0/16}\nvnodes: [{nodes: 'n[1-%d]', vifaces: [lan]}]\n", name, vnodes)
}

func planOf(t *testing.T, text string) *plan.Plan {
	t.Helper()
	top, err := topo.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Make(top, []plan.Pnode{{Name: "here"}}, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func put(t *testing.T, s *store.Store, name string, vnodes int) *store.Record {
	t.Helper()
	text := source(name, vnodes)
	r := &store.Record{Name: name, File: name + ".yaml", Digest: store.Digest(text, nil), Seed: 7, Since: time.Unix(1, 2).UTC(),
		Spread: store.Spread{Pnodes: map[string]string{"here": "boot"},
			Reports: []program.Report{{Platform: name, Pnode: "here", Racks: []program.RackReport{{Index: 3, State: program.RackLost, Wanted: vnodes}}}}}}
	if err := s.PutPlan(t.Context(), r, text, nil, planOf(t, text)); err != nil {
		t.Fatal(err)
	}
	return r
}

// list gives what is remembered as text.
func list(t *testing.T, s *store.Store) []string {
	t.Helper()
	platforms, problems := s.Platforms(t.Context())
	var out []string
	for _, p := range platforms {
		out = append(out, fmt.Sprintf("%s %d %v", p.Name, p.Plan.Len(), p.Reports[0].Racks[0].State))
	}
	for _, err := range problems {
		if err != nil {
			out = append(out, err.Error())
		}
	}
	return out
}

func TestReadsBack(t *testing.T) {
	dir := t.TempDir()
	s, _, end := open(t, dir)
	put(t, s, "a", 3)
	r := put(t, s, "b", 4)
	put(t, s, "c", 5)
	put(t, s, "b", 6) // edited
	r.Took = time.Second
	if err := s.Put(t.Context(), r); err != nil { // a state without a plan keeps that of before
		t.Fatal(err)
	}
	if err := s.Forget(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	end()
	s, _, _ = open(t, dir)
	if got, want := list(t, s), []string{"a 3 lost", "b 6 lost"}; !slices.Equal(got, want) {
		t.Errorf("read back %q, want %q", got, want)
	}
	platforms, _ := s.Platforms(t.Context())
	b := platforms[1]
	if b.Took != time.Second || b.Seed != 7 || !b.Since.Equal(r.Since) || b.Pnodes["here"] != "boot" || b.Digest != r.Digest {
		t.Errorf("record read back: %+v", b.Record)
	}
	if _, text, files, err := s.Source(t.Context(), "b"); err != nil || files != nil || text != source("b", 6) {
		t.Errorf("source: %q, %v", text, err)
	}
}

// TestSkipsWhatItCannotRead: one bad record does not hide the others, and is
// not destroyed.
func TestSkipsWhatItCannotRead(t *testing.T) {
	dir := t.TempDir()
	s, c, _ := open(t, dir)
	put(t, s, "good", 3)
	put(t, s, "lost-plan", 3)
	records, err := c.Bucket(t.Context(), "platforms")
	if err != nil {
		t.Fatal(err)
	}
	objects, err := c.Objects(t.Context(), "plans")
	if err != nil {
		t.Fatal(err)
	}
	newer, _ := bus.Encode(store.Record{Version: 99, Name: "newer"})
	other, _ := bus.Encode(store.Record{Version: 1, Name: "another"})
	for key, value := range map[string][]byte{"rubbish": []byte("\xff\x00rubbish"), "empty": nil, "newer": newer, "foreign": other} {
		if err := records.Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	names, _ := objects.Names(t.Context())
	for _, name := range names {
		if strings.HasPrefix(name, "lost-plan") && strings.HasSuffix(name, "plan") {
			if err := objects.Put(t.Context(), name, []byte("rubbish")); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := list(t, s)
	if len(got) != 6 || got[0] != "good 3 lost" {
		t.Errorf("got %q", got)
	}
	put(t, s, "rubbish", 2) // what cannot be read can be replaced
	if got := list(t, s); len(got) != 6 || got[1] != "rubbish 2 lost" {
		t.Errorf("after it was replaced: %q", got)
	}
	if again, _ := objects.Names(t.Context()); len(again) < len(names) {
		t.Errorf("objects went from %q to %q while records could not be read", names, again)
	}
}

// TestClean: what a crash between two writes leaves is removed.
func TestClean(t *testing.T) {
	s, c, _ := open(t, t.TempDir())
	put(t, s, "a", 3)
	objects, err := c.Objects(t.Context(), "plans")
	if err != nil {
		t.Fatal(err)
	}
	if err := objects.Put(t.Context(), "a/0123/plan", []byte("x")); err != nil {
		t.Fatal(err)
	}
	list(t, s)
	if names, _ := objects.Names(t.Context()); len(names) != 2 {
		t.Errorf("left: %q", names)
	}
}

func TestEvents(t *testing.T) {
	dir := t.TempDir()
	s, _, end := open(t, dir)
	for i := range 3 {
		if err := s.Note(t.Context(), store.Event{Time: time.Unix(int64(i), 5), Type: "up", Platform: "x", Message: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	end()
	s, _, _ = open(t, dir)
	var got []string
	err := s.Events(t.Context(), func(e store.Event) bool {
		got = append(got, fmt.Sprint(e.Time.UnixNano(), e.Type, e.Platform, e.Message))
		return true
	})
	if want := []string{"5upx0", "1000000005upx1", "2000000005upx2"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// TestLinks: conditions are remembered beside the plan that they belong to,
// and not with any other.
func TestLinks(t *testing.T) {
	dir := t.TempDir()
	s, _, end := open(t, dir)
	put(t, s, "a", 3)
	put(t, s, "b", 3)
	put(t, s, "c", 3)
	began := time.Unix(5, 6).UTC()
	for _, name := range []string{"a", "b", "c"} {
		l := &store.Links{Force: []byte(name), Changes: 4, Schedule: &store.Schedule{File: "f", Played: true, Began: began, Boot: "boot", Uptime: time.Hour, Round: 1, Next: 2}}
		if err := s.PutLinks(t.Context(), name, l, []byte("played")); err != nil {
			t.Fatal(err)
		}
		if err := s.PutLinks(t.Context(), name, l, nil); err != nil { // the source stays
			t.Fatal(err)
		}
	}
	if err := s.PutLinks(t.Context(), "none", &store.Links{}, nil); err == nil {
		t.Error("links of no platform are remembered")
	}
	put(t, s, "b", 4)                                       // another plan
	if err := s.ForgetLinks(t.Context(), "c"); err != nil { // the plan's again
		t.Fatal(err)
	}
	end()
	s, c, _ := open(t, dir)
	platforms, problems := s.Platforms(t.Context())
	for _, err := range problems {
		if err != nil {
			t.Error(err)
		}
	}
	a := platforms[0].Links
	if a == nil || string(a.Force) != "a" || a.Changes != 4 || string(a.Played) != "played" || *a.Schedule != (store.Schedule{File: "f", Played: true, Began: began, Boot: "boot", Uptime: time.Hour, Round: 1, Next: 2}) {
		t.Errorf("read back: %+v", a)
	}
	if platforms[1].Links != nil || platforms[2].Links != nil {
		t.Errorf("links of another plan: %+v; forgotten ones: %+v", platforms[1].Links, platforms[2].Links)
	}
	if err := s.Forget(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	objects, err := c.Objects(t.Context(), "plans")
	if err != nil {
		t.Fatal(err)
	}
	names, err := objects.Names(t.Context())
	if err != nil || slices.ContainsFunc(names, func(name string) bool { return strings.Contains(name, "links") || strings.HasPrefix(name, "a/") }) {
		t.Errorf("left: %q, %v", names, err)
	}
}

// TestFiles: what a topology refers to is remembered with it.
func TestFiles(t *testing.T) {
	s, _, _ := open(t, t.TempDir())
	text := source("a", 3)
	files := map[string][]byte{"x/y": []byte("1\n"), "z": {0, 255}}
	r := &store.Record{Name: "a", Digest: store.Digest(text, files)}
	if err := s.PutPlan(t.Context(), r, text, files, planOf(t, text)); err != nil {
		t.Fatal(err)
	}
	_, got, back, err := s.Source(t.Context(), "a")
	if err != nil || got != text || len(back) != 2 || string(back["x/y"]) != "1\n" || string(back["z"]) != "\x00\xff" {
		t.Errorf("read back: %q, %q, %v", got, back, err)
	}
	seen := map[string]bool{}
	for _, other := range []map[string][]byte{nil, {}, {"z": nil}, {"z": {0}}, {"y": {0}}, {"z": {0}, "y": nil}, {"z": nil, "y": {0}}} {
		d := store.Digest(text, other)
		if seen[d] && len(other) > 0 {
			t.Errorf("%q has the digest of another", other)
		}
		seen[d] = true
	}
}

// TestManyPnodes: a record of thousands of pnodes is whole, whatever a message
// of the bus carries, and leaves nothing.
func TestManyPnodes(t *testing.T) {
	dir := t.TempDir()
	s, _, end := open(t, dir)
	r := put(t, s, "a", 3)
	for round := range 3 {
		r.Spread = store.Spread{Pnodes: map[string]string{}, Owed: map[string]bool{"p7": true}}
		r.Took = time.Duration(round)
		for i := range 4000 {
			name := fmt.Sprintf("p%d.some-site.example.org", i)
			r.Pnodes[name] = strings.Repeat("b", 36)
			report := program.Report{Platform: "a", Pnode: name}
			for k := range 10 {
				report.Racks = append(report.Racks, program.RackReport{Index: uint32(k), State: program.RackUp, Pid: 100_000 + i, Vnodes: round, Wanted: 1000})
			}
			r.Reports = append(r.Reports, report)
		}
		if err := s.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	var pnodes []store.Pnode
	for i := range 4000 {
		pnodes = append(pnodes, store.Pnode{Name: fmt.Sprintf("p%d.some-site.example.org", i), Machine: strings.Repeat("m", 32), Site: "s", Drained: i == 7, Owes: map[string]uint8{"gone": 3}})
	}
	ways := []plan.SiteWay{{From: "a", To: "b", Takes: time.Millisecond}}
	if err := s.PutPnodes(t.Context(), pnodes, ways); err != nil {
		t.Fatal(err)
	}
	end()
	s, c, _ := open(t, dir)
	platforms, problems := s.Platforms(t.Context())
	for _, err := range problems {
		if err != nil {
			t.Fatal(err)
		}
	}
	if p := platforms[0]; len(p.Reports) != 4000 || len(p.Pnodes) != 4000 || !p.Owed["p7"] || p.Took != 2 || p.Reports[3999].Up() != 20 {
		t.Errorf("read back %d reports of %d pnodes", len(p.Reports), len(p.Pnodes))
	}
	got, back, err := s.Pnodes(t.Context())
	if err != nil || len(got) != 4000 || !got[7].Drained || got[8].Owes["gone"] != 3 || !slices.Equal(back, ways) {
		t.Errorf("read back %d pnodes, ways %v, %v", len(got), back, err)
	}
	objects, err := c.Objects(t.Context(), "plans")
	if err != nil {
		t.Fatal(err)
	}
	if names, _ := objects.Names(t.Context()); len(names) != 4 {
		t.Errorf("kept: %q", names)
	}
	r.Spread = store.Spread{}
	if err := s.Put(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if names, _ := objects.Names(t.Context()); len(names) != 3 {
		t.Errorf("kept of a small record: %q", names)
	}
}
