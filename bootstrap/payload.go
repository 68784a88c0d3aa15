package bootstrap

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"myriad/program"
)

// payload is what is put onto each machine: in Dir, bin/myriad, token, agent.log
// and what the agent keeps, and list, which says what was there before.
// With systemd there is a unit besides, under /run, which does not outlive the
// machine's next start any more than the vnodes do.
type payload struct {
	*Options
	binary []byte // compressed
	digest string // of the binary, in hexadecimal
}

// unitName is the unit of systemd that an agent is there.
const unitName = "myriad-agent.service"

func newPayload(o *Options) (*payload, error) {
	p := &payload{Options: o}
	if o.Undo {
		return p, nil
	}
	file := o.Binary
	if file == "" {
		file = "/proc/self/exe"
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the binary that is to be copied: %w", err)
	}
	p.digest = fmt.Sprintf("%x", sha256.Sum256(text))
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(text)
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	p.binary = b.Bytes()
	return p, nil
}

// architectures are what uname calls those that Go has other names for.
var architectures = map[string]string{"x86_64": "amd64", "aarch64": "arm64"}

// deliver makes a machine what it is to be. Whatever was interrupted before is
// made up for.
func (p *payload) deliver(c *client, say func(string)) error {
	if p.Undo {
		say("removing")
		return p.undo(c)
	}
	facts, err := c.run(c.asRoot(p.script(`uname -sm; if [ -d /run/systemd/system ]; then echo systemd; else echo none; fi; sha256sum "$D/bin/myriad" 2>/dev/null | cut -d' ' -f1`)), nil)
	if err != nil {
		return sudoless(c, err)
	}
	lines := strings.Split(strings.TrimSpace(facts), "\n")
	system, machine, _ := strings.Cut(lines[0], " ")
	if arch, ok := architectures[machine]; ok {
		machine = arch
	}
	if system != "Linux" || machine != runtime.GOARCH {
		return &program.Problem{Kind: program.KindUnsupported, Rack: -1, Op: "bootstrap " + c.host.host,
			Cause: fmt.Sprintf("it is %s, and the binary is for Linux on %s", lines[0], runtime.GOARCH), Remedy: "give a binary for it with --binary"}
	}
	systemd := len(lines) > 1 && lines[1] == "systemd"
	if err := p.install(c, say, len(lines) > 2 && lines[2] == p.digest); err != nil {
		return err
	}
	say("starting its agent")
	return p.start(c, systemd)
}

// script is a text for a shell, which begins with what all have in common.
func (p *payload) script(text string) string {
	return "set -eu; umask 077; D=" + quote(p.Dir) + "; R=" + quote(p.RunDir) + "; U=/run/systemd/system/" + unitName + "; " + text
}

// begin makes the directory, and notes whether it was there, and which of the
// files that are put there were.
const begin = `if [ ! -e "$D/list" ]; then had=no; if [ -d "$D" ]; then had=yes; fi; mkdir -p "$D"; ` +
	`{ echo "$had"; for f in ` + ours + `; do if [ -e "$D/$f" ]; then echo "$f"; fi; done; } >"$D/list.new"; mv "$D/list.new" "$D/list"; fi; mkdir -p "$D/bin"; `

// ours are the files that are put into the directory, and those that an agent
// makes there: what came to be there otherwise is not taken away.
const ours = `bin/myriad bin token agent.log machine lock calibration.json`

// clear takes files away that were not there before, and directories that are
// empty then. A binary that is half there is there by no other name.
const clear = `rm -f "$D/bin/myriad.new" "$D/token.new" "$D/list.new"; ` +
	`for f in ` + ours + `; do if ! grep -qxF "$f" "$D/list"; then if [ -d "$D/$f" ]; then rmdir "$D/$f" 2>/dev/null || true; else rm -f "$D/$f"; fi; fi; done; ` +
	`had=$(head -n 1 "$D/list"); rm -f "$D/list"; if [ "$had" = no ]; then rmdir "$D" 2>/dev/null || true; fi; `

// running takes away what agents leave in the run directory, and that if it is
// empty then. Nobody uses it: an agent or a daemon that did has ended.
const running = `for f in daemon.pid agent coordinator coordinator.cbor wireguard.key; do rm -f "$R/$f"; done; rmdir "$R" 2>/dev/null || true; `

// stop ends the agent of before, if there is one.
const stop = `if [ -d /run/systemd/system ] && [ -e "$U" ]; then systemctl stop ` + unitName + ` || true; fi; ` +
	`if [ -x "$D/bin/myriad" ]; then "$D/bin/myriad" agent --stop --state-dir "$D" --run-dir "$R"; fi; `

// upload puts the binary there, from standard input. First it is to end an
// agent of other files; where it cannot, as a daemon runs there, and may have
// vnodes everywhere, nothing is left.
const upload = `gzip -dc >"$D/bin/myriad.new"; chmod 755 "$D/bin/myriad.new"; ` +
	`if ! "$D/bin/myriad.new" agent --stop --state-dir "$D" --run-dir "$R"; then rm -f "$D/bin/myriad.new"; if [ ! -e "$D/bin/myriad" ]; then ` + clear + `fi; exit 1; fi; ` +
	`mv "$D/bin/myriad.new" "$D/bin/myriad"`

// install puts the files there, and takes away what an earlier run left.
func (p *payload) install(c *client, say func(string), same bool) error {
	say("stopping what was there")
	if _, err := c.run(c.asRoot(p.script(begin+stop)), nil); err != nil {
		return err
	}
	if !same {
		say("copying the binary")
		if _, err := c.run(c.asRoot(p.script(upload)), bytes.NewReader(p.binary)); err != nil {
			return fmt.Errorf("copy the binary: %w", err)
		}
	}
	if !p.Keep {
		say("removing vnodes of an earlier run")
		if _, err := c.run(c.asRoot(p.script(`"$D/bin/myriad" down --all --state-dir "$D" --run-dir "$R" >/dev/null`)), nil); err != nil {
			return fmt.Errorf("remove vnodes of an earlier run: %w", err)
		}
	}
	_, err := c.run(c.asRoot(p.script(`cat >"$D/token.new"; mv "$D/token.new" "$D/token"`)), strings.NewReader(p.Token+"\n"))
	return err
}

// arguments are those of the agent on a machine.
func (p *payload) arguments(c *client) []string {
	args := []string{"agent", "--join", p.Join, "--token-file", p.Dir + "/token", "--state-dir", p.Dir, "--run-dir", p.RunDir}
	if c.pnode != "" {
		args = append(args, "--name", c.pnode)
	}
	if p.Site != "" {
		args = append(args, "--site", p.Site)
	}
	return append(args, p.Args...)
}

// start starts the agent, and returns when it was taken in.
func (p *payload) start(c *client, systemd bool) error {
	var words []string
	for _, a := range p.arguments(c) {
		words = append(words, quote(a))
	}
	command := `"$D/bin/myriad" ` + strings.Join(words, " ")
	if !systemd {
		_, err := c.run(c.asRoot(p.script(command+" --background")), nil)
		return err
	}
	_, err := c.run(c.asRoot(p.script(`cat >"$U"; systemctl daemon-reload; systemctl restart `+unitName+
		` || { systemctl stop `+unitName+` || true; journalctl -u `+unitName+` -n 3 -o cat --no-pager >&2; exit 1; }`)), strings.NewReader(p.unit(c)))
	return err
}

// unit is the text of the unit of systemd.
func (p *payload) unit(c *client) string {
	var words []string
	for _, a := range p.arguments(c) {
		words = append(words, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`, `$`, `$$`).Replace(a)+`"`)
	}
	return fmt.Sprintf(`# Made by myriad bootstrap; gone with myriad bootstrap --undo, or the machine's next start.
[Unit]
Description=Myriad: agent
After=network.target

[Service]
Type=notify
TimeoutStartSec=60
ExecStart="%s/bin/myriad" %s
Restart=on-failure
RestartSec=1
KillMode=process
Delegate=yes
LimitNOFILE=65536
TasksMax=infinity
LimitNPROC=infinity
`, p.Dir, strings.Join(words, " "))
}

// undo takes everything away that a bootstrap made.
func (p *payload) undo(c *client) error {
	_, err := c.run(c.asRoot(p.script(`if [ -e "$D/list" ]; then `+stop+
		`if [ -x "$D/bin/myriad" ]; then "$D/bin/myriad" down --all --state-dir "$D" --run-dir "$R" >/dev/null; fi; `+
		`if [ -e "$U" ]; then rm -f "$U"; systemctl daemon-reload; systemctl reset-failed `+unitName+` 2>/dev/null || true; fi; `+
		clear+running+`fi`)), nil)
	return sudoless(c, err)
}

// sudoless says what to do where only root may do what must be done.
func sudoless(c *client, err error) error {
	if err == nil || c.root || !strings.Contains(err.Error(), "sudo") {
		return err
	}
	return &program.Problem{Kind: program.KindPermission, Rack: -1, Op: "bootstrap " + c.host.host, Cause: err.Error(),
		Remedy: "let " + c.host.user + " use sudo without a password there, or connect as root (--user root)"}
}
