package greenroom_test

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/greenroom-go/greenroom"

// rule says what the packages of one top-level folder may import beside the standard library and their own folder.
type rule struct {
	ours      []string // folders of this module
	others    []string // modules of others
	tests     []string // folders of this module that tests may import beside
	anyOurs   bool
	anyOthers bool
}

const (
	protobuf   = "google.golang.org/protobuf"
	xsync      = "github.com/puzpuzpuz/xsync/v3"
	prometheus = "github.com/prometheus/client_golang"
)

// rules is the table of who imports whom. A folder that is not in it may hold no Go.
//
// mailbox and actor are what every program carries, so their dependencies are counted on one hand. Above them a
// dependency has to earn its place in the package that needs it.
var rules = map[string]rule{
	".":          {},
	"proto":      {others: []string{protobuf}},
	"mailbox":    {},
	"actor":      {ours: []string{"mailbox", "proto"}, others: []string{protobuf, xsync, prometheus}},
	"supervisor": {ours: []string{"actor"}, anyOthers: true},
	"registry":   {ours: []string{"actor", "proto"}, anyOthers: true},
	"ionet":      {anyOthers: true},
	"remote":     {ours: []string{"actor", "registry", "proto"}, tests: []string{"supervisor"}, anyOthers: true},
	"dcp": {
		ours:      []string{"actor", "ionet", "mailbox", "proto", "registry", "remote", "supervisor"},
		anyOthers: true,
	},
	"examples": {anyOurs: true, anyOthers: true},
	"bench":    {anyOurs: true, anyOthers: true},
}

// leaves are the folders that nobody imports.
var leaves = []string{"examples", "bench"}

// testModules are what tests and test kits may import beside what their folder may.
var testModules = []string{"github.com/google/go-cmp"}

// otherFolders hold no Go. Only .ci and docs are the project's; the rest is what tools put beside it.
var otherFolders = []string{"docs", ".ci", ".git", ".github", ".idea", ".vscode"}

func TestImports(t *testing.T) {
	report(t, checkImports(t, sources(t)))
}

func TestFolders(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for _, entry := range entries {
		if entry.IsDir() {
			folders = append(folders, entry.Name())
		}
	}
	report(t, checkFolders(folders))
}

func TestRootHoldsNoCode(t *testing.T) {
	report(t, checkRoot(sources(t)))
}

// checkImports holds rules against the import declarations of the files.
func checkImports(t *testing.T, files []source) []string {
	t.Helper()
	var findings []string
	for _, file := range files {
		for _, spec := range file.file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if fault := importFault(file, imported); fault != "" {
				findings = append(findings, fmt.Sprintf("%s: %s", file.at(spec), fault))
			}
		}
	}
	return findings
}

// importFault says what is wrong with one import, or nothing.
func importFault(file source, imported string) string {
	top := file.top()
	rule, known := rules[top]
	if !known {
		return fmt.Sprintf("%s/ may hold no Go; the folders that may are listed in layout_test.go", top)
	}
	forTests := file.isTest() || file.isKit()
	folder, ours := within(imported, module)
	switch {
	case ours:
		return oursFault(top, rule, folder, forTests)
	case standard(imported):
		if imported == "testing" && !forTests && !slices.Contains(leaves, top) {
			return "testing is for tests and test kits"
		}
		return ""
	case rule.anyOthers || fromModules(imported, rule.others):
		return ""
	case forTests && fromModules(imported, testModules):
		return ""
	}
	return fmt.Sprintf("%s/ may not import %s", top, imported)
}

// oursFault says what is wrong when a file below top imports our own package in folder.
func oursFault(top string, rule rule, folder string, forTests bool) string {
	target, _, _ := strings.Cut(folder, "/")
	kit := isKit(folder)
	switch {
	case kit && !forTests && !slices.Contains(leaves, top):
		return fmt.Sprintf("%s is for tests and test kits", folder)
	case target == top, kit && forTests:
		return ""
	case slices.Contains(leaves, target):
		return fmt.Sprintf("nobody imports %s/", target)
	case rule.anyOurs, slices.Contains(rule.ours, target), forTests && slices.Contains(rule.tests, target):
		return ""
	case target == "":
		return "nobody imports the root"
	}
	return fmt.Sprintf("%s/ may not import %s/", top, target)
}

// within cuts a package's path to what follows the module's, if it lies in that module.
func within(imported, module string) (rest string, ok bool) {
	if imported == module {
		return "", true
	}
	return strings.CutPrefix(imported, module+"/")
}

func fromModules(imported string, modules []string) bool {
	return slices.ContainsFunc(modules, func(module string) bool {
		_, ok := within(imported, module)
		return ok
	})
}

// standard reports whether the path is of the standard library, which alone has no dot in its first element.
func standard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

func checkFolders(folders []string) []string {
	var findings []string
	for _, folder := range folders {
		if _, known := rules[folder]; !known && !slices.Contains(otherFolders, folder) {
			findings = append(findings, fmt.Sprintf("%s/: no such folder is foreseen; put it below one that is", folder))
		}
	}
	return findings
}

func checkRoot(files []source) []string {
	var findings []string
	for _, file := range files {
		if file.top() == "." && !file.isTest() && path.Base(file.path) != "doc.go" {
			findings = append(findings, fmt.Sprintf("%s: the root holds doc.go and tests, no code", file.path))
		}
		if file.path == "doc.go" && len(file.file.Decls) > 0 {
			findings = append(findings, "doc.go: the root holds no code")
		}
	}
	return findings
}

func TestImportsCanFail(t *testing.T) {
	const (
		mailbox   = module + "/mailbox"
		actor     = module + "/actor"
		actortest = module + "/actor/actortest"
		proto     = module + "/proto/greenroom/v1"
	)
	for _, c := range []struct {
		file, imports string
		want          string // empty: allowed
	}{
		{"mailbox/mpsc.go", "sync/atomic", ""},
		{"mailbox/mpsc.go", mailbox + "/internal/line", ""},
		{"mailbox/mpsc.go", actor, "mailbox/ may not import actor/"},
		{"mailbox/mpsc.go", proto, "mailbox/ may not import proto/"},
		{"mailbox/mpsc.go", xsync, "mailbox/ may not import " + xsync},
		{"mailbox/mpsc.go", "golang.org/x/sys/cpu", "mailbox/ may not import golang.org/x/sys/cpu"},
		{"mailbox/mpsc_test.go", "github.com/google/go-cmp/cmp", ""},
		{"mailbox/mpsc_test.go", "github.com/stretchr/testify/require", "may not import github.com/stretchr"},
		{"mailbox/mpsc_test.go", actor, "mailbox/ may not import actor/"},
		{"mailbox/mpsc.go", "testing", "testing is for tests and test kits"},
		{"actor/system.go", mailbox, ""},
		{"actor/system.go", proto, ""},
		{"actor/internal/wheel/wheel.go", mailbox, ""},
		{"actor/internal/wheel/wheel.go", module + "/registry", "actor/ may not import registry/"},
		{"actor/metrics.go", prometheus + "/prometheus", ""},
		{"actor/metrics.go", prometheus + "extra", "actor/ may not import"},
		{"actor/system.go", "github.com/puzpuzpuz/xsync/v4", "actor/ may not import github.com/puzpuzpuz/xsync/v4"},
		{"actor/system.go", "github.com/google/go-cmp/cmp", "actor/ may not import github.com/google/go-cmp/cmp"},
		{"actor/system.go", actortest, "actor/actortest is for tests and test kits"},
		{"actor/system_test.go", actortest, ""},
		{"actor/actortest/probe.go", actor, ""},
		{"actor/actortest/probe.go", "testing", ""},
		{"actor/actortest/probe.go", module + "/supervisor", "actor/ may not import supervisor/"},
		{"actor/bench_test.go", module + "/bench", "nobody imports bench/"},
		{"supervisor/spec.go", actor, ""},
		{"supervisor/spec.go", mailbox, "supervisor/ may not import mailbox/"},
		{"supervisor/spec_test.go", actortest, ""},
		{"ionet/conn.go", actor, "ionet/ may not import actor/"},
		{"ionet/conn_test.go", actortest, ""},
		{"remote/node.go", module + "/dcp", "remote/ may not import dcp/"},
		{"remote/node.go", "github.com/quic-go/quic-go", ""},
		{"remote/node.go", mailbox, "remote/ may not import mailbox/"},
		{"remote/node.go", module + "/supervisor", "remote/ may not import supervisor/"},
		{"remote/node_test.go", module + "/supervisor", ""},
		{"dcp/cmd/node/main.go", module + "/ionet", ""},
		{"dcp/cmd/node/main.go", module + "/examples/service", "nobody imports examples/"},
		{"proto/cmd/gen/main.go", protobuf + "/compiler/protogen", ""},
		{"proto/cmd/gen/main.go", actor, "proto/ may not import actor/"},
		{"examples/service/main.go", actor, ""},
		{"examples/service/main.go", module + "/examples/internal/words", ""},
		{"examples/service/main.go", module + "/bench", "nobody imports bench/"},
		{"bench/main.go", module + "/dcp", ""},
		{"bench/main.go", "testing", ""},
		{"actor/system.go", module, "nobody imports the root"},
		{"util/strings.go", "strings", "util/ may hold no Go"},
	} {
		t.Run(c.file+" "+path.Base(c.imports), func(t *testing.T) {
			file := parse(t, c.file, fmt.Sprintf("package p\nimport _ %q\n", c.imports))
			var want []string
			if c.want != "" {
				want = []string{c.want}
			}
			expect(t, checkImports(t, []source{file}), want...)
		})
	}
}

func TestFoldersCanFail(t *testing.T) {
	expect(t, checkFolders([]string{"actor", "docs", ".ci", "dcp"}))
	expect(t, checkFolders([]string{"actor", "pkg", "util"}), "pkg/", "util/")
}

func TestRootHoldsNoCodeCanFail(t *testing.T) {
	expect(t, checkRoot([]source{parse(t, "doc.go", "package p"), parse(t, "a_test.go", "package p\nvar A int")}))
	expect(t, checkRoot([]source{parse(t, "greenroom.go", "package p")}), "greenroom.go: the root holds doc.go")
	expect(t, checkRoot([]source{parse(t, "doc.go", "package p\nvar A int")}), "doc.go: the root holds no code")
}
