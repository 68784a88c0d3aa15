package graphml

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// maxName is how long the name of a router gets: the names of vnetworks are
// made of two of them, and have at most 63 characters.
const maxName = 28

// latin spells letters beyond ASCII in ASCII.
var latin = func() map[rune]string {
	out := map[rune]string{}
	for letters := range strings.FieldsSeq(`
		àáâãäåāăąǎ:a çćĉċč:c ďđð:d èéêëēĕėęě:e ĝğġģ:g ĥħ:h ìíîïĩīĭįıǐ:i ĵ:j ķ:k ĺļľŀł:l ñńņňŋ:n òóôõöøōŏőǒ:o
		ŕŗř:r śŝşšș:s ţťŧț:t ùúûüũūŭůűųǔ:u ŵ:w ýÿŷ:y źżž:z ß:ss æ:ae œ:oe þ:th
		аа:a б:b в:v г:g ґ:g д:d еэё:e є:ye ж:zh з:z иі:i йы:y ї:yi к:k л:l м:m н:n о:o п:p р:r с:s т:t у:u ф:f х:kh ц:ts ч:ch ш:sh щ:shch ю:yu я:ya
		α:a β:v γ:g δ:d ε:e ζ:z η:i θ:th ι:i κ:k λ:l μ:m ν:n ξ:x ο:o π:p ρ:r σς:s τ:t υ:y φ:f χ:ch ψ:ps ω:o
		ά:a έ:e ή:i ί:i ό:o ύ:y ώ:o`) {
		from, to, _ := strings.Cut(letters, ":")
		for _, r := range from {
			out[r] = to
		}
	}
	return out
}()

// plainName spells a label with a-z, 0-9 and single -; what nothing can be
// made of is "".
func plainName(label string) string {
	var b strings.Builder
	gap := false
	for _, r := range strings.ToLower(label) {
		s, ok := latin[r]
		switch {
		case ok:
		case 'a' <= r && r <= 'z' || '0' <= r && r <= '9':
			s = string(r)
		case r == '\'' || r == '’' || r == '.' || r == 'ь' || r == 'ъ' || 0x300 <= r && r <= 0x36f: // St. John's; accents by themselves
			continue
		default:
			gap = b.Len() > 0
			continue
		}
		if gap {
			b.WriteByte('-')
			gap = false
		}
		b.WriteString(s)
		if b.Len() > 4*maxName {
			break
		}
	}
	return b.String()
}

// hostLike are names that a router's hosts may have.
var hostLike = regexp.MustCompile(`-h[0-9]+$`)

// namer gives routers names that are different, and stay the same as long as
// what stands before them in the file does.
type namer struct {
	used map[string]bool
	last map[string]int // by name: the greatest number that was added to it
}

// name gives a name made of the first of some texts that any can be made of.
func (n *namer) name(texts ...string) string {
	base := ""
	for _, s := range texts {
		if base = plainName(s); base != "" {
			break
		}
	}
	if base == "" || base[0] <= '9' || base == "localhost" || base == "default" {
		base = strings.TrimSuffix("n-"+base, "-")
	}
	if len(base) > maxName {
		base = strings.TrimRight(base[:maxName], "-")
	}
	if hostLike.MatchString(base) {
		base = base[:min(len(base), maxName-2)] + "-r"
	}
	name := base
	for i := max(2, n.last[base]+1); n.used[name]; i++ {
		suffix := "-" + strconv.Itoa(i)
		name = strings.TrimRight(base[:min(len(base), maxName-len(suffix))], "-") + suffix
		n.last[base] = i
	}
	n.used[name] = true
	return name
}

// linkName names the vnetwork between two routers: no router's name has two -
// side by side, so it is nobody else's.
func linkName(a, b string, nth int) string {
	if nth > 1 {
		return fmt.Sprintf("%s--%s--%d", a, b, nth)
	}
	return a + "--" + b
}

// platformPattern keeps a platform's name to what topology files allow.
func platformName(options ...string) string {
	for _, s := range options {
		s = plainName(strings.TrimSuffix(s[strings.LastIndexByte(s, '/')+1:], ".graphml"))
		if s != "" {
			return strings.TrimRight(s[:min(len(s), 63)], "-")
		}
	}
	return "imported"
}
