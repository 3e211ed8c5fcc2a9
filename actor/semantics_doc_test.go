package actor_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// testsOfTheModule maps each test and benchmark to its comment: those of this package by their names, others as package.Name.
func testsOfTheModule(t *testing.T) map[string]string {
	t.Helper()
	comments := map[string]string{}
	decl := regexp.MustCompile(`(?m)((?:^//.*\n)*)^func ((?:Test|Benchmark|Fuzz)\w+)\(`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || len(d.Name()) > 2 && strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		pkg := filepath.Base(filepath.Dir(path)) + "."
		switch filepath.Dir(path) {
		case "../actor":
			pkg = ""
		case "..":
			pkg = "greenroom."
		}
		for _, m := range decl.FindAllStringSubmatch(string(src), -1) {
			comments[pkg+m[2]] = m[1]
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return comments
}

// testName is how a page names a test: `TestX` in this package, `mailbox.TestX` elsewhere.
var testName = regexp.MustCompile("`((?:[a-z]+\\.)?(?:Test|Benchmark|Fuzz)\\w+)`")

// TestSemanticsNamesItsTests holds docs/SEMANTICS.md to the code: each id is given once, the tests that it names exist, and
// one of them cites it; and no test cites an id that the page does not have.
func TestSemanticsNamesItsTests(t *testing.T) {
	page, err := os.ReadFile("../docs/SEMANTICS.md")
	if err != nil {
		t.Fatal(err)
	}
	comments := testsOfTheModule(t)
	id := regexp.MustCompile(`\b[A-Z]{3,5}-\d+\b`)
	given := map[string]bool{}
	for line := range strings.SplitSeq(string(page), "\n") {
		if !strings.HasPrefix(line, "- **") {
			continue
		}
		this := id.FindString(line)
		if this == "" || given[this] {
			t.Errorf("no id, or one that is taken: %s", line)
		}
		given[this] = true
		cited := false
		for _, m := range testName.FindAllStringSubmatch(line, -1) {
			comment, ok := comments[m[1]]
			if !ok {
				t.Errorf("%s names %s, which is not there", this, m[1])
			}
			cited = cited || slices.Contains(id.FindAllString(comment, -1), this)
		}
		if !cited {
			t.Errorf("no test that %s names cites it", this)
		}
	}
	for test, comment := range comments {
		for _, cites := range id.FindAllString(comment, -1) {
			if !given[cites] {
				t.Errorf("%s cites %s, which the page does not have", test, cites)
			}
		}
	}
}

// TestArchitectureNamesItsTests holds docs/ARCHITECTURE.md to the code: the tests and benchmarks that it names exist.
func TestArchitectureNamesItsTests(t *testing.T) {
	page, err := os.ReadFile("../docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	comments := testsOfTheModule(t)
	for _, m := range testName.FindAllStringSubmatch(string(page), -1) {
		if _, ok := comments[m[1]]; !ok {
			t.Errorf("%s is not there", m[1])
		}
	}
}
