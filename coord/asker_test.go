package coord

import (
	"slices"
	"testing"

	"myriad/api"
)

// TestTell: who is slow to listen gets every message and the end, in order, and
// of counts in a row the latest.
func TestTell(t *testing.T) {
	c := New(Config{})
	me := &asker{bell: make(chan struct{}, 1)}
	c.askers[7] = me
	say := func(message string) { c.tell(Tell{Askers: []Asker{7, 8}, Event: api.Event{Message: message}}) }
	count := func(n int) { c.tell(Tell{Askers: []Asker{7}, Event: api.Event{Done: n, Total: 9}}) }
	say("drops this")
	say("drops that")
	count(1)
	count(2)
	say("measures")
	count(3)
	c.tell(Tell{Askers: []Asker{7}, Event: api.Event{Done: 9, Total: 9}, Last: true})
	<-me.bell
	var got []string
	done, ends := 0, 0
	for i, e := range c.take(me) {
		if e.Message != "" {
			got = append(got, e.Message)
		}
		if e.last {
			ends += i
		}
		done += e.Done
	}
	if want := []string{"drops this", "drops that", "measures"}; !slices.Equal(got, want) || done != 2+3+9 || ends != 5 {
		t.Errorf("heard %q, %d done, and the end as number %d", got, done, ends)
	}
	if more := c.take(me); more != nil {
		t.Errorf("heard %v twice", more)
	}
}
