package bootstrap

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"myriad/program"
)

// order is what a machine that helps is told, on its standard input.
type order struct {
	Hosts     []string `json:"hosts"`
	User      string   `json:"user,omitempty"`
	Keep      bool     `json:"keep,omitempty"`
	Join      string   `json:"join"`
	Token     string   `json:"token"`
	Site      string   `json:"site,omitempty"`
	Args      []string `json:"args,omitempty"`
	Dir       string   `json:"dir"`
	RunDir    string   `json:"run_dir"`
	Arity     int      `json:"arity"`
	AcceptNew bool     `json:"accept_new,omitempty"`
	Known     []byte   `json:"known"`
}

// RelayCommand is the argument by which the binary helps; it is of no use to
// people.
const RelayCommand = "--relay"

// mostOrder bounds what a helper reads, and maxLine one line of what it says.
const (
	mostOrder = 64 << 20
	maxLine   = 1 << 20
)

// How it is found out that a helper's machine has died: it does not answer
// within attention what it is asked every attend.
const (
	attend    = 10 * time.Second
	attention = 20 * time.Second
)

// delegate has a machine work on others. It returns those that it did not
// reach, or of which it said nothing.
func (t *tree) delegate(ctx context.Context, c *client, hosts []string) (left []string) {
	if len(hosts) == 0 {
		return nil
	}
	if t.Undo {
		return hosts // there is nothing to be copied, and the helper would take itself away
	}
	err := t.relay(ctx, c, hosts)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range hosts {
		if e, ok := t.ended[h]; !ok || e.State == StateFailed && e.Err != nil && e.Err.Kind == program.KindUnavailable {
			left = append(left, h)
			delete(t.ended, h)
		}
	}
	if err != nil && t.Tell != nil && len(left) > 0 {
		t.Tell(Event{Host: c.name, State: StateWorking, Doing: fmt.Sprintf("it cannot help to reach others: %v", err)})
	}
	return left
}

// relay runs the helper, and passes on what it says.
func (t *tree) relay(ctx context.Context, c *client, hosts []string) error {
	s, err := c.NewSession()
	if err != nil {
		return err
	}
	defer s.Close()
	ctx, end := context.WithCancel(ctx)
	defer end()
	defer context.AfterFunc(ctx, func() { s.Close() })()
	go c.attend(ctx)
	if err := agent.ForwardToAgent(c.Client, t.keys.agent); err != nil {
		return err
	}
	if err := agent.RequestAgentForwarding(s); err != nil {
		return err
	}
	text, err := json.Marshal(order{Hosts: hosts, User: t.User, Keep: t.Keep, Join: t.Join, Token: t.Token, Site: t.Site, Args: t.Args,
		Dir: t.Dir, RunDir: t.RunDir, Arity: t.Arity, AcceptNew: t.AcceptNew, Known: t.keys.text})
	if err != nil {
		return err
	}
	in, err := s.StdinPipe()
	if err != nil {
		return err
	}
	out, err := s.StdoutPipe()
	if err != nil {
		return err
	}
	var errs bytes.Buffer
	s.Stderr = &limited{w: &errs, room: mostWords}
	command := quote(t.Dir+"/bin/myriad") + " bootstrap " + RelayCommand
	if !c.root {
		command = "sudo -n --preserve-env=SSH_AUTH_SOCK " + command
	}
	if err := s.Start(command); err != nil {
		return err
	}
	_, err = in.Write(text)
	if err = errors.Join(err, in.Close()); err != nil {
		return err
	}
	if err := t.hear(c, out, hosts); err != nil {
		return err
	}
	var exit *ssh.ExitError
	if err = s.Wait(); errors.As(err, &exit) {
		err = errors.New(cmp.Or(strings.TrimSpace(errs.String()), exit.Error()))
	}
	return err
}

// attend closes the connection when the machine does not answer any more: what
// is waited for there would be waited for very long. It ends with ctx.
func (c *client) attend(ctx context.Context) {
	tick := time.NewTicker(attend)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		dead := time.AfterFunc(attention, func() { c.Client.Close() })
		_, _, err := c.SendRequest("keepalive@openssh.com", true, nil) // refused or not: it answers
		dead.Stop()
		if err != nil {
			return
		}
	}
}

// hear passes on the events of a helper. It is believed of the machines that
// it was told, and of no others.
func (t *tree) hear(c *client, out io.Reader, hosts []string) error {
	its := map[string]bool{}
	for _, h := range hosts {
		its[h] = true
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("it says %q", clip(lines.Text()))
		}
		if !its[e.Host] {
			continue
		}
		if err := t.sound(&e); err != nil {
			return err
		}
		if e.Via == "" {
			e.Via = c.name
		}
		t.tell(e)
	}
	return lines.Err()
}

// sound checks an event of a helper: it says what it may, and of a machine's
// key only where that was asked for and is that machine's.
func (t *tree) sound(e *Event) error {
	if e.Key != "" && !t.isNew(e) {
		e.Key = ""
	}
	if e.State == StateWorking || e.State == StateUp || e.State == StateFailed && e.Err != nil {
		return nil
	}
	return fmt.Errorf("it says that %s is %q, and nothing more", e.Host, clip(string(e.State)))
}

// isNew tells whether the key of an event is one that may be added to the known
// hosts: one line, with that machine's name and no other, of which no key is
// known.
func (t *tree) isNew(e *Event) bool {
	marker, names, key, _, rest, err := ssh.ParseKnownHosts([]byte(e.Key))
	if !t.AcceptNew || err != nil || marker != "" || len(names) != 1 || len(rest) > 0 {
		return false
	}
	a, err := parseAddress(e.Host)
	if err != nil {
		return false
	}
	at := t.keys.at(&a)
	if e.Key != knownhosts.Line([]string{at}, key) {
		return false
	}
	var unknown *knownhosts.KeyError
	err = t.keys.known(at, &net.TCPAddr{}, key)
	return errors.As(err, &unknown) && len(unknown.Want) == 0
}

func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// Relay is the helper: it reads an order, and writes events as lines of JSON.
// It ends early when whoever gave the order is gone.
func Relay(ctx context.Context, in io.Reader, out io.Writer) error {
	var q order
	if err := json.NewDecoder(io.LimitReader(in, mostOrder)).Decode(&q); err != nil {
		return fmt.Errorf("read what to do: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lines := json.NewEncoder(out)
	_, err := Run(ctx, Options{Hosts: q.Hosts, User: q.User, Keep: q.Keep, Join: q.Join, Token: q.Token, Site: q.Site, Args: q.Args, Dir: q.Dir, RunDir: q.RunDir,
		Arity: q.Arity, AcceptNew: q.AcceptNew, SSH: SSH{Known: q.Known}, Tell: func(e Event) {
			if err := lines.Encode(e); err != nil {
				cancel(fmt.Errorf("whoever asked is gone: %w", err))
			}
		}})
	return err
}
