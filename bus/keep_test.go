package bus_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"myriad/bus"
	"myriad/program"
)

func TestBucket(t *testing.T) {
	c, _ := pair(t, t.TempDir())
	b, err := c.Bucket(t.Context(), "records")
	must(t, err)
	keys, err := b.Keys(t.Context())
	if err != nil || len(keys) != 0 {
		t.Errorf("keys of an empty bucket: %q, %v", keys, err)
	}
	must(t, b.Put(t.Context(), "x", []byte("1")))
	must(t, b.Put(t.Context(), "x", []byte("2")))
	must(t, b.Put(t.Context(), "y", []byte("3")))
	must(t, b.Delete(t.Context(), "y"))
	got, err := b.Get(t.Context(), "x")
	if err != nil || string(got) != "2" {
		t.Errorf("x is %q, %v, want 2", got, err)
	}
	_, err = b.Get(t.Context(), "y")
	if p := bus.ProblemOf(err); p == nil || p.Kind != program.KindNotFound {
		t.Errorf("a deleted key: %v, want not found", err)
	}
	if keys, err = b.Keys(t.Context()); err != nil || !slices.Equal(keys, []string{"x"}) {
		t.Errorf("keys: %q, %v", keys, err)
	}
}

func TestObjectsOutliveServer(t *testing.T) {
	dir := t.TempDir()
	big := bytes.Repeat([]byte("plan"), 1<<20)
	for i := range 2 {
		s, err := bus.NewServer(bus.ServerOptions{Dir: dir})
		must(t, err)
		c, err := s.Connect("c")
		must(t, err)
		o, err := c.Objects(t.Context(), "plans")
		must(t, err)
		if i == 0 {
			must(t, o.Put(t.Context(), "a/1", big))
			must(t, o.Put(t.Context(), "b/1", nil))
			must(t, o.Delete(t.Context(), "b/1"))
			must(t, o.Delete(t.Context(), "never"))
		} else {
			got, err := o.Get(t.Context(), "a/1")
			if err != nil || !bytes.Equal(got, big) {
				t.Errorf("read back %d bytes, %v", len(got), err)
			}
			names, err := o.Names(t.Context())
			if err != nil || !slices.Equal(names, []string{"a/1"}) {
				t.Errorf("names: %q, %v", names, err)
			}
		}
		c.Close()
		s.Close()
	}
}

func TestLogKeepsTheLast(t *testing.T) {
	c, _ := pair(t, t.TempDir())
	l, err := c.Log(t.Context(), "events", 10)
	must(t, err)
	for i := range 25 {
		must(t, l.Append(t.Context(), fmt.Append(nil, i)))
	}
	var got []string
	must(t, l.Read(t.Context(), func(e []byte) bool {
		got = append(got, string(e))
		return len(got) < 3
	}))
	if want := []string{"15", "16", "17"}; !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
}
