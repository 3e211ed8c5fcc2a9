package gen

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
)

// The packages that generated code may use, each by its own name. protogen's way of importing gives every package a name
// beside its path, which nobody writes by hand.
const (
	contextPackage = "context"
	iterPackage    = "iter"
	timePackage    = "time"
	protoPackage   = "google.golang.org/protobuf/proto"
	actorPackage   = "github.com/greenroom-go/greenroom/actor"
	rpcPackage     = "github.com/greenroom-go/greenroom/actor/rpc"
	mailboxPackage = "github.com/greenroom-go/greenroom/mailbox"
)

// known are those packages, which always keep their names.
var known = []protogen.GoImportPath{contextPackage, iterPackage, timePackage, protoPackage, actorPackage, rpcPackage, mailboxPackage}

// local are the names that generated code uses for itself, beside Go's own: no import may hide them.
var local = []string{
	"any", "bool", "cancel", "ctx", "err", "error", "false", "from", "in", "m", "nil", "o", "ok", "out", "r", "ref", "req", "resp",
	"s", "start", "string", "true",
}

// imports are the packages that one file imports, each with its name there.
type imports struct {
	names map[protogen.GoImportPath]string
	taken map[string]bool
}

func newImports() *imports {
	i := &imports{names: map[protogen.GoImportPath]string{}, taken: map[string]bool{}}
	for _, name := range local {
		i.taken[name] = true
	}
	for _, p := range known {
		i.taken[path.Base(string(p))] = true
	}
	return i
}

// use imports a package that generated code knows.
func (i *imports) use(p protogen.GoImportPath) { i.names[p] = path.Base(string(p)) }

// other imports a package of a schema and returns its name in this file.
func (i *imports) other(p protogen.GoImportPath, name protogen.GoPackageName) string {
	if have, ok := i.names[p]; ok {
		return have
	}
	free := string(name)
	for n := 2; i.taken[free]; n++ {
		free = string(name) + strconv.Itoa(n)
	}
	i.taken[free] = true
	i.names[p] = free
	return free
}

// groups renders the imports: the standard library, other modules, and Greenroom, each in order.
func (i *imports) groups() [][]string {
	groups := make([][]string, 3)
	paths := make([]protogen.GoImportPath, 0, len(i.names))
	for p := range i.names {
		paths = append(paths, p)
	}
	slices.SortFunc(paths, func(a, b protogen.GoImportPath) int { return cmp.Compare(a, b) })
	for _, p := range paths {
		line := strconv.Quote(string(p))
		if name := i.names[p]; name != path.Base(string(p)) {
			line = fmt.Sprintf("%s %s", name, line)
		}
		first, _, _ := strings.Cut(string(p), "/")
		switch {
		case strings.HasPrefix(string(p), "github.com/greenroom-go/greenroom/"):
			groups[2] = append(groups[2], line)
		case strings.Contains(first, "."):
			groups[1] = append(groups[1], line)
		default:
			groups[0] = append(groups[0], line)
		}
	}
	return slices.DeleteFunc(groups, func(g []string) bool { return len(g) == 0 })
}
