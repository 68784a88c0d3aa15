package topo

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// slow is far more than any of these takes, even on a busy machine, and far
// less than what goes wrong would.
const slow = 10 * time.Second

// TestHostile parses what nobody wrote for us to read: each gives errors,
// soon, and no panic.
func TestHostile(t *testing.T) {
	rubbish := make([]byte, 1<<20)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(rubbish)
	const head = "platform: a\nvnodes: [{nodes: 'a[1-9000000]', vifaces: []}]\n"
	for name, src := range map[string][]byte{
		"100 MB":          bytes.Repeat([]byte("- a\n"), 25<<20),
		"rubbish":         rubbish,
		"NUL bytes":       make([]byte, 1<<20),
		"UTF-16":          []byte("\xff\xfep\x00l\x00"),
		"escape sequence": []byte("platform: \"\x1b[31m\"\nvnodes: []\n"),
		"escaped":         []byte(`platform: "\e[31m"`),
		"deep list":       bytes.Repeat([]byte("["), 1<<20),
		"deep mapping":    bytes.Repeat([]byte("{a: "), 1<<20),
		"deep block":      bytes.Repeat([]byte("- "), 1<<20),
		"just not deep":   []byte(strings.Repeat("[", 9000) + strings.Repeat("]", 9000)),
		"aliases":         bombOfAliases(),
		"wide":            bytes.Repeat([]byte("- a\n"), 1<<18),
		"long line":       bytes.Repeat([]byte("a"), 1<<20),
		"long key":        append(bytes.Repeat([]byte("a"), 1<<20), ": b\n"...),
		"many keys":       manyLines("k%d: 1\n", 1<<16),
		"group chain":     append([]byte("platform: a\nvnodes: []\ngroups:\n"), chain(1<<15)...),
		"ranges":          append([]byte(head+"groups:\n"), manyLines("  g%d: 'a[1-3000000/3]'\n", 1000)...),
		"derived":         append([]byte(head+"groups:\n  big: 'a[1-3000000/3]'\n"), manyLines("  g%d: '@big,a2'\n", 1000)...),
		"errors":          append([]byte(head+"routes:\n"), manyLines("- {%d: 1}\n", 1<<16)...),
		"links":           append([]byte(head+"links:\n"), manyLines("- {between: 'a*', delay: %dh}\n", 1<<14)...),
		"profiles":        append([]byte(head+"profiles:\n"), manyLines("  p%d: {profile: q}\n", 1<<14)...),
		"profile chain":   append([]byte(head+"profiles:\n"), profileChain(1<<13)...),
		"slices":          []byte(head + "schedule: [{matrices: ['m/[1-9999999]'], every: 1s, nodes: a1, unit: s, values: rtt}]\n"),
		"wide matrix":     []byte(head + "links: [{nodes: 'a*', matrix: [[" + strings.Repeat("1h,", 1<<16) + "1]]}]\n"),
		"steps":           append([]byte(head+"schedule:\n"), manyLines("- {at: %ds, reset: true, nodes: b}\n", 1<<14)...),
		"long name":       []byte("platform: a\nvnodes: [{nodes: '" + strings.Repeat("a", 1<<20) + "', vifaces: []}]\n"),
		"long set":        []byte(head + "groups: {g: '" + strings.Repeat("b,c2", 1<<18) + "'}\n"),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := Parse("hostile", src)
			took := time.Since(start)
			var all Errors
			if !errors.As(err, &all) {
				t.Fatalf("accepted, with %v", err)
			}
			text := err.Error()
			t.Logf("%v, %d problems: %.200s", took.Round(time.Millisecond), len(all), text)
			if took > slow {
				t.Errorf("took %v", took)
			}
			if len(all) > maxErrors+1 || len(text) > 1<<20 || len(all[0].Error()) > 1000 {
				t.Errorf("%d problems in %d bytes, the first in %d", len(all), len(text), len(all[0].Error()))
			}
			if strings.ContainsAny(text, "\x1b\x00") {
				t.Errorf("control characters in %q", text)
			}
		})
	}
}

func bombOfAliases() []byte {
	var b bytes.Buffer
	b.WriteString("a0: &a0 x\n")
	for i := range 50 {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d,", i), 9))
	}
	return b.Bytes()
}

func manyLines(format string, n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.Bytes()
}

func chain(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "  g%d: '@g%d'\n", i, i+1)
	}
	return b.Bytes()
}

func profileChain(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "  p%d: {profile: p%d}\n", i, i+1)
	}
	return b.Bytes()
}

// million is a platform whose size would show in any loop over its vnodes.
const million = `
platform: million
vnetworks: {lan: {cidr: 10.0.0.0/8, conditions: dsl}, wan: 172.16.0.0/12}
vnodes:
  - {nodes: "peer[1-999000]", vifaces: [lan], groups: [all], conditions: {out: {loss: 0.1%}}}
  - {nodes: "wide[1-500]", vifaces: [wan]}
  - {nodes: "gw[1-500]", vifaces: [lan, wan], gateway: true}
groups: {odd: "@all&peer[1-499500]", even: "@all!@odd", rest: "@*!@odd"}
links:
  - {between: "@*", delay: 1ms}
  - {groups: [odd, even], unit: ms, matrix: [[1, 20], [20, 1]]}
  - {from: "@odd", to: peer999000, profile: transatlantic}
schedule:
  - {at: 1s, nodes: "peer*", conditions: lte}
routing: complete
routes:
  - {nodes: "peer*", to: default, via: gw1}
  - {nodes: "@rest!peer*!gw1", to: 192.0.2.0/24, via: 172.16.0.1}
`

func TestMillion(t *testing.T) {
	start := time.Now()
	topology, err := Parse("million", []byte(million))
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > slow/5 {
		t.Errorf("took %v", took)
	}
	if n := topology.Groups["rest"].Len(); n != 500500 {
		t.Errorf("rest has %d vnodes", n)
	}
}

func BenchmarkParse(b *testing.B) {
	all := files(b)
	bench := func(name string, src []byte) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				if _, err := Parse(name, src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	bench("quickstart", all["../examples/quickstart.yaml"])
	bench("million", []byte(million))
	each := []byte("platform: each\nvnetworks: {lan: 10.0.0.0/8}\nvnodes:\n")
	each = append(each, manyLines("- nodes: n%d\n  vifaces: [lan]\n", 10000)...)
	bench("10000 entries", each)
}
