package files

import (
	"bytes"
	"context"
	"crypto/sha256"

	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// put receives a file, unless it is there already. cancel ends ctx, and the stream.
func (s *Server) put(ctx context.Context, cancel context.CancelCauseFunc, l *line, peer string, m *greenroomv1.FilePut) (already bool, err error) {
	switch {
	case m.GetSize() < 0, len(m.GetSha256()) != sha256.Size:
		return false, refuse(ErrProtocol, "a file of %d bytes with a checksum of %d is announced", m.GetSize(), len(m.GetSha256()))
	case m.GetSize() > s.opts.MaxFileBytes:
		return false, refuse(ErrTooLarge, "it has %d bytes, the node takes %d", m.GetSize(), s.opts.MaxFileBytes)
	}
	c, err := s.claim(ctx, partialName(peer, m), m.GetSize(), cancel)
	if err != nil {
		return false, err
	}
	defer func() { s.release(c, err == nil && !already) }()

	if already, err = s.isThere(ctx, m); already || err != nil {
		return already, err
	}
	if err := s.reserve(c); err != nil {
		return false, err
	}
	p, err := s.openPartial(ctx, c.name, m)
	if err != nil {
		return false, err
	}
	if err = s.receive(l, p, m); err == nil {
		err = s.settle(p.name, m)
	}
	if err != nil {
		p.drop(err)
		return false, err
	}
	s.syncDirs(m.GetName())
	return false, nil
}

// isThere reports whether the file is in its place, with that content. Its mode and time are then made to be as they were asked for, if
// it may be overwritten. If another file is there, which may not, that is an error.
func (s *Server) isThere(ctx context.Context, m *greenroomv1.FilePut) (bool, error) {
	there, err := s.look(m.GetName())
	if err != nil {
		return false, err
	}
	denied := s.mayReplace(there, m)
	if there == nil || !there.Mode().IsRegular() || there.Size() != m.GetSize() {
		return false, denied
	}
	if sum, err := s.sum(ctx, m.GetName(), there.Size()); err != nil || !bytes.Equal(sum, m.GetSha256()) {
		return false, denied // one that cannot be read is another one
	}
	if denied == nil {
		err = s.dress(m.GetName(), m)
	}
	return true, err
}

// receive gets the content of p from the sender, and leaves p complete, verified and closed.
func (s *Server) receive(l *line, p *partial, m *greenroomv1.FilePut) error {
	have := &greenroomv1.FileHave{Size: p.size, Sha256: p.hash.Sum(nil)}
	if err := l.write(&greenroomv1.FileResponse{Response: &greenroomv1.FileResponse_Have{Have: have}}); err != nil {
		return err
	}
	var r greenroomv1.FileRequest
	if err := l.read(&r); err != nil {
		return err
	}
	start, ok := r.GetRequest().(*greenroomv1.FileRequest_Start)
	if !ok {
		return refuse(ErrProtocol, "another message came where a start was due")
	}
	switch offset := start.Start.GetOffset(); {
	case offset == 0 && p.size > 0:
		if err := p.restart(); err != nil {
			return err
		}
	case offset != p.size:
		return refuse(ErrProtocol, "the content starts at %d, the node has %d bytes", offset, p.size)
	}
	if err := s.content(l, p, m.GetSize()); err != nil {
		return err
	}
	if !bytes.Equal(p.hash.Sum(nil), m.GetSha256()) {
		return refuse(ErrChecksum, "%q has another checksum than was announced", m.GetName())
	}
	return p.finish(m)
}

// content reads frames until the sender says that they were all.
func (s *Server) content(l *line, p *partial, size int64) error {
	for {
		kind, body, err := l.next()
		if err != nil {
			return err
		}
		if kind == kindMessage {
			return ending(kind, body, p, size)
		}
		if p.size+int64(len(body)) > size {
			return refuse(ErrProtocol, "more than the %d bytes have come that were announced", size)
		}
		if err := p.add(body); err != nil {
			return err
		}
	}
}

// ending is what the message behind the content says.
func ending(kind byte, body []byte, p *partial, size int64) error {
	var m greenroomv1.FileRequest
	if err := decode(kind, body, &m); err != nil {
		return err
	}
	switch m.GetRequest().(type) {
	case *greenroomv1.FileRequest_End:
		if p.size != size {
			return refuse(ErrProtocol, "%d bytes have come, %d were announced", p.size, size)
		}
		return nil
	case *greenroomv1.FileRequest_Abandon:
		return refuse(ErrChanged, "it was not stored")
	}
	return refuse(ErrProtocol, "another message came where the end was due")
}
