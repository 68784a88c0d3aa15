package myriad_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "myriad/"

// tableRow is a row of the table of packages in ARCHITECTURE.md: a package and
// the packages of this module that it may import.
var tableRow = regexp.MustCompile("(?m)^\\| `([a-z/]+)` \\|.*\\| ([^|]*) \\|$")

// remark is what a row says of an import beside its name.
var remark = regexp.MustCompile(`\([^)]*\)`)

// layers gives that table. "any" stands for any.
func layers(t *testing.T) map[string][]string {
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	table := map[string][]string{".": nil}
	for _, row := range tableRow.FindAllStringSubmatch(string(text), -1) {
		var may []string
		for name := range strings.SplitSeq(remark.ReplaceAllString(row[2], ""), ",") {
			may = append(may, strings.TrimSpace(name))
		}
		table[row[1]] = may
	}
	return table
}

// only says which package alone may import something, or call it, and why.
var only = []struct {
	what   string // import path prefix, or package.Function
	by     []string
	reason string
}{
	{"github.com/nats-io/", []string{"bus"}, "the bus can be replaced in one place"},
	{"go.yaml.in/yaml/", []string{"topo"}, "one file format, parsed in one place"},
	{"github.com/cilium/ebpf", []string{"kernel/fabric", "kernel"}, "programs and maps are the fabric's"},
	{"github.com/cilium/ebpf/", []string{"kernel/fabric", "kernel"}, "programs and maps are the fabric's"},
	{"github.com/spf13/cobra", []string{"cmd/myriad"}, "libraries have no command line"},
	{"testing", []string{"kernel/kerneltest"}, "no test code in the product"},
	{"runtime.LockOSThread", []string{"kernel/netns"}, "namespaces are per thread, and a lock forgotten is a thread in the wrong one"},
}

// TestLayers reads the sources itself rather than run "go list": the test
// cache knows the files that a test opens, not those that a child process
// opens, so a version that runs "go list" goes on passing, cached, after a
// rule is broken.
func TestLayers(t *testing.T) {
	table := layers(t)
	documented := map[string]int{}
	for name, f := range sources(t) {
		pkg := path.Dir(name)
		if f.Doc != nil {
			documented[pkg]++
		} else if _, seen := documented[pkg]; !seen {
			documented[pkg] = 0
		}
		may, listed := table[pkg]
		if !listed {
			t.Errorf("%s: not in the table of layers; say what it may import", pkg)
		}
		for _, spec := range f.Imports {
			target := strings.Trim(spec.Path.Value, `"`)
			dep, ours := strings.CutPrefix(target, module)
			if ours && !slices.Contains(may, "any") && !slices.Contains(may, dep) {
				t.Errorf("%s: imports %s, which its layer may not", name, dep)
			}
			checkOnly(t, name, target)
		}
		for _, call := range calls(f) {
			checkOnly(t, name, call)
		}
	}
	for pkg := range table {
		if _, exists := documented[pkg]; !exists {
			t.Errorf("%s: in the table, and no package", pkg)
		}
	}
	for pkg, n := range documented {
		if n != 1 {
			t.Errorf("%s: %d package comments, want 1", pkg, n)
		}
	}
}

// sources parses every Go file of the module that is neither a test nor
// generated.
func sources(t *testing.T) map[string]*ast.File {
	files := map[string]*ast.File{}
	root := os.DirFS(".")
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || len(name) > 1 && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case d.IsDir(), !strings.HasSuffix(name, ".go"), strings.HasSuffix(name, "_test.go"):
			return nil
		}
		src, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ParseComments)
		if err == nil && !ast.IsGenerated(f) {
			files[name] = f
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// calls lists the selectors of a file that look like package.Function.
func calls(f *ast.File) []string {
	var out []string
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Obj == nil {
				out = append(out, x.Name+"."+s.Sel.Name)
			}
		}
		return true
	})
	return out
}

func checkOnly(t *testing.T, name, what string) {
	t.Helper()
	for _, rule := range only {
		exact := !strings.HasSuffix(rule.what, "/")
		if what != rule.what && (exact || !strings.HasPrefix(what, rule.what)) {
			continue
		}
		if !slices.Contains(rule.by, path.Dir(name)) {
			t.Errorf("%s: uses %s; only %s may: %s", name, what, strings.Join(rule.by, ", "), rule.reason)
		}
	}
}

// TestFileLength keeps files short enough to be read in one sitting.
func TestFileLength(t *testing.T) {
	for name := range sources(t) {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(src), "\n"); n > 500 {
			t.Errorf("%s: %d lines; files stay under 500", name, n)
		}
	}
}
