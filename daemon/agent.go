package daemon

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"

	"myriad/agent"
	"myriad/bus"
	"myriad/trust"
)

// AgentConfig is what an agent of a machine must know whose coordinator is
// elsewhere. RunDir, StateDir, Pnode and Join are required.
type AgentConfig struct {
	RunDir   string
	StateDir string
	Pnode    agent.Pnode
	Racks    agent.Racks // nil: the sockets in RunDir
	// Calibrate is as in agent.Config.
	Calibrate func(ctx context.Context, say func(doing string)) error
	Join      bus.Remote // where the coordinator's bus is, or a relay's
	Name      string     // of this machine; empty: its host name
	Site      string     // where it is; empty: where the coordinator is
	Address   netip.Addr // by which tunnels of others reach it; invalid: found out
	TakeOver  bool       // as in agent.Config
	Version   string
	// Key is as in Config.
	Key   func() [32]byte
	Ready func()                           // called when a coordinator has taken it in; may be nil
	Logf  func(format string, args ...any) // nil: silent
}

// RunAgent is an agent until ctx ends, or until trying again cannot mend what
// is wrong: the token is not taken, or the coordinator refuses the machine. A
// bus that is not reached is waited for. Vnodes live on.
func RunAgent(ctx context.Context, c AgentConfig) error {
	m := machine{RunDir: c.RunDir, StateDir: c.StateDir, Name: c.Name, Logf: c.Logf}
	who := Holder{Role: RoleAgent, Bus: Redacted(c.Join.URL)}
	if err := m.claim(ctx, who); err != nil {
		return err
	}
	defer m.release()
	defer os.Remove(signOf(c.RunDir))
	identity, err := trust.Identity(filepath.Join(c.StateDir, "machine"))
	if err != nil {
		return err
	}
	conn, err := bus.Join(ctx, m.Name, c.Join, m.Logf)
	if ctx.Err() != nil {
		return nil // it was told to end while it tried
	} else if err != nil {
		return err
	}
	m.Logf("agent %s: connected to the bus at %s", m.Name, who.Bus)
	defer context.AfterFunc(ctx, m.run.ending)()
	at := &underlay{fixed: c.Address, near: conn.LocalAddr, again: conn.Reconnect, logf: m.Logf}
	var key [32]byte
	if c.Key != nil {
		key = c.Key()
	}
	return agent.Run(ctx, conn, agent.Config{
		Name: m.Name, Machine: identity, Site: c.Site, RunDir: c.RunDir, Version: c.Version,
		Pnode: c.Pnode, Racks: c.Racks, Calibrate: c.Calibrate,
		Address: at.find, Key: key, TakeOver: c.TakeOver,
		Joined: func(bus.Lead) {
			if c.Ready != nil {
				c.Ready()
			}
		},
		Logf: m.Logf,
	})
}
