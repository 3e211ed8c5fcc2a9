package files

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// look is what is there by that name; nil if nothing is. A symbolic link is itself, not what it points to; those on the way to it are
// followed as far as they stay below the root.
func (s *Server) look(name string) (fs.FileInfo, error) {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) { // names have other spellings, on some file systems, and links
		if info, err := s.root.Stat(dir); err == nil && os.SameFile(info, s.staging) {
			return nil, refuse(ErrBadName, "%q is for partial files", dir)
		}
	}
	info, err := s.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, refuse(ErrRefused, "%q: %v", name, reason(err))
	case err != nil: // it leads out of the root, or through a file, or is too long
		return nil, refuse(ErrBadName, "%q: %v", name, reason(err))
	case os.SameFile(info, s.staging):
		return nil, refuse(ErrBadName, "%q is for partial files", name)
	}
	return info, nil
}

// sum is the checksum of a regular file's first size bytes.
func (s *Server) sum(ctx context.Context, name string, size int64) ([]byte, error) {
	f, err := s.root.Open(name)
	if err != nil {
		return nil, wrapFS(err, "reading", name)
	}
	defer f.Close() //nolint:errcheck // it was only read
	h := sha256.New()
	if err := hashOf(ctx, h, f, size); err != nil {
		return nil, wrapFS(err, "reading", name)
	}
	return h.Sum(nil), nil
}

// hashOf hashes the first size bytes of r. If there are less it is io.ErrUnexpectedEOF.
func hashOf(ctx context.Context, h hash.Hash, r io.ReaderAt, size int64) error {
	buf := make([]byte, min(size, maxFrame))
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		buf = buf[:min(size-at, maxFrame)]
		if err := readAt(r, buf, at); err != nil {
			return err
		}
		h.Write(buf)
		at += int64(len(buf))
	}
	return nil
}

// readAt fills buf. Where r ends before, it is io.ErrUnexpectedEOF.
func readAt(r io.ReaderAt, buf []byte, at int64) error {
	n, err := r.ReadAt(buf, at)
	switch {
	case n == len(buf):
		return nil
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	case err == nil:
		return io.ErrNoProgress
	}
	return err
}

func (s *Server) stat(ctx context.Context, name string, sum bool) (*greenroomv1.FileInfo, error) {
	info, err := s.look(name)
	switch {
	case err != nil:
		return nil, err
	case info == nil:
		return nil, refuse(ErrNotFound, "%q", name)
	case !info.Mode().IsRegular() && !info.IsDir():
		return nil, refuse(ErrRefused, "%q is neither a file nor a directory", name)
	}
	m := &greenroomv1.FileInfo{
		Size: info.Size(), Mode: uint32(info.Mode().Perm()), ModTimeUnixNano: info.ModTime().UnixNano(), Directory: info.IsDir(),
	}
	if sum && !info.IsDir() {
		m.Sha256, err = s.sum(ctx, name, info.Size())
	}
	return m, err
}

// remove deletes a file, and the directories above it as far as they are empty then.
func (s *Server) remove(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	info, err := s.look(name)
	switch {
	case err != nil:
		return err
	case info == nil:
		return refuse(ErrNotFound, "%q", name)
	case info.IsDir():
		return refuse(ErrRefused, "%q is a directory: delete the files in it", name)
	}
	if err := s.root.Remove(name); err != nil {
		return wrapFS(err, "deleting", name)
	}
	if info.Mode().IsRegular() {
		s.used -= info.Size()
	}
	s.prune(path.Dir(name))
	return nil
}

// prune removes a directory and those above it, as far as they are empty. mu is held, so that no file is on its way into one.
// A symbolic link to a directory stays: removing it would take the link, whatever is behind it.
func (s *Server) prune(dir string) {
	for ; dir != "."; dir = path.Dir(dir) {
		info, err := s.root.Lstat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || !info.IsDir() || s.root.Remove(dir) != nil {
			return
		}
	}
}

// settle gives a file that is complete its place. Another one that is there was asked about before; it is asked about again because
// that was a while ago.
func (s *Server) settle(partial string, m *greenroomv1.FilePut) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := m.GetName()
	there, err := s.look(name)
	if err != nil {
		return err
	}
	if err := s.mayReplace(there, m); err != nil {
		return err
	}
	dir := path.Dir(name)
	if err := s.root.MkdirAll(dir, 0o755); err != nil {
		s.prune(dir)
		if diskFull(err) || errors.Is(err, fs.ErrPermission) {
			return wrapFS(err, "making the directory of", name)
		}
		return refuse(ErrBadName, "making the directory of %q: %v", name, reason(err))
	}
	if err := s.root.Rename(partial, name); err != nil {
		s.prune(dir)
		return wrapFS(err, "storing", name)
	}
	if there != nil && there.Mode().IsRegular() {
		s.used -= there.Size()
	}
	return nil
}

// mayReplace reports what is wrong with storing a file where there is what there says, nil for nothing.
func (s *Server) mayReplace(there fs.FileInfo, m *greenroomv1.FilePut) error {
	switch {
	case there == nil:
		return nil
	case there.IsDir():
		return refuse(ErrExists, "%q is a directory", m.GetName())
	case s.opts.Overwrite == OverwriteNever:
		return refuse(ErrExists, "%q; the node replaces no files", m.GetName())
	case !m.GetOverwrite():
		return refuse(ErrExists, "%q; ask for it to be overwritten", m.GetName())
	}
	return nil
}

// syncDirs makes it survive a crash that a file is in its place, where the system lets directories be synced.
func (s *Server) syncDirs(name string) {
	for name != "." {
		name = path.Dir(name)
		d, err := s.root.Open(name)
		if err != nil {
			return
		}
		d.Sync()  //nolint:errcheck // the file is in its place and whole; some systems do not know how
		d.Close() //nolint:errcheck // as above
	}
}

// dress gives the file at name the mode and time that m asks for.
func (s *Server) dress(name string, m *greenroomv1.FilePut) error {
	if err := s.root.Chmod(name, fs.FileMode(m.GetMode())&fs.ModePerm); err != nil {
		return wrapFS(err, "setting the mode of", m.GetName())
	}
	if m.ModTimeUnixNano != nil {
		t := time.Unix(0, m.GetModTimeUnixNano())
		if err := s.root.Chtimes(name, t, t); err != nil {
			return wrapFS(err, "setting the time of", m.GetName())
		}
	}
	return nil
}
