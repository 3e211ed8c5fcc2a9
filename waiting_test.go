package greenroom_test

import (
	"fmt"
	"go/ast"
	"maps"
	"path"
	"slices"
	"strconv"
	"testing"
)

// excused lists the functions that may sleep or skip, as "file function", each with the reason.
type excused map[string]string

var (
	// maySleep is for tests in which passing time is the subject. Inside a synctest bubble time is virtual and a sleep
	// waits for nobody, so a Sleep within the call of synctest.Test needs no place here.
	maySleep = excused{}
	// maySkip is for tests that a machine may be unable to run. A test that cannot fail is no reason.
	maySkip = excused{
		"mailbox/bounded_test.go TestRingsAreShared": "under the race detector a sync.Pool forgets on purpose",
		"mailbox/bounded_test.go testAllocs":         "under the race detector a sync.Pool forgets on purpose",
	}
)

func TestNoSleep(t *testing.T) {
	report(t, checkUses(sources(t), maySleep, sleeps))
}

func TestNoSkip(t *testing.T) {
	report(t, checkUses(sources(t), maySkip, skips))
}

// checkUses lists what find finds in test functions that allowed does not name, and the names that allow nothing.
func checkUses(files []source, allowed excused, find func(*ast.File, ast.Node) []ast.Node) []string {
	var findings []string
	used := map[string]bool{}
	for _, file := range files {
		if !file.isTest() {
			continue
		}
		for _, decl := range file.file.Decls {
			uses := find(file.file, decl)
			where := file.path + " " + declared(decl)
			if len(uses) > 0 && allowed[where] != "" {
				used[where] = true
				continue
			}
			for _, use := range uses {
				findings = append(findings, fmt.Sprintf("%s: wait for an event, and let the test run everywhere; "+
					"if it cannot, name %q with the reason in waiting_test.go", file.at(use), where))
			}
		}
	}
	for _, where := range slices.Sorted(maps.Keys(allowed)) {
		if !used[where] {
			findings = append(findings, fmt.Sprintf("%q is excused in waiting_test.go without need or reason", where))
		}
	}
	return findings
}

// declared names a top-level declaration; variables and their like share the empty name.
func declared(decl ast.Decl) string {
	if f, ok := decl.(*ast.FuncDecl); ok {
		return f.Name.Name
	}
	return ""
}

// sleeps finds every mention of time.Sleep outside the calls of synctest.Test.
func sleeps(file *ast.File, within ast.Node) []ast.Node {
	clock, bubble := importName(file, "time"), importName(file, "testing/synctest")
	var found []ast.Node
	ast.Inspect(within, func(node ast.Node) bool {
		if call, ok := node.(*ast.CallExpr); ok && selects(call.Fun, bubble, "Test") {
			return false
		}
		if selects(node, clock, "Sleep") {
			found = append(found, node)
		}
		return true
	})
	return found
}

// skips finds every call of a method by one of the names under which package testing skips, whoever has the method.
func skips(_ *ast.File, within ast.Node) []ast.Node {
	var found []ast.Node
	ast.Inspect(within, func(node ast.Node) bool {
		call, ok := node.(*ast.CallExpr)
		if !ok {
			return true
		}
		if method, ok := call.Fun.(*ast.SelectorExpr); ok {
			if slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, method.Sel.Name) {
				found = append(found, node)
			}
		}
		return true
	})
	return found
}

// selects reports whether node is name picked from a package that the file calls pkg.
func selects(node ast.Node, pkg, name string) bool {
	selector, ok := node.(*ast.SelectorExpr)
	if !ok || selector.Sel.Name != name {
		return false
	}
	x, ok := selector.X.(*ast.Ident)
	return ok && x.Name == pkg
}

// importName is what the file calls a package of the standard library, or nothing when it does not import it.
func importName(file *ast.File, imported string) string {
	for _, spec := range file.Imports {
		if value, err := strconv.Unquote(spec.Path.Value); err != nil || value != imported {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(imported)
	}
	return ""
}

func TestNoSleepCanFail(t *testing.T) {
	const where = "p/p_test.go TestP"
	for _, c := range []struct {
		name, file, text string
		allowed          excused
		want             []string
	}{
		{"sleep", "p/p_test.go", "import \"time\"\nfunc TestP() { time.Sleep(1) }", nil, []string{where}},
		{"sleep by another name", "p/p_test.go", "import t \"time\"\nfunc TestP() { t.Sleep(1) }", nil, []string{where}},
		{"sleep as a value", "p/p_test.go", "import \"time\"\nvar s = time.Sleep", nil, []string{"p/p_test.go"}},
		{"sleep of another package", "p/p_test.go", "import \"x/time\"\nfunc TestP() { time.Sleep(1) }", nil, nil},
		{"allowed", "p/p_test.go", "import \"time\"\nfunc TestP() { time.Sleep(1) }", excused{where: "a reason"}, nil},
		{"allowed without a reason", "p/p_test.go", "import \"time\"\nfunc TestP() { time.Sleep(1) }", excused{where: ""},
			[]string{where, "without need or reason"}},
		{"allowed without need", "p/p_test.go", "func TestP() {}", excused{where: "a reason"},
			[]string{"without need or reason"}},
		{"no test", "p/p.go", "import \"time\"\nfunc P() { time.Sleep(1) }", nil, nil},
		{"in a bubble", "p/p_test.go", "import (\n\"time\"\n\"testing/synctest\"\n)\n" +
			"func TestP() { synctest.Test(t, func() { time.Sleep(1) }) }", nil, nil},
		{"beside a bubble", "p/p_test.go", "import (\n\"time\"\n\"testing/synctest\"\n)\n" +
			"func TestP() { synctest.Test(t, func() {}); time.Sleep(1) }", nil, []string{where}},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := parse(t, c.file, "package p\n"+c.text+"\n")
			expect(t, checkUses([]source{file}, c.allowed, sleeps), c.want...)
		})
	}
}

func TestNoSkipCanFail(t *testing.T) {
	for _, call := range []string{"t.Skip()", "t.Skipf(\"\")", "h.t.SkipNow()"} {
		file := parse(t, "p/p_test.go", "package p\nfunc TestP() { "+call+" }\n")
		expect(t, checkUses([]source{file}, nil, skips), "p/p_test.go TestP")
	}
	file := parse(t, "p/p_test.go", "package p\nfunc TestP() { t.Log(\"skip\"); skip() }\n")
	expect(t, checkUses([]source{file}, nil, skips))
}
