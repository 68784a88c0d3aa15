package rtnl_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/rtnl"
)

// pair makes a veth pair a (10), b (11) that is up.
func pair(t *testing.T, c *rtnl.Conn) {
	t.Helper()
	do(t, c, func(b *rtnl.Batch) {
		b.NewLink(&rtnl.Link{Index: 10, Name: "a", Kind: rtnl.Veth, Peer: &rtnl.Link{Index: 11, Name: "b"}})
		b.SetLink(&rtnl.Link{Index: 10, Up: true})
		b.SetLink(&rtnl.Link{Index: 11, Up: true})
	})
}

func TestLink(t *testing.T) {
	_, c := namespace(t)
	pair(t, c)
	l, err := c.Link(11)
	if err != nil || l.Name != "b" || l.Kind != rtnl.Veth || !l.Up || l.Parent != 10 {
		t.Errorf("link 11: %+v, %v", l, err)
	}
	if _, err = c.Link(12); !errors.Is(err, unix.ENODEV) {
		t.Errorf("link 12: %v, want that there is none", err)
	}
	if l, err = c.Link(10); err != nil || l.Name != "a" {
		t.Errorf("after an error, link 10: %+v, %v", l, err)
	}
}

func TestFQ(t *testing.T) {
	_, c := namespace(t)
	pair(t, c)
	q, err := c.RootQdisc(10)
	if err != nil || q.Kind != "" && q.Kind != "noqueue" {
		t.Fatalf("at first: %+v, %v", q, err)
	}
	want := rtnl.FQ{Limit: 1_000_000, FlowLimit: 900_000, Horizon: time.Hour, Buckets: 14, OrphanMask: 0xffff, TimerSlack: time.Microsecond}
	var b rtnl.Batch
	b.SetFQ(10, &want)
	if err := c.Do(&b); errors.Is(err, unix.ENOENT) {
		t.Log("this kernel has no fq; the one of make test-vm has")
		return
	} else if err != nil {
		t.Fatal(err)
	}
	if q, err = c.RootQdisc(10); err != nil || !want.Is(q) || q.Queued != 0 {
		t.Errorf("read back: %+v, %v, want %+v", q, err, want)
	}
	want.Limit = 7
	if want.Is(q) {
		t.Error("another limit is not seen")
	}
	do(t, c, func(b *rtnl.Batch) { b.SetFQ(10, &want) })
	if q, err = c.RootQdisc(10); err != nil || !want.Is(q) {
		t.Errorf("changed: %+v, %v, want %+v", q, err, want)
	}
}

// TestFeatures switches what cuts packets off and on again.
func TestFeatures(t *testing.T) {
	_, c := namespace(t)
	pair(t, c)
	has, err := c.Features("a")
	if err != nil || !has["tx-scatter-gather"] || !has["tx-tcp-segmentation"] {
		t.Fatalf("features: %v, %v", has, err)
	}
	set := map[string]bool{"no such feature": true}
	for name := range has {
		if strings.HasPrefix(name, "tx-") && strings.HasSuffix(name, "-segmentation") || strings.HasPrefix(name, "tx-scatter") {
			set[name] = false
		}
	}
	if err := c.SetFeatures("a", set); err != nil {
		t.Fatal(err)
	}
	now, err := c.Features("a")
	if err != nil {
		t.Fatal(err)
	}
	for name := range set {
		if now[name] {
			t.Errorf("%s is still on", name)
		}
	}
	if other, err := c.Features("b"); err != nil || len(other) != len(has) {
		t.Errorf("the other end: %v, %v", other, err)
	}
	for name := range has {
		set[name] = true
	}
	if err := c.SetFeatures("a", set); err != nil {
		t.Fatal(err)
	}
	if now, err = c.Features("a"); err != nil || len(now) != len(has) {
		t.Errorf("on again: %v, %v, want %v", now, err, has)
	}
	if _, err := c.Features("none"); !errors.Is(err, unix.ENODEV) {
		t.Errorf("of no link: %v", err)
	}
}
