package files

import (
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// StagingDir is the directory below the root that holds partial files. No name may lead into it.
const StagingDir = ".greenroom-partial"

// What names may have, in bytes: less than any system's bounds for paths.
const (
	maxName    = 1024
	maxElement = 255
)

// checkName holds that a name is one of something below the root, whichever system reads it. What os.Root would refuse is refused
// here with a better text; the rest (symbolic links) is up to os.Root.
func checkName(name string) error {
	switch {
	case name == "":
		return refuse(ErrBadName, "it is empty")
	case len(name) > maxName:
		return refuse(ErrBadName, "it has %d bytes, %d are allowed", len(name), maxName)
	case !utf8.ValidString(name):
		return refuse(ErrBadName, "%q is not UTF-8", name)
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return refuse(ErrBadName, "%q has a control character in it", name)
	case strings.Contains(name, `\`):
		return refuse(ErrBadName, `%q has a backslash in it, which separates directories on some systems; use "/"`, name)
	case name[0] == '/' || len(name) > 1 && name[1] == ':':
		return refuse(ErrBadName, "%q is absolute; it has to be relative to the node's directory for files", name)
	}
	for element := range strings.SplitSeq(name, "/") {
		switch {
		case element == "" || element == "." || element == "..":
			return refuse(ErrBadName, "%q has the element %q in it", name, element)
		case len(element) > maxElement:
			return refuse(ErrBadName, "an element of it has %d bytes, %d are allowed", len(element), maxElement)
		}
	}
	if first, _, _ := strings.Cut(name, "/"); strings.EqualFold(first, StagingDir) {
		return refuse(ErrBadName, "%s is for partial files", StagingDir)
	}
	if !filepath.IsLocal(filepath.FromSlash(name)) { // devices of Windows
		return refuse(ErrBadName, "%q means something else on that node's system", name)
	}
	return nil
}
