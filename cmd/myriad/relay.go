package main

import (
	"github.com/spf13/cobra"

	"myriad/daemon"
	"myriad/trust"
)

const relayLong = `Carry messages between the agents of another site and the coordinator, by one
connection: agents there join the relay, and the relay joins the coordinator, at the
port where that has --leaf-listen (7422). It keeps nothing, needs no root, and has
the same token as agents: it proves to them that it knows it. A coordinator that
cannot be reached is waited for.

packaging/myriad-relay.service is a unit for systemd.`

// relayOptions are the flags of relay.
type relayOptions struct {
	join   joinFlags
	listen string
	site   string
}

func (a *app) relayCmd() *cobra.Command {
	var o relayOptions
	cmd := &cobra.Command{
		Use:   "relay",
		Short: "Join the agents of another site to the coordinator",
		Long:  relayLong,
		Example: `  myriad relay --join tls://host1:7422 --token-file token --listen :4222 --site lyon
  sudo myriad agent --join relayhost --site lyon`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.relay(cmd, &o) },
	}
	flags := cmd.Flags()
	o.join.port = daemon.LeafPort
	o.join.add(cmd, "URL of the coordinator's bus, where it listens for relays: tls://HOST:7422")
	flags.StringVar(&o.listen, "listen", "", "where agents of the site join: ADDRESS:PORT, or :4222")
	flags.StringVar(&o.site, "site", "", "what the site is called")
	mustComplete(cmd, "listen")
	mustComplete(cmd, "site")
	return cmd
}

func (a *app) relay(cmd *cobra.Command, o *relayOptions) error {
	var faults faultList
	remote := o.join.remote(a, "join", &faults)
	listen := listenAddress(o.listen, "listen", daemon.BusPort, &faults)
	if o.listen == "" {
		faults.add("--listen is missing: where agents of the site join, as :%d", daemon.BusPort)
	}
	checkSite(o.site, &faults)
	token, from := o.join.text()
	if token == "" && len(faults.lines) == 0 {
		faults.add("no join token: agents of the site would believe nobody without one")
	}
	if err := faults.err(cmd); err != nil {
		return err
	}
	t, err := trust.ParseToken(token)
	if err != nil {
		return usageError(cmd, "%s: %s", from, describe(err).Message)
	}
	logger := newLogger(a.stderr)
	logger.Printf("myriad %s begins as a relay", versionOf())
	defer logger.Printf("myriad ends")
	return daemon.RunRelay(cmd.Context(), daemon.RelayConfig{
		Join: remote, Listen: listen, TLS: t.Relay(), Site: o.site, Logf: logger.Printf,
		Ready: func() { notifySystemd("READY=1") },
	})
}
