package daemon

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"myriad/bus"
	"myriad/program"
	"myriad/trust"
)

// secretEvery is how often it is looked whether there is another join token.
const secretEvery = 2 * time.Second

// TrustDir is where the authority of a state directory is.
func TrustDir(stateDir string) string { return filepath.Join(stateDir, "trust") }

// openBus starts the bus, unless it is elsewhere.
func (d *daemon) openBus() error {
	if d.Join != nil {
		if d.listens() {
			return &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "start the bus", Cause: "it is to be at " + Redacted(d.Join.URL) + ", and to listen here", Remedy: "choose one of the two"}
		}
		return nil
	}
	o := bus.ServerOptions{Dir: filepath.Join(d.StateDir, "records"), Logf: d.Logf, Listen: d.Listen, LeafListen: d.LeafListen}
	if d.listens() {
		authority, err := trust.Load(TrustDir(d.StateDir))
		if err != nil {
			return unlicensed(err)
		}
		authority.Failed = func(err error) { d.Logf("bus: %v", err) }
		o.TLS, o.Secret = authority.Server(), authority.Token().Secret
	}
	server, err := bus.NewServer(o)
	if err != nil {
		return err
	}
	d.server = server
	if at := server.Addr(); at != "" {
		d.Logf("bus: agents join at tls://%s", at)
	}
	if at := server.LeafAddr(); at != "" {
		d.Logf("bus: relays join at tls://%s", at)
	}
	return nil
}

// unlicensed says what to do where nobody could believe this machine.
func unlicensed(err error) error {
	var p *program.Problem
	if !errors.As(err, &p) || p.Kind != program.KindNotFound {
		return err
	}
	return &program.Problem{Kind: program.KindNotFound, Rack: -1, Op: "listen for other machines",
		Cause: p.Op + ": " + p.Cause, Remedy: "run \"myriad init\" first: nothing listens without certificates and a join token"}
}

func (d *daemon) listens() bool { return d.Listen != "" || d.LeafListen != "" }

func (d *daemon) closeBus() {
	if d.server != nil {
		d.server.Close()
	}
}

// connect gives a connection to the bus, wherever that is.
func (d *daemon) connect(ctx context.Context, name string) (*bus.Conn, error) {
	if d.server != nil {
		return d.server.Connect(name)
	}
	return bus.Join(ctx, name, *d.Join, d.Logf)
}

// busURL is where agents join, without passwords; empty: nowhere.
func (d *daemon) busURL() string {
	switch {
	case d.Join != nil:
		return Redacted(d.Join.URL)
	case d.server.Addr() != "":
		return "tls://" + d.server.Addr()
	}
	return ""
}

// followSecret puts a join token into force that was made while the daemon
// runs. Those who have joined stay until they connect again.
func (d *daemon) followSecret(ctx context.Context) {
	if d.server == nil || !d.listens() {
		return
	}
	tick := time.NewTicker(secretEvery)
	defer tick.Stop()
	former := ""
	for {
		authority, err := trust.Load(TrustDir(d.StateDir))
		switch {
		case err != nil: // it may be being made anew; until then the former counts
		case former == "":
			former = authority.Token().Secret
			d.server.SetSecret(former)
		case authority.Token().Secret != former:
			former = authority.Token().Secret
			d.server.SetSecret(former)
			d.Logf("bus: another join token is in force")
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
