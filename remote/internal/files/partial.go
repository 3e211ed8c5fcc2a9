package files

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path"
	"strconv"
	"time"

	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// errAnew ends an attempt when the next one at the same file begins: the peer has given it up, which this node may learn much later.
var errAnew = errors.New("the same file is being sent anew")

// partialName is where the content of a put gathers. It holds for one peer, one place and one content, so that only attempts at the
// same thing meet there.
func partialName(peer string, m *greenroomv1.FilePut) string {
	h := sha256.New()
	for _, part := range []string{peer, m.GetName(), string(m.GetSha256()), strconv.FormatInt(m.GetSize(), 10)} {
		h.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(part))), part...))
	}
	return path.Join(StagingDir, hex.EncodeToString(h.Sum(nil)))
}

// openStaging makes the directory of partial files.
func (s *Server) openStaging() error {
	if err := s.root.Mkdir(StagingDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("remote: the directory for partial files: %w", err)
	}
	info, err := s.root.Lstat(StagingDir)
	if err != nil {
		return fmt.Errorf("remote: the directory for partial files: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("remote: %s in the directory for files is not a directory: remove it", StagingDir)
	}
	s.staging = info
	return nil
}

// clean removes partial files that nobody has written to for KeepPartial. mu is held.
func (s *Server) clean() {
	for _, name := range s.partials() {
		info, err := s.root.Lstat(name)
		if err != nil || s.claims[name] != nil || time.Since(info.ModTime()) < s.opts.KeepPartial {
			continue
		}
		if s.root.Remove(name) == nil {
			s.used -= info.Size()
		}
	}
}

func (s *Server) partials() []string {
	d, err := s.root.Open(StagingDir)
	if err != nil {
		return nil
	}
	defer d.Close() //nolint:errcheck // it was only read
	names, _ := d.Readdirnames(-1)
	for i := range names {
		names[i] = path.Join(StagingDir, names[i])
	}
	return names
}

// partial is a file that is being received.
type partial struct {
	s    *Server
	name string    // its own
	of   string    // the file's, for errors: partial files are no concern of the peer's
	file *os.File  // nil: closed
	size int64     // what is in it
	hash hash.Hash // of that
}

// openPartial opens the partial file by that name, or makes it. Nothing that is in it is worth an error.
func (s *Server) openPartial(ctx context.Context, name string, m *greenroomv1.FilePut) (*partial, error) {
	p := &partial{s: s, name: name, of: m.GetName(), hash: sha256.New()}
	info, err := s.root.Lstat(name)
	if err == nil && info.Mode().IsRegular() && info.Size() <= m.GetSize() {
		if p.file, err = s.root.OpenFile(name, os.O_RDWR, 0); err == nil && hashOf(ctx, p.hash, p.file, info.Size()) == nil {
			p.size = info.Size()
			_, err = p.file.Seek(p.size, 0)
			return p, err
		}
		p.close()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%w: %w", ErrInterrupted, context.Cause(ctx))
		}
		p.hash.Reset()
	}
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		s.root.Remove(name) //nolint:errcheck // opening it says what is wrong
	}
	if p.file, err = s.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, wrapFS(err, "making", p.of)
	}
	return p, nil
}

// restart empties it.
func (p *partial) restart() error {
	if err := p.file.Truncate(0); err != nil {
		return wrapFS(err, "emptying", p.of)
	}
	p.size = 0
	p.hash.Reset()
	if _, err := p.file.Seek(0, 0); err != nil {
		return wrapFS(err, "emptying", p.of)
	}
	return nil
}

func (p *partial) add(b []byte) error {
	n, err := p.s.write(p.file, b)
	p.hash.Write(b[:n])
	p.size += int64(n)
	if err != nil {
		return wrapFS(err, "writing", p.of)
	}
	return nil
}

// finish has all of it on disk, dressed, and closed.
func (p *partial) finish(m *greenroomv1.FilePut) error {
	if err := p.s.dress(p.name, m); err != nil {
		return err
	}
	if err := p.file.Sync(); err != nil {
		return wrapFS(err, "writing", p.of)
	}
	f := p.file
	p.file = nil
	if err := f.Close(); err != nil {
		return wrapFS(err, "writing", p.of)
	}
	return nil
}

func (p *partial) close() {
	if p.file != nil {
		p.file.Close() //nolint:errcheck // what is in it is verified before it is used
		p.file = nil
	}
}

// worthKeeping is how much a partial file has to have in it to be kept. Below that, sending it again costs nothing, and peers could have
// any number of them without using up their quota.
const worthKeeping = maxFrame

// drop closes it after an attempt that failed, and keeps what can be of use to the next.
func (p *partial) drop(err error) {
	p.close()
	useful := p.size >= worthKeeping && (errors.Is(err, ErrInterrupted) || errors.Is(err, ErrExists))
	if !useful {
		p.s.root.Remove(p.name) //nolint:errcheck // it may be gone, or goes when it is old
	}
}
