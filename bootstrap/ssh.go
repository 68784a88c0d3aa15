package bootstrap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/kevinburke/ssh_config"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"myriad/program"
)

// SSH is how machines are reached. The zero value is what ssh does by itself:
// the user's configuration, keys, agent and known hosts.
type SSH struct {
	Config     string   // file; empty: ~/.ssh/config
	KnownHosts []string // files; empty: ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts
	Known      []byte   // more known hosts, in the form of such a file
	Identities []string // files of private keys; empty: those of the configuration, and the usual ones
	Agent      string   // socket of an SSH agent; empty: $SSH_AUTH_SOCK
}

// dialTimeout bounds the time until a machine has let us in.
const dialTimeout = 20 * time.Second

// keys are what this process proves itself with, and what it knows machines by.
type keys struct {
	config *ssh_config.Config // nil: there is none
	agent  agent.Agent        // nil: nobody has keys
	conn   net.Conn           // of an agent that is a process
	known  ssh.HostKeyCallback
	files  []string // of known hosts, to write to the first
	text   []byte   // all known hosts, to be passed on
	home   string
}

func (s SSH) open() (*keys, error) {
	home, _ := os.UserHomeDir() // without one there are no files in it
	k := &keys{home: home, files: s.KnownHosts}
	path := s.Config
	if path == "" {
		path = filepath.Join(home, ".ssh", "config")
	}
	if f, err := os.Open(path); err == nil {
		k.config, err = ssh_config.Decode(f)
		f.Close()
		if err != nil {
			return nil, &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "read " + path, Cause: err.Error(), Remedy: "mend it, or name another with --ssh-config"}
		}
	} else if s.Config != "" {
		return nil, err
	}
	if err := k.openAgent(s); err != nil {
		return nil, err
	}
	if err := k.openKnown(s); err != nil {
		k.close()
		return nil, err
	}
	return k, nil
}

func (k *keys) close() {
	if k.conn != nil {
		k.conn.Close()
	}
}

// openAgent finds keys: those of an SSH agent if it has any, else files.
func (k *keys) openAgent(s SSH) error {
	socket := s.Agent
	if socket == "" {
		socket = os.Getenv("SSH_AUTH_SOCK")
	}
	if socket != "" && len(s.Identities) == 0 {
		if conn, err := net.Dial("unix", socket); err == nil {
			remote := agent.NewClient(conn)
			if list, err := remote.List(); err == nil && len(list) > 0 {
				k.agent, k.conn = remote, conn
				return nil
			}
			conn.Close()
		}
	}
	ring := agent.NewKeyring()
	var locked []string
	for _, path := range k.identities(s) {
		text, err := os.ReadFile(path)
		if err != nil {
			if len(s.Identities) > 0 {
				return err
			}
			continue
		}
		key, err := ssh.ParseRawPrivateKey(text)
		var passphrase *ssh.PassphraseMissingError
		if errors.As(err, &passphrase) {
			locked = append(locked, path)
			continue
		}
		if err == nil {
			err = ring.Add(agent.AddedKey{PrivateKey: key, Comment: path})
		}
		if err != nil {
			return &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "read key " + path, Cause: err.Error()}
		}
	}
	if list, _ := ring.List(); len(list) > 0 {
		k.agent = ring
		return nil
	}
	p := &program.Problem{Kind: program.KindPermission, Rack: -1, Op: "find a key for SSH", Cause: "there is neither an SSH agent with keys nor a key file", Remedy: "start ssh-agent and ssh-add a key, or give --identity"}
	if len(locked) > 0 {
		p.Cause = strings.Join(locked, ", ") + " needs a passphrase"
		p.Remedy = "put it into an SSH agent with ssh-add"
	}
	return p
}

// identities lists files of keys.
func (k *keys) identities(s SSH) []string {
	if len(s.Identities) > 0 {
		return s.Identities
	}
	var out []string
	if k.config != nil {
		for _, h := range k.config.Hosts {
			for _, n := range h.Nodes {
				if kv, ok := n.(*ssh_config.KV); ok && strings.EqualFold(kv.Key, "IdentityFile") {
					out = append(out, strings.Replace(kv.Value, "~", k.home, 1))
				}
			}
		}
	}
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		out = append(out, filepath.Join(k.home, ".ssh", name))
	}
	return once(out)
}

// openKnown reads the known hosts.
func (k *keys) openKnown(s SSH) error {
	if len(k.files) == 0 {
		k.files = []string{filepath.Join(k.home, ".ssh", "known_hosts"), "/etc/ssh/ssh_known_hosts"}
	}
	all := bytes.NewBuffer(append(s.Known, '\n'))
	for _, path := range k.files {
		if text, err := os.ReadFile(path); err == nil {
			all.Write(text)
			all.WriteByte('\n')
		}
	}
	k.text = bytes.TrimLeft(all.Bytes(), "\n")
	f, err := os.CreateTemp("", "known_hosts")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(k.text)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if k.known, err = knownhosts.New(f.Name()); err != nil {
		return &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "read known hosts", Cause: err.Error(), Remedy: "mend " + strings.Join(k.files, " or ")}
	}
	return nil
}

// setting is what the configuration says of a machine.
func (k *keys) setting(host, key string) string {
	if k.config == nil {
		return ""
	}
	v, err := k.config.Get(host, key)
	if err != nil {
		return ""
	}
	return v
}

// at completes an address by what the configuration says, and gives it as
// host:port.
func (k *keys) at(a *address) string {
	name := a.host
	if a.port == 0 {
		a.port = 22
		if n, err := strconv.Atoi(k.setting(name, "Port")); err == nil && n > 0 {
			a.port = n
		}
	}
	if h := k.setting(name, "HostName"); h != "" {
		a.host = strings.ReplaceAll(h, "%h", name)
	}
	return net.JoinHostPort(a.host, strconv.Itoa(a.port))
}

// algorithms gives those of the keys that are known of a machine, as ssh does:
// by its other keys, which are as good, it would be a stranger. Nil is any: none
// is known, or an authority that certifies keys.
func (k *keys) algorithms(to string) []string {
	var known *knownhosts.KeyError
	if !errors.As(k.known(to, &net.TCPAddr{}, noKey{}), &known) {
		return nil
	}
	lines := bytes.Split(k.text, []byte{'\n'})
	var out []string
	for _, w := range known.Want {
		if w.Line >= 1 && w.Line <= len(lines) && bytes.HasPrefix(bytes.TrimSpace(lines[w.Line-1]), []byte("@cert-authority")) {
			return nil
		}
		switch kind := w.Key.Type(); kind {
		case ssh.KeyAlgoRSA:
			out = append(out, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSA)
		default:
			out = append(out, kind)
		}
	}
	return out
}

// noKey is no machine's key.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return []byte("none") }
func (noKey) Verify([]byte, *ssh.Signature) error { return errUnknownKey }

// client is a connection to a machine.
type client struct {
	*ssh.Client
	host     address
	name     string // as it was given, without user
	pnode    string // what its pnode is to be called; empty: what it calls itself
	root     bool   // whether we are root there
	accepted string // line for known_hosts of a key that was not known
	jump     *client
}

func (c *client) Close() {
	c.Client.Close()
	if c.jump != nil {
		c.jump.Close()
	}
}

// dial reaches a machine.
func (t *tree) dial(ctx context.Context, host string) (*client, error) {
	a, err := parseAddress(host)
	if err != nil {
		return nil, err
	}
	c, err := t.reach(ctx, a, 0)
	if err != nil {
		return nil, err
	}
	out, err := c.run("id -u", nil)
	if err != nil {
		c.Close()
		return nil, err
	}
	c.root = strings.TrimSpace(out) == "0"
	return c, nil
}

// mostJumps is how many machines may be in between.
const mostJumps = 4

// reach connects to a machine, by way of others if the configuration says so.
func (t *tree) reach(ctx context.Context, a address, jumps int) (*client, error) {
	name, given := a.host, address{host: a.host, port: a.port}
	for _, user := range []string{t.User, t.keys.setting(name, "User"), "root"} {
		if a.user == "" {
			a.user = user
		}
	}
	to := t.keys.at(&a)
	c := &client{host: a, name: given.name(), pnode: given.pnode()}
	conn, err := t.connect(ctx, name, to, c, jumps)
	if err != nil {
		return nil, unavailable(name, err.Error(), "is it up, and does its SSH server answer there?")
	}
	deadline := time.Now().Add(dialTimeout)
	_ = conn.SetDeadline(deadline)
	config := &ssh.ClientConfig{User: a.user, Timeout: dialTimeout,
		Auth:            []ssh.AuthMethod{ssh.PublicKeysCallback(t.keys.agent.Signers)},
		HostKeyCallback: t.check(c), HostKeyAlgorithms: t.keys.algorithms(to)}
	inner, channels, requests, err := ssh.NewClientConn(conn, to, config)
	if err != nil {
		conn.Close()
		return nil, refused(name, a.user, err)
	}
	_ = conn.SetDeadline(time.Time{})
	c.Client = ssh.NewClient(inner, channels, requests)
	return c, nil
}

// connect opens what SSH runs over.
func (t *tree) connect(ctx context.Context, name, to string, c *client, jumps int) (net.Conn, error) {
	jump := t.keys.setting(name, "ProxyJump")
	if jump == "" || jump == "none" {
		d := net.Dialer{Timeout: dialTimeout}
		return d.DialContext(ctx, "tcp", to)
	}
	if jumps >= mostJumps {
		return nil, fmt.Errorf("more than %d machines lie in between (ProxyJump)", mostJumps)
	}
	if i := strings.LastIndexByte(jump, ','); i >= 0 {
		jump = jump[i+1:]
	}
	a, err := parseAddress(jump)
	if err != nil {
		return nil, err
	}
	if c.jump, err = t.reach(ctx, a, jumps+1); err != nil {
		return nil, err
	}
	return c.jump.DialContext(ctx, "tcp", to)
}

// check compares a machine's key with the known ones.
func (t *tree) check(c *client) ssh.HostKeyCallback {
	return func(host string, remote net.Addr, key ssh.PublicKey) error {
		err := t.keys.known(host, remote, key)
		var unknown *knownhosts.KeyError
		if !errors.As(err, &unknown) || len(unknown.Want) > 0 {
			return err
		}
		if !t.AcceptNew {
			return errUnknownKey
		}
		c.accepted = knownhosts.Line([]string{host}, key)
		return nil
	}
}

var errUnknownKey = errors.New("its key is not known")

// refused says why a machine did not let us in.
func refused(name, user string, err error) error {
	p := unavailable(name, err.Error(), "")
	p.Kind = program.KindPermission
	var changed *knownhosts.KeyError
	switch {
	case errors.Is(err, errUnknownKey):
		p.Cause, p.Remedy = errUnknownKey.Error(), "compare it and add it to known_hosts (ssh-keyscan), or trust it with --accept-new"
	case errors.As(err, &changed):
		p.Cause, p.Remedy = "its key is not the one that is known", "find out why; if it was installed anew, remove the old one with ssh-keygen -R"
	case strings.Contains(err.Error(), "unable to authenticate"):
		p.Cause, p.Remedy = "it does not take any of our keys for "+user, "put one into its authorized_keys (ssh-copy-id)"
	default:
		p.Kind = program.KindUnavailable
	}
	return p
}

// mostWords bounds what is heard of a command, in bytes.
const mostWords = 4096

// run runs a command on the machine, with input, and gives its output.
func (c *client) run(command string, stdin io.Reader) (string, error) {
	s, err := c.NewSession()
	if err != nil {
		return "", err
	}
	defer s.Close()
	var out, errs bytes.Buffer
	s.Stdin, s.Stdout, s.Stderr = stdin, &limited{w: &out, room: mostWords}, &limited{w: &errs, room: mostWords}
	err = s.Run(command)
	var exit *ssh.ExitError
	if errors.As(err, &exit) {
		cause := strings.TrimSpace(errs.String())
		if cause == "" {
			cause = exit.Error()
		}
		return out.String(), errors.New(cause)
	}
	return out.String(), err
}

// asRoot is a command that a shell runs as root.
func (c *client) asRoot(script string) string {
	command := "sh -c " + quote(script)
	if c.root {
		return command
	}
	return "sudo -n " + command
}

// quote makes a word of a text, for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// limited keeps the beginning of what is written.
type limited struct {
	w    io.Writer
	room int
}

func (l *limited) Write(p []byte) (int, error) {
	n := len(p)
	p = p[:min(len(p), l.room)]
	l.room -= len(p)
	_, err := l.w.Write(p)
	return n, err
}

// Remember adds lines to the first file of known hosts.
func (s SSH) Remember(lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	path := ""
	if len(s.KnownHosts) > 0 {
		path = s.KnownHosts[0]
	} else {
		home, err := os.UserHomeDir()
		if err != nil {
			return err
		}
		path = filepath.Join(home, ".ssh", "known_hosts")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strings.Join(lines, "\n") + "\n")
	return errors.Join(err, f.Close())
}
