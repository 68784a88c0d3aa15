package bootstrap

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestHosts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nodes")
	must(t, os.WriteFile(file, []byte("b2\nb2\n\n# none\na[1-2] # two\nroot@c\n"), 0o600))
	env := func(vars ...string) func(string) string {
		return func(name string) string {
			if i := slices.Index(vars, name); i >= 0 {
				return vars[i+1]
			}
			return ""
		}
	}
	for _, c := range []struct {
		argument string
		env      func(string) string
		want     string
		err      string
	}{
		{"n[1-3,5]", env(), "n1 n2 n3 n5", ""},
		{file, env(), "b2 a1 a2 root@c", ""},
		{"", env("OAR_NODEFILE", file), "b2 a1 a2 root@c", ""},
		{"", env("SLURM_JOB_NODELIST", "gpu[07-09]"), "gpu07 gpu08 gpu09", ""},
		{"2001:db8::1", env(), "2001:db8::1", ""},
		{"", env(), "", "no job of OAR or Slurm"},
		{"n[1-", env(), "", "--hosts"},
		{"n[1-1000000]", env(), "", "at most 65536"},
	} {
		got, err := Hosts(c.argument, c.env)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q: %v", c.argument, err)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q: %v, want %s", c.argument, got, c.want)
		}
	}
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string]address{
		"a": {host: "a"}, "root@a:2222": {"root", "a", 2222}, "[2001:db8::1]:22": {"", "2001:db8::1", 22}, "u@2001:db8::1": {"u", "2001:db8::1", 0},
	} {
		if got, err := parseAddress(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "@a", "a:0", "a b", "-oProxyCommand=x", "a;'b'", "a:b"} {
		if got, err := parseAddress(text); err == nil && got.host != text {
			t.Errorf("%q is taken for %+v", text, got)
		}
	}
}

// A pnode has a name that an agent takes.
func TestPnodeNames(t *testing.T) {
	for text, want := range map[string]string{"root@gpu3": "gpu3", "gpu3:2222": "gpu3-2222", "192.0.2.1": "192.0.2.1", "[2001:db8::1]:22": "", "2001:db8::1": ""} {
		a, err := parseAddress(text)
		must(t, err)
		if got := a.pnode(); got != want {
			t.Errorf("%s is called %q, want %q", text, got, want)
		}
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := Run(t.Context(), Options{Hosts: []string{"a", "b b", "a"}})
	for _, want := range []string{"b b", "named twice", "where agents join"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %q in %v", want, err)
		}
	}
}

// FuzzHear reads what a helper says, who may be anybody.
func FuzzHear(f *testing.F) {
	line, _ := json.Marshal(Event{Host: "a", State: StateUp})
	f.Add(string(line) + "\n")
	f.Add("{}\nnull\n[]\n")
	f.Add(`{"host":"b","state":"up"}`)
	f.Fuzz(func(t *testing.T, said string) {
		tr := &tree{Options: Options{Hosts: []string{"a"}}, ended: map[string]Event{}}
		_ = tr.hear(&client{name: "c"}, strings.NewReader(said), []string{"a"})
		for host := range tr.ended {
			if host != "a" {
				t.Errorf("it spoke of %q", host)
			}
		}
	})
}

func FuzzAddress(f *testing.F) {
	f.Add("root@a:2222")
	f.Add("[::1]:1")
	f.Fuzz(func(t *testing.T, s string) {
		if a, err := parseAddress(s); err == nil && (a.host == "" || strings.ContainsAny(a.host, " \n'\"`$")) {
			t.Errorf("%q is taken for %+v", s, a)
		}
	})
}
