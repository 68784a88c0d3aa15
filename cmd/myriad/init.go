package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"myriad/daemon"
	"myriad/trust"
)

const initLong = `Make what other machines need to believe this one, and to be let in: a certificate
authority of your own (for 10 years), a certificate for this machine's daemon (for
a year; the daemon renews it), and a join token. It is all in trust in the state
directory, for its owner alone; nothing listens by that. What is there already
stays as it is, so init may be given again, and says again what to do next.

The token says whom to believe, and has the secret by which a machine is let in.
Whoever has it can join as a pnode, and be given vnodes: keep it like a password.
--rotate-token makes another one: a daemon that runs takes it over, machines that
have joined stay until they connect again, and need it then.

Names and addresses in the certificate are for other programs: agents and relays
go by the authority alone.`

// initOptions are the flags of init.
type initOptions struct {
	hosts  []string
	renew  bool
	rotate bool
}

// ready is what init says.
type ready struct {
	Dir         string    `json:"dir"`
	Made        bool      `json:"made"`    // the authority was not there before
	Rotated     bool      `json:"rotated"` // the token is another one than before
	Hosts       []string  `json:"hosts"`   // in the daemon's certificate
	Authority   time.Time `json:"authority_ends"`
	Certificate time.Time `json:"certificate_ends"`
	URL         string    `json:"url"`        // where machines join
	TokenFile   string    `json:"token_file"` // where they look for their token
	Serve       string    `json:"serve"`      // to be run here
	Copy        string    `json:"copy"`       // to be run here, for each HOST
	Agent       string    `json:"agent"`      // to be run on each of them
	Relay       string    `json:"relay"`      // to be run on one machine of another site
}

func (a *app) initCmd() *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make certificates and a join token, for other machines",
		Long:  initLong,
		Example: `  sudo myriad init
  sudo myriad init --host head.example.org,192.0.2.1
  sudo myriad init --rotate-token
  sudo myriad init -o json | jq -r .agent`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.init(cmd.Context(), o) },
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.hosts, "host", nil, "more names and addresses of this machine, for its certificate")
	flags.BoolVar(&o.renew, "renew", false, "make a new certificate, though the former has not ended")
	flags.BoolVar(&o.rotate, "rotate-token", false, "make a new join token; the former is not taken any more")
	mustComplete(cmd, "host")
	return cmd
}

func (a *app) init(ctx context.Context, o initOptions) error {
	dir := daemon.TrustDir(a.stateDir)
	_, err := trust.Load(dir)
	r := &ready{Dir: dir, Made: err != nil, Rotated: o.rotate}
	authority, err := trust.Init(dir, o.hosts)
	if err != nil {
		return err
	}
	if o.renew {
		if err := authority.Renew(); err != nil {
			return err
		}
	}
	if o.rotate {
		if err := authority.Rotate(); err != nil {
			return err
		}
	}
	r.Hosts = authority.Hosts()
	r.Authority, r.Certificate = authority.Ends()
	a.advise(ctx, r, o.hosts)
	if a.json() {
		return a.printJSON(r)
	}
	a.printReady(r)
	return nil
}

// advise says what to run, here and elsewhere. Only what differs from the
// defaults is said.
func (a *app) advise(ctx context.Context, r *ready, hosts []string) {
	r.URL = a.joinURL(ctx)
	host, port := hostPort(r.URL)
	if len(hosts) > 0 { // the user knows best
		host = hosts[0]
		r.URL = "tls://" + net.JoinHostPort(host, port)
	}
	here := a.dirFlags()
	r.Serve = "sudo myriad serve --listen :" + port + here
	r.TokenFile = filepath.Join("/var/lib/myriad", "token")
	r.Copy = "sudo myriad token" + here + " | ssh HOST 'sudo install -D -m 600 /dev/stdin " + r.TokenFile + "'"
	r.Agent = "sudo myriad agent --join " + r.URL
	r.Relay = fmt.Sprintf("sudo myriad relay --join %s --listen :%d --site NAME", "tls://"+net.JoinHostPort(host, strconv.Itoa(daemon.LeafPort)), daemon.BusPort)
}

// dirFlags names the directories of this instance, if they are others than
// usual.
func (a *app) dirFlags() string {
	var s string
	if a.runDir != "/run/myriad" {
		s += " --run-dir " + quoted(a.runDir)
	}
	if a.stateDir != "/var/lib/myriad" {
		s += " --state-dir " + quoted(a.stateDir)
	}
	return s
}

func (a *app) printReady(r *ready) {
	w := a.stdout
	made := "is there"
	if r.Made {
		made = "made"
	}
	fmt.Fprintf(w, "authority    %s %s, ends %s\n", r.Dir, made, r.Authority.Local().Format(time.DateOnly))
	fmt.Fprintf(w, "certificate  for %s, ends %s\n", strings.Join(r.Hosts, ", "), r.Certificate.Local().Format(time.DateOnly))
	token := "\"myriad token\" prints it"
	if r.Rotated {
		token = "made anew: machines that join from now on need it; " + token
	}
	fmt.Fprintf(w, "join token   %s\n", token)
	fmt.Fprintf(w, `
here, the daemon (with --leaf-listen :%[5]d too, if other sites have relays):
  %[1]s
here, for each other machine, the token:
  %[2]s
on each of them, the agent:
  %[3]s
in another site, on one machine, which agents there join in place of this one:
  %[4]s
`, r.Serve, r.Copy, r.Agent, r.Relay, daemon.LeafPort)
}

// joinURL is where other machines join: where the daemon listens, or would.
func (a *app) joinURL(ctx context.Context) string {
	port := strconv.Itoa(daemon.BusPort)
	ctx, cancel := context.WithTimeout(ctx, completePatience)
	defer cancel()
	if v, err := a.client().Version(ctx); err == nil && v.Bus != "" {
		host, p := hostPort(v.Bus)
		if ip := net.ParseIP(host); ip == nil || !ip.IsUnspecified() {
			return v.Bus
		}
		port = p
	}
	return "tls://" + net.JoinHostPort(thisHost(), port)
}

// thisHost is how other machines may know this one: by its name, or, where
// that is nobody's but its own, an address.
func thisHost() string {
	name, err := os.Hostname()
	if err == nil && name != "localhost" {
		return name
	}
	if own := daemon.OwnAddresses(); len(own) > 0 {
		return own[0].String()
	}
	return "HOST"
}

// hostPort takes a URL of a bus apart.
func hostPort(busURL string) (host, port string) {
	_, rest, _ := strings.Cut(busURL, "://")
	rest, _, _ = strings.Cut(rest, ",")
	if host, port, err := net.SplitHostPort(rest); err == nil {
		return host, port
	}
	return rest, strconv.Itoa(daemon.BusPort)
}

const tokenLong = `Print the join token: what another machine needs to join this one. It says whom to
believe, and has the secret by which a machine is let in: keep it like a password.
An agent looks for it in token in its state directory, which must be for its owner
alone (0600).

--command prints a line for a shell of the other machine, with the token in it.`

func (a *app) tokenCmd() *cobra.Command {
	var command bool
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Print the join token",
		Long:  tokenLong,
		Example: `  sudo myriad token | ssh host2 'sudo install -D -m 600 /dev/stdin /var/lib/myriad/token'
  sudo myriad token --command`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.token(cmd.Context(), command) },
	}
	cmd.Flags().BoolVar(&command, "command", false, "print a whole line, to be run on the other machine")
	return cmd
}

func (a *app) token(ctx context.Context, command bool) error {
	authority, err := trust.Load(daemon.TrustDir(a.stateDir))
	if err != nil {
		return err
	}
	token := authority.Token().String()
	url := a.joinURL(ctx)
	// A shell writes the token itself: no process has it among its arguments.
	line := fmt.Sprintf("echo %s | sudo myriad agent --join %s --token-file -", token, url)
	switch {
	case a.json():
		return a.printJSON(struct {
			Token   string `json:"token"`
			URL     string `json:"url"`
			Command string `json:"command"`
		}{token, url, line})
	case command:
		_, err = fmt.Fprintln(a.stdout, line)
	default:
		_, err = fmt.Fprintln(a.stdout, token)
	}
	return err
}
