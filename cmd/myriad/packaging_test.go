package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// accepted tells what is wrong with a command line, without running it.
func accepted(t *testing.T, words []string) {
	t.Helper()
	root := (&app{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard}).rootCmd()
	cmd, rest, err := root.Find(words)
	if err != nil || cmd == root {
		t.Errorf("%q: no such command (%v)", words, err)
		return
	}
	if err := cmd.ParseFlags(rest); err != nil {
		t.Errorf("%q: %v", words, err)
	} else if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		t.Errorf("%q: %v", words, err)
	}
}

// TestUnits: what the units of systemd start is what the commands take.
func TestUnits(t *testing.T) {
	units, err := filepath.Glob("../../packaging/*.service")
	if err != nil || len(units) < 3 {
		t.Fatalf("units: %q, %v", units, err)
	}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/myriad (.*)$`).FindSubmatch(text)
		if found == nil {
			t.Errorf("%s starts nothing", unit)
			continue
		}
		var words []string
		for _, word := range strings.Fields(string(found[1])) {
			if !strings.HasPrefix(word, "$MYRIAD") { // flags of the user's own
				words = append(words, word)
			}
		}
		accepted(t, words)
	}
}

// TestKubernetes: the manifest is what it says, and its command line is taken.
func TestKubernetes(t *testing.T) {
	f, err := os.Open("../../packaging/kubernetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	type mount struct {
		Name      string `yaml:"name"`
		MountPath string `yaml:"mountPath"`
	}
	var kinds []string
	for docs := yaml.NewDecoder(f); ; {
		var doc struct {
			Kind string `yaml:"kind"`
			Spec struct {
				Selector struct {
					MatchLabels map[string]string `yaml:"matchLabels"`
				} `yaml:"selector"`
				Template struct {
					Metadata struct {
						Labels map[string]string `yaml:"labels"`
					} `yaml:"metadata"`
					Spec struct {
						HostNetwork bool `yaml:"hostNetwork"`
						HostPID     bool `yaml:"hostPID"`
						Containers  []struct {
							Command         []string `yaml:"command"`
							Args            []string `yaml:"args"`
							SecurityContext struct {
								Privileged bool `yaml:"privileged"`
							} `yaml:"securityContext"`
							VolumeMounts []mount `yaml:"volumeMounts"`
						} `yaml:"containers"`
						Volumes []struct {
							Name   string `yaml:"name"`
							Secret *struct {
								DefaultMode int `yaml:"defaultMode"`
							} `yaml:"secret"`
						} `yaml:"volumes"`
					} `yaml:"spec"`
				} `yaml:"template"`
			} `yaml:"spec"`
		}
		err := docs.Decode(&doc)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, doc.Kind)
		if doc.Kind != "DaemonSet" {
			continue
		}
		pod := doc.Spec.Template.Spec
		for label, value := range doc.Spec.Selector.MatchLabels {
			if doc.Spec.Template.Metadata.Labels[label] != value {
				t.Errorf("its pods have no label %s=%s", label, value)
			}
		}
		if !pod.HostNetwork || !pod.HostPID || len(pod.Containers) != 1 || !pod.Containers[0].SecurityContext.Privileged {
			t.Errorf("the pod is not the machine's: %+v", pod)
		}
		volumes := map[string]bool{}
		for _, v := range pod.Volumes {
			volumes[v.Name] = true
			if v.Secret != nil && v.Secret.DefaultMode != 0o400 {
				t.Errorf("the token has mode %o", v.Secret.DefaultMode)
			}
		}
		for _, m := range pod.Containers[0].VolumeMounts {
			if !volumes[m.Name] {
				t.Errorf("no volume %q for %s", m.Name, m.MountPath)
			}
		}
		accepted(t, append(pod.Containers[0].Command[1:], pod.Containers[0].Args...))
	}
	if got := strings.Join(kinds, " "); got != "Namespace DaemonSet" {
		t.Errorf("it has %s", got)
	}
}
