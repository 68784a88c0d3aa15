package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestFigures(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{count(0), "0"},
		{count(999), "999"},
		{count(1000), "1,000"},
		{count(1234567), "1,234,567"},
		{count(-1000), "-1,000"},
		{plural(1, "vnode", "vnodes"), "1 vnode"},
		{plural(40000, "vnode", "vnodes"), "40,000 vnodes"},
		{size(512), "512 B"},
		{size(1536), "1.5 KB"},
		{size(24_000_000_000), "24.0 GB"},
		{size(200_400_000), "200 MB"},
		{span(83 * time.Second), "1m23s"},
		{span(1234 * time.Millisecond), "1.23s"},
		{span(41234 * time.Nanosecond), "41.2µs"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	tab := newTable(&out, "NAME", "STATE", "NOTE")
	tab.add("peer1", "up", "")
	tab.add("a-long-name", "lost", "x")
	if err := tab.flush(); err != nil {
		t.Fatal(err)
	}
	want := "NAME         STATE  NOTE\npeer1        up\na-long-name  lost   x\n"
	if out.String() != want {
		t.Errorf("table:\n%swant:\n%s", &out, want)
	}
}

func TestTableStreams(t *testing.T) {
	var out bytes.Buffer
	tab := newTable(&out, "NAME")
	for i := range 3 * tableLookahead {
		tab.add(fmt.Sprint(i))
	}
	if len(tab.rows) != 0 {
		t.Errorf("%d rows are held back, want 0", len(tab.rows))
	}
	if got := strings.Count(out.String(), "\n"); got != 3*tableLookahead+1 {
		t.Errorf("%d lines, want %d", got, 3*tableLookahead+1)
	}
}

func TestProgressInALog(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	p := &progress{what: "up demo", unit: "vnodes", w: &out, now: func() time.Time { return now }}
	p.set(1000, 5000) // what was there already says nothing about the rate
	for range 4 {
		now = now.Add(2500 * time.Millisecond)
		p.set(p.done+250, 5000)
	}
	want := "myriad: up demo: 1,500 of 5,000 vnodes, 100/s, 35s left\n" +
		"myriad: up demo: 2,000 of 5,000 vnodes, 100/s, 30s left\n"
	if out.String() != want {
		t.Errorf("log:\n%swant:\n%s", &out, want)
	}
}
