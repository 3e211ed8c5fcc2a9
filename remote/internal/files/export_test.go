package files

import (
	"crypto/sha256"
	"errors"
	"io"
	"os"

	"google.golang.org/protobuf/proto"
)

// FailWrites has write instead of the disk take what is received.
func (s *Server) FailWrites(write func(f *os.File, b []byte) (int, error)) { s.write = write }

// Used is what counts against MaxTotalBytes.
func (s *Server) Used() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// Claims is how many partial files are being written.
func (s *Server) Claims() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.claims)
}

// Line is line, for tests that play one side by hand.
type Line struct{ l *line }

// NewLine is newLine without a timeout.
func NewLine(stream io.ReadWriteCloser) Line { return Line{newLine(stream, 0)} }

func (l Line) Write(m proto.Message) error { return l.l.write(m) }

func (l Line) Read(m proto.Message) error { return l.l.read(m) }

func (l Line) Next() (byte, []byte, error) { return l.l.next() }

func (l Line) Content(b []byte) error { return l.l.flushContent(copy(l.l.content(), b)) }

// The bounds and times that tests depend on.
const (
	KindContent = kindContent
	MaxFrame    = maxFrame
	Patience    = patience
)

// IsEnd reports whether a line has ended where a frame could begin, or in the middle of one.
func IsEnd(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }

// Sum is what is announced as a checksum.
func Sum(b []byte) [sha256.Size]byte { return sha256.Sum256(b) }
