package actor_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestSemanticsNamesItsTests holds docs/SEMANTICS.md to the code: each id is given once, the tests that it names exist, and
// one of them cites it; and no test cites an id that the page does not have.
func TestSemanticsNamesItsTests(t *testing.T) {
	page, err := os.ReadFile("../docs/SEMANTICS.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	comments := map[string]string{}
	decl := regexp.MustCompile(`(?m)((?:^//.*\n)*)^func (Test\w+)\(`)
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range decl.FindAllStringSubmatch(string(src), -1) {
			comments[m[2]] = m[1]
		}
	}
	id := regexp.MustCompile(`\b[A-Z]{3,4}-\d+\b`)
	testName := regexp.MustCompile("`(Test\\w+)`")
	given := map[string]bool{}
	for _, line := range strings.Split(string(page), "\n") {
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
