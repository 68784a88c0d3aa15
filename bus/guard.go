package bus

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"strings"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// Users of the server. An agent's is the name of its pnode.
const (
	insideUser = "="      // this process; no name of a pnode is that
	relayUser  = "=relay" // a relay, on the port for relays
)

// Where answers go. Those for whoever is not an agent have a prefix of their
// own, so that agents may write there and nobody else's agent reads there.
const (
	inboxes      = "_INBOX"
	insidePrefix = inboxes + ".c"
	agentsPrefix = inboxes + ".p"
	relayPrefix  = agentsPrefix + ".=" // of a relay's own; no name is escaped to that
)

// inboxOf is the prefix of an agent's inboxes.
func inboxOf(pnode string) string { return agentsPrefix + "." + escape(pnode) }

// isInbox tells whether a subject can be somebody's inbox. Whoever names one to
// us must not have us write elsewhere: we may do more than he.
func isInbox(subject string) bool {
	return strings.HasPrefix(subject, inboxes+".") && !strings.ContainsFunc(subject, func(r rune) bool {
		return r <= ' ' || r == '*' || r == '>' || r >= 0x7f
	})
}

// mayAnswer tells whether a subject can be where somebody waits for an answer.
// Between clusters, NATS has a prefix for inboxes.
func mayAnswer(reply string) bool { return isInbox(reply) || strings.HasPrefix(reply, "_GR_.") }

// guard says who may connect, and what they may do.
type guard struct {
	inside string // what connections of this process know
	mu     sync.Mutex
	secret [sha256.Size]byte
	open   bool // to other machines
}

func newGuard(secret string) *guard {
	g := &guard{inside: rand.Text()}
	g.set(secret)
	return g
}

func (g *guard) set(secret string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.secret, g.open = sha256.Sum256([]byte(secret)), secret != ""
}

// Check implements server.Authentication.
func (g *guard) Check(c server.ClientAuthentication) bool {
	o := c.GetOpts()
	if o.Username == insideUser {
		inside := c.Kind() == server.CLIENT && subtle.ConstantTimeCompare([]byte(o.Password), []byte(g.inside)) == 1
		if inside {
			c.RegisterUser(&server.User{Username: insideUser})
		}
		return inside
	}
	g.mu.Lock()
	secret, open := g.secret, g.open
	g.mu.Unlock()
	sum := sha256.Sum256([]byte(o.Password))
	if !open || subtle.ConstantTimeCompare(sum[:], secret[:]) != 1 {
		return false
	}
	switch c.Kind() {
	case server.LEAF:
		c.RegisterUser(&server.User{Username: relayUser, Permissions: may("*")})
		return true
	case server.CLIENT:
		if o.Username == "" {
			return false
		}
		c.RegisterUser(&server.User{Username: o.Username, Permissions: may(escape(o.Username))})
		return true
	}
	return false
}

// may is what the agent of a pnode, given as one escaped token, may do: hear
// what the coordinator announces, answer what it is asked, announce what is
// its own, and ask for programs. For all pnodes, the token is *.
func may(pnode string) *server.Permissions {
	return &server.Permissions{
		Publish: &server.SubjectPermission{
			// Announcements, and questions for objects, have one token; so they need no list here.
			Allow: []string{root + ".*", insidePrefix + ".>"},
			Deny:  []string{SubjectLead},
		},
		Subscribe: &server.SubjectPermission{
			Allow: []string{SubjectLead, root + ".pnode." + pnode + ".>", agentsPrefix + "." + pnode + ".>"},
		},
	}
}
