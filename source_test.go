package greenroom_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
)

// source is one parsed Go file of this repository.
type source struct {
	path string // relative to the root, with slashes
	fset *token.FileSet
	file *ast.File
}

// sources parses every Go file of the repository, whatever its build tags.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	for _, name := range files(t, ".go") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, parse(t, name, string(text)))
	}
	if len(all) == 0 {
		t.Fatal("no Go files found: is this the root of the repository?")
	}
	return all
}

// parse makes a source of text; tests of the rules hand it files that do not exist.
func parse(t *testing.T, name, text string) source {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return source{path: name, fset: fset, file: file}
}

// files lists the repository's files of one suffix, but for those in folders that the go command ignores too.
func files(t *testing.T, suffix string) []string {
	t.Helper()
	var names []string
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != "." && ignored(entry.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(name, suffix) {
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func ignored(folder string) bool {
	return folder == "testdata" || strings.HasPrefix(folder, ".") || strings.HasPrefix(folder, "_")
}

func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// isKit reports whether the file belongs to a test kit: actor/actortest, supervisor/supervisortest and their like.
func (s source) isKit() bool { return isKit(path.Dir(s.path)) }

// top is the top-level folder that the file counts as, "." for the root itself.
func (s source) top() string {
	folder, _, nested := strings.Cut(s.path, "/")
	if !nested {
		return "."
	}
	return folder
}

// at says where a node is, the way compilers do.
func (s source) at(node ast.Node) string { return s.fset.Position(node.Pos()).String() }

// isKit takes a package's folder, relative to the root.
func isKit(folder string) bool {
	top, rest, _ := strings.Cut(folder, "/")
	first, _, _ := strings.Cut(rest, "/")
	return first == top+"test"
}

// report fails the test once for each finding.
func report(t *testing.T, findings []string) {
	t.Helper()
	for _, finding := range findings {
		t.Error(finding)
	}
}

// expect fails unless there is one finding for each wanted text, in order, and contains it.
func expect(t *testing.T, findings []string, want ...string) {
	t.Helper()
	if len(findings) != len(want) {
		t.Fatalf("found %q, want %d findings: %q", findings, len(want), want)
	}
	for i, finding := range findings {
		if !strings.Contains(finding, want[i]) {
			t.Errorf("finding %d is %q, want it to contain %q", i, finding, want[i])
		}
	}
}
