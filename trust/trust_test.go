package trust

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"myriad/program"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func kind(err error) program.Kind {
	var p *program.Problem
	if !errors.As(err, &p) || p.Op == "" || p.Cause == "" || p.Remedy == "" {
		return 255 // not as a person needs it
	}
	return p.Kind
}

// meet is one handshake; it gives what the client thinks of it.
func meet(server, client *tls.Config) error {
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		return err
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			_ = c.(*tls.Conn).Handshake()
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), client)
	if err == nil {
		_ = c.Close()
	}
	return err
}

func TestInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trust")
	if _, err := Load(dir); kind(err) != program.KindNotFound {
		t.Errorf("before: %v", err)
	}
	a, err := Init(dir, []string{"head.example.org", "192.0.2.7"})
	must(t, err)
	for _, h := range []string{"head.example.org", "192.0.2.7", "localhost", "127.0.0.1", "::1"} {
		if !slices.Contains(a.Hosts(), h) {
			t.Errorf("the certificate is not for %s: %q", h, a.Hosts())
		}
	}
	files := contents(t, dir)
	for _, again := range []func() (*Authority, error){
		func() (*Authority, error) { return Init(dir, nil) },
		func() (*Authority, error) { return Init(dir, []string{"192.0.2.7"}) },
		func() (*Authority, error) { return Load(dir) },
	} {
		b, err := again()
		must(t, err)
		if b.Token() != a.Token() || !equal(contents(t, dir), files) {
			t.Error("made anew what was there")
		}
		must(t, meet(b.Server(), a.Token().Client()))
	}
	more, err := Init(dir, []string{"2001:db8::0001"})
	must(t, err)
	if h := more.Hosts(); !slices.Contains(h, "2001:db8::1") || !slices.Contains(h, "head.example.org") {
		t.Errorf("with another host: %q", h)
	}
	must(t, meet(more.Server(), a.Token().Client()))
	must(t, meet(a.Server(), a.Token().Client()))
	if !slices.Equal(a.Hosts(), more.Hosts()) {
		t.Error("a server that runs does not take the new certificate")
	}

	old := a.Token()
	must(t, a.Rotate())
	if a.Token().Pin != old.Pin || a.Token().Secret == old.Secret {
		t.Error("rotated what it should not, or not what it should")
	}
	if b, err := Load(dir); err != nil || b.Token() != a.Token() {
		t.Errorf("the new secret is not kept: %v", err)
	}
	_, before := a.Ends()
	a.now = func() time.Time { return time.Now().Add(time.Hour) }
	must(t, a.Renew())
	if _, after := a.Ends(); !after.After(before) {
		t.Errorf("renewed from %v to %v", before, after)
	}
	info, err := os.Stat(dir)
	must(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("%s is open to others: %v", dir, info.Mode())
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s is open to others: %v, %v", e.Name(), info.Mode(), err)
		}
	}
	if len(entries) != 3 {
		t.Errorf("%d files are left", len(entries))
	}
	_, err = Init(dir, []string{"ok.example", "a b", "", "x:80", "-x", "fe80::1%eth0"})
	if kind(err) != program.KindInvalid || strings.Count(err.Error(), `"`) != 10 {
		t.Errorf("hosts that are none: %v", err)
	}
}

func contents(t *testing.T, dir string) map[string]string {
	all := map[string]string{}
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		must(t, err)
		all[e.Name()] = string(b)
	}
	return all
}

func equal(a, b map[string]string) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// TestInitInterrupted: what a killed Init left is completed; what is lost or
// broken is refused, and nothing touched.
func TestInitInterrupted(t *testing.T) {
	whole := t.TempDir()
	_, err := Init(whole, nil)
	must(t, err)
	other := t.TempDir()
	_, err = Init(other, nil)
	must(t, err)
	foreign, err := os.ReadFile(filepath.Join(other, serverFile))
	must(t, err)
	for _, tt := range []struct {
		name   string
		remove []string
		write  map[string]string
		ok     bool
	}{
		{"killed after the first", []string{secretFile, serverFile}, nil, true},
		{"killed after the second", []string{serverFile}, nil, true},
		{"authority lost", []string{caFile}, nil, false},
		{"all but the secret lost", []string{caFile, serverFile}, nil, false},
		{"secret lost", []string{secretFile}, nil, false},
		{"authority cut", nil, map[string]string{caFile: "-----BEGIN CERT"}, false},
		{"authority empty", nil, map[string]string{caFile: ""}, false},
		{"secret empty", nil, map[string]string{secretFile: "\n"}, false},
		{"secret cut", nil, map[string]string{secretFile: "ABCDEFGH\n"}, false},
		{"certificate cut", nil, map[string]string{serverFile: string(foreign[:200])}, false},
		{"certificate of another authority", nil, map[string]string{serverFile: string(foreign)}, false},
		{"a server's certificate as authority", nil, map[string]string{caFile: string(foreign)}, false},
	} {
		dir := t.TempDir()
		must(t, os.CopyFS(filepath.Join(dir, "t"), os.DirFS(whole)))
		dir = filepath.Join(dir, "t")
		for _, f := range tt.remove {
			must(t, os.Remove(filepath.Join(dir, f)))
		}
		for f, text := range tt.write {
			must(t, os.WriteFile(filepath.Join(dir, f), []byte(text), 0o600))
		}
		before := contents(t, dir)
		a, err := Init(dir, nil)
		if tt.ok {
			must(t, err)
			must(t, meet(a.Server(), a.Token().Client()))
			for f, text := range before {
				if contents(t, dir)[f] != text {
					t.Errorf("%s: %s is another now", tt.name, f)
				}
			}
			continue
		}
		if kind(err) != program.KindConflict || !equal(contents(t, dir), before) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if _, err := Load(dir); kind(err) != program.KindConflict || !equal(contents(t, dir), before) {
			t.Errorf("%s, loading: %v", tt.name, err)
		}
	}
	if os.Getuid() != 0 {
		_, err := Init("/proc/nowhere", nil)
		if kind(err) == 255 {
			t.Errorf("where nothing can be made: %v", err)
		}
	}
}

// TestInitTogether: of several at once, all have the same.
func TestInitTogether(t *testing.T) {
	dir := t.TempDir()
	tokens := make([]string, 8)
	var work sync.WaitGroup
	for i := range tokens {
		work.Go(func() {
			a, err := Init(dir, []string{fmt.Sprintf("h%d", i)})
			if err != nil {
				t.Error(err)
				return
			}
			tokens[i] = a.Token().String()
		})
	}
	work.Wait()
	if slices.Sort(tokens); tokens[0] != tokens[7] {
		t.Error("two authorities were made")
	}
	a, err := Load(dir)
	must(t, err)
	for i := range tokens {
		if h := fmt.Sprintf("h%d", i); !slices.Contains(a.Hosts(), h) {
			t.Errorf("%s is lost of %q", h, a.Hosts())
		}
	}
}

func at(offset time.Duration) func() time.Time {
	return func() time.Time { return time.Now().Add(offset) }
}

// TestClocks: what a client says of a server whose certificate is not in
// force, or whose clock is another.
func TestClocks(t *testing.T) {
	const day = 24 * time.Hour
	a, err := Init(t.TempDir(), nil)
	must(t, err)
	for _, tt := range []struct {
		client time.Duration // ahead of the server
		want   []string      // nil: it connects
	}{
		{0, nil},
		{-47 * time.Hour, nil},
		{364 * day, nil},
		{-49 * time.Hour, []string{"begins", "59 minutes from now", "clocks are apart"}},
		{-1000 * day, []string{"begins 99", "days from now", "clocks are apart"}},
		{366*day + 2*time.Hour, []string{"its certificate ended", "ago", "--renew"}},
		{400 * day, []string{"its certificate ended 3", "days ago", "--renew"}},
		{11 * 366 * day, []string{"authority ended"}},
	} {
		err := meet(a.Server(), a.Token().client(at(tt.client)))
		if (err == nil) != (tt.want == nil) || err != nil && kind(err) != program.KindPermission {
			t.Errorf("client ahead by %v: %v", tt.client, err)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("client ahead by %v: %v, without %q", tt.client, err, want)
			}
		}
	}
}

// TestRenewed: a server that runs renews its certificate in the last third,
// and no sooner, whatever the disk says to it.
func TestRenewed(t *testing.T) {
	const day = 24 * time.Hour
	a, err := Init(t.TempDir(), []string{"keep.example"})
	must(t, err)
	server := a.Server()
	first := a.server.cert.SerialNumber
	a.now = at(200 * day)
	must(t, meet(server, a.Token().client(a.now)))
	if a.server.cert.SerialNumber.Cmp(first) != 0 {
		t.Error("renewed too early")
	}
	a.now = at(300 * day)
	var failed []error
	a.Failed = func(err error) { failed = append(failed, err) }
	must(t, os.Rename(a.dir, a.dir+"-gone"))
	must(t, meet(server, a.Token().client(a.now)))
	must(t, meet(server, a.Token().client(a.now)))
	if len(failed) != 1 || !strings.Contains(failed[0].Error(), "renew the server's certificate, which ends on 20") {
		t.Errorf("it fails, and says: %v", failed)
	}
	must(t, os.Rename(a.dir+"-gone", a.dir))
	a.now = at(300*day + 2*renewRetry)
	must(t, meet(server, a.Token().client(at(600*day))))
	if a.server.cert.SerialNumber.Cmp(first) == 0 || !slices.Contains(a.Hosts(), "keep.example") {
		t.Errorf("not renewed, or for others: %q", a.Hosts())
	}
	if b, err := Load(a.dir); err != nil || b.server.cert.SerialNumber.Cmp(a.server.cert.SerialNumber) != 0 {
		t.Errorf("the renewed one is not kept: %v", err)
	}
	// At the end of the authority's time there is nothing to gain.
	a.now = at(10*365*day - 3*day)
	must(t, meet(server, a.Token().client(a.now)))
	last := a.server.cert.SerialNumber
	must(t, meet(server, a.Token().client(a.now)))
	if a.server.cert.SerialNumber.Cmp(last) != 0 || a.server.cert.NotAfter.After(a.ca.cert.NotAfter) {
		t.Error("renewed for nothing, or for longer than its authority")
	}
}

// TestOthers: nobody but the authority in the token is believed.
func TestOthers(t *testing.T) {
	a, err := Init(t.TempDir(), nil)
	must(t, err)
	b, err := Init(t.TempDir(), nil)
	must(t, err)
	show := func(key any, chain ...[]byte) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{{Certificate: chain, PrivateKey: key}}}
	}
	for name, server := range map[string]*tls.Config{
		"another authority":            b.Server(),
		"another's, with our root":     show(b.server.key, b.server.cert.Raw, a.ca.cert.Raw),
		"without its root":             show(a.server.key, a.server.cert.Raw),
		"the root alone, without key":  show(b.ca.key, a.ca.cert.Raw),
		"our certificate, another key": show(b.server.key, a.server.cert.Raw, a.ca.cert.Raw),
	} {
		if err := meet(server, a.Token().Client()); err == nil {
			t.Errorf("%s is believed", name)
		}
	}
	if err := meet(b.Server(), a.Token().Client()); kind(err) != program.KindPermission || !strings.Contains(err.Error(), "another authority") {
		t.Errorf("another authority: %v", err)
	}
	old := a.Server()
	old.MaxVersion, old.MinVersion = tls.VersionTLS12, tls.VersionTLS12
	if meet(old, a.Token().Client()) == nil {
		t.Error("TLS 1.2 is spoken")
	}
}

func TestToken(t *testing.T) {
	a, err := Init(t.TempDir(), nil)
	must(t, err)
	token := a.Token()
	text := token.String()
	for _, s := range []string{text, " " + text + "\n", strings.Replace(strings.ToLower(text), "myriad1", "myriad1", 1)} {
		if got, err := ParseToken(s); err != nil || got != token {
			t.Errorf("%q: %v", s, err)
		}
	}
	if strings.ContainsAny(text, " \"'$&/+=%:@") {
		t.Errorf("%s is not safe in a shell or URL", text)
	}
	for _, v := range []string{fmt.Sprintf("%v", token), fmt.Sprintf("%+v", token), fmt.Sprintf("%#v", token), fmt.Sprint(struct{ T Token }{token})} {
		if strings.Contains(v, token.Secret) {
			t.Errorf("%s shows the secret", v)
		}
	}
	if fmt.Sprintf("%s", token) != text {
		t.Error("asked for, the token is not shown")
	}
	pin := strings.Split(text, ".")[1]
	for _, tt := range []struct{ s, want string }{
		{"", "empty"},
		{" \n", "empty"},
		{"/root/token", "does not begin with myriad1."},
		{token.Secret, "does not begin with"},
		{"myriad2." + pin + "." + token.Secret, "another version"},
		{"myriad1." + pin, "has no secret"},
		{"myriad1." + pin[1:] + "." + token.Secret, "fingerprint is damaged"},
		{"myriad1." + pin + "1." + token.Secret, "fingerprint is damaged"},
		{"myriad1." + pin + "." + token.Secret[:8], "too short"},
		{"myriad1." + pin + "." + token.Secret + "!", "secret is damaged"},
		{"myriad1." + pin + "." + strings.Repeat(token.Secret, 5), "too long"},
	} {
		_, err := ParseToken(tt.s)
		if kind(err) != program.KindInvalid || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.s, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), token.Secret[:8]) {
			t.Errorf("%q: the error has the secret: %v", tt.s, err)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	t := Token{Secret: newSecret()}
	f.Add(t.String())
	f.Add("myriad1..")
	f.Add("myriad1." + strings.Repeat("A", 52) + "." + strings.Repeat("b", 26))
	f.Fuzz(func(t *testing.T, s string) {
		token, err := ParseToken(s)
		if err != nil {
			if _, secret, ok := strings.Cut(strings.TrimPrefix(s, "myriad1."), "."); ok && len(secret) > 20 && strings.Contains(err.Error(), secret) {
				t.Fatalf("the error shows the secret: %v", err)
			}
			return
		}
		if again, err := ParseToken(token.String()); err != nil || again != token {
			t.Fatalf("%q is read as %s, and that as %s, %v", s, token, again, err)
		}
	})
}

// FuzzParsePair: what is read as certificate and key is written the same.
func FuzzParsePair(f *testing.F) {
	ca, err := newCA(time.Now())
	must(f, err)
	f.Add(ca.encode())
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePair(b)
		if err != nil {
			return
		}
		again, err := parsePair(p.encode())
		if err != nil || !bytes.Equal(again.cert.Raw, p.cert.Raw) {
			t.Fatal(err)
		}
	})
}

func TestIdentity(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "machine")
	ids := make([]string, 8)
	var work sync.WaitGroup
	for i := range ids {
		work.Go(func() {
			var err error
			if ids[i], err = Identity(path); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	if slices.Sort(ids); ids[0] != ids[7] || len(ids[0]) != 32 {
		t.Errorf("identities %q", ids)
	}
	if other, err := Identity(filepath.Join(t.TempDir(), "machine")); err != nil || other == ids[0] {
		t.Errorf("two machines are %q, %v", other, err)
	}
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	for _, bad := range []string{"", "xyz", strings.Repeat("a", 31), strings.Repeat("g", 32)} {
		must(t, os.WriteFile(path, []byte(bad), 0o600))
		if _, err := Identity(path); kind(err) != program.KindConflict {
			t.Errorf("%q: %v", bad, err)
		}
		if b, _ := os.ReadFile(path); string(b) != bad {
			t.Error("a damaged identity is overwritten")
		}
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("files are left: %v", entries)
	}
}
