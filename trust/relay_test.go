package trust_test

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"myriad/program"
	"myriad/trust"
)

// shake is one handshake; it gives what the client thinks of it.
func shake(t *testing.T, server, client *tls.Config) error {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if conn, err := l.Accept(); err == nil {
			_ = conn.(*tls.Conn).Handshake()
			conn.Close()
		}
	}()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", l.Addr().String(), client)
	if err == nil {
		conn.Close()
	}
	return err
}

// TestRelay: a relay is believed by those who have the same secret, and by
// nobody else, whatever authority they pin.
func TestRelay(t *testing.T) {
	a, err := trust.Init(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	token := a.Token()
	relay := token.Relay()
	for range 2 {
		if err := shake(t, relay, token.Client()); err != nil {
			t.Error(err)
		}
	}
	if err := a.Rotate(); err != nil {
		t.Fatal(err)
	}
	err = shake(t, relay, a.Token().Client())
	var p *program.Problem
	if !errors.As(err, &p) || p.Kind != program.KindPermission || !strings.Contains(p.Cause, "another join token") {
		t.Errorf("after the secret has changed: %v", err)
	}
	other, err := trust.Init(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	posing := other.Token()
	posing.Pin = token.Pin // public, and no proof of anything
	if err := shake(t, posing.Relay(), token.Client()); err == nil {
		t.Error("a relay without the secret is believed")
	}
}
