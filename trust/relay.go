package trust

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"sync"
	"time"
)

// proofOID marks the extension of a relay's certificate by which it proves that
// it has the join token: a UUID of our own (ITU-T X.667).
var proofOID = asn1.ObjectIdentifier{2, 25, 1196314761, 2025, 7422}

// proof is what only who has the secret can say of a key.
func proof(secret string, cert *x509.Certificate) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("myriad relay\x00"))
	mac.Write(cert.RawSubjectPublicKeyInfo)
	return mac.Sum(nil)
}

// Relay is for the listeners of a relay: it has the join token and no
// authority, so its certificate is its own, made anew after every start, and
// has a proof that the one who made it has the secret. Who joins there by the
// same token believes it. So whoever has the token can pose as a relay, as he
// can say anything on the bus that he has joined.
func (t Token) Relay() *tls.Config { return t.relay(time.Now) }

func (t Token) relay(now func() time.Time) *tls.Config {
	var mu sync.Mutex
	var made *pair
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			mu.Lock()
			defer mu.Unlock()
			if made == nil || made.cert.NotAfter.Sub(now()) < made.cert.NotAfter.Sub(made.cert.NotBefore)/3 {
				p, err := t.relayPair(now())
				if err != nil {
					return nil, err
				}
				made = p
			}
			return &tls.Certificate{Certificate: [][]byte{made.cert.Raw}, PrivateKey: made.key, Leaf: made.cert}, nil
		},
	}
}

// relayPair makes a key and its certificate. The proof is of the key, so the
// key comes first.
func (t Token) relayPair(now time.Time) (*pair, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "Myriad relay"},
		NotBefore:   now.Add(-early),
		NotAfter:    now.AddDate(serverYears, 0, 0),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	bare, err := sign(template, nil)
	if err != nil {
		return nil, err
	}
	template.ExtraExtensions = []pkix.Extension{{Id: proofOID, Value: proof(t.Secret, bare.cert)}}
	return signWith(template, bare.key, nil)
}

// relayProof gives the proof in a certificate; nil is none.
func relayProof(c *x509.Certificate) []byte {
	for _, e := range c.Extensions {
		if e.Id.Equal(proofOID) {
			return e.Value
		}
	}
	return nil
}
