package rpc

import (
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// Behave makes the behaviour of a service: start makes the implementation for each incarnation, handle gives it one message.
// For generated code.
func Behave[S any, M proto.Message](start func(ctx *actor.Context) (S, error), handle func(ctx *actor.Context, s S, m M) error) actor.Behaviour[M] {
	if start == nil {
		return actor.Behaviour[M]{}
	}
	return actor.StatefulFrom(func(ctx *actor.Context) (*S, error) {
		return made(start(ctx))
	}, func(ctx *actor.Context, s *S, m M) error { return handle(ctx, *s, m) })
}

// BehavePersistent is Behave with a state that outlives an incarnation, as actor.Persistent. For generated code.
func BehavePersistent[S, P any, M proto.Message](restore func(ctx *actor.Context, kept *P) (S, error), handle func(ctx *actor.Context, s S, m M) error, persist func(s S) (*P, error)) actor.Behaviour[M] {
	if restore == nil || persist == nil {
		return actor.Behaviour[M]{}
	}
	return actor.Persistent(func(ctx *actor.Context, kept *P) (*S, error) {
		return made(restore(ctx, kept))
	}, func(ctx *actor.Context, s *S, m M) error { return handle(ctx, *s, m) }, func(s *S) (*P, error) { return persist(*s) })
}

// made is an implementation that is there.
func made[S any](s S, err error) (*S, error) {
	if err == nil && any(s) == nil {
		err = errors.New("rpc: the function that makes the service's implementation returned nil")
	}
	return &s, err
}

// Migrate makes an actor.SwapOptions.Migrate of a function that makes the new implementation of the old one, for
// actor.Swap(ctx, ref.Ref, pb.CounterBehaviour(start), ...). The implementation is an actor's state, so a swap without it keeps
// the old one.
func Migrate[S any](f func(old S) (S, error)) func(old any) (any, error) {
	return actor.Migrate(func(old *S) (*S, error) { return made(f(*old)) })
}

// Answer answers the call in hand with what a method returned: the response, or the error. A method may have answered
// otherwise: by ctx.Reply, a Responder, actor.Forward. An error that nobody waits for is logged. For generated code.
func Answer(ctx *actor.Context, response proto.Message, err error) error {
	if err == nil {
		if err = ctx.Reply(response); err == nil || err == actor.ErrCallerGone { //nolint:errorlint // bare, and for each call
			return nil
		}
		if errors.Is(err, actor.ErrNoCall) || errors.Is(err, actor.ErrNilMessage) {
			return nil // answered otherwise, or not at all: then the caller gets ErrNoReply
		}
		return err
	}
	if failed := ctx.Fail(err); errors.Is(failed, actor.ErrNoCall) {
		ctx.Log().Warn("rpc failed and nobody waits for its answer", "error", err)
	}
	return nil
}

// Unexpected answers a message that no method takes. For generated code.
func Unexpected(ctx *actor.Context, m proto.Message) error {
	return Answer(ctx, nil, fmt.Errorf("rpc: %w: no method takes a %T", actor.ErrWrongType, m))
}

// opened answers the request that opens a stream. Its refs are what callers in this process go by; others get the message alone.
type opened struct {
	*greenroomv1.StreamOpened
	up, down actor.Ref[proto.Message]
}

// openedBy is what that service has answered.
func openedBy[M proto.Message](service actor.Ref[M], m proto.Message) (o *opened, err error) {
	switch m := m.(type) {
	case *opened:
		return m, nil
	case *greenroomv1.StreamOpened:
		o = &opened{StreamOpened: m}
		sys := service.System()
		if o.up.AnyRef, err = sys.RefFromProto(m.GetUp()); err == nil {
			o.down.AnyRef, err = sys.RefFromProto(m.GetDown())
		}
		if err == nil && o.down.IsZero() {
			err = actor.ErrNoActor
		}
		if err != nil {
			return nil, fmt.Errorf("rpc: the stream of %v: %w", service.AnyRef, err)
		}
		return o, nil
	}
	return nil, fmt.Errorf("rpc: %v opens no stream: %w: it answers with a %T", service.AnyRef, actor.ErrWrongType, m)
}

// accept opens the pipes of a stream and tells the caller, who waits for them; false if there is no such caller.
func accept(ctx *actor.Context, takes bool) (o opened, ok bool) {
	if !ctx.IsCall() {
		return o, false
	}
	o.StreamOpened = &greenroomv1.StreamOpened{}
	var err error
	if o.down, err = openPipe(ctx); err == nil && takes {
		o.up, err = openPipe(ctx)
		o.StreamOpened.Up = o.up.Proto()
	}
	if err == nil {
		o.StreamOpened.Down = o.down.Proto()
		err = ctx.Reply(&o)
	}
	if err != nil {
		_ = ctx.Fail(err)
		o.up.Stop()
		o.down.Stop()
	}
	return o, err == nil
}

// ServeStream runs the method of a server stream. A method whose request was sent instead of called has nobody to send to:
// its Sender answers ErrGone. For generated code.
func ServeStream[M proto.Message](ctx *actor.Context, method func(out *Sender[M]) error) error {
	called := ctx.IsCall()
	o, ok := accept(ctx, false)
	if called && !ok {
		return nil
	}
	out := newSender[M](o)
	out.returned(ctx, method(out))
	return nil
}

// ServeBidiStream runs the method of a stream in both directions; as ServeStream.
func ServeBidiStream[In, Out proto.Message](ctx *actor.Context, first In, method func(in *Receiver[In], out *Sender[Out]) error) error {
	called := ctx.IsCall()
	o, ok := accept(ctx, true)
	if called && !ok {
		return nil
	}
	out := newSender[Out](o)
	out.returned(ctx, method(newReceiver[In](o, first), out))
	return nil
}

// ServeClientStream runs the method of a client stream. The request opens it, and is no item of it, unless it was sent
// instead of called: then it is the only one, and the response is dropped. For generated code.
func ServeClientStream[In, Out proto.Message](ctx *actor.Context, first In, method func(in *Receiver[In]) (Out, error)) error {
	if !ctx.IsCall() {
		_, err := method(newReceiver[In](opened{}, first))
		return Answer(ctx, nil, err)
	}
	o, ok := accept(ctx, true)
	if !ok {
		return nil
	}
	response, err := method(newReceiver[In](o, first))
	o.up.Stop()
	if err == nil && !response.ProtoReflect().IsValid() {
		err = actor.ErrNoReply
	}
	out := writer{pipe: o.down}
	_ = out.end(ctx, &finish{last: response, err: err}) // an error means that the caller has gone
	return nil
}

func newSender[M proto.Message](o opened) *Sender[M] {
	s := &Sender[M]{out: writer{pipe: o.down}, up: o.up.AnyRef}
	if o.down.IsZero() {
		s.out.closed = ErrGone
	}
	return s
}

func newReceiver[M proto.Message](o opened, first M) *Receiver[M] {
	if o.up.IsZero() {
		return &Receiver[M]{first: first, in: reader{over: io.EOF}}
	}
	return &Receiver[M]{in: reader{pipe: o.up}}
}

// returned ends the stream when its method has returned, unless it is kept.
func (s *Sender[M]) returned(ctx *actor.Context, err error) {
	if s.kept && err == nil {
		return
	}
	_ = s.Close(ctx, err)
}
