package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// claim is an attempt's right to a partial file.
type claim struct {
	name   string
	size   int64 // of the whole file
	counts bool  // size counts in used, and what is in the partial file does not
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when the attempt is over
}

// claim takes the partial file over from an earlier attempt.
func (s *Server) claim(ctx context.Context, name string, size int64, cancel context.CancelCauseFunc) (*claim, error) {
	c := &claim{name: name, size: size, cancel: cancel, done: make(chan struct{})}
	for {
		s.mu.Lock()
		earlier := s.claims[name]
		if earlier == nil {
			s.claims[name] = c
			s.mu.Unlock()
			return c, nil
		}
		s.mu.Unlock()
		earlier.cancel(errAnew)
		select {
		case <-earlier.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrInterrupted, context.Cause(ctx))
		}
	}
}

// release gives the partial file back.
func (s *Server) release(c *claim, stored bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.claims, c.name)
	if c.counts && !stored {
		s.used += s.sizeOf(c.name) - c.size
	}
	close(c.done)
}

// reserve has the whole size of a file count against MaxTotalBytes before the first byte comes: those who come later are refused, rather
// than all of them in the middle. used is the sum of what lies below the root, with the whole size for each partial file
// that is being written.
func (s *Server) reserve(c *claim) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clean()
	limit := s.opts.MaxTotalBytes
	more := c.size - s.sizeOf(c.name)
	if limit > 0 && s.used+more > limit && time.Since(s.measured) > time.Second {
		s.measure() // others than peers may have deleted files
	}
	if limit > 0 && s.used+more > limit {
		return refuse(ErrQuota, "%d bytes of %d are used, the file has %d", s.used, limit, c.size)
	}
	s.used += more
	c.counts = true
	return nil
}

// measure counts what lies below the root. mu is held.
func (s *Server) measure() {
	if s.opts.MaxTotalBytes == 0 {
		return
	}
	s.used, s.measured = 0, time.Now()
	for _, c := range s.claims {
		if c.counts {
			s.used += c.size
		}
	}
	err := fs.WalkDir(s.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if c := s.claims[name]; err == nil && d.Type().IsRegular() && (c == nil || !c.counts) {
			s.used += s.sizeOf(name)
		}
		return nil // what cannot be read is not counted, and vanishes at times
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.opts.Log.Warn("the directory for files cannot be measured", "error", err)
	}
}

// sizeOf is the size of a regular file, 0 if there is none.
func (s *Server) sizeOf(name string) int64 {
	info, err := s.root.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return info.Size()
}
