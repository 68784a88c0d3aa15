package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"myriad/kernel/netns"
)

// vnodes are where peers run: those of a platform, or of what was made by hand
// beside it.
type vnodes interface {
	// command prepares a process in a vnode. It is started by start.
	command(ctx context.Context, vnode string, argv ...string) *exec.Cmd
	start(vnode string, cmd *exec.Cmd) error
	// exe is the command that peers are, and dir a directory for what they share.
	where() (exe, dir string)
}

// ours are the vnodes of a platform of an instance.
type ours struct {
	*instance
	platform string
}

func (in *instance) vnodes(platform string) vnodes { return ours{in, platform} }

func (o ours) command(ctx context.Context, vnode string, argv ...string) *exec.Cmd {
	return o.instance.command(ctx, append([]string{"exec", "-p", o.platform, vnode, "--"}, argv...)...)
}

func (ours) start(_ string, cmd *exec.Cmd) error { return cmd.Start() }
func (o ours) where() (exe, dir string)          { return o.exe, o.dir }

// byHand are namespaces that a bench has made itself.
type byHand struct {
	exe, dir   string
	namespaces map[string]int // descriptors by name
}

func (h *byHand) command(ctx context.Context, _ string, argv ...string) *exec.Cmd {
	return exec.CommandContext(ctx, argv[0], argv[1:]...)
}

func (h *byHand) start(vnode string, cmd *exec.Cmd) error {
	return netns.Do(h.namespaces[vnode], cmd.Start)
}

func (h *byHand) where() (exe, dir string) { return h.exe, h.dir }

// measure runs a server in one vnode and a client in the other.
func measure(ctx context.Context, v vnodes, p pair, c trafficCase) (*PeerResult, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	stop, err := serve(ctx, v, p.to, p.addr, c.server)
	if err != nil {
		return nil, err
	}
	defer stop()
	return client(ctx, v, p.from, p.addr, c.client)
}

// serve starts a peer that waits for others, and gives what ends it.
func serve(ctx context.Context, v vnodes, vnode, addr string, args []string) (stop func(), err error) {
	server := peer(ctx, v, vnode, addr, args)
	if err := v.start(vnode, server); err != nil {
		return nil, err
	}
	time.Sleep(400 * time.Millisecond) // the server is listening
	return func() {
		if server.Cancel != nil {
			_ = server.Cancel()
		}
		_ = server.Wait() // its end is ours to cause: its status says nothing
	}, nil
}

// peer prepares a peer in a vnode.
func peer(ctx context.Context, v vnodes, vnode, addr string, args []string) *exec.Cmd {
	exe, dir := v.where()
	return v.command(ctx, vnode, append([]string{exe, "bench", "peer", args[0], addr + ":5000", "--path", filepath.Join(dir, "lent")}, args[1:]...)...)
}

// client runs a peer and reads the line of JSON that it prints behind its label.
func client(ctx context.Context, v vnodes, vnode, addr string, args []string) (*PeerResult, error) {
	cmd := peer(ctx, v, vnode, addr, args)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := v.start(vnode, cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s%s", err, stderr.String(), stdout.String())
	}
	text := stdout.String()
	begin := strings.IndexByte(text, '{')
	if begin < 0 {
		return nil, fmt.Errorf("no result in %q", text)
	}
	r := &PeerResult{}
	return r, json.Unmarshal([]byte(text[begin:]), r)
}
