package trust

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"myriad/program"
)

// pair is a certificate and its key.
type pair struct {
	cert *x509.Certificate
	key  crypto.Signer
	der  []byte // of the key, PKCS #8
}

// encode writes certificate and key as PEM.
func (p *pair) encode() []byte {
	var b bytes.Buffer
	_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw}) // a buffer takes anything
	_ = pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: p.der})
	return b.Bytes()
}

// parsePair reads what encode wrote.
func parsePair(b []byte) (*pair, error) {
	var p pair
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		var err error
		switch block.Type {
		case "CERTIFICATE":
			p.cert, err = x509.ParseCertificate(block.Bytes)
		case "PRIVATE KEY":
			var key any
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
			p.key, _ = key.(crypto.Signer)
			p.der = block.Bytes
		}
		if err != nil {
			return nil, err
		}
	}
	if p.cert == nil || p.key == nil {
		return nil, errors.New("does not have a certificate and its key")
	}
	if pub, ok := p.key.Public().(*ecdsa.PublicKey); !ok || !pub.Equal(p.cert.PublicKey) {
		return nil, errors.New("has a key that is not that of its certificate")
	}
	return &p, nil
}

// newCA makes an authority.
func newCA(now time.Time) (*pair, error) {
	return sign(&x509.Certificate{
		Subject:               pkix.Name{CommonName: "Myriad authority"},
		NotBefore:             now.Add(-early),
		NotAfter:              now.AddDate(caYears, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
	}, nil)
}

// issue makes a certificate of a server. It is not in force for longer than
// its authority.
func (p *pair) issue(now time.Time, hosts []string) (*pair, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "Myriad server"},
		NotBefore:   now.Add(-early),
		NotAfter:    now.AddDate(serverYears, 0, 0),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if template.NotAfter.After(p.cert.NotAfter) {
		template.NotAfter = p.cert.NotAfter
	}
	slices.Sort(hosts)
	for _, h := range slices.Compact(hosts) {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	return sign(template, p)
}

// sign makes a key, and a certificate for it by the authority; without one it
// is its own.
func sign(template *x509.Certificate, by *pair) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return signWith(template, key, by)
}

// signWith makes a certificate for a key.
func signWith(template *x509.Certificate, key crypto.Signer, by *pair) (*pair, error) {
	var err error
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	template.SerialNumber.Add(template.SerialNumber, big.NewInt(1)) // RFC 5280: positive
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, fmt.Errorf("read a certificate just signed: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	return &pair{cert, key, der}, nil
}

// hosts are the names and addresses in the certificate, sorted.
func (p *pair) hosts() []string {
	hosts := slices.Clone(p.cert.DNSNames)
	for _, ip := range p.cert.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	slices.Sort(hosts)
	return hosts
}

func (p *pair) covers(want []string) bool {
	have := p.hosts()
	return !slices.ContainsFunc(want, func(h string) bool { return !slices.Contains(have, canonicalHost(h)) })
}

// canonicalHost writes an address as a certificate gives it back.
func canonicalHost(h string) string {
	if ip := net.ParseIP(h); ip != nil {
		return ip.String()
	}
	return h
}

// machineHosts are what this machine is reached by in any case.
func machineHosts() []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if name, err := os.Hostname(); err == nil && validHost(name) {
		hosts = append(hosts, name)
	}
	return hosts
}

// checkHosts names all that are neither names nor addresses.
func checkHosts(hosts []string) error {
	var bad []string
	for _, h := range hosts {
		if !validHost(h) {
			bad = append(bad, fmt.Sprintf("%q", h))
		}
	}
	if len(bad) == 0 {
		return nil
	}
	return &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "make a certificate", Cause: "neither host names nor addresses: " + strings.Join(bad, ", "),
		Remedy: "give names such as head.example.org or addresses such as 192.0.2.1, without port"}
}

// validHost tells whether h is an address, or a name by RFC 1123 (where _ is
// taken too, as machines have it).
func validHost(h string) bool {
	if a, err := netip.ParseAddr(h); err == nil {
		return a.Zone() == ""
	}
	if len(h) > 253 {
		return false
	}
	for label := range strings.SplitSeq(h, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return true
}
