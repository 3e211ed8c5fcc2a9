package actor_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/mailbox"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// REF-3: Self is the actor's own ref with the type that it was spawned with, and no other.
func TestSelf(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		kept := make(chan *actor.Context, 1)
		a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			self, err := actor.Self[*num](ctx)
			if err != nil || self.AnyRef != ctx.Self() {
				return errors.Join(errors.New("not itself"), err)
			}
			_, wrong := actor.Self[*text](ctx)
			_, wider := actor.Self[proto.Message](ctx)
			if !errors.Is(wrong, actor.ErrWrongType) || !errors.Is(wider, actor.ErrWrongType) {
				return errors.Join(errors.New("of another type"), wrong, wider)
			}
			kept <- ctx
			return actor.RunScope(ctx, func(s *actor.Scope) error {
				s.Go(func(ctx *actor.Context) error {
					if _, err := actor.Self[*num](ctx); !errors.Is(err, actor.ErrWrongType) {
						return errors.New("a scope's child takes messages")
					}
					return nil
				})
				return nil
			})
		}))
		wantKind(t, a.AnyRef, actor.ReasonNormal)
		_, err := actor.Self[*num](<-kept)
		wantErr(t, "after the end", err, actor.ErrEnded)
		if _, err := actor.Self[*num](nil); err == nil {
			t.Fatal("the self of nobody")
		}
	})
}

// REF-4: Queued is exact for a mailbox that is bounded or ordered, for an actor that asks for itself and for one that is idle.
func TestQueued(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		for name, o := range map[string]actor.Mailbox{
			"unbounded": {}, "bounded": {Capacity: 100, Overflow: mailbox.Suspend}, "ordered": {Priority: func(proto.Message) int { return 0 }},
		} {
			t.Run(name, func(t *testing.T) {
				in, resume, own := make(chan struct{}), make(chan struct{}), make(chan int, 1)
				first := true
				a := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
					if first {
						first = false
						close(in)
						_ = ctx.Block(func() { <-resume })
						n, known := ctx.Self().Queued()
						if !known {
							n = -1
						}
						own <- n
					}
					return nil
				}), actor.Options{Mailbox: o})
				wantQueued(t, a.AnyRef, 0, true)
				tell(t, a, 0)
				await(t, in)
				tell(t, a, 1, 2, 3)
				wantQueued(t, a.AnyRef, 3, name != "unbounded")
				close(resume)
				if n := await(t, own); n != 3 {
					t.Errorf("for itself: %d", n)
				}
				settle(t, sys)
				wantQueued(t, a.AnyRef, 0, true)
				a.Stop()
				outcome(t, a.AnyRef)
				wantQueued(t, a.AnyRef, 0, false)
			})
		}
		wantQueued(t, actor.AnyRef{}, 0, false)
	})
}

func wantQueued(t *testing.T, r actor.AnyRef, want int, known bool) {
	t.Helper()
	if n, ok := r.Queued(); ok != known || known && n != want {
		t.Errorf("queued: %d, known: %v; want %d, %v", n, ok, want, known)
	}
}

// TYPE-6: a Ref that was forged, with a type that its actor does not take, brings nothing to the behaviour and panics nowhere.
func TestForgedRef(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		dead := deaths(t, sys)
		a := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error { return ctx.Reply(m) }))
		forged := actor.Ref[*text](a)
		wantErr(t, "send", forged.Send(context.Background(), &text{}), nil)
		_, err := forged.Deliver(context.Background(), &text{})
		wantErr(t, "deliver", err, nil)
		_, err = actor.Call[*text](context.Background(), forged, &text{})
		wantErr(t, "call", err, actor.ErrWrongType)
		user := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			if _, err := actor.SendAfter(ctx, 0, forged, &text{}); err != nil {
				return err
			}
			if _, err := actor.Call[*text](ctx, forged, &text{}); !errors.Is(err, actor.ErrWrongType) {
				return fmt.Errorf("call: %w", err)
			}
			return actor.Forward(ctx, forged, &text{})
		}))
		_, err = actor.Call[*num](context.Background(), user, &num{})
		wantErr(t, "forwarded call", err, actor.ErrWrongType)
		settle(t, sys)
		n := 0
		for _, d := range dead.all() {
			if d.Reason == actor.DeadWrongType && d.To == a.AnyRef {
				n++
			}
		}
		if n != 6 || !a.Alive() || !user.Alive() {
			t.Errorf("%d dead letters: %+v", n, dead.all())
		}
		if _, ok := actor.TypedRef[*text](a.AnyRef); ok {
			t.Error("TypedRef takes the type on trust")
		}
	})
}

// REF-5: a ref comes out of a message as it went in, and only in the System incarnation that it belongs to.
func TestRefInAMessage(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		other := newSystem(t)
		a := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error { return ctx.Reply(m) }))
		raw, err := proto.Marshal(a.Proto())
		if err != nil {
			t.Fatal(err)
		}
		m := new(greenroomv1.Ref)
		if err := proto.Unmarshal(raw, m); err != nil {
			t.Fatal(err)
		}
		if r, err := sys.RefFromProto(m); err != nil || r != a.AnyRef {
			t.Fatal(r, err)
		}
		typed, err := actor.TypedRefFromProto[*num](sys, m)
		if err != nil || typed != a {
			t.Fatal(typed, err)
		}
		_, err = actor.TypedRefFromProto[*text](sys, m)
		wantErr(t, "another type", err, actor.ErrWrongType)
		_, err = other.RefFromProto(m)
		wantErr(t, "another System", err, actor.ErrNoActor)
		for _, none := range []*greenroomv1.Ref{nil, {}, actor.AnyRef{}.Proto()} {
			if r, err := sys.RefFromProto(none); err != nil || !r.IsZero() {
				t.Fatal(r, err)
			}
			if r, err := actor.TypedRefFromProto[*num](sys, none); err != nil || !r.IsZero() {
				t.Fatal(r, err)
			}
		}
		for _, never := range []*greenroomv1.Ref{{Node: sys.NodeID()}, {Node: sys.NodeID(), Id: 1<<32 | 1<<31}, {Id: a.ID()}} {
			_, err := sys.RefFromProto(never)
			wantErr(t, never.String(), err, actor.ErrNoActor)
		}
		a.Stop()
		outcome(t, a.AnyRef)
		if r, err := sys.RefFromProto(m); err != nil || r != a.AnyRef {
			t.Fatal("one that has ended: ", r, err)
		}
		_, err = actor.TypedRefFromProto[*num](sys, m)
		wantErr(t, "one that has ended", err, actor.ErrStopped)
		if _, err := (*actor.System)(nil).RefFromProto(m); err == nil {
			t.Error("the ref of no System")
		}
	})
}

// REF-5: no bytes make a ref that does harm.
func FuzzRefFromProto(f *testing.F) {
	sys, err := actor.NewSystem(actor.SystemOptions{Workers: 1, Seed: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = sys.Close() })
	a := actor.MustSpawn(sys, idler())
	for _, m := range []*greenroomv1.Ref{a.Proto(), {}, {Node: sys.NodeID(), Id: 1<<64 - 1}, {Node: 7, Id: a.ID()}} {
		raw, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := new(greenroomv1.Ref)
		if proto.Unmarshal(raw, m) != nil {
			return
		}
		r, err := sys.RefFromProto(m)
		if err != nil {
			if !errors.Is(err, actor.ErrNoActor) || !r.IsZero() {
				t.Fatal(r, err)
			}
			return
		}
		if back := r.Proto(); back.Node != m.Node || back.Id != m.Id {
			t.Fatalf("%v became %v", m, back)
		}
		if r.Alive() != (r == a.AnyRef) {
			t.Fatalf("%v lives", r)
		}
		_, _ = r.Queued()
		if _, err := actor.TypedRefFromProto[*text](sys, m); !r.IsZero() && err == nil {
			t.Fatal("of a type that nobody takes")
		}
	})
}
