package nodeset_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"myriad/nodeset"
)

var (
	oracleN    = flag.Int("nodeset.n", 10_000, "how many random expressions to compare with ClusterShell")
	oracleSeed = flag.Uint64("nodeset.seed", 1, "seed of the random expressions")
)

// answer is what is compared of an expression.
type answer struct {
	Fold   string   `json:"fold"`
	Count  int      `json:"count"`
	First  []string `json:"first"`
	Digest string   `json:"digest"` // of all names in order
	Error  string   `json:"error"`
}

// TestOracle compares fold, order, count and refusal of random expressions
// with what ClusterShell says about them.
func TestOracle(t *testing.T) {
	n := *oracleN
	if testing.Short() {
		n = min(n, 500)
	}
	t.Logf("%d expressions, -nodeset.seed=%d", n, *oracleSeed)
	g := &generator{rand.New(rand.NewPCG(*oracleSeed, 2))}
	questions := make([][]string, n)
	for i := range questions {
		questions[i] = g.words()
	}
	compare(t, questions)
}

// TestOracleByHand puts the same questions about expressions that were chosen.
func TestOracleByHand(t *testing.T) {
	var questions [][]string
	for _, expr := range strings.Fields(`
		n1[1-20] n1[0-10/2] n0[1-20] n0[1-9] n00[1-9]5 n[0-10]0 n[0-5]0 n[00-10]5 n1[08-11]
		n[08,10-100] n[08-09,11-100] n[08,10,99,100] n[08,10,12-100] n[1,3,01,03-12] n[8-10,09] n[099-101,99]
		n[5/1] n[5/2] n[1-5/0] n[1-5/] n[1-5/00002] n[1-] n[] n[1,] n[,1] n[1-9/2/2]
		n[1-2]3[4-5] n[1-2][3-4] n[1-2]a[3-4] n] n[1 n[1]] n[[1]] a[1]b]c[2]
		n[1,01] n[0-00] n[00-0] n[010-20] n[5-1] n[1-000000000001]
		a, ,a a,,b a!! a!b! !a ^ a&b&c
		a%b,a%%b %s,%1 %[1-2]% é[1-2] a/b[1-2]/c 5 [1-3] 0 00
		r[1-3]n[1-3]!r2n2 r[1-10]n[1-10]!r[2-3]n[5-6],r4n4 r10n1,r9n1,r9n2,r10n2,r8n3
		a1b1,a2b2,a3b3,a1b2 a[1-2]b[1-2]!a[1-2]b[1-2] a[1-4]b[1-4]^a[2-3]b[2-3]^a[1-4]b2
		a[1-3]b[1-3]c[1-3]!a2b2c2 a[01-03]b[1-3]!a02b[1-2],a2b1 a[9-11]b[9-11]!a10b10
		@rack1 @rack[1-2] @*!@rack1 @gpu:all @gpu:all&@rack1 @@ @@gpu @gpu:* @odd^@rack1 @nest
		n* n1* *[1-2] n?? n??* *-ib *x* n[1-3]*&@rack1 * ?
	`) {
		questions = append(questions, []string{expr})
	}
	for _, expr := range []string{"", " ", " a ", "a , b", "a ! b", "n[ 1 , 3 - 5 / 2 ]", "a ,", "n[1 2]", "n[1- 3]", "a\t,\nb"} {
		questions = append(questions, []string{expr})
	}
	compare(t, questions)
}

// compare asks both about each list of words, which are separated by blanks.
func compare(t *testing.T, questions [][]string) {
	t.Helper()
	want := askOracle(t, questions)
	r := oracleGroups()
	refused, bad := 0, 0
	for i, words := range questions {
		got := ask(strings.Join(words, " "), r)
		if (got.Error == "") != (want[i].Error == "") || got.Fold != want[i].Fold || got.Count != want[i].Count || got.Digest != want[i].Digest {
			t.Errorf("%q:\n got %+v\nwant %+v", words, got, want[i])
			if bad++; bad == 10 {
				t.Fatal("and so on")
			}
		}
		if got.Error != "" {
			refused++
		}
	}
	t.Logf("%d of them are refused by both", refused)
}

// ask is the answer of this package.
func ask(expr string, r nodeset.Resolver) answer {
	s, err := nodeset.Parse(expr, r)
	if err != nil {
		return answer{Error: err.Error()}
	}
	names := slices.Collect(s.All())
	sum := sha256.Sum256([]byte(strings.Join(names, "\n")))
	return answer{
		Fold:   s.String(),
		Count:  s.Len(),
		First:  names[:min(10, len(names))],
		Digest: hex.EncodeToString(sum[:]),
	}
}

// askOracle is the answers of ClusterShell, from one process.
func askOracle(t *testing.T, questions [][]string) []answer {
	t.Helper()
	const python = "/usr/bin/python3" // Debian's own, which has its modules
	if out, err := exec.Command(python, "-c", "import ClusterShell.NodeSet").CombinedOutput(); err != nil {
		lack := t.Skipf
		if os.Getenv("MYRIAD_MUST_RUN") == "1" {
			lack = t.Fatalf
		}
		lack("needs ClusterShell (apt install clustershell): %v %s", err, bytes.TrimSpace(out))
	}
	var in bytes.Buffer
	enc := json.NewEncoder(&in)
	if err := enc.Encode(oracleTable); err != nil {
		t.Fatal(err)
	}
	for _, words := range questions {
		if err := enc.Encode(words); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, "testdata/oracle.py")
	cmd.Stdin, cmd.Stderr = &in, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	answers := make([]answer, 0, len(questions))
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var a answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, a)
	}
	if len(answers) != len(questions) {
		t.Fatalf("the oracle gave %d answers to %d questions", len(answers), len(questions))
	}
	return answers
}

// oracleTable is the groups that both know, by source.
var oracleTable = map[string]map[string]string{
	"": {
		"rack1": "n[1-20]",
		"rack2": "n[21-30],login",
		"odd":   "n[1-29/2]",
		"wide":  "r[1-3]n[01-04]",
		"ib":    "n[01-12]-ib,r[1-3]n[1-2]-ib!r2n2-ib",
		"nest":  "@rack[1-2]!@odd",
	},
	"gpu": {
		"all": "n[5-9],r1n[01-02]",
		"big": "n[7-8]",
	},
}

var errNoGroup = errors.New("no such group")

// tableResolver answers from expressions, as they are in oracleTable.
type tableResolver map[string]map[string]string

func oracleGroups() nodeset.Resolver { return tableResolver(oracleTable) }

func (r tableResolver) Group(source, name string) (*nodeset.Set, error) {
	expr, ok := r[source][name]
	if !ok {
		return nil, errNoGroup
	}
	return nodeset.Parse(expr, r)
}

func (r tableResolver) Groups(source string) (names []string, _ error) {
	for name := range r[source] {
		names = append(names, name)
	}
	return names, nil
}

func (r tableResolver) All(source string) (*nodeset.Set, error) {
	var all *nodeset.Set
	for name := range r[source] {
		s, err := r.Group(source, name)
		if err != nil {
			return nil, err
		}
		all = nodeset.Union(all, s)
	}
	return all, nil
}
