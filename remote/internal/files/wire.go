package files

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
)

// Kinds of frames.
const (
	kindMessage = 1
	kindContent = 2
)

const (
	headSize = 5
	maxFrame = 64 << 10
)

// errIdle is the cause of an ErrInterrupted.
var errIdle = errors.New("nothing came through for too long")

// line puts frames onto a stream and takes them off. One goroutine at a time may read, and another one write.
type line struct {
	stream io.ReadWriteCloser
	idle   time.Duration // how long a read or write may take; 0: as long as it likes
	idled  atomic.Bool   // one took longer: the stream is aborted

	in  []byte // the reader's: the body of the last frame
	out []byte // the writer's: a frame
}

func newLine(stream io.ReadWriteCloser, idle time.Duration) *line {
	return &line{stream: stream, idle: idle}
}

// next reads a frame. The body is valid until the next call. The body grows up to maxFrame and no further.
func (l *line) next() (kind byte, body []byte, err error) {
	defer l.watch()()
	var head [headSize]byte
	if _, err := io.ReadFull(l.stream, head[:]); err != nil {
		return 0, nil, l.cut("reading", err)
	}
	kind, n := head[0], binary.BigEndian.Uint32(head[1:])
	switch {
	case kind != kindMessage && kind != kindContent:
		return 0, nil, refuse(ErrProtocol, "a frame is of kind %d", kind)
	case n > maxFrame:
		return 0, nil, refuse(ErrProtocol, "a frame has %d bytes, %d are allowed", n, maxFrame)
	case n == 0 && kind == kindContent:
		return 0, nil, refuse(ErrProtocol, "a frame of content is empty")
	}
	if int(n) > cap(l.in) {
		l.in = make([]byte, n)
	}
	l.in = l.in[:n]
	if _, err := io.ReadFull(l.stream, l.in); err != nil {
		return 0, nil, l.cut("reading", err)
	}
	return kind, l.in, nil
}

// read reads a message.
func (l *line) read(m proto.Message) error {
	kind, body, err := l.next()
	if err != nil {
		return err
	}
	return decode(kind, body, m)
}

func decode(kind byte, body []byte, m proto.Message) error {
	if kind != kindMessage {
		return refuse(ErrProtocol, "content came where a message was due")
	}
	if err := proto.Unmarshal(body, m); err != nil {
		return refuse(ErrProtocol, "a message could not be read: %v", err)
	}
	return nil
}

// write writes a message.
func (l *line) write(m proto.Message) error {
	frame, err := proto.MarshalOptions{}.MarshalAppend(append(l.out[:0], kindMessage, 0, 0, 0, 0), m)
	if err != nil {
		return fmt.Errorf("remote: %w", err)
	}
	if len(frame) > headSize+maxFrame { // names and texts are bounded: it would take a mistake of ours
		return fmt.Errorf("remote: a message of %d bytes is too large", len(frame)-headSize)
	}
	l.out = frame
	return l.flush(len(frame) - headSize)
}

// content is where the next frame's content has to be put, before flushContent.
func (l *line) content() []byte {
	if cap(l.out) < headSize+maxFrame {
		l.out = make([]byte, headSize+maxFrame)
	}
	l.out = l.out[:headSize+maxFrame]
	l.out[0] = kindContent
	return l.out[headSize:]
}

func (l *line) flushContent(n int) error {
	l.out = l.out[:headSize+n]
	return l.flush(n)
}

// flush writes the frame in out, with n bytes after the head.
func (l *line) flush(n int) error {
	defer l.watch()()
	binary.BigEndian.PutUint32(l.out[1:], uint32(n))
	if _, err := l.stream.Write(l.out); err != nil {
		return l.cut("writing", err)
	}
	return nil
}

func (l *line) cut(doing string, err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if l.idled.Load() {
		err = errIdle
	}
	return fmt.Errorf("%w: %s: %w", ErrInterrupted, doing, err)
}

// watch aborts the stream if what it returns is not called in time.
func (l *line) watch() (done func()) {
	if l.idle == 0 {
		return func() {}
	}
	timer := time.AfterFunc(l.idle, func() {
		l.idled.Store(true)
		abort(l.stream)
	})
	return func() { timer.Stop() }
}

// drain waits, for a while, until the other side has ended the stream, and ignores what it sends until then. A stream that is closed
// with input unread may lose what was written last, which is why it is drained first.
func (l *line) drain(patience time.Duration) {
	timer := time.AfterFunc(patience, func() { abort(l.stream) })
	defer timer.Stop()
	io.Copy(io.Discard, l.stream) //nolint:errcheck // however it ends, it ends
}

// abort ends both directions of a stream at once.
func abort(stream io.Closer) {
	if s, ok := stream.(interface{ Reset() }); ok {
		s.Reset()
		return
	}
	stream.Close() //nolint:errcheck // it is given up
}

// abortWhen aborts the stream when ctx ends before release is called: at once if it has ended, so that nothing is asked for.
func abortWhen(ctx context.Context, stream io.Closer) (release func()) {
	if ctx.Err() != nil {
		abort(stream)
		return func() {}
	}
	aborted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(aborted)
		abort(stream)
	})
	return func() {
		if !stop() {
			<-aborted
		}
	}
}
