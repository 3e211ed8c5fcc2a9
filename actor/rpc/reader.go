package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// patience is how long a reader whose pipe has gone waits for the end of the service, which says why; patienceApart is that for a service on
// another node.
const (
	patience      = 100 * time.Millisecond
	patienceApart = 500 * time.Millisecond
)

// reader is the receiving end of a pipe. One goroutine at a time may use it.
type reader struct {
	pipe  actor.Ref[proto.Message]
	gone  func(ctx context.Context, err error) error // says why the pipe has gone; nil: ErrGone
	over  error                                      // what every further receive answers
	ended bool                                       // by the writer
}

// receive returns the next item, io.EOF after the last one. Any error ends the stream.
func (r *reader) receive(ctx context.Context) (proto.Message, error) {
	if r.over != nil {
		return nil, r.over
	}
	m, err := call[proto.Message](ctx, r.pipe, &greenroomv1.StreamPull{Apart: r.pipe.Remote()})
	var failed *failure
	switch end, last := m.(*greenroomv1.StreamEnd); {
	case last && end.GetFailed():
		if _, err = call[proto.Message](ctx, r.pipe, &greenroomv1.StreamPull{Apart: true}); err == nil {
			err = errors.New("rpc: the service has failed the stream")
		}
		r.end(err)
	case last:
		r.end(io.EOF)
	case errors.As(err, &failed):
		r.end(failed.err)
		if r.over == io.EOF { //nolint:errorlint // a wrapped one is not mistaken for the end
			r.over = io.ErrUnexpectedEOF
		}
	case err != nil:
		r.cancel(ctx, r.fault(ctx, err))
	}
	if r.over != nil {
		return nil, r.over
	}
	return m, nil
}

// end notes that the writer has ended the stream.
func (r *reader) end(why error) { r.over, r.ended = why, true }

// cancel gives the stream up, unless it is over: the writer's next send answers ErrGone.
func (r *reader) cancel(ctx context.Context, why error) {
	if r.over == nil {
		r.over = why
		cancelPipe(ctx, r.pipe)
	}
}

// fault is what a failure to receive means.
func (r *reader) fault(ctx context.Context, err error) error {
	why := fault(ctx, err)
	if why == ErrGone && r.gone != nil { //nolint:errorlint // ours, just made
		return r.gone(ctx, err)
	}
	return why
}

// endOf is why a pipe of that service has gone: how the service ended, if it did.
func endOf(ctx context.Context, service actor.AnyRef, err error) error {
	wait := patience
	if service.Remote() {
		wait = patienceApart
	}
	bounded, cancel := WithTimeout(ctx, wait)
	defer cancel()
	_, why := service.Wait(bounded)
	var exit *actor.ExitError
	switch {
	case errors.As(why, &exit):
		return exit
	case why == nil:
		return &actor.ExitError{Ref: service}
	}
	return fmt.Errorf("rpc: the stream has ended with the incarnation that served it: %w", err)
}

// cancelPipe gives a pipe up. That it has ended already is no error.
func cancelPipe(ctx context.Context, pipe actor.Ref[proto.Message]) {
	_ = pipe.Send(ctx, &greenroomv1.StreamCancel{})
}

// call is actor.Call to a pipe.
func call[R proto.Message](ctx context.Context, pipe actor.Ref[proto.Message], m proto.Message) (R, error) {
	return actor.Call[R](ctx, pipe, m)
}

// Receiver is where a service's method reads what its caller streams. One goroutine at a time may use it, the method's or any
// other; it ends when the method returns.
type Receiver[M proto.Message] struct {
	in    reader
	first proto.Message // of a request that was sent and not called: the only item
}

// Receive returns the next item, waiting for it under ctx, and io.EOF after the last one. Any other error ends the stream:
// ErrGone (the caller has given it up), or why the wait ended.
func (r *Receiver[M]) Receive(ctx context.Context) (M, error) {
	if m := r.first; m != nil {
		r.first = nil
		return as[M](m, nil)
	}
	return as[M](r.in.receive(ctx))
}

// All yields the items, waiting for each under ctx, and ends after the last one, or with an error as Receive gives it.
func (r *Receiver[M]) All(ctx context.Context) iter.Seq2[M, error] {
	return all(func() (M, error) { return r.Receive(ctx) })
}

// all yields what receive returns, until io.EOF or with another error.
func all[M any](receive func() (M, error)) iter.Seq2[M, error] {
	return func(yield func(M, error) bool) {
		for {
			m, err := receive()
			if err == io.EOF { //nolint:errorlint // the end is never wrapped
				return
			}
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

// as is m as an M, or the error.
func as[M proto.Message](m proto.Message, err error) (M, error) {
	if err != nil {
		var none M
		return none, err
	}
	item, ok := m.(M)
	if !ok {
		return item, fmt.Errorf("rpc: %w: the item is a %T", actor.ErrWrongType, m)
	}
	return item, nil
}
