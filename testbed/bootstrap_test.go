package testbed_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"myriad/kernel/kerneltest"
	"myriad/testbed"
)

// sshKey makes a key pair in a directory, and gives its file.
func sshKey(t *testing.T, dir, name string) string {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	block, err := ssh.MarshalPrivateKey(private, name)
	must(t, err)
	key, err := ssh.NewPublicKey(public)
	must(t, err)
	path := filepath.Join(dir, name)
	must(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	must(t, os.WriteFile(path+".pub", ssh.MarshalAuthorizedKey(key), 0o600))
	return path
}

// sshServers starts an SSH server on each pnode, which has a /var/lib, a /root
// and control groups of its own there.
func sshServers(s *stage) (key, config string, servers []*testbed.Process) {
	s.Helper()
	sshd, err := exec.LookPath("/usr/sbin/sshd")
	if err != nil {
		kerneltest.Skip(s.T, "there is no sshd: install openssh-server")
	}
	if os.Mkdir("/run/sshd", 0o755) == nil { // it wants that
		s.Cleanup(func() { os.Remove("/run/sshd") })
	}
	groups, err := exec.Command("findmnt", "-n", "-o", "TARGET", "-t", "cgroup2").Output()
	if err != nil {
		kerneltest.Skip(s.T, "no control groups of version 2 are mounted")
	}
	groups = bytes.TrimSpace(groups)
	dir := s.PnodeDir(testbed.Control)
	key, host := sshKey(s.T, dir, "client"), sshKey(s.T, dir, "host")
	for i := range s.names {
		addr := s.ControlAddr(i)
		conf := filepath.Join(s.PnodeDir(i), "sshd_config")
		must(s.T, os.WriteFile(conf, fmt.Appendf(nil, "ListenAddress %s\nHostKey %s\nAuthorizedKeysFile %s.pub\nUsePAM no\nStrictModes no\nPidFile none\n", addr, host, key), 0o600))
		group := filepath.Join(string(groups), "bed-"+filepath.Base(s.Dir)+"-"+s.names[i])
		must(s.T, os.Mkdir(group, 0o755))
		s.Cleanup(func() { must(s.T, os.Remove(group)) })
		script := fmt.Sprintf("mount -t tmpfs none /var/lib && mount -t tmpfs none /root && mount --bind %s %s && exec %s -D -e -f %s", group, groups, sshd, conf)
		server, err := s.Start(i, "sshd", exec.Command("unshare", "--mount", "sh", "-c", script))
		must(s.T, err)
		servers = append(servers, server)
		s.Cleanup(func() { killBeside(s.T, server.Pid) }) // agents, where the test fails
		s.eventually(10*time.Second, func() string {
			var complaint string
			must(s.T, s.Do(testbed.Control, func() error {
				c, err := net.Dial("tcp", addr.String()+":22")
				if err != nil {
					complaint = err.Error()
					return nil
				}
				return c.Close()
			}))
			return complaint
		})
	}
	config = filepath.Join(dir, "ssh_config")
	must(s.T, os.WriteFile(config, nil, 0o600))
	return key, config, servers
}

// killBeside kills all other processes in the network namespace of one.
func killBeside(t *testing.T, pid int) {
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return // it has ended, and been waited for
	}
	links, err := filepath.Glob("/proc/[0-9]*/ns/net")
	must(t, err)
	for _, link := range links {
		other, _ := strconv.Atoi(strings.Split(link, "/")[2])
		if ns, err := os.Readlink(link); err == nil && ns == own && other != pid {
			_ = syscall.Kill(other, syscall.SIGKILL)
		}
	}
}

// TestLabBootstrap: from machines with an SSH server to a platform on all of
// them, and back to nothing.
func TestLabBootstrap(t *testing.T) {
	kerneltest.RequireRoot(t)
	b := newBed(t, testbed.Options{Pnodes: 3})
	s := newStage(t, b, testbed.LabOptions{Only: -1})
	key, config, servers := sshServers(s)
	t.Setenv("HOME", s.PnodeDir(testbed.Control)) // of the known hosts that are noted
	var hosts []string
	for i := range s.names {
		hosts = append(hosts, s.ControlAddr(i).String())
	}
	all := strings.Join(hosts, ",")
	args := []string{"bootstrap", "--hosts", all, "--identity", key, "--ssh-config", config, "--remote-run-dir", "/var/lib/run", "--arity", "1"}
	s.refused(append(args, "--join", s.URL()), []string{"3 of 3 machines failed", "--accept-new"})
	s.must(append(args, "--join", s.URL(), "--accept-new")...)
	must(t, s.AwaitPnodes(t.Context(), 3))
	s.must("up", s.file("small.yaml", "platform: small\nvnetworks: {lan: 10.1.0.0/16}\nvnodes: [{nodes: \"peer[1-30]\", vifaces: [lan]}]\n"))
	s.must("check")
	// Once more: the agents are others, and nothing is left of what they carried.
	s.must(append(args, "--join", s.URL())...)
	must(t, s.AwaitPnodes(t.Context(), 3))
	if got := s.platform("small").Up; got != 0 {
		t.Errorf("%d vnodes are up after another bootstrap", got)
	}
	s.must("up", s.file("small.yaml", "platform: small\nvnetworks: {lan: 10.1.0.0/16}\nvnodes: [{nodes: \"peer[1-30]\", vifaces: [lan]}]\n"))
	s.must("check")
	s.must(append(args, "--undo")...)
	for i := range s.names {
		if pids, err := s.Pids(i, "rack"); err != nil || len(pids) > 0 {
			t.Errorf("racks left on %s: %v, %v", s.names[i], pids, err)
		}
		left, err := exec.Command("nsenter", "--mount", "--target", fmt.Sprint(servers[i].Pid), "ls", "-A", "/var/lib").CombinedOutput()
		if err != nil || len(left) > 0 {
			t.Errorf("left in the directories of %s: %s, %v", s.names[i], left, err)
		}
	}
}
