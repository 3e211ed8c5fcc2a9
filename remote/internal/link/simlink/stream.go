package simlink

import (
	"io"
	"os"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// streamID names a stream on both sides.
type streamID struct {
	byDialer bool
	n        uint64
}

// stream is one side of a stream. The pair's lock guards it.
type stream struct {
	e  *end
	id streamID

	// writing
	pending  []byte // written and not sent
	offset   uint64 // of pending
	room     int    // what may be written without waiting
	shut     bool   // Close was called
	finSent  bool
	urgent   bool
	queued   bool // among those that have something to send
	writeErr error
	writable signal

	// reading
	unread   []byte
	next     uint64 // the offset after unread
	early    map[uint64]*event
	read     int // bytes read that the writer does not know of
	ended    bool
	sawEnd   bool // io.EOF was returned
	readErr  error
	deadline time.Time
	readable signal
}

func newStream(e *end, id streamID) *stream {
	s := &stream{e: e, id: id, room: e.p.net.Buffer, early: map[uint64]*event{}}
	e.streams[id] = s
	return s
}

func (s *stream) fire() {
	s.readable.fire()
	s.writable.fire()
}

// Write copies b into the buffer, and waits where there is no room.
func (s *stream) Write(b []byte) (int, error) {
	s.e.p.mu.Lock()
	defer s.e.p.mu.Unlock()
	written := 0
	for {
		if err := s.writeFault(); err != nil {
			return written, err
		}
		n := min(s.room, len(b)-written)
		s.send(b[written : written+n])
		if written += n; written == len(b) {
			return written, nil
		}
		wait := s.writable.wait()
		s.e.p.mu.Unlock()
		<-wait
		s.e.p.mu.Lock()
	}
}

// TryWrite is Write if there is room for all of b.
func (s *stream) TryWrite(b []byte) error {
	s.e.p.mu.Lock()
	defer s.e.p.mu.Unlock()
	if err := s.writeFault(); err != nil {
		return err
	}
	if len(b) > s.room {
		return link.ErrWouldBlock
	}
	s.send(b)
	return nil
}

// writeFault is why nothing can be written.
func (s *stream) writeFault() error {
	switch {
	case s.e.cause != nil:
		return s.e.cause
	case s.writeErr != nil:
		return s.writeErr
	case s.shut:
		return errShut
	}
	return nil
}

// send has b go out as soon as the path is free.
func (s *stream) send(b []byte) {
	if len(b) == 0 {
		return
	}
	s.pending = append(s.pending, b...)
	s.room -= len(b)
	s.queue()
	s.e.flush()
}

// queue has the stream send in its turn.
func (s *stream) queue() {
	if s.queued || len(s.pending) == 0 && (!s.shut || s.finSent) || s.writeErr != nil {
		return
	}
	s.queued = true
	if s.urgent {
		s.e.urgent = append(s.e.urgent, s)
	} else {
		s.e.ready = append(s.e.ready, s)
	}
}

// transmit sends one segment.
func (s *stream) transmit() {
	if s.writeErr != nil {
		return
	}
	n := min(len(s.pending), segment)
	data := append([]byte(nil), s.pending[:n]...)
	if s.pending = s.pending[n:]; len(s.pending) == 0 {
		s.pending = nil
	}
	fin := s.shut && len(s.pending) == 0
	s.e.post(&event{kind: bytes, stream: s.id, offset: s.offset, data: data, fin: fin})
	s.offset += uint64(n)
	if fin {
		s.finSent = true
		s.settle()
	}
	s.queue()
}

// Close closes the writing side.
func (s *stream) Close() error {
	s.e.p.mu.Lock()
	defer s.e.p.mu.Unlock()
	if err := s.writeFault(); err != nil {
		if s.shut {
			return nil
		}
		return err
	}
	s.shut = true
	s.queue()
	s.e.flush()
	return nil
}

// Reset gives up both directions.
func (s *stream) Reset() {
	s.e.p.mu.Lock()
	defer s.e.p.mu.Unlock()
	if s.e.cause != nil || s.e.streams[s.id] != s {
		return
	}
	s.e.post(&event{kind: reset, stream: s.id})
	s.end(link.ErrReset)
}

// end ends both directions.
func (s *stream) end(err error) {
	if !s.sawEnd {
		s.readErr = err
	}
	s.writeErr = err
	s.pending, s.unread, s.early = nil, nil, nil
	s.fire()
	s.settle()
}

// settle forgets the stream when both directions are over, and lets the other side open another one.
func (s *stream) settle() {
	over := (s.sawEnd || s.readErr != nil) && (s.finSent || s.writeErr != nil)
	if !over || s.e.streams[s.id] != s {
		return
	}
	delete(s.e.streams, s.id)
	if s.id.byDialer != s.e.dialed {
		s.e.post(&event{kind: moreStream})
	}
}

// SetUrgent has what is written here go first.
func (s *stream) SetUrgent() {
	s.e.p.mu.Lock()
	defer s.e.p.mu.Unlock()
	s.urgent = true
}

// SetReadDeadline bounds reads.
func (s *stream) SetReadDeadline(t time.Time) error {
	s.e.p.mu.Lock()
	defer s.e.p.mu.Unlock()
	s.deadline = t
	s.readable.fire()
	return nil
}

// Read reads what has come, or waits. As over QUIC, io.EOF comes along with the last bytes if they are the last known.
func (s *stream) Read(b []byte) (int, error) {
	s.e.p.mu.Lock()
	defer s.e.p.mu.Unlock()
	for {
		switch {
		case s.sawEnd:
			return 0, io.EOF
		case s.e.cause != nil:
			return 0, s.e.cause
		case s.readErr != nil:
			return 0, s.readErr
		case !s.deadline.IsZero() && !time.Now().Before(s.deadline):
			return 0, os.ErrDeadlineExceeded
		case len(s.unread) > 0, s.ended, len(b) == 0:
			return s.consume(b)
		}
		s.await()
	}
}

// await waits for something to read, or the deadline, without the lock.
func (s *stream) await() {
	wait, deadline := s.readable.wait(), s.deadline
	s.e.p.mu.Unlock()
	defer s.e.p.mu.Lock()
	if deadline.IsZero() {
		<-wait
		return
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-wait:
	case <-timer.C:
	}
}

// consume copies to b, and tells the writer when there is nothing left or much was read.
func (s *stream) consume(b []byte) (int, error) {
	n := copy(b, s.unread)
	s.unread = s.unread[n:]
	s.read += n
	if s.ended && len(s.unread) == 0 {
		s.sawEnd = true
		s.settle()
		return n, io.EOF
	}
	if s.read > 0 && (len(s.unread) == 0 || s.read >= s.e.p.net.Buffer/8) {
		s.e.post(&event{kind: window, stream: s.id, n: s.read})
		s.read = 0
	}
	return n, nil
}

// take takes in what has arrived for the stream.
func (s *stream) take(ev *event) {
	switch ev.kind {
	case window:
		s.room += ev.n
		s.writable.fire()
	case reset:
		s.end(errPeerReset)
	default:
		if s.readErr != nil {
			return
		}
		s.early[ev.offset] = ev
		s.gather()
	}
}

// gather moves what has no gap before it to what can be read.
func (s *stream) gather() {
	for {
		ev := s.early[s.next]
		if ev == nil {
			return
		}
		delete(s.early, s.next)
		s.unread = append(s.unread, ev.data...)
		s.next += uint64(len(ev.data))
		s.ended = s.ended || ev.fin
		s.readable.fire()
		if len(ev.data) == 0 {
			return
		}
	}
}
