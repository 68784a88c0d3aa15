package main

import (
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"
)

// imagined is a machine with some files and a limit of descriptors.
func imagined(files map[string]string, descriptors uint64) *machine {
	root := fstest.MapFS{}
	for name, text := range files {
		root[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return &machine{root: root, file: func() (unix.Rlimit, error) { return unix.Rlimit{Cur: 1024, Max: descriptors}, nil }}
}

func TestLimits(t *testing.T) {
	large := map[string]string{
		"proc/meminfo":                               "MemTotal:  26214400 kB\nMemAvailable: 25165824 kB\n",
		"proc/sys/user/max_net_namespaces":           "96364\n",
		"proc/sys/kernel/pid_max":                    "4194304\n",
		"proc/sys/net/core/bpf_jit_enable":           "1\n",
		"proc/sys/net/ipv4/neigh/default/gc_thresh3": "1024\n",
	}
	small := map[string]string{
		"proc/meminfo":                     "MemTotal:  65536 kB\nMemAvailable: 20000 kB\n",
		"proc/sys/user/max_net_namespaces": "500\n",
		"proc/sys/kernel/pid_max":          "4096\n",
		"proc/sys/net/core/bpf_jit_enable": "0\n",
	}
	for _, c := range []struct {
		name string
		m    *machine
		want map[string]verdict
	}{
		{"large", imagined(large, 20000), map[string]verdict{
			"memory": levelOK, "RLIMIT_NOFILE": levelOK, "user.max_net_namespaces": levelOK, "kernel.pid_max": levelOK,
			"net.core.bpf_jit_enable": levelOK, "net.ipv4.neigh.default.gc_thresh3": levelOK}},
		{"small", imagined(small, 1024), map[string]verdict{
			"memory": levelWarn, "RLIMIT_NOFILE": levelFail, "user.max_net_namespaces": levelFail, "kernel.pid_max": levelWarn,
			"net.core.bpf_jit_enable": levelWarn}},
		{"unknown", imagined(nil, 1<<20), map[string]verdict{"memory": levelWarn, "RLIMIT_NOFILE": levelOK}},
	} {
		found := c.m.limits()
		if len(found) != len(c.want) {
			t.Errorf("%s: %d findings, want %d: %+v", c.name, len(found), len(c.want), found)
		}
		for _, f := range found {
			if f.Level != c.want[f.Name] {
				t.Errorf("%s: %s is %q (%s), want %q", c.name, f.Name, f.Level, f.Value, c.want[f.Name])
			}
			if (f.Remedy == "") != (f.Level == levelOK) {
				t.Errorf("%s: %s is %q with remedy %q", c.name, f.Name, f.Level, f.Remedy)
			}
		}
	}
}

func TestWaited(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"some avg10=1.00 avg60=0.50 avg300=0.00 total=1234567\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=99\n": 1234567 * time.Microsecond,
		"rubbish\n": 0, "": 0,
	} {
		m := &machine{root: fstest.MapFS{"proc/pressure/cpu": {Data: []byte(text)}}}
		if got := m.waited(); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
