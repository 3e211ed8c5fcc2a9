package rpc

import (
	"cmp"
	"context"
	"iter"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// NoTimeout stands where the schema says nothing of a timeout.
const NoTimeout time.Duration = 0

// WithTimeout is context.WithTimeout, but cheap for an actor's Context, and ctx itself if that ends earlier or d is NoTimeout.
// For generated code.
func WithTimeout(ctx context.Context, d time.Duration) (bounded context.Context, cancel context.CancelFunc) {
	if c, ok := ctx.(*actor.Context); ok && c != nil && d != NoTimeout {
		return c.WithTimeout(d)
	}
	if ctx == nil || d == NoTimeout {
		return ctx, func() {}
	}
	if at, ok := ctx.Deadline(); ok && time.Until(at) <= d {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d)
}

// WithMailbox is o with that mailbox, unless o asks for one itself. For generated code.
func WithMailbox(o []actor.Options, m actor.Mailbox) []actor.Options {
	if len(o) == 0 {
		return []actor.Options{{Mailbox: m}}
	}
	if own := o[0].Mailbox; own.Capacity != 0 || own.Overflow != 0 || own.Priority != nil {
		return o
	}
	first := o[0]
	first.Mailbox = m
	return append([]actor.Options{first}, o[1:]...)
}

// Stream is the method of a typed ref for a server stream: each loop over what it returns calls the service anew and yields
// the items, waiting for each. It ends after the last one, or with an error: the method's own, that of Call, *actor.ExitError
// if the service's incarnation ends first, or ctx's. A loop that ends early ends the stream. timeout bounds the whole of it.
// For generated code.
func Stream[R, M proto.Message](ctx context.Context, service actor.Ref[M], request M, timeout time.Duration) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		ctx, cancel := WithTimeout(ctx, timeout)
		defer cancel()
		o, err := openAt(ctx, service, request)
		if err != nil {
			yield(as[R](nil, err))
			return
		}
		in := reader{pipe: o.down, gone: func(ctx context.Context, err error) error { return endOf(ctx, service.AnyRef, err) }}
		defer func() { in.cancel(ctx, ErrGone) }() // ends what has not ended, also when the loop panics
		all(func() (R, error) { return as[R](in.receive(ctx)) })(yield)
	}
}

// openAt asks a service for a stream.
func openAt[M proto.Message](ctx context.Context, service actor.Ref[M], request M) (*opened, error) {
	m, err := actor.Call[proto.Message](ctx, service, request)
	if err != nil {
		return nil, err
	}
	return openedBy(service, m)
}

// stream is a stream that its caller holds in hand.
type stream struct {
	ctx     context.Context // bounds the whole of it
	cancel  context.CancelFunc
	leave   func() bool // stops watching ctx
	service actor.AnyRef
	out     writer
	in      reader
	over    atomic.Bool // nothing is left to give up
	expired atomic.Bool // ctx has ended it
}

// open calls the service and has the stream end with ctx.
func open[M proto.Message](ctx context.Context, service actor.Ref[M], request M, timeout time.Duration) (*stream, error) {
	bounded, cancel := WithTimeout(ctx, timeout)
	o, err := openAt(bounded, service, request)
	if err != nil {
		cancel()
		return nil, err
	}
	s := &stream{ctx: bounded, cancel: cancel, service: service.AnyRef, out: writer{pipe: o.up}, in: reader{pipe: o.down}}
	s.in.gone = s.why
	s.leave = context.AfterFunc(bounded, func() {
		s.expired.Store(true)
		cancelPipe(context.Background(), o.down)
		cancelPipe(context.Background(), o.up)
	})
	return s, nil
}

// why is why the stream has gone without the service's having ended it.
func (s *stream) why(ctx context.Context, err error) error {
	switch {
	case s.expired.Load():
		return cmp.Or(s.ctx.Err(), context.Canceled)
	case s.over.Load():
		return ErrGone
	}
	return endOf(ctx, s.service, err)
}

func (s *stream) send(ctx context.Context, m proto.Message) error {
	if s.over.Load() {
		return ErrGone
	}
	err := s.out.send(ctx, m, false)
	if err == ErrGone && s.expired.Load() { //nolint:errorlint // ours, bare
		return s.why(ctx, err)
	}
	return err
}

func (s *stream) receive(ctx context.Context) (proto.Message, error) {
	m, err := s.in.receive(ctx)
	if err == nil {
		return m, nil
	}
	if s.expired.Load() { // whatever the service has made of it
		err = s.why(ctx, err)
	}
	s.end(ctx, !s.in.ended, false)
	return nil, err
}

// end gives up what is left of the stream, once.
func (s *stream) end(ctx context.Context, up, down bool) {
	if s.over.Swap(true) {
		return
	}
	s.leave()
	if up {
		cancelPipe(ctx, s.out.pipe)
	}
	if down {
		cancelPipe(ctx, s.in.pipe)
	}
	s.cancel()
}

// ClientStream is what a caller streams to a service, which answers once. It lives under the context that it was opened with
// and must be ended by CloseAndReceive, by Cancel, or by that context. One goroutine at a time may use it.
type ClientStream[In, Out proto.Message] struct{ s *stream }

// OpenClientStream is the method of a typed ref for a client stream: request, which is empty, opens it. For generated code.
func OpenClientStream[In, Out, M proto.Message](ctx context.Context, service actor.Ref[M], request M, timeout time.Duration) (*ClientStream[In, Out], error) {
	s, err := open(ctx, service, request, timeout)
	if err != nil {
		return nil, err
	}
	return &ClientStream[In, Out]{s}, nil
}

// Send sends one item. When the service is Window items behind it waits for room under ctx; that wait may be tried again.
// ErrGone: the service takes no more, and CloseAndReceive tells why.
func (c *ClientStream[In, Out]) Send(ctx context.Context, m In) error { return c.s.send(ctx, m) }

// CloseAndReceive ends the stream and waits under ctx for the service's answer. Errors: the method's own; *actor.ExitError if
// the service's incarnation ends first; why the wait ended.
func (c *ClientStream[In, Out]) CloseAndReceive(ctx context.Context) (Out, error) {
	_ = c.s.out.end(ctx, &greenroomv1.StreamEnd{}) // a service that takes no more has answered
	response, err := as[Out](c.s.receive(ctx))
	if err == nil {
		c.s.in.end(errClosed)
		c.s.end(ctx, false, false)
	}
	return response, err
}

// Cancel gives the stream up: the service's next Receive answers ErrGone. It does nothing to a stream that is over.
func (c *ClientStream[In, Out]) Cancel() { c.s.end(c.s.ctx, true, true) }

// BidiStream is a stream in both directions. It lives under the context that it was opened with and must be ended by Receive's
// last answer, by Cancel, or by that context. One goroutine at a time may use each direction.
type BidiStream[In, Out proto.Message] struct{ s *stream }

// OpenBidiStream is the method of a typed ref for a stream in both directions: request, which is empty, opens it. For generated
// code.
func OpenBidiStream[In, Out, M proto.Message](ctx context.Context, service actor.Ref[M], request M, timeout time.Duration) (*BidiStream[In, Out], error) {
	s, err := open(ctx, service, request, timeout)
	if err != nil {
		return nil, err
	}
	return &BidiStream[In, Out]{s}, nil
}

// Send sends one item. When the service is Window items behind it waits for room under ctx; that wait may be tried again.
// ErrGone: the service takes no more, and Receive tells why.
func (b *BidiStream[In, Out]) Send(ctx context.Context, m In) error { return b.s.send(ctx, m) }

// CloseSend tells the service that no more items come.
func (b *BidiStream[In, Out]) CloseSend(ctx context.Context) error {
	return b.s.out.end(ctx, &greenroomv1.StreamEnd{})
}

// Receive returns the next item, waiting for it under ctx, and io.EOF after the last one. Any other error ends the stream, as
// those of CloseAndReceive.
func (b *BidiStream[In, Out]) Receive(ctx context.Context) (Out, error) {
	return as[Out](b.s.receive(ctx))
}

// All yields the items, waiting for each under ctx, and ends after the last one, or with an error as Receive gives it.
func (b *BidiStream[In, Out]) All(ctx context.Context) iter.Seq2[Out, error] {
	return all(func() (Out, error) { return b.Receive(ctx) })
}

// Cancel gives the stream up: the service's next Send and Receive answer ErrGone. It does nothing to a stream that is over.
func (b *BidiStream[In, Out]) Cancel() { b.s.end(b.s.ctx, true, true) }
