package tcplink

import (
	"crypto/tls"
	"sync"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// buffered is how much a writer takes that the connection does not.
const buffered = 256 << 10

// writer writes to a connection from a goroutine of its own, so that writers need not wait while there is room.
type writer struct {
	conn *tls.Conn

	mu     sync.Mutex // guards what follows
	cond   sync.Cond
	queue  []byte
	shut   bool  // nothing more is to come
	lost   bool  // and the other side is not to take that for a regular end
	err    error // why nothing can be written
	closed func()
}

func newWriter(conn *tls.Conn) *writer {
	w := &writer{conn: conn}
	w.cond.L = &w.mu
	return w
}

// write copies b to the queue, and waits for room where there is none.
func (w *writer) write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	written := 0
	for {
		if w.err != nil {
			return written, w.err
		}
		n := min(len(b)-written, buffered-len(w.queue))
		w.append(b[written : written+n])
		if written += n; written == len(b) {
			return written, nil
		}
		w.cond.Wait()
	}
}

// tryWrite is write if there is room for all of b.
func (w *writer) tryWrite(b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.err != nil:
		return w.err
	case len(b) > buffered-len(w.queue):
		return link.ErrWouldBlock
	}
	w.append(b)
	return nil
}

// put queues b whether there is room or not. It is for what is short and seldom.
func (w *writer) put(b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.append(b)
	}
}

func (w *writer) append(b []byte) {
	w.queue = append(w.queue, b...)
	w.cond.Broadcast()
}

// close ends the writing side when all that is queued is written; err is for who writes after that.
func (w *writer) close(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail(err)
	w.shut = true
}

// abort ends the writing side at once.
func (w *writer) abort(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail(err)
	w.queue, w.shut, w.lost = nil, true, true
}

func (w *writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
	w.cond.Broadcast()
}

// flush writes until the end.
func (w *writer) flush() {
	if w.closed != nil {
		defer w.closed()
	}
	var b []byte
	for {
		w.mu.Lock()
		for len(w.queue) == 0 && !w.shut {
			w.cond.Wait()
		}
		b, w.queue = w.queue, b[:0]
		lost := w.lost
		w.cond.Broadcast()
		w.mu.Unlock()
		switch {
		case lost:
			return
		case len(b) == 0:
			_ = w.conn.CloseWrite()
			return
		}
		if _, err := w.conn.Write(b); err != nil {
			w.abort(err)
			return
		}
	}
}
