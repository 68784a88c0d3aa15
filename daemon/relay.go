package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"myriad/bus"
	"myriad/program"
)

// RelayConfig is what a relay must know. All but Site, Ready and Logf is
// required.
type RelayConfig struct {
	Join   bus.Remote  // the coordinator's bus, where it listens for relays
	Listen string      // where agents of the site join, as host:port
	TLS    *tls.Config // of that
	Site   string      // what the site is called, in the log
	Ready  func()      // called when it has reached the coordinator's bus; may be nil
	Logf   func(format string, args ...any)
}

// linkPatience is how long a relay tries before it says that it goes on trying.
const linkPatience = 10 * time.Second

// RunRelay carries messages between the agents of a site and the coordinator
// until ctx ends. A coordinator that is not reached is waited for; one that
// does not take the token is an error.
func RunRelay(ctx context.Context, c RelayConfig) error {
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	if err := checkFiles(); err != nil {
		return err
	}
	server, err := bus.NewServer(bus.ServerOptions{Logf: c.Logf, Listen: c.Listen, TLS: c.TLS, Secret: c.Join.Secret, Remote: &c.Join})
	if err != nil {
		return err
	}
	defer server.Close()
	site := "the site"
	if c.Site != "" {
		site = "site " + c.Site
	}
	c.Logf("relay: agents of %s join at tls://%s", site, server.Addr())
	for said := false; ; {
		err := linked(ctx, server)
		var p *program.Problem
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			c.Logf("relay: reached the coordinator's bus at %s", Redacted(c.Join.URL))
			if c.Ready != nil {
				c.Ready()
			}
			<-ctx.Done()
			return nil
		case !errors.As(err, &p) || p.Kind != program.KindUnavailable:
			return err
		case !said:
			said = true
			c.Logf("relay: %v; it goes on trying", err)
		}
	}
}

// linked waits for the link, but not for ever.
func linked(ctx context.Context, s *bus.Server) error {
	ctx, cancel := context.WithTimeout(ctx, linkPatience)
	defer cancel()
	return s.Linked(ctx)
}
