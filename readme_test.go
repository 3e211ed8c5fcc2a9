package greenroom_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadme vets and runs the programs in the README as they stand there, and compares what they print with what the README says.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	rest := string(text)
	for strings.Contains(rest, "\n```go\n") {
		var program, want string
		program, rest = fenced(t, rest, "go")
		want, rest = fenced(t, rest, "text")
		prints(t, program, want)
	}
}

// prints checks what a program prints.
func prints(t *testing.T, program, want string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "go", "vet", file).CombinedOutput(); err != nil {
		t.Fatalf("go vet: %v\n%s", err, out)
	}
	run := exec.CommandContext(t.Context(), "go", "run", file)
	var errs strings.Builder
	run.Stderr = &errs
	out, err := run.Output()
	if err != nil {
		t.Fatalf("go run: %v\n%v", err, &errs)
	}
	if string(out) != want {
		t.Errorf("a program of the README prints\n%s\nand the README says\n%s", out, want)
	}
}

// fenced returns the first fenced block of that language, and what follows it.
func fenced(t *testing.T, text, language string) (block, rest string) {
	t.Helper()
	_, text, begun := strings.Cut(text, "\n```"+language+"\n")
	block, rest, ended := strings.Cut(text, "```\n")
	if !begun || !ended {
		t.Fatalf("README.md has no fenced block of %s", language)
	}
	return block, rest
}
