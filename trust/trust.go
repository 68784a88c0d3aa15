// Package trust is what lets machines believe each other: a certificate
// authority, the coordinator's certificate, and the token by which others join.
//
// Init makes an authority of one's own in a directory. Who joins gets a token:
// the SHA-256 of the authority's certificate, and a secret. By the first, the
// one who joins knows the server: it believes what that certificate has
// signed, whatever name or address it was reached by, and no other authority
// counts. By the second, the server knows who joins. So a token is enough to
// reach a server safely over any network, and whoever has it can join: it is
// kept like a password.
//
// What is verified of a server: that its chain has the pinned certificate,
// that this one has signed the server's, that both are in force by this
// machine's clock, and that the server has the key. What is not: its name. A
// key that got into other hands is in force until its certificate ends or a
// new authority is made. A relay has no certificate of the authority: it shows
// one of its own, with a proof that it knows the secret. So whoever has the
// token can also pose as a server to those who join.
package trust

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"myriad/program"
)

// How long certificates are in force. A server's is renewed once less than a
// third of its time is left.
const (
	caYears     = 10
	serverYears = 1
	// early is how long before they were made certificates begin, for the sake
	// of machines whose clocks are behind.
	early = 48 * time.Hour
)

// The files of an authority, in the order in which they are made. Each is
// written whole or not at all.
const (
	caFile     = "ca.pem"     // certificate and key of the authority
	secretFile = "secret"     // what those who join must know
	serverFile = "server.pem" // certificate and key of the server
)

// Authority is a certificate authority of one's own, its server's
// certificate, and the secret of those who join.
type Authority struct {
	// Failed, unless nil, is told when a server could not renew its certificate:
	// again and again, but not more than once a minute. It is to be set before
	// Server is used.
	Failed func(error)

	dir string
	now func() time.Time
	ca  *pair

	mu     sync.Mutex
	secret string
	server *pair
	stamp  fileStamp // of the server's file when it was read
	failed time.Time // when renewing failed last
}

// fileStamp tells whether a file is another than it was.
type fileStamp struct {
	modified time.Time
	size     int64
}

// Init gives the authority in dir, and makes what is not there yet: the
// authority, the secret, and a certificate of the server for the given names
// and addresses, for those it had before, for this machine's name and for
// loopback. An authority of which a part is lost or broken is a
// program.Problem, and nothing is changed.
func Init(dir string, hosts []string) (*Authority, error) { return InitAt(time.Now, dir, hosts) }

// InitAt is Init by another clock: so that a test can have certificates that
// are not in force.
func InitAt(now func() time.Time, dir string, hosts []string) (*Authority, error) {
	if err := checkHosts(hosts); err != nil {
		return nil, err
	}
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.Chmod(dir, 0o700) // it may have been there, open to others
	}
	if err != nil {
		return nil, fileProblem("make", dir, err)
	}
	unlock, err := lock(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	a := &Authority{dir: dir, now: now}
	if err := a.open(true); err != nil {
		return nil, err
	}
	want := append(machineHosts(), hosts...)
	if a.server != nil && a.server.covers(want) && !a.due() {
		return a, nil
	}
	if err := a.issue(want); err != nil {
		return nil, err
	}
	return a, nil
}

// Load gives the authority in dir. Where none has been made it is a
// program.Problem of KindNotFound.
func Load(dir string) (*Authority, error) {
	a := &Authority{dir: dir, now: time.Now}
	if err := a.open(false); err != nil {
		return nil, err
	}
	return a, nil
}

// open reads what there is. Where create is set, it goes on where an earlier
// one that made the files was interrupted.
func (a *Authority) open(create bool) error {
	have := map[string]bool{}
	for _, name := range []string{caFile, secretFile, serverFile} {
		switch _, err := os.Stat(filepath.Join(a.dir, name)); {
		case err == nil:
			have[name] = true
		case !errors.Is(err, fs.ErrNotExist):
			return fileProblem("read", filepath.Join(a.dir, name), err)
		}
	}
	switch {
	case !have[caFile] && !have[secretFile] && !have[serverFile] && !create:
		return &program.Problem{Kind: program.KindNotFound, Rack: -1, Op: "open the certificate authority in " + a.dir,
			Cause: "none has been made", Remedy: "make one with `myriad init`"}
	case !have[caFile] && (have[secretFile] || have[serverFile]):
		return a.broken(caFile, "is missing")
	case !have[secretFile] && (have[serverFile] || !create && have[caFile]):
		return a.broken(secretFile, "is missing")
	}
	if err := a.openCA(have[caFile]); err != nil {
		return err
	}
	if err := a.openSecret(have[secretFile]); err != nil {
		return err
	}
	if have[serverFile] {
		return a.readServer()
	}
	if create {
		return nil // Init knows for whom
	}
	unlock, err := lock(a.dir)
	if err != nil {
		return err
	}
	defer unlock()
	return a.issue(machineHosts())
}

func (a *Authority) openCA(there bool) error {
	path := filepath.Join(a.dir, caFile)
	if !there {
		ca, err := newCA(a.now())
		if err != nil {
			return err
		}
		a.ca = ca
		return writeFile(path, ca.encode())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return fileProblem("read", path, err)
	}
	if a.ca, err = parsePair(b); err != nil {
		return a.broken(caFile, err.Error())
	}
	if !a.ca.cert.IsCA {
		return a.broken(caFile, "is not the certificate of an authority")
	}
	if end := a.ca.cert.NotAfter; a.now().After(end) {
		return a.broken(caFile, "has ended on "+end.Format(time.DateOnly))
	}
	return nil
}

func (a *Authority) openSecret(there bool) error {
	path := filepath.Join(a.dir, secretFile)
	if !there {
		a.secret = newSecret()
		return writeFile(path, []byte(a.secret+"\n"))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return fileProblem("read", path, err)
	}
	if a.secret, err = parseSecret(string(b)); err != nil {
		return a.broken(secretFile, err.Error())
	}
	return nil
}

// readServer reads the server's certificate.
func (a *Authority) readServer() error {
	path := filepath.Join(a.dir, serverFile)
	info, err := os.Stat(path)
	if err != nil {
		return fileProblem("read", path, err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return fileProblem("read", path, err)
	}
	p, err := parsePair(b)
	if err == nil {
		err = p.cert.CheckSignatureFrom(a.ca.cert)
	}
	if err != nil {
		return a.broken(serverFile, err.Error())
	}
	a.server, a.stamp = p, fileStamp{info.ModTime(), info.Size()}
	return nil
}

// broken says that a file of the authority cannot be used.
func (a *Authority) broken(name, cause string) error {
	remedy := "restore it from a copy; or remove the directory and make a new authority with `myriad init`: every pnode then needs the new token"
	switch name {
	case secretFile:
		remedy = "restore it from a copy; or remove it and " + serverFile + " there, and make new ones with `myriad init`: pnodes then need the new token"
	case serverFile:
		remedy = "remove it, and a new one is made"
	}
	return &program.Problem{Kind: program.KindConflict, Rack: -1, Op: "open the certificate authority", Cause: filepath.Join(a.dir, name) + " " + cause, Remedy: remedy}
}

// issue makes a new certificate of the server, for hosts and those it has
// already.
func (a *Authority) issue(hosts []string) error {
	if a.server != nil {
		hosts = append(hosts, a.server.hosts()...)
	}
	p, err := a.ca.issue(a.now(), hosts)
	if err != nil {
		return err
	}
	path := filepath.Join(a.dir, serverFile)
	if err := writeFile(path, p.encode()); err != nil {
		return err
	}
	return a.readServer()
}

// due tells whether the server's certificate is in the last third of its
// time, and another one would last longer.
func (a *Authority) due() bool {
	c := a.server.cert
	return c.NotAfter.Before(a.ca.cert.NotAfter) && c.NotAfter.Sub(a.now()) < c.NotAfter.Sub(c.NotBefore)/3
}

// Renew makes a new certificate of the server, for the same names. A server
// that runs takes it by itself.
func (a *Authority) Renew() error {
	unlock, err := lock(a.dir)
	if err != nil {
		return err
	}
	defer unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.issue(machineHosts())
}

// Rotate makes a new secret. Who knows only the former one does not connect
// any more, once the server has been told or started again; connections that
// there are stay.
func (a *Authority) Rotate() error {
	unlock, err := lock(a.dir)
	if err != nil {
		return err
	}
	defer unlock()
	secret := newSecret()
	if err := writeFile(filepath.Join(a.dir, secretFile), []byte(secret+"\n")); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.secret = secret
	return nil
}

// Token is what others join by.
func (a *Authority) Token() Token {
	a.mu.Lock()
	defer a.mu.Unlock()
	return Token{Pin: sha256.Sum256(a.ca.cert.Raw), Secret: a.secret}
}

// Hosts are the names and addresses in the server's certificate, sorted.
func (a *Authority) Hosts() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.server.hosts()
}

// Ends tells when the authority's certificate, and the server's, are no longer
// in force.
func (a *Authority) Ends() (authority, server time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ca.cert.NotAfter, a.server.cert.NotAfter
}

// Server is for listeners: TLS 1.3, with the server's certificate and the
// authority's. A certificate in the last third of its time is renewed as
// connections come, and one that was renewed beside is taken.
func (a *Authority) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return a.current(), nil
		},
	}
}

// renewRetry is how long renewing is not tried again after it failed.
const renewRetry = time.Minute

// current gives the certificate that the server shows. Where renewing fails,
// as on a full disk, Failed is told, and the former one goes on until it ends:
// those who connect then say that it has.
func (a *Authority) current() *tls.Certificate {
	a.mu.Lock()
	defer a.mu.Unlock()
	if info, err := os.Stat(filepath.Join(a.dir, serverFile)); err == nil && (fileStamp{info.ModTime(), info.Size()}) != a.stamp {
		_ = a.readServer() // one that is broken leaves us what we have
	}
	if a.due() && a.now().Sub(a.failed) > renewRetry {
		if err := a.issue(machineHosts()); err != nil {
			a.failed = a.now()
			if a.Failed != nil {
				a.Failed(fmt.Errorf("renew the server's certificate, which ends on %s: %w", a.server.cert.NotAfter.Format(time.DateOnly), err))
			}
		}
	}
	return &tls.Certificate{Certificate: [][]byte{a.server.cert.Raw, a.ca.cert.Raw}, PrivateKey: a.server.key, Leaf: a.server.cert}
}

// pool is the authority alone.
func pool(ca *x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca)
	return p
}
