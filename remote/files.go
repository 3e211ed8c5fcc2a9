package remote

import (
	"fmt"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// FileOptions say what peers with the role files may do.
type FileOptions struct {
	// Root is the directory that received files go to; nothing outside of it is touched. Empty: no files are received.
	Root string
}

// serveFiles serves a stream of a file transfer.
func (s *session) serveFiles(link.Link, link.Stream) error {
	return fmt.Errorf("%w: this node takes no files", ErrRefused)
}
