package daemon

import (
	"net/url"
	"strings"
)

// BusPort is where agents join if nothing else is said, and LeafPort where
// relays do (both TCP).
const (
	BusPort  = 4222
	LeafPort = 7422
)

// Redacted hides the passwords of URLs, which are separated by commas.
func Redacted(urls string) string {
	var out []string
	for one := range strings.SplitSeq(urls, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		switch {
		case err != nil && strings.Contains(one, "@"):
			one = "…@" + one[strings.LastIndex(one, "@")+1:]
		case err == nil && u.User != nil:
			u.User = url.User("…")
			one = strings.Replace(u.String(), url.User("…").String(), "…", 1)
		}
		out = append(out, one)
	}
	return strings.Join(out, ",")
}
