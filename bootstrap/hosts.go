package bootstrap

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"myriad/nodeset"
	"myriad/program"
)

// maxHostsFile is the greatest length of a file of machines.
const maxHostsFile = 16 << 20

// Hosts gives the machines that an argument names: a node set, or a file with a
// name, or a node set, on each line. Without an argument they are those of the
// batch job that this process is in: of $OAR_NODEFILE, or $SLURM_JOB_NODELIST.
// Each is given once, in the order of its first mention.
func Hosts(argument string, getenv func(string) string) ([]string, error) {
	if argument == "" {
		return jobHosts(getenv)
	}
	if info, err := os.Stat(argument); err == nil && info.Mode().IsRegular() {
		return readHosts(argument)
	}
	return expand(argument, "--hosts")
}

// jobHosts finds the machines of a batch job. OAR's file has a line for each
// core, Slurm's list is a node set.
func jobHosts(getenv func(string) string) ([]string, error) {
	for _, name := range []string{"OAR_NODEFILE", "OAR_NODE_FILE"} {
		if file := getenv(name); file != "" {
			return readHosts(file)
		}
	}
	for _, name := range []string{"SLURM_JOB_NODELIST", "SLURM_NODELIST"} {
		if list := getenv(name); list != "" {
			return expand(list, "$"+name)
		}
	}
	return nil, &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "find machines", Cause: "none are named, and this is no job of OAR or Slurm",
		Remedy: "name them with --hosts, as a node set or a file"}
}

func readHosts(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > maxHostsFile {
		return nil, invalid(path, fmt.Sprintf("it has %d bytes", info.Size()), "a file of machines has at most 16 MB")
	}
	var out []string
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		hosts, err := expand(line, fmt.Sprintf("%s:%d", path, n))
		if err != nil {
			return nil, err
		}
		out = append(out, hosts...)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return once(out), nil
}

// expand gives the names of a node set. Addresses of IPv6 are taken as they
// are: their brackets are none of a node set.
func expand(expr, where string) ([]string, error) {
	if a, err := parseAddress(expr); err == nil && strings.Count(a.host, ":") > 1 {
		return []string{expr}, nil
	}
	set, err := nodeset.Parse(expr, nil)
	if err != nil {
		return nil, invalid(where, err.Error(), "write a node set such as node[1-20],gpu3")
	}
	if set.Len() > maxHosts {
		return nil, invalid(where, fmt.Sprintf("it names %d machines", set.Len()), fmt.Sprintf("name at most %d", maxHosts))
	}
	var out []string
	for name := range set.All() {
		out = append(out, name)
	}
	return out, nil
}

// maxHosts keeps a slip of the hand from becoming a million connections.
const maxHosts = 65536

func once(hosts []string) []string {
	seen := map[string]bool{}
	out := hosts[:0]
	for _, h := range hosts {
		if !seen[h] {
			seen[h] = true
			out = append(out, h)
		}
	}
	return out
}

func invalid(where, cause, remedy string) error {
	return &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "read machines of " + where, Cause: cause, Remedy: remedy}
}

// address is [user@]host[:port].
type address struct {
	user, host string
	port       int
}

// name is what the machine is called here.
func (a address) name() string {
	if a.port != 0 {
		return fmt.Sprintf("%s:%d", a.host, a.port)
	}
	return a.host
}

// pnode is what the machine is called as a pnode; empty: what it calls itself.
// Ports and addresses of IPv6 are in no name of a host.
func (a address) pnode() string {
	switch {
	case strings.Contains(a.host, ":"):
		return ""
	case a.port != 0:
		return fmt.Sprintf("%s-%d", a.host, a.port)
	}
	return a.host
}

func parseAddress(s string) (address, error) {
	var a address
	rest := s
	if user, after, ok := strings.Cut(s, "@"); ok {
		a.user, rest = user, after
		if user == "" {
			return a, fmt.Errorf("%q has no user before @", s)
		}
	}
	a.host = rest
	if host, port, err := net.SplitHostPort(rest); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return a, fmt.Errorf("%q has a colon and no port", s)
		}
		a.host, a.port = host, int(n)
	}
	a.host = strings.TrimSuffix(strings.TrimPrefix(a.host, "["), "]")
	if a.host == "" || strings.ContainsAny(a.host, " /\\'\"$`\n\t") || strings.HasPrefix(a.host, "-") {
		return a, fmt.Errorf("%q is no name of a machine", s)
	}
	return a, nil
}
