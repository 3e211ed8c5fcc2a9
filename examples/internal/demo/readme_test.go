package demo_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../../../"

// command is one of a README: the example and its flags.
var command = regexp.MustCompile(`(?m)^(?://\t|    )go run \./examples/(\w+) (-name .*)$`)

// TestReadmeCommands has every example take the flags of the commands that the READMEs and its own text show.
func TestReadmeCommands(t *testing.T) {
	names := []string{"echo", "quotes", "rci", "barrier", "chat", "logwatch"}
	files := []string{"README.md", "examples/README.md"}
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir)
	build.Dir = root
	for _, name := range names {
		build.Args = append(build.Args, "./examples/"+name)
		files = append(files, "examples/"+name+"/main.go")
	}
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	seen := map[string]int{}
	for _, file := range files {
		text, err := os.ReadFile(root + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range command.FindAllStringSubmatch(string(text), -1) {
			seen[c[1]]++
			args := append(strings.Fields(strings.ReplaceAll(c[2], "'", "")), "-help") // behind what must be right
			out, err := exec.CommandContext(t.Context(), filepath.Join(dir, c[1]), args...).CombinedOutput()
			if err != nil || !strings.HasPrefix(string(out), c[1]+": ") {
				t.Errorf("%s: %s: %v\n%s", file, c[0], err, out)
			}
		}
	}
	for _, name := range names {
		if seen[name] < 4 {
			t.Errorf("%d commands of %s were found", seen[name], name)
		}
	}
}
