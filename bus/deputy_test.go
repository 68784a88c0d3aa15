package bus_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"myriad/bus"
	"myriad/program"
)

// Who may ask the coordinator must not have it write where he may not write
// himself: to its records, or to another pnode.
func TestAnswersGoToInboxes(t *testing.T) {
	t.Parallel()
	hub, a := listening(t, time.Now, t.TempDir())
	coordinator, err := hub.Connect("coordinator")
	must(t, err)
	watcher, err := hub.Connect("watcher")
	must(t, err)
	t.Cleanup(watcher.Close)
	asked := make(chan int, 3)
	must(t, bus.Handle(coordinator, bus.SubjectHello, func(_ context.Context, n int) (int, error) {
		asked <- n
		return n, nil
	}))
	victim := bus.SubjectOf("other", "apply")
	written := make(chan any, 10)
	must(t, bus.Subscribe(watcher, victim, func(v any, _ error) { written <- v }))
	flush(t, coordinator)
	flush(t, watcher)

	hostile, err := nats.Connect("tls://"+hub.Addr(), nats.Secure(a.Token().Client()), nats.UserInfo("p1", a.Token().Secret))
	must(t, err)
	t.Cleanup(hostile.Close)
	question, err := bus.Encode(1)
	must(t, err)
	must(t, hostile.PublishRequest(bus.SubjectHello, victim, question))
	must(t, hostile.Flush())
	<-asked
	coordinator.Close() // it has answered then
	flush(t, watcher)
	if len(written) > 0 {
		t.Errorf("an answer went to another pnode: %v", <-written)
	}
}

// A stream goes to an inbox, whatever the other side gives as one.
func TestStreamsGoToInboxes(t *testing.T) {
	t.Parallel()
	hub, a := listening(t, time.Now, t.TempDir())
	coordinator, err := hub.Connect("coordinator")
	must(t, err)
	t.Cleanup(coordinator.Close)
	hostile := join(t, "p1", remote(hub.Addr(), a.Token()))
	peers := make(chan string, 1)
	subject := bus.SubjectOf("p1", "apply")
	must(t, bus.Handle(hostile, subject, func(context.Context, struct {
		Inbox string
		Body  []byte
	}) (string, error) {
		return <-peers, nil
	}))
	flush(t, hostile)
	for _, peer := range []string{"", "$KV.lead.coordinator", bus.SubjectOf("other", "apply"), "_INBOX", "_INBOX.a 0\r\n\r\nPUB x 0\r\n", "_INBOX.>"} {
		peers <- peer
		s, err := bus.Open(t.Context(), coordinator, subject, 1)
		if err == nil {
			s.Close()
		}
		if p := bus.ProblemOf(err); p == nil || p.Kind != program.KindInvalid || !strings.Contains(p.Cause, "as its inbox") {
			t.Errorf("peer %q: %v", peer, err)
		}
	}
}
