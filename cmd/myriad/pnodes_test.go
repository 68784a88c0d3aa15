package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"myriad/api"
)

func TestNaturalOrder(t *testing.T) {
	want := []string{"a", "a1b", "a1b2", "a2", "a010", "a10", "b", "b1-x", "b1.site"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, natural)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPnodeRow(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		n    api.Pnode
		want string
	}{
		{api.Pnode{Name: "a", Site: "s", State: "up", Drained: true, Version: "v", Address: "192.0.2.1", MTU: 1500, CPUs: 2, Memory: 3e9, Vnodes: 4000, Clock: -90 * time.Second, Heard: now.Add(-4 * time.Second)},
			"a|s|up, drained|4,000|2|3.0 GB|192.0.2.1|1500|-1m30s|4s ago|v"},
		{api.Pnode{Name: "b", State: "lost", Clock: 200 * time.Millisecond, Heard: now}, "b|-|lost|0|-|-|-|-|ok|now|-"},
		{api.Pnode{Name: "c", State: "left", Clock: 2 * time.Second}, "c|-|left|0|-|-|-|-|+2s|-|-"},
	} {
		if got := strings.Join(pnodeRow(&tt.n, now), "|"); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// TestStatusOfManyPnodes: a few lines tell of 4,000, and what is wrong comes
// first.
func TestStatusOfManyPnodes(t *testing.T) {
	p := &api.Platform{Name: "x", State: "partial", Vnodes: 1_000_000, Up: 999_490}
	for i := range 4000 {
		c := api.Carried{Pnode: fmt.Sprintf("n%d", i+1), State: "up", Vnodes: 250, Up: 250, Racks: 1, RacksUp: 1}
		switch i {
		case 6, 8:
			c.State, c.Up, c.RacksUp = "lost", 0, 0
		case 20:
			c.Up, c.RacksUp = 240, 0
		}
		p.Pnodes = append(p.Pnodes, c)
	}
	var out bytes.Buffer
	if err := (&app{stdout: &out, stderr: &out}).printPlatform(p); err != nil {
		t.Fatal(err)
	}
	want := `platform x: partial, 999,490 of 1,000,000 vnodes up
  vnetwork  subnet  vifaces
  pnode                          state  vnodes           racks
  n[7,9] (2)                     lost   0/500            0/2
  n21                            up     240/250          0/1
  n[1-6,8,10-20,22-4000] (3997)  up     999,250/999,250  3,997/3,997
`
	if got := out.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestJoinURLs(t *testing.T) {
	for _, tt := range []struct{ in, want, fault string }{
		{"host1", "tls://host1:4222", ""},
		{" host1:5 , tls://host2", "tls://host1:5,tls://host2:4222", ""},
		{"nats://u:p@h", "nats://u:p@h:4222", ""},
		{"tls://[2001:db8::1]", "tls://[2001:db8::1]:4222", ""},
		{"", "", "--join is missing"},
		{"tls://", "", "is not of the form"},
		{"h:0", "", "a port is 1 to 65535"},
		{"h:70000", "", "a port is 1 to 65535"},
		{"tls://a,nats://b", "tls://a:4222", "either all URLs are tls"},
		{"tls://a/b", "", "is not of the form"},
		{"tls://u:secret@a?b", "", "is not of the form"},
		{"ftp://a", "", "the scheme is tls"},
		{"tls://a b", "", "is no URL"},
	} {
		var faults faultList
		got, _ := joinURLs(tt.in, "join", 4222, &faults)
		said := strings.Join(faults.lines, "\n")
		if got != tt.want || (said == "") != (tt.fault == "") || !strings.Contains(said, tt.fault) || strings.Contains(said, "secret") {
			t.Errorf("%q: %q, %q", tt.in, got, said)
		}
	}
}

func TestListenAddress(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{":4222", ":4222"},
		{"192.0.2.1", "192.0.2.1:4222"},
		{"[2001:db8::1]", "[2001:db8::1]:4222"},
		{"[2001:db8::1]:5", "[2001:db8::1]:5"},
		{"head.example.org:0", "head.example.org:0"},
	} {
		var faults faultList
		if got := listenAddress(tt.in, "listen", 4222, &faults); got != tt.want || len(faults.lines) > 0 {
			t.Errorf("%q: %q, %q", tt.in, got, faults.lines)
		}
	}
	for _, bad := range []string{"a b", ":x", ":70000", "a:b:c", "-", "a..b:1"} {
		var faults faultList
		if got := listenAddress(bad, "listen", 4222, &faults); len(faults.lines) != 1 {
			t.Errorf("%q is taken for %q", bad, got)
		}
	}
}
