package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"myriad/bus"
	"myriad/daemon"
	"myriad/trust"
)

// tokenVariable is where a join token may be, besides a file.
const tokenVariable = "MYRIAD_TOKEN"

// joinFlags are how a process finds the bus, and is let in.
type joinFlags struct {
	url       string
	port      int // of URLs that have none; 0: the bus's
	token     string
	tokenFile string

	found, from string // the token, and where it was
}

// add adds the flags of a command that joins a bus of somebody else.
func (j *joinFlags) add(cmd *cobra.Command, usage string) {
	j.addURL(cmd, "join", "MYRIAD_JOIN", usage)
	j.addToken(cmd)
}

// addURL adds the flag of the URL, which may also be in the environment: it
// may have a password.
func (j *joinFlags) addURL(cmd *cobra.Command, flag, variable, usage string) {
	cmd.Flags().StringVar(&j.url, flag, os.Getenv(variable), usage+" ("+variable+")")
	cmd.Flag(flag).DefValue = "" // a password is not for --help
	mustComplete(cmd, flag)
}

func (j *joinFlags) addToken(cmd *cobra.Command) {
	cmd.Flags().StringVar(&j.tokenFile, "token-file", "", "file with the join token, 0600; - is standard input (else MYRIAD_TOKEN, or token in --state-dir)")
	cmd.Flags().StringVar(&j.token, "token", "", "the join token itself, which every user here can then read: --token-file is better")
	mustComplete(cmd, "token")
}

// remote says where to join and with what. What is wrong is added to faults.
func (j *joinFlags) remote(a *app, flag string, faults *faultList) bus.Remote {
	port := j.port
	if port == 0 {
		port = daemon.BusPort
	}
	urls, credentials := joinURLs(j.url, flag, port, faults)
	secure := !strings.HasPrefix(strings.TrimSpace(j.url), "nats:")
	j.found, j.from = j.findToken(a, faults)
	text, from := j.found, j.from
	r := bus.Remote{URL: urls}
	switch {
	case text == "" && secure && !credentials && from == "":
		faults.add("no join token: --token-file names a file with it, which \"myriad token\" prints on the coordinator's machine (%s is looked at, too)", a.tokenPath())
	case text == "":
	case !secure && urls != "":
		faults.add("a join token is for tls://, and would be read on the way to %s; nats:// is for a server of your own", redacted(urls))
	default:
		token, err := trust.ParseToken(text)
		if err != nil {
			faults.add("%s: %s", from, describe(err).Message)
			break
		}
		r.TLS, r.Secret = token.Client(), token.Secret
	}
	return r
}

// text is the token that remote has found, and where; both are empty if there
// is none.
func (j *joinFlags) text() (token, from string) { return j.found, j.from }

// tokenPath is where a token is looked for if nothing says where it is.
func (a *app) tokenPath() string { return filepath.Join(a.stateDir, "token") }

// findToken finds the join token, and says where; both are empty if there is
// none.
func (j *joinFlags) findToken(a *app, faults *faultList) (token, from string) {
	switch {
	case j.token != "" && j.tokenFile != "":
		faults.add("--token and --token-file contradict each other")
		return "", "--token"
	case j.token != "":
		return j.token, "--token"
	case j.tokenFile == "-":
		text, err := io.ReadAll(io.LimitReader(a.stdin, tokenMax))
		if err != nil {
			faults.add("read the join token: %v", err)
		}
		return strings.TrimSpace(string(text)), "standard input"
	case j.tokenFile != "":
		return readToken(j.tokenFile, faults), j.tokenFile
	case os.Getenv(tokenVariable) != "":
		return os.Getenv(tokenVariable), tokenVariable
	}
	if _, err := os.Stat(a.tokenPath()); err != nil {
		return "", ""
	}
	return readToken(a.tokenPath(), faults), a.tokenPath()
}

// tokenMax is more than any token has, in bytes.
const tokenMax = 4096

// readToken reads a file that nobody else may read.
func readToken(path string, faults *faultList) string {
	f, err := os.Open(path)
	if err != nil {
		faults.add("read the join token: %v", err)
		return ""
	}
	defer f.Close()
	if s, err := f.Stat(); err == nil && s.Mode().IsRegular() && s.Mode().Perm()&0o077 != 0 && !isCredential(path) {
		faults.add("others may read the join token in %s (mode %04o): chmod 600 %s", path, s.Mode().Perm(), quoted(path))
		return ""
	}
	text, err := io.ReadAll(io.LimitReader(f, tokenMax))
	if err != nil {
		faults.add("read the join token: %v", err)
	} else if len(strings.TrimSpace(string(text))) == 0 {
		faults.add("%s is empty, and should have a join token", path)
	}
	return strings.TrimSpace(string(text))
}

// isCredential says whether a file is one that the service manager keeps for
// this process alone, by means that its mode does not show (systemd.exec(5),
// LoadCredential).
func isCredential(path string) bool {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	return dir != "" && filepath.Dir(path) == filepath.Clean(dir)
}

// joinURLs completes URLs of a bus, separated by commas: HOST is
// tls://HOST:4222. It also says whether they bring credentials of their own.
func joinURLs(text, flag string, port int, faults *faultList) (urls string, credentials bool) {
	if strings.TrimSpace(text) == "" {
		faults.add("--%s is missing: the URL of the coordinator's bus, as tls://HOST:%d", flag, port)
		return "", false
	}
	var out []string
	scheme := ""
	for one := range strings.SplitSeq(text, ",") {
		one = strings.TrimSpace(one)
		if !strings.Contains(one, "://") {
			one = "tls://" + one
		}
		u, err := url.Parse(one)
		switch {
		case err != nil:
			faults.add("--%s: %q is no URL", flag, redacted(one))
			continue
		case u.Scheme != "tls" && u.Scheme != "nats":
			faults.add("--%s: %s: the scheme is tls, or nats for a server of your own, not %q", flag, u.Redacted(), u.Scheme)
			continue
		case u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
			faults.add("--%s: %s is not of the form tls://HOST:PORT", flag, u.Redacted())
			continue
		case scheme != "" && u.Scheme != scheme:
			faults.add("--%s: either all URLs are tls, or all are nats", flag)
			continue
		}
		if u.Port() == "" {
			u.Host = net.JoinHostPort(u.Hostname(), strconv.Itoa(port))
		}
		if n, err := strconv.Atoi(u.Port()); err != nil || n < 1 || n > 65535 {
			faults.add("--%s: %s: a port is 1 to 65535", flag, u.Redacted())
			continue
		}
		u.Path = ""
		scheme, credentials = u.Scheme, credentials || u.User != nil
		out = append(out, u.String())
	}
	return strings.Join(out, ","), credentials
}

// redacted hides the passwords of URLs.
func redacted(urls string) string { return daemon.Redacted(urls) }

// listenAddress completes an address to listen at: HOST, :PORT, HOST:PORT.
func listenAddress(text, flag string, port int, faults *faultList) string {
	if text == "" {
		return ""
	}
	host, number := text, strconv.Itoa(port)
	if h, n, err := net.SplitHostPort(text); err == nil {
		host, number = h, n
	} else if bare, ok := strings.CutPrefix(text, "["); ok {
		host = strings.TrimSuffix(bare, "]")
	}
	if n, err := strconv.Atoi(number); err != nil || n < 0 || n > 65535 {
		faults.add("--%s: %q: a port is 0 (any that is free) to 65535", flag, text)
		return ""
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && !hostName.MatchString(host) {
		faults.add("--%s: %q is no address: HOST:PORT, :PORT or HOST", flag, text)
		return ""
	}
	return net.JoinHostPort(host, number)
}

// hostName is a name of the domain name system (RFC 1123), or nearly.
var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*\.?$`)

// siteName is a name that a site may have.
var siteName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)

// checkSite refuses what is no name of a site; empty is none.
func checkSite(site string, faults *faultList) {
	if site != "" && !siteName.MatchString(site) {
		faults.add("--site: %q: a name of a site has up to 63 letters, digits, dots, dashes and underscores", site)
	}
}

// checkName refuses what is no name of a pnode; empty is the host's.
func checkName(name string, faults *faultList) {
	if name != "" && (!hostName.MatchString(name) || len(name) > 253) {
		faults.add("--name: %q: a name of a pnode is like one of a host", name)
	}
}

// underlayAddress reads an IPv4 address of this machine; empty is none.
func underlayAddress(text string, faults *faultList) netip.Addr {
	if text == "" {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || !addr.Is4() || addr.IsUnspecified() || addr.IsMulticast() {
		faults.add("--address: %q is no IPv4 address of this machine", text)
		return netip.Addr{}
	}
	if own := daemon.OwnAddresses(); carriers.needsRoot && !slices.Contains(own, addr) {
		faults.add("--address: this machine does not have %s; it has %s", addr, listed(own))
	}
	return addr
}

func listed(addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return "no IPv4 address"
	}
	words := make([]string, len(addrs))
	for i, a := range addrs {
		words[i] = a.String()
	}
	return strings.Join(words, ", ")
}

// faultList gathers what is wrong with a command line, so that all of it is
// told at once.
type faultList struct{ lines []string }

func (f *faultList) add(format string, args ...any) {
	f.lines = append(f.lines, fmt.Sprintf(format, args...))
}

// err is nil if nothing is wrong.
func (f *faultList) err(cmd *cobra.Command) error {
	if len(f.lines) == 0 {
		return nil
	}
	return usageError(cmd, "%s", strings.Join(f.lines, "\n"))
}
