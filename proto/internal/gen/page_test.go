package gen

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// page explains services to users.
const page = root + "/docs/SERVICES.md"

// TestPage vets the code of docs/SERVICES.md together with what is generated for its schema, which is one of testdata.
func TestPage(t *testing.T) {
	text := read(t, page)
	schema := fenced(t, text, "proto")
	if len(schema) != 1 || schema[0] != read(t, "testdata/good/counter.proto") {
		t.Error("testdata/good/counter.proto is not the schema of docs/SERVICES.md")
	}
	blocks := fenced(t, text, "go")
	if len(blocks) != 2 {
		t.Fatalf("the page has %d blocks of Go, want the implementation and its use", len(blocks))
	}
	program := "package counterv1\n\nimport (\n\t\"context\"\n\t\"errors\"\n\t\"slices\"\n\n" +
		"\t\"github.com/greenroom-go/greenroom/actor\"\n\t\"github.com/greenroom-go/greenroom/actor/rpc\"\n)\n\n" + blocks[0] +
		"\nfunc use(ctx context.Context, sys *actor.System, numbers []int64) error {\n" + blocks[1] + "_, _ = resp, sum\nreturn err\n}\n"
	dir := t.TempDir()
	files := goFiles(t, schemas(t), "counter.proto", messagesPlugin(t), dir)
	files = append(files, filepath.Join(dir, "page.go"))
	write(t, filepath.Join(dir, "page.go"), strings.ReplaceAll(program, "pb.", ""))
	if out, err := exec.CommandContext(t.Context(), "go", append([]string{"vet"}, files...)...).CombinedOutput(); err != nil {
		t.Errorf("go vet: %v\n%s", err, out)
	}
}

// fenced lists the fenced blocks of one language.
func fenced(t *testing.T, text, language string) []string {
	t.Helper()
	var blocks []string
	for {
		_, rest, begun := strings.Cut(text, "\n```"+language+"\n")
		if !begun {
			return blocks
		}
		block, rest, ended := strings.Cut(rest, "```\n")
		if !ended {
			t.Fatalf("a block of %s has no end", language)
		}
		blocks, text = append(blocks, block), rest
	}
}
