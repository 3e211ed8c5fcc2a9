package remote_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/remote"
	"github.com/greenroom-go/greenroom/remote/internal/conditions"
)

// ask calls r with a text and returns the answer's.
func ask(ctx context.Context, r actor.Ref[*text], what string) (string, error) {
	m, err := actor.Call[*text](ctx, r, wrapperspb.String(what))
	return m.GetValue(), err
}

// TestCalls calls actors of another node, from actors and from outside, that answer in every way there is (REM-14).
func TestCalls(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.net.SetAll(conditions.Conditions{Latency: 5 * time.Millisecond})
		a, b := w.pair()
		from := func(f func(ctx context.Context) error) error { // an actor and a goroutine
			if err := f(w.patient()); err != nil {
				return err
			}
			return await(w, runs(a, func(ctx *actor.Context) error { return f(ctx) }))
		}
		try := func(what string, check func(s string, err error) error) {
			w.Helper()
			if err := from(func(ctx context.Context) error { return check(ask(ctx, at(a, victim(b)), what)) }); err != nil {
				w.Errorf("%s: %v", what, err)
			}
		}
		try("x", func(s string, err error) error {
			if s != "re: x" || err != nil {
				return fmt.Errorf("%q, %w", s, err)
			}
			return nil
		})
		exit := func(kind actor.ReasonKind, target error) func(string, error) error {
			return func(_ string, err error) error {
				var e *actor.ExitError
				if !errors.As(err, &e) || e.Reason.Kind != kind || target != nil && !errors.Is(err, target) {
					return fmt.Errorf("it ended with %w", err)
				}
				return nil
			}
		}
		try("fail", exit(actor.ReasonError, actor.ErrBadName))
		try("panic", func(s string, err error) error {
			var far *remote.Error
			if !errors.As(err, &far) || !strings.Contains(far.Text, "a bad thing") || far.Node != "b" || !strings.Contains(far.Stack, "watch_test.go") {
				return fmt.Errorf("no error of b's: %#w", far)
			}
			return exit(actor.ReasonPanic, nil)(s, err)
		})
		try("stop", func(_ string, err error) error {
			if !errors.Is(err, actor.ErrNoReply) {
				return fmt.Errorf("it ended with %w", err)
			}
			return nil
		})
	})
}

// TestErrorsTravel has callees fail with errors of many kinds: text, type and identity come along (REM-15).
func TestErrorsTravel(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair()
		var with error
		r := at(a, actor.MustSpawn(b.sys, actor.Handler(func(ctx *actor.Context, _ *text) error { return ctx.Fail(with) })))
		for _, target := range []error{
			actor.ErrFull, actor.ErrNoName, context.Canceled, context.DeadlineExceeded, remote.ErrTooLarge, remote.ErrLimit, actor.ErrNodeDown,
		} {
			with = fmt.Errorf("while trying: %w", target)
			_, err := ask(w.patient(), r, "x")
			wants(w, "the error", err, target)
			var e *remote.Error
			if !errors.As(err, &e) || e.Text != with.Error() || e.Type != "*fmt.wrapError" || e.Node != "b" {
				w.Errorf("%#v", e)
			}
		}
		for _, with = range []error{typedNil(), badError{}, errors.New("\xff\xfe"), errors.New(strings.Repeat("long", 100_000))} {
			if _, err := ask(w.patient(), r, "x"); err == nil || len(err.Error()) > 40_000 {
				w.Errorf("%T: %.100v", with, err)
			}
		}
	})
}

type badError struct{}

func (badError) Error() string { panic("no text") }

type nilError struct{ s string }

func (e *nilError) Error() string { return e.s }

func typedNil() error {
	var e *nilError
	return e
}

// TestCallsEnd has calls end early: by a deadline, which the callee's Context has too; because the caller gives up; because its node or the
// callee's is down (REM-16).
func TestCallsEnd(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.net.SetAll(conditions.Conditions{Latency: 5 * time.Millisecond})
		a, b := w.pair()
		type seen struct {
			left time.Duration
			err  error
			at   time.Time
		}
		got := make(chan seen, 1)
		r := at(a, actor.MustSpawn(b.sys, actor.Handler(func(ctx *actor.Context, _ *text) error {
			until, ok := ctx.Deadline()
			s := seen{}
			if ok {
				s.left = time.Until(until)
			}
			s.err = ctx.Sleep(time.Hour)
			s.at = time.Now()
			got <- s
			return nil
		})))
		try := func(ctx context.Context, end func(), target error) seen {
			w.Helper()
			done := make(chan error, 1)
			go func() {
				_, err := ask(ctx, r, "wait")
				done <- err
			}()
			pass(100 * time.Millisecond)
			end()
			wants(w, "the call", await(w, done), target)
			return await(w, got)
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s := try(ctx, func() {}, context.DeadlineExceeded)
		if s.left < 900*time.Millisecond || s.left > time.Second || s.err == nil {
			w.Errorf("the callee saw %v left and %v", s.left, s.err)
		}
		between(w, "the callee's end", began, 950*time.Millisecond, 1100*time.Millisecond)
		began = time.Now()
		ctx, stop := context.WithCancel(context.Background())
		if s = try(ctx, stop, context.Canceled); s.err == nil || s.left != 0 {
			w.Errorf("the callee saw %v", s)
		}
		between(w, "the callee's end", began, 0, time.Second)
		began = time.Now()
		if s = try(w.patient(), func() { w.net.Partition("a:1", "b:1") }, actor.ErrNodeDown); s.err == nil {
			w.Error("the callee waits on for a node that is down")
		}
		between(w, "both sides' end", began, downAfter, downAfter*5/4)
	})
}

// TestCancelIsBehindItsCall cancels calls just when they are sent: each callee learns of it (REM-16).
func TestCancelIsBehindItsCall(t *testing.T) {
	inWorld(t, 5, func(w *world) {
		w.net.SetAll(conditions.Conditions{Latency: 5 * time.Millisecond, Loss: 0.2})
		a, b := w.pair()
		const n = 60
		ended := make(chan error, n)
		for range n {
			r := at(a, actor.MustSpawn(b.sys, actor.Handler(func(ctx *actor.Context, _ *text) error {
				ended <- ctx.Sleep(time.Hour)
				return nil
			})))
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() {
				_, err := ask(ctx, r, "wait")
				done <- err
			}()
			pass(time.Microsecond)
			cancel()
			wants(w, "the call", await(w, done), context.Canceled)
		}
		pass(10 * time.Second)
		l := settle(w, b.sys)
		if uint64(len(ended))+l.Dead != n { //nolint:gosec // small
			w.Errorf("%d callees were told and %v: of %d", len(ended), l, n)
		}
		for len(ended) > 0 {
			if err := <-ended; err == nil {
				w.Error("a callee slept on")
			}
		}
	})
}

// TestForward has calls be passed on to a third node, be answered later by a Responder, and by nobody (REM-17).
func TestForward(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair()
		c := w.node("c", peers("a:1", "b:1"))
		c.meets(a)
		c.meets(b)
		last := at(b, victim(c))
		via := at(a, actor.MustSpawn(b.sys, actor.Handler(func(ctx *actor.Context, m *text) error { return actor.Forward(ctx, last, m) })))
		if s, err := ask(w.patient(), via, "x"); s != "re: x" || err != nil {
			w.Errorf("forwarded: %q, %v", s, err)
		}
		_, err := ask(w.patient(), via, "fail")
		wants(w, "forwarded to one that fails", err, actor.ErrBadName)
		var kept actor.Responder
		keeps := at(a, actor.MustSpawn(b.sys, actor.Handler(func(ctx *actor.Context, _ *text) (err error) {
			kept, err = ctx.Responder()
			return err
		})))
		done := make(chan error, 1)
		go func() {
			s, err := ask(w.patient(), keeps, "x")
			if s != "later" {
				err = fmt.Errorf("%q, %w", s, err)
			}
			done <- err
		}()
		pass(3 * downAfter)
		w.net.Cut("a:1", "b:1")
		holds(w, kept.Reply(wrapperspb.String("later")))
		holds(w, await(w, done))
		silent := at(a, actor.MustSpawn(b.sys, actor.Handler(func(*actor.Context, *text) error { return nil })))
		_, err = ask(w.patient(), silent, "x")
		wants(w, "no reply", err, actor.ErrNoReply)
	})
}

// TestBadCalls makes calls that cannot be: to the dead, of the wrong type, too large, of nil and of types that one side does not know (REM-18).
func TestBadCalls(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair(func(o *remote.Options) { o.MaxMessageBytes = 100_000 })
		v := victim(b)
		r := at(a, v)
		v2 := at(a, victim(b))
		la, lb := watchLetters(a.sys), watchLetters(b.sys)
		_, err := actor.Call[*text](w.patient(), actor.Ref[*blob]{AnyRef: r.Any()}, wrapperspb.Bytes(nil))
		wants(w, "wrong type", err, actor.ErrWrongType)
		holds(w, r.Any().Send(w.patient(), durationpb.New(1)))
		_, err = ask(w.patient(), r, strings.Repeat("x", 100_001))
		wants(w, "too large", err, remote.ErrTooLarge)
		wants(w, "too large", r.Send(w.patient(), wrapperspb.String(strings.Repeat("x", 100_001))), remote.ErrTooLarge)
		if _, err = ask(w.patient(), r, strings.Repeat("x", 99_995)); !errors.Is(err, remote.ErrTooLarge) {
			w.Errorf("a reply that is too large: %v", err)
		}
		_, err = actor.Call[*text](w.patient(), r, nil)
		wants(w, "nil", err, actor.ErrNilMessage)
		wants(w, "nil", r.Send(w.patient(), nil), actor.ErrNilMessage)
		_, err = r.Deliver(w.patient(), nil)
		wants(w, "nil", err, actor.ErrNilMessage)
		unknown := dynamicpb.NewMessage(schema(w.T))
		wants(w, "a type that nobody knows", r.Any().Send(w.patient(), unknown), remote.ErrUnknownType)
		_, err = actor.Call[*text](w.patient(), actor.Ref[proto.Message]{AnyRef: r.Any()}, proto.Message(unknown))
		wants(w, "a call of such a type", err, remote.ErrUnknownType)
		bad := wrapperspb.String("\xff")
		if err := v2.Send(w.patient(), bad); err == nil {
			w.Error("text that is not UTF-8 was sent")
		}
		if s, err := ask(w.patient(), v2, "still"); s != "re: still" || err != nil {
			w.Errorf("after that: %q, %v", s, err)
		}
		v.Kill()
		_, _ = v.Any().Wait(w.patient())
		_, err = ask(w.patient(), r, "x")
		wants(w, "the dead", err, actor.ErrStopped)
		holds(w, r.Send(w.patient(), wrapperspb.String("x")))
		pass(time.Second)
		settle(w, b.sys)
		if lb.count(actor.DeadWrongType) != 2 || lb.count(actor.DeadStopped) != 2 || la.count(actor.DeadLateReply) != 0 {
			w.Errorf("dead letters: %v", lb.list())
		}
		never, err := a.sys.RefAt(b.sys.NodeID(), 1<<40|77)
		holds(w, err)
		_, err = actor.Call[*text](w.patient(), actor.Ref[*text]{AnyRef: never}, wrapperspb.String("x"))
		wants(w, "one that never was", err, actor.ErrStopped)
	})
}

// schema is one that is linked nowhere.
func schema(t *testing.T) protoreflect.MessageDescriptor {
	t.Helper()
	f, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: new("nowhere.proto"), Package: new("nowhere"), Syntax: new("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: new("Unknown")}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f.Messages().Get(0)
}

// TestRefsTravel sends a ref by a third node to one that is not linked to its owner, and uses it there (REM-19).
func TestRefsTravel(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair()
		c := w.node("c", peers("a:1")) // it knows a only
		c.meets(a)
		if len(c.Peers()) != 1 {
			w.Fatalf("c knows %v", c.Peers())
		}
		got := make(chan error, 1)
		uses := actor.MustSpawn(c.sys, actor.Handler(func(ctx *actor.Context, m *greenroomv1.Ref) error {
			r, err := actor.TypedRefFromProto[*text](ctx.System(), m)
			if err == nil {
				var s string
				if s, err = ask(ctx, r, "from c"); s != "re: from c" {
					err = fmt.Errorf("%q, %w", s, err)
				}
			}
			got <- err
			return nil
		}))
		holds(w, at(a, uses).Send(w.patient(), at(a, victim(b)).Proto()))
		holds(w, await(w, got))
		c.meets(b)
	})
}

// TestRefsToNowhere uses refs of nodes that nobody knows: what is sent is a dead letter after DownAfter, and many of them do not keep
// others from being met (REM-20).
func TestRefsToNowhere(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair()
		l := watchLetters(a.sys)
		began := time.Now()
		r, err := a.sys.RefAt(12345, 1<<32)
		holds(w, err)
		holds(w, r.Send(w.patient(), wrapperspb.String("x")))
		_, err = r.Wait(w.patient())
		wants(w, "Wait", err, actor.ErrNodeDown)
		between(w, "NodeDown", began, downAfter, downAfter*5/4)
		if l.count(actor.DeadNodeDown) != 1 {
			w.Errorf("dead letters: %v", l.list())
		}
		early, err := a.sys.RefAt(99, 1<<32)
		holds(w, err)
		for i := range uint64(remote.MaxIncarnations + 100) {
			if _, err := a.sys.RefAt(1000+i, 1<<32); err != nil {
				w.Fatal(err)
			}
		}
		if n := a.Incarnations(); n > remote.MaxIncarnations {
			w.Errorf("%d incarnations are remembered", n)
		}
		c := w.node("c", peers("a:1"))
		c.meets(a)
		if s, err := ask(w.patient(), at(a, victim(c)), "x"); s != "re: x" || err != nil {
			w.Errorf("c: %q, %v", s, err)
		}
		if s, err := ask(w.patient(), at(a, victim(b)), "x"); s != "re: x" || err != nil {
			w.Errorf("b: %q, %v", s, err)
		}
		holds(w, actor.Ref[*text]{AnyRef: early}.Fire(w.patient(), wrapperspb.String("x"))) // one that was forgotten meanwhile
		_, err = early.Wait(w.patient())
		wants(w, "Wait", err, actor.ErrNodeDown)
	})
}
