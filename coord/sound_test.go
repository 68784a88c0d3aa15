package coord

import (
	"net/netip"
	"strings"
	"testing"

	"myriad/bus"
	"myriad/program"
)

// What an agent says of itself is taken only as far as it can be true.
func TestUnsoundHello(t *testing.T) {
	good := func() *bus.Hello {
		return &bus.Hello{From: bus.From{Pnode: "host-1.example", Session: "x"}, Site: "paris", CPUs: 4, Address: netip.MustParseAddr("192.0.2.1"),
			Platforms: []program.Report{{Platform: "demo", Pnode: "host-1.example"}}}
	}
	if p := unsound(good()); p != nil {
		t.Fatal(p)
	}
	for what, spoil := range map[string]func(*bus.Hello){
		"pnode":    func(h *bus.Hello) { h.Pnode, h.Platforms = "", nil },
		"pnode ":   func(h *bus.Hello) { h.Pnode, h.Platforms = "a/../b", nil },
		"pnode  ":  func(h *bus.Hello) { h.Pnode, h.Platforms = "a\x1b[2J", nil },
		"pnode   ": func(h *bus.Hello) { h.Pnode, h.Platforms = strings.Repeat("a", 300), nil },
		"site":     func(h *bus.Hello) { h.Site = "a b" },
		"text":     func(h *bus.Hello) { h.Version = "v1\n" },
		"text ":    func(h *bus.Hello) { h.Machine = strings.Repeat("a", 300) },
		"CPUs":     func(h *bus.Hello) { h.CPUs = -1 },
		"IPv4":     func(h *bus.Hello) { h.Address = netip.MustParseAddr("2001:db8::1") },
		"at pnode": func(h *bus.Hello) { h.Platforms[0].Pnode = "host-2" },
		"platform": func(h *bus.Hello) { h.Platforms[0].Platform = "../etc" },
	} {
		h := good()
		spoil(h)
		if p := unsound(h); p == nil || !strings.Contains(p.Cause, strings.TrimSpace(what)) {
			t.Errorf("%s: %v", what, p)
		}
	}
}
