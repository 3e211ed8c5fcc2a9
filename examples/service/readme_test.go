package main

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// curlLine is a curl command of the README at the top: a file or a text to post, if any, and the address.
var curlLine = regexp.MustCompile(`(?m)^    curl (?:--data-binary @(\S+) |-d '([^']*)' )?'?localhost:8080(/[^' \n]*)'?(?: +#.*)?$`)

// TestReadmeCommands does what the curl commands of the README do, in their order. The README itself, which the first one
// posts, must be as good a document as any; the poison that another one posts must not be.
func TestReadmeCommands(t *testing.T) {
	c := startService(t)
	const root = "../../"
	readme, err := os.ReadFile(root + "README.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := curlLine.FindAllStringSubmatch(string(readme), -1)
	if all := strings.Count(string(readme), "\n    curl "); len(commands) != all || all < 7 {
		t.Fatalf("%d of %d curl commands are understood", len(commands), all)
	}
	bad := 0
	for _, command := range commands {
		file, body, path := command[1], command[2], command[3]
		if file != "" {
			text, err := os.ReadFile(root + file)
			if err != nil {
				t.Fatal(err)
			}
			body = string(text)
		}
		method, status := http.MethodGet, http.StatusOK
		if body != "" {
			method = http.MethodPost
		}
		if strings.HasSuffix(path, "name=bad") {
			bad++
			status = http.StatusInternalServerError
		}
		c.expect(method, path, body, status)
	}
	c.expect(http.MethodGet, "/deadletters", "", http.StatusOK, `"document": "bad"`)
	if s := c.stats(); bad != 1 || s.Documents != 1 || s.Quarantined != 1 {
		t.Errorf("%d bad documents posted, stats: %+v", bad, s)
	}
}
