package rpc

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// ErrGone answers uses of a stream that its other end has left: a reader that ended early or gave up, a service's method that
// has returned. Nothing was sent.
var ErrGone = errors.New("rpc: the other end of the stream has gone")

// errClosed answers uses of a stream that the caller has closed itself.
var errClosed = errors.New("rpc: the stream is closed")

// writer is the sending end of a pipe. One goroutine at a time may use it.
type writer struct {
	pipe   actor.Ref[proto.Message]
	sent   uint64
	pulled uint64 // as far as is known
	closed error  // why nothing can be sent any more
}

// send puts m into the pipe once there is room. With now it does not wait for the reader: ErrFull.
func (w *writer) send(ctx context.Context, m proto.Message, now bool) error {
	if w.closed != nil {
		return w.closed
	}
	for w.sent-w.pulled >= Window {
		room, err := call[*greenroomv1.StreamRoom](ctx, w.pipe, &greenroomv1.StreamCredit{Sent: w.sent, Now: now})
		if err != nil {
			return w.fault(ctx, err)
		}
		w.pulled = room.Pulled
		if now && w.sent-w.pulled >= Window {
			return actor.ErrFull
		}
	}
	if err := w.pipe.Send(ctx, m); err != nil {
		return w.fault(ctx, err)
	}
	w.sent++
	return nil
}

// end puts the last message into the pipe, for which there is always room.
func (w *writer) end(ctx context.Context, m proto.Message) error {
	if w.closed != nil {
		return w.closed
	}
	w.closed = errClosed
	if err := w.pipe.Send(ctx, m); err != nil {
		return fault(ctx, err)
	}
	return nil
}

// fault is what a failure to send means. A pipe that is gone stays so.
func (w *writer) fault(ctx context.Context, err error) error {
	if err = fault(ctx, err); err == ErrGone { //nolint:errorlint // ours, just made
		w.closed = ErrGone
	}
	return err
}

// fault tells the end of a pipe from that of the actor that uses it.
func fault(ctx context.Context, err error) error {
	if !errors.Is(err, actor.ErrStopped) {
		return err
	}
	if c, ok := actor.FromContext(ctx); ok && c.Stopping() {
		return err
	}
	return ErrGone
}

// Sender is where a service's method writes a stream. It may be kept beyond the method and passed on; one goroutine at a time
// may use it.
type Sender[M proto.Message] struct {
	out  writer
	up   actor.AnyRef // the pipe of what the caller streams, if it does
	kept bool
}

// Send sends one item. When the reader is Window items behind it waits for room under ctx; that wait may be tried again.
// Errors: ErrGone (the reader has ended the stream), or why the wait ended.
func (s *Sender[M]) Send(ctx context.Context, m M) error { return s.out.send(ctx, m, false) }

// TrySend is Send that does not wait for the reader: actor.ErrFull if it is Window items behind.
func (s *Sender[M]) TrySend(ctx context.Context, m M) error { return s.out.send(ctx, m, true) }

// Keep has the stream stay open when the method returns nil: the service goes on with its next message and may send later.
// Close ends it, and so does the end of the service's incarnation.
func (s *Sender[M]) Keep() { s.kept = true }

// Close ends the stream behind what was sent: the reader's loop ends if err is nil, else it gets err.
// A method that has not called Keep need not close: its return does.
func (s *Sender[M]) Close(ctx context.Context, err error) error {
	s.up.Stop()
	if err != nil {
		return s.out.end(ctx, &finish{err: err})
	}
	return s.out.end(ctx, &greenroomv1.StreamEnd{})
}

// Ref is the stream's own actor, which ends when the stream does: to monitor, or to ask whether it is Alive. It is the zero
// ref if nobody waits for the stream.
func (s *Sender[M]) Ref() actor.AnyRef { return s.out.pipe.AnyRef }
