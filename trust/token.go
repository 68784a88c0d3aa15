package trust

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"time"

	"myriad/program"
)

// tokenVersion is how a token begins; another form would have another.
const tokenVersion = "myriad1"

// letters are those of RFC 4648, base 32, without padding: nothing that a
// shell, a URL or a person who reads it out would trip over.
var letters = base32.StdEncoding.WithPadding(base32.NoPadding)

const (
	secretBytes = 20 // of a new secret
	leastSecret = 16 // of one that is taken
	mostSecret  = 64
)

// Token is what another machine needs to join: whom to believe, and what to
// know. Printed by %v or %+v it does not show the secret; String does.
type Token struct {
	Pin    [32]byte // SHA-256 of the authority's certificate, as DER
	Secret string   // base 32
}

// ParseToken reads a token, as String wrote it; white space around it is
// passed over. No error has any part of the secret.
func ParseToken(s string) (Token, error) {
	bad := func(cause string) (Token, error) {
		return Token{}, &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "read the join token", Cause: cause,
			Remedy: "print it with `myriad token` where the coordinator runs, and give it whole"}
	}
	version, rest, _ := strings.Cut(strings.TrimSpace(s), ".")
	switch {
	case version == "" && rest == "":
		return bad("it is empty")
	case version != tokenVersion && strings.HasPrefix(version, "myriad") && len(version) < 12:
		return bad("it is of another version than this program")
	case version != tokenVersion:
		return bad("it does not begin with " + tokenVersion + ".")
	}
	pin, secret, ok := strings.Cut(rest, ".")
	if !ok {
		return bad("it has no secret after the fingerprint: a part of it is missing")
	}
	var t Token
	b, err := letters.DecodeString(strings.ToUpper(pin))
	if err != nil || len(b) != len(t.Pin) {
		return bad("its fingerprint is damaged")
	}
	copy(t.Pin[:], b)
	if t.Secret, err = parseSecret(secret); err != nil {
		return bad("its secret " + err.Error())
	}
	return t, nil
}

// String writes the token, with its secret.
func (t Token) String() string {
	return tokenVersion + "." + letters.EncodeToString(t.Pin[:]) + "." + t.Secret
}

// Format keeps the secret out of logs: %s shows the token, any other verb only
// whom it believes.
func (t Token) Format(f fmt.State, verb rune) {
	if verb == 's' {
		_, _ = f.Write([]byte(t.String()))
		return
	}
	fmt.Fprintf(f, "%s.%s.(secret)", tokenVersion, letters.EncodeToString(t.Pin[:]))
}

func newSecret() string {
	b := make([]byte, secretBytes)
	_, _ = rand.Read(b) // never fails
	return letters.EncodeToString(b)
}

// parseSecret checks a secret. Its error has no part of it.
func parseSecret(s string) (string, error) {
	s = strings.ToUpper(strings.TrimSpace(s))
	b, err := letters.DecodeString(s)
	switch {
	case err != nil || letters.EncodeToString(b) != s:
		return "", errors.New("is damaged")
	case len(b) < leastSecret:
		return "", errors.New("is too short: a part of it is missing")
	case len(b) > mostSecret:
		return "", errors.New("is too long")
	}
	return s, nil
}

// Client is for connections to the server whose authority the token names.
// What the handshake then fails with is a program.Problem that tells apart: a
// certificate that is not in force any more or not yet, and another authority.
func (t Token) Client() *tls.Config { return t.client(time.Now) }

func (t Token) client(now func() time.Time) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// Names and the machine's authorities are not asked: the pin decides, below.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			return t.verify(s.PeerCertificates, now())
		},
	}
}

// verify checks a server's chain: its own certificate first.
func (t Token) verify(chain []*x509.Certificate, now time.Time) error {
	refuse := func(cause, remedy string) error {
		return &program.Problem{Kind: program.KindPermission, Rack: -1, Op: "verify the server", Cause: cause, Remedy: remedy}
	}
	if len(chain) == 0 {
		return refuse("it shows no certificate", "what answers at this address may be another server")
	}
	relay := relayProof(chain[0])
	if relay != nil && !hmac.Equal(relay, proof(t.Secret, chain[0])) {
		return refuse("it is a relay that has another join token", "give both the token that `myriad token` prints where the coordinator runs")
	}
	var ca *x509.Certificate
	for _, c := range chain {
		if sum := sha256.Sum256(c.Raw); bytes.Equal(sum[:], t.Pin[:]) {
			ca = c
		}
	}
	if relay != nil {
		ca = chain[0] // it speaks for itself, with the secret
	} else if ca == nil || len(chain) < 2 {
		return refuse("it belongs to another authority than the one in the join token",
			"if its authority was made anew, take the new token from `myriad token` there; if not, what answers at this address is another server")
	}
	for _, c := range []*x509.Certificate{ca, chain[0]} {
		what := "its certificate"
		if c == ca && relay == nil {
			what = "the certificate of its authority"
		}
		if ahead := c.NotBefore.Sub(now); ahead > 0 {
			return refuse(fmt.Sprintf("%s begins %s from now by this machine's clock (%s): the clocks are apart by at least that", what, roughly(ahead), stamp(now)),
				"set the clock of this machine, or of the server")
		}
		if ago := now.Sub(c.NotAfter); ago > 0 {
			return refuse(fmt.Sprintf("%s ended %s ago by this machine's clock (%s)", what, roughly(ago), stamp(now)),
				"set this machine's clock if it is ahead; else run `myriad init --renew` where the server is")
		}
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: pool(ca), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		return refuse("its certificate is not one that its authority made: "+err.Error(), "what answers at this address may be another server")
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// roughly writes a duration as people say it.
func roughly(d time.Duration) string {
	switch day := 24 * time.Hour; {
	case d >= 2*day:
		return fmt.Sprintf("%d days", d/day)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
	return fmt.Sprintf("%d seconds", d/time.Second)
}
