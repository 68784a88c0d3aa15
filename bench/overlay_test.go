package bench

import (
	"context"
	"os"
	"testing"

	"myriad/kernel/kerneltest"
	"myriad/testbed"
)

// TestHandBridge: the reference carries packets as large as it should.
func TestHandBridge(t *testing.T) {
	kerneltest.RequireRoot(t)
	bed, err := testbed.New(t.Context(), testbed.Options{Pnodes: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := bed.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, layers := range []bool{false, true} {
		testHandBridge(t, bed, layers)
	}
}

func testHandBridge(t *testing.T, bed *testbed.Bed, layers bool) {
	h, err := newHandBridge(t.Context(), bed, os.Args[0], 3, layers)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.close(); err != nil {
			t.Error(err)
		}
	}()
	w, err := bed.Watch()
	if err != nil {
		t.Fatal(err)
	}
	for k := range 3 {
		cmd := h.command(context.Background(), "", "ping", "-n", "-c2", "-W2", "-i0.1", "-M", "do", "-s", "1422", handAddr(1, k).String())
		err := h.start(handName(0, k), cmd)
		if err == nil {
			err = cmd.Wait()
		}
		if err != nil {
			t.Errorf("layers %v: %s does not reach %s with packets of 1,450 bytes: %v", layers, handName(0, k), handName(1, k), err)
		}
	}
	found, err := w.Stop()
	if err != nil || found.All < 12 || found.ARP+found.Broadcast != 0 {
		t.Errorf("on the underlay: %s, %v", found, err)
	}
}
