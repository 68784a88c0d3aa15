package topo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// MaxSize is how large a topology file may be. Node sets say a million vnodes
// in a line, so a larger one is a mistake, or an attack.
const MaxSize = 16 << 20

// document turns bytes into the one node at the root of the file. It deals
// with everything that can be wrong before the first field is looked at, and
// reports one problem if there is one: the rest would only be its echo.
func (ps *problems) document(src []byte) (*yaml.Node, bool) {
	if len(src) > MaxSize {
		ps.report(&place{line: 1, column: 1}, "describe many vnodes by one node set, such as peer[1-40000]",
			"the file has %d MB, more than the limit of %d MB", (len(src)+1<<20-1)>>20, MaxSize>>20)
		return nil, false
	}
	if i, what := notText(src); i >= 0 {
		ps.report(position(src, i), "write YAML or JSON, in UTF-8", "the file is not text: it has %s", what)
		return nil, false
	}
	src = plainSlashes(src)
	root, err := decode(src)
	if err != nil {
		ps.syntax(src, err)
		return nil, false
	}
	if root == nil {
		ps.report(&place{line: 1, column: 1}, "begin with a line such as platform: mine", "the file is empty")
		return nil, false
	}
	if !ps.plain(root) {
		return nil, false
	}
	return root, true
}

// notText gives the offset of the first byte that no text has, and says what
// it is; the offset is -1 if there is none.
func notText(src []byte) (int, string) {
	for i := 0; i < len(src); {
		c := src[i]
		switch {
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRune(src[i:])
			if r == utf8.RuneError && n == 1 {
				return i, "a byte that is not UTF-8"
			}
			i += n
			continue
		case c == 0:
			return i, "a NUL byte"
		case c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f:
			return i, "a control character"
		}
		i++
	}
	return -1, ""
}

// plainSlashes undoes an escape of JSON that the YAML library does not know:
// some programs write 10.1.0.0\/16.
func plainSlashes(src []byte) []byte {
	if !bytes.Contains(src, []byte(`\/`)) || !json.Valid(src) {
		return src
	}
	out := make([]byte, 0, len(src))
	for i := 0; i < len(src); i++ {
		if src[i] == '\\' { // in JSON that is valid, something follows
			if i++; src[i] != '/' {
				out = append(out, '\\')
			}
		}
		out = append(out, src[i])
	}
	return out
}

// position is the place of the byte at offset i. What stands before it on its
// line is known to be UTF-8.
func position(src []byte, i int) *place {
	start := bytes.LastIndexByte(src[:i], '\n') + 1
	return &place{line: 1 + bytes.Count(src[:i], []byte("\n")), column: 1 + utf8.RuneCount(src[start:i])}
}

// errTwoDocuments is reported at the second document's node.
type errTwoDocuments struct{ second *yaml.Node }

func (errTwoDocuments) Error() string { return "the file holds a second YAML document" }

// decode reads the only document of src; it gives nil if there is none. The
// YAML library is not let to panic: a bug of it is an error like any other.
func decode(src []byte) (root *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			root, err = nil, fmt.Errorf("the YAML library gives up: %v", r)
		}
	}()
	d := yaml.NewDecoder(bytes.NewReader(src))
	var doc, second yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, err
	}
	switch err := d.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		return nil, err
	default:
		return nil, errTwoDocuments{&second}
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, nil
	}
	if n := doc.Content[0]; !isNull(n) {
		return n, nil
	}
	return nil, nil
}

// isNull says whether n holds no value at all, as after "seed:".
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// plain says whether the file keeps to the values that JSON has. What YAML
// can do beyond them is not for topology files: anchors and aliases are the
// stuff of YAML bombs, and node sets do better what they are good for.
func (ps *problems) plain(root *yaml.Node) bool {
	var first *yaml.Node // in the order of the file
	count := 0
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		if what, _ := beyond(n); what != "" {
			if count++; first == nil {
				first = n
			}
		}
		for _, c := range n.Content { // of an alias: none
			walk(c)
		}
	}
	if walk(root); first == nil {
		return true
	}
	what, remedy := beyond(first)
	if count > 1 {
		what += fmt.Sprintf(", the first of %d such things,", count)
	}
	ps.report(&place{line: first.Line, column: first.Column}, remedy, "%s is not supported", what)
	return false
}

// beyond names what n has that JSON has not, and what to write instead.
func beyond(n *yaml.Node) (what, remedy string) {
	switch {
	case n.Kind == yaml.AliasNode:
		return "the alias *" + clip(n.Value), "write the value itself; if * is a wildcard of a node set, put the set in quotes"
	case n.Anchor != "":
		return "the anchor &" + clip(n.Anchor), "write the value out where it is needed; if & belongs to a node set, put the set in quotes"
	case n.Kind == yaml.ScalarNode && n.Tag == "!!merge":
		return "the merge key <<", "write the fields out; one node set gives the same fields to many vnodes"
	case n.Style&yaml.TaggedStyle != 0:
		return "the tag " + clip(n.Tag), "remove it; if ! belongs to a node set, put the set in quotes"
	}
	return "", ""
}

// yamlError is how the YAML library says where and what.
var yamlError = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(.*)$`)

// yamlAnchor is the one error that comes without a line although it has one.
var yamlAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)

// Errors of the library's grammar give lines from 0, or if they are in the
// first line none, and those of a block give the line where the block begins;
// those of its scanner give lines from 1.
var (
	yamlBlock   = regexp.MustCompile(`^did not find expected (key|'-' indicator)$`)
	yamlGrammar = regexp.MustCompile(`^did not find expected ('|<|key$|node content$)|^found (undefined tag handle|duplicate %|incompatible)`)
)

// syntax reports what the YAML library says of a file that it cannot read.
func (ps *problems) syntax(src []byte, err error) {
	var two errTwoDocuments
	if errors.As(err, &two) {
		p := &place{line: two.second.Line, column: two.second.Column}
		ps.report(p, "a file describes one platform; put the other in a file of its own", "%s", two)
		return
	}
	m := yamlError.FindStringSubmatch(strings.ReplaceAll(err.Error(), "\n", " "))
	msg := m[2]
	line, _ := strconv.Atoi(m[1])
	switch {
	case yamlBlock.MatchString(msg):
		line = firstUnreadable(src, msg, line)
	case yamlGrammar.MatchString(msg):
		line++
	}
	p := &place{line: max(line, 1), column: 1}
	text := lineOf(src, p.line)
	p.column += len(text) - len(strings.TrimLeft(text, " "))
	remedy := "check the indentation and the brackets; put node sets in quotes where they begin with @ & * ! or stand between { and }"
	switch m := yamlAnchor.FindStringSubmatch(msg); {
	case m != nil:
		if i := bytes.Index(src, []byte("*"+m[1])); i >= 0 {
			p = position(src, i)
		}
		remedy = "if * is a wildcard of a node set, put the set in quotes"
	case strings.Contains(msg, "exceeded max depth"):
		remedy = "no value of a topology file is nested so deeply"
	case strings.HasPrefix(strings.TrimLeft(text, " "), "\t"):
		remedy = "indent with spaces: YAML does not take tabs"
	case strings.Contains(msg, "cannot start any token") && strings.Contains(text, "@"):
		p.column = 1 + utf8.RuneCountInString(text[:strings.IndexByte(text, '@')])
		remedy = "put node sets that begin with @ in quotes"
	}
	ps.report(p, remedy, "not readable as YAML: %s", msg)
}

// firstUnreadable gives the first line of src that the YAML library does not
// get past; begin is where it thinks that the trouble begins.
func firstUnreadable(src []byte, msg string, begin int) int {
	lines := bytes.SplitAfter(src, []byte("\n"))
	if len(src) > 1<<18 {
		return begin + 1 // not worth reading it twenty times
	}
	return 1 + sort.Search(len(lines)-1, func(i int) bool {
		_, err := decode(bytes.Join(lines[:i+1], nil))
		return err != nil && strings.HasSuffix(err.Error(), msg)
	})
}

// lineOf is the text of a line, counted from 1.
func lineOf(src []byte, line int) string {
	for ; line > 1; line-- {
		_, src, _ = bytes.Cut(src, []byte("\n"))
	}
	text, _, _ := bytes.Cut(src, []byte("\n"))
	return string(text)
}
