package actor_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/mailbox"
)

// eventMsg carries what a guardian is told.
type eventMsg struct {
	text
	actor.ChildEvent
}

func asEvent(e actor.ChildEvent) proto.Message { return &eventMsg{ChildEvent: e} }

// guardian runs f in an actor that is a guardian, and returns f's error.
func guardian(t *testing.T, sys *actor.System, f func(g *guarding) error) {
	t.Helper()
	done := make(chan error, 1)
	ref := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[proto.Message]) error {
		err := actor.Guard(ctx, asEvent)
		if err == nil {
			err = f(&guarding{t, ctx, in})
		}
		done <- err
		return nil
	}))
	if err := await(t, done); err != nil {
		t.Fatal(err)
	}
	wantKind(t, ref.AnyRef, actor.ReasonNormal)
}

type guarding struct {
	t   *testing.T
	ctx *actor.Context
	in  *actor.Inbox[proto.Message]
}

// next returns the next event, which must be of that kind.
func (g *guarding) next(want actor.ChildEventKind) actor.ChildEvent {
	g.t.Helper()
	l, cancel := g.ctx.WithTimeout(patience)
	defer cancel()
	m, err := g.in.Receive(l)
	if err != nil {
		g.t.Errorf("no event: %v", err)
		return actor.ChildEvent{}
	}
	e := m.(*eventMsg).ChildEvent
	if e.Kind != want {
		g.t.Errorf("event %v (%v), want %v", e.Kind, e.Reason, want)
	}
	return e
}

func (g *guarding) spawn(b actor.Behaviour[*num], o ...actor.Options) actor.Ref[*num] {
	g.t.Helper()
	ref, _, err := actor.SpawnGuarded(g.ctx, b, o...)
	if err != nil {
		g.t.Error(err)
	}
	return ref
}

func (g *guarding) restart(ref actor.AnyRef) {
	g.t.Helper()
	if _, err := g.ctx.RestartChild(ref); err != nil {
		g.t.Errorf("restart: %v", err)
	}
}

// touchy adds up what it gets, answers with the sum, and fails in every way there is.
func touchy(ctx *actor.Context, sum *int64, m *num) error {
	switch m.Value {
	case -1:
		return errors.New("minus one")
	case -2:
		panic("minus two")
	case -3:
		runtime.Goexit()
	case -4:
		ctx.Self().Kill()
		return ctx.Sleep(time.Hour)
	case -5:
		ctx.Stop()
		return nil
	}
	*sum += m.Value
	_ = ctx.Reply(&num{Value: *sum})
	return nil
}

func sumOf(t *testing.T, ref actor.Ref[*num], n int64) int64 {
	t.Helper()
	r, err := actor.Call[*num](patient(t), ref, &num{Value: n})
	if err != nil {
		t.Errorf("call: %v", err)
		return 0
	}
	return r.Value
}

// GUARD-1: a guarded child that ends in whatever way is held, keeps its ref, name and mailbox, and goes on with fresh state and with
// the next message when its guardian says so. GUARD-2: the message that failed is not handled again.
func TestGuardedChildIsRestarted(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		letters := deaths(t, sys)
		guardian(t, sys, func(g *guarding) error {
			ref := g.spawn(actor.Stateful(touchy), actor.Options{Name: "touchy"})
			for i, want := range []actor.ReasonKind{actor.ReasonError, actor.ReasonPanic, actor.ReasonError, actor.ReasonKilled, actor.ReasonNormal} {
				for _, n := range []int64{7, int64(-1 - i), 3} { // the last one waits for the next incarnation
					if err := ref.Send(g.ctx, &num{Value: n}); err != nil {
						return err
					}
				}
				e := g.next(actor.ChildEnded)
				if e.Ref != ref.AnyRef || e.Reason.Kind != want || e.Incarnation != uint32(i+1) {
					t.Errorf("event %+v, want %v of incarnation %d", e, want, i+1)
				}
				if r, ok := sys.Lookup("touchy"); !ok || r != ref.AnyRef {
					t.Error("its name is gone")
				}
				g.restart(ref.AnyRef)
				r, err := actor.Call[*num](g.ctx, ref, &num{Value: 10})
				if err != nil || r.Value != 13 {
					t.Errorf("%v: sum %v, %v: want the 3 that waited and these 10 on fresh state", want, r.GetValue(), err)
				}
			}
			return nil
		})
		if n := len(letters.all()); n != 4 { // a stop's message was handled
			t.Errorf("%d dead letters: %v", n, letters.all())
		}
	})
}

// GUARD-3: monitors, links and Wait hear of the final end only, and what an incarnation held is released before the next one.
func TestGuardedChildReleasesAndKeeps(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		var m actor.Mutex
		grandchildren := make(chan actor.AnyRef, 4)
		downs := make(chan actor.Down, 4)
		guardian(t, sys, func(g *guarding) error {
			kept := make(chan actor.Responder, 4)
			ref := g.spawn(actor.Handler(func(ctx *actor.Context, n *num) error {
				switch n.Value {
				case 0:
					r, err := ctx.Responder()
					kept <- r
					return err
				case 1:
					child, err := actor.Spawn(ctx, hold())
					grandchildren <- child.AnyRef
					_, timerErr := actor.SendEvery(ctx, time.Hour, actor.Ref[*num]{AnyRef: ctx.Self()}, n)
					return errors.Join(m.Lock(ctx), err, timerErr)
				}
				panic("x")
			}))
			watcher := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, n *num) error {
				if n.Value != 1 {
					return nil
				}
				_, err := actor.Monitor(ctx, ref.AnyRef, func(d actor.Down) *num { downs <- d; return &num{} })
				_ = ctx.Reply(n)
				return err
			}))
			if _, err := actor.Call[*num](g.ctx, watcher, &num{Value: 1}); err != nil {
				return err
			}
			waited := make(chan error, 1)
			go func() { _, err := ref.Wait(context.Background()); waited <- err }()
			calls := make(chan error, 2)
			for _, v := range []int64{0, 1, 2} {
				go func() {
					_, err := actor.Call[*num](context.Background(), ref, &num{Value: v})
					if v != 1 {
						calls <- err
					}
				}()
				if v == 0 {
					<-kept
				}
				if v == 1 {
					if r := <-grandchildren; !r.Alive() {
						t.Error("no grandchild")
					} else {
						grandchildren <- r
					}
				}
			}
			g.next(actor.ChildEnded)
			for range 2 {
				wantErr(t, "call of the crashed incarnation", await(t, calls), actor.ErrStopped)
			}
			if r := <-grandchildren; r.Alive() {
				t.Error("the incarnation's child lives on")
			}
			if err := m.Lock(g.ctx); err != nil {
				return err
			}
			if err := m.Unlock(g.ctx); err != nil {
				return err
			}
			select {
			case d := <-downs:
				t.Errorf("told of an end that is none: %+v", d)
			case err := <-waited:
				t.Errorf("Wait came back: %v", err)
			default:
			}
			g.restart(ref.AnyRef)
			_ = ref.Send(g.ctx, &num{Value: 5})
			g.next(actor.ChildEnded)
			if err := g.ctx.EndChild(ref.AnyRef); err != nil {
				return err
			}
			if d := await(t, downs); d.Reason.Kind != actor.ReasonPanic {
				t.Errorf("down: %+v", d)
			}
			wantErr(t, "Wait", await(t, waited), actor.ErrStopped)
			wantErr(t, "a send after the end", ref.Send(g.ctx, &num{}), actor.ErrStopped)
			return nil
		})
	})
}

// GUARD-4: a failed message of a resumable child releases nothing until its guardian has decided; resumed, it goes on as it was.
func TestResumableChild(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		guardian(t, sys, func(g *guarding) error {
			var exits atomic.Int32
			ref := g.spawn(actor.Stateful(touchy), actor.Options{Resumable: true, OnExit: func(*actor.Context, actor.Reason) { exits.Add(1) }})
			for _, bad := range []int64{-1, -2, -3} {
				for _, n := range []int64{5, bad, 2} {
					_ = ref.Send(g.ctx, &num{Value: n})
				}
				if e := g.next(actor.ChildFailed); e.Reason.Err == nil {
					t.Errorf("event %+v", e)
				}
				if _, err := g.ctx.RestartChild(ref.AnyRef); !errors.Is(err, actor.ErrNotHeld) {
					t.Errorf("restart before its end: %v", err)
				}
				if err := g.ctx.ResumeChild(ref.AnyRef); err != nil {
					return err
				}
			}
			if sum := sumOf(t, ref, 0); sum != 21 {
				t.Errorf("sum %d, want 21", sum)
			}
			if exits.Load() != 0 {
				t.Error("OnExit ran")
			}
			_ = ref.Send(g.ctx, &num{Value: -2})
			g.next(actor.ChildFailed)
			if err := g.ctx.EndChild(ref.AnyRef); err != nil {
				return err
			}
			g.next(actor.ChildEnded)
			g.restart(ref.AnyRef)
			if sum := sumOf(t, ref, 4); sum != 4 || exits.Load() != 1 {
				t.Errorf("sum %d, %d exits: want fresh state", sum, exits.Load())
			}
			return nil
		})
	})
}

// GUARD-5: what Persistent keeps is what the next incarnation starts with; where it fails, that starts afresh.
func TestPersistent(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		guardian(t, sys, func(g *guarding) error {
			b := actor.Persistent(func(_ *actor.Context, kept *int64) (*int64, error) {
				s := new(int64)
				if kept != nil {
					*s = *kept
				}
				return s, nil
			}, touchy, func(s *int64) (*int64, error) {
				if *s > 100 {
					panic("too much to keep")
				}
				if *s > 50 {
					return nil, errors.New("not worth it")
				}
				kept := *s
				return &kept, nil
			})
			ref, started, err := actor.SpawnGuarded(g.ctx, b)
			if err != nil || started {
				t.Errorf("started %v, %v", started, err)
			}
			g.next(actor.ChildStarted)
			for _, c := range []struct{ add, want int64 }{{20, 20}, {20, 40}, {20, 60}, {5, 5}, {200, 205}, {1, 1}} {
				if sum := sumOf(t, ref, c.add); sum != c.want {
					t.Errorf("sum %d, want %d", sum, c.want)
				}
				_ = ref.Send(g.ctx, &num{Value: -2})
				g.next(actor.ChildEnded)
				g.restart(ref.AnyRef)
				g.next(actor.ChildStarted)
			}
			return nil
		})
	})
}

// GUARD-5: what is kept outlasts incarnations that do not get through their start.
func TestPersistentOutlastsFailedStarts(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		guardian(t, sys, func(g *guarding) error {
			tries := 0
			b := actor.Persistent(func(ctx *actor.Context, kept *int64) (*int64, error) {
				switch tries++; tries {
				case 2:
					return nil, errors.New("not yet")
				case 3:
					panic("not at all")
				case 4:
					ctx.Self().Kill()
					_ = ctx.Yield()
				}
				s := new(int64)
				if kept != nil {
					*s = *kept
				}
				return s, nil
			}, touchy, func(s *int64) (*int64, error) { kept := *s; return &kept, nil })
			ref, _, err := actor.SpawnGuarded(g.ctx, b)
			if err != nil {
				return err
			}
			g.next(actor.ChildStarted)
			sumOf(t, ref, 20)
			_ = ref.Send(g.ctx, &num{Value: -2})
			for range 4 { // the message, and three starts
				g.next(actor.ChildEnded)
				g.restart(ref.AnyRef)
			}
			g.next(actor.ChildStarted)
			if sum := sumOf(t, ref, 1); sum != 21 || tries != 5 {
				t.Errorf("sum %d after %d starts, want 21 after 5", sum, tries)
			}
			return nil
		})
	})
}

// recordHandler passes on the messages of a Logger's warnings.
type recordHandler struct {
	slog.Handler
	warned chan<- string
}

func (h recordHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level == slog.LevelWarn
}

func (h recordHandler) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	h.warned <- text
	return nil
}

// GUARD-5: what another behaviour has kept, and this one cannot take, is not dropped in silence.
func TestPersistentAcrossTypes(t *testing.T) {
	warned := make(chan string, 10)
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		guardian(t, sys, func(g *guarding) error {
			old := actor.Persistent(func(_ *actor.Context, kept *int64) (*int64, error) {
				if kept != nil {
					return kept, nil
				}
				return new(int64), nil
			}, touchy, func(s *int64) (*int64, error) { return s, nil })
			next := actor.Persistent(func(_ *actor.Context, kept *string) (*int64, error) {
				if kept != nil {
					t.Errorf("restored from %q", *kept)
				}
				return new(int64), nil
			}, touchy, func(*int64) (*string, error) { return new(string), nil })
			ref, _, err := actor.SpawnGuarded(g.ctx, old)
			wantErr(t, "spawn", err, nil)
			g.next(actor.ChildStarted)
			for _, c := range []struct {
				b      actor.Behaviour[*num]
				drops  bool
				starts int64
			}{{old, false, 5}, {next, true, 0}, {old, true, 0}, {old, false, 5}} {
				tell(t, ref, 5, -2)
				g.next(actor.ChildEnded)
				wantErr(t, "swap", actor.Swap(g.ctx, ref, c.b), nil)
				g.restart(ref.AnyRef)
				g.next(actor.ChildStarted)
				if sum := sumOf(t, ref, 0); sum != c.starts {
					t.Errorf("it starts with %d, want %d", sum, c.starts)
				}
				if c.drops {
					if text := await(t, warned); !containsAll(text, "dropped", "*int64", "*string", ref.String()) {
						t.Errorf("warned of %q", text)
					}
				}
			}
			if len(warned) > 0 {
				t.Errorf("warned of %q", <-warned)
			}
			return nil
		})
	}, actor.SystemOptions{Logger: slog.New(recordHandler{slog.DiscardHandler, warned})})
}

// GUARD-6: a start function that fails or panics is an end like any other, told once; what is stashed or passed over comes first in the
// next incarnation.
func TestGuardedStartFails(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		guardian(t, sys, func(g *guarding) error {
			tries := 0
			ref, started, err := actor.SpawnGuarded(g.ctx, actor.StatefulFrom(func(*actor.Context) (*int64, error) {
				switch tries++; tries {
				case 1:
					return nil, errors.New("not yet")
				case 2:
					panic("not at all")
				}
				return new(int64), nil
			}, touchy))
			if err != nil || started {
				t.Errorf("started %v, %v", started, err)
			}
			_ = ref.Send(g.ctx, &num{Value: 2})
			if e := g.next(actor.ChildEnded); e.Reason.Kind != actor.ReasonError {
				t.Errorf("event %+v", e)
			}
			g.restart(ref.AnyRef)
			if e := g.next(actor.ChildEnded); e.Reason.Kind != actor.ReasonPanic {
				t.Errorf("event %+v", e)
			}
			g.restart(ref.AnyRef)
			g.next(actor.ChildStarted)
			if sum := sumOf(t, ref, 1); sum != 3 {
				t.Errorf("sum %d, want 3", sum)
			}
			return nil
		})
	})
}

func TestGuardedChildKeepsWhatWasSetAside(t *testing.T) {
	for name, box := range map[string]actor.Mailbox{"plain": {}, "bounded": {Capacity: 100, Overflow: mailbox.Reject}} {
		t.Run(name, func(t *testing.T) {
			eachProcs(t, func(t *testing.T, sys *actor.System) {
				guardian(t, sys, func(g *guarding) error {
					var got []int64
					second := false
					ref := g.spawn(actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
						if !second {
							second = true
							if _, err := in.Receive(ctx); err != nil {
								return err
							}
							if err := ctx.Stash(); err != nil { // 1
								return err
							}
							_, err := in.Select(ctx, func(m *num) bool { return m.Value == 4 }) // passes over 2 and 3
							return errors.Join(err, errors.New("x"))
						}
						for m := range in.All() {
							if got = append(got, m.Value); m.Value == 6 {
								return nil
							}
						}
						return nil
					}), actor.Options{Mailbox: box})
					for v := range int64(6) {
						_ = ref.Send(g.ctx, &num{Value: v + 1})
					}
					g.next(actor.ChildEnded)
					g.restart(ref.AnyRef)
					g.next(actor.ChildEnded)
					if s := fmt.Sprint(got); s != "[1 2 3 5 6]" {
						t.Errorf("got %v", s)
					}
					return nil
				})
			})
		})
	}
}

// GUARD-7: guarded children end with their guardian, wherever they are.
func TestGuardedChildrenEndWithTheirGuardian(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		for range 50 {
			var refs []actor.AnyRef
			guardian(t, sys, func(g *guarding) error {
				for i := range 6 {
					ref := g.spawn(actor.Stateful(touchy), actor.Options{Resumable: i%2 == 0})
					refs = append(refs, ref.AnyRef)
					if i < 4 {
						_ = ref.Send(g.ctx, &num{Value: -2})
						_ = ref.Send(g.ctx, &num{Value: 2})
					}
				}
				for range 2 {
					_, _ = g.in.Receive(g.ctx)
				}
				return nil // some are in limbo, some on their way there, some idle
			})
			for _, r := range refs {
				if r.Alive() {
					t.Error("a guarded child has outlived its guardian")
				}
			}
		}
		settle(t, sys)
	})
}

// GUARD-8: bad input.
func TestGuardRefuses(t *testing.T) {
	sys := newSystem(t)
	stranger := actor.MustSpawn(sys, hold())
	done := make(chan struct{})
	actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[proto.Message]) error {
		defer close(done)
		if _, _, err := actor.SpawnGuarded(ctx, hold()); !errors.Is(err, actor.ErrNotGuardian) {
			t.Errorf("before Guard: %v", err)
		}
		if err := actor.Guard[proto.Message](ctx, nil); err == nil {
			t.Error("a nil function")
		}
		if err := actor.Guard(ctx, asEvent); err != nil {
			t.Error(err)
		}
		child, _, err := actor.SpawnGuarded(ctx, hold())
		if err != nil {
			t.Error(err)
		}
		plain := actor.MustSpawn(ctx, hold())
		for name, c := range map[string]struct {
			ref  actor.AnyRef
			want error
		}{
			"runs":     {child.AnyRef, actor.ErrNotHeld},
			"plain":    {plain.AnyRef, actor.ErrNotGuardian},
			"stranger": {stranger.AnyRef, actor.ErrNotGuardian},
			"nobody":   {actor.AnyRef{}, actor.ErrStopped},
		} {
			_, err := ctx.RestartChild(c.ref)
			wantErr(t, name+": restart", err, c.want)
			wantErr(t, name+": resume", ctx.ResumeChild(c.ref), c.want)
			wantErr(t, name+": end", ctx.EndChild(c.ref), c.want)
		}
		var elsewhere sync.WaitGroup
		elsewhere.Go(func() {
			_, err := ctx.RestartChild(child.AnyRef)
			wantErr(t, "elsewhere", err, actor.ErrForeignGoroutine)
		})
		return ctx.Block(elsewhere.Wait)
	}))
	await(t, done)
}

// Kill, crash and restart under fire: nothing is lost.
func TestRestartsUnderFire(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		const senders, each = 8, 2000
		var handled atomic.Int64
		guardian(t, sys, func(g *guarding) error {
			ref := g.spawn(actor.Handler(func(ctx *actor.Context, m *num) error {
				if m.Value%97 == 0 {
					panic("x")
				}
				handled.Add(1)
				return nil
			}))
			var all sync.WaitGroup
			for range senders {
				all.Go(func() {
					for v := range int64(each) {
						if err := ref.Send(context.Background(), &num{Value: v}); err != nil {
							t.Error(err)
						}
						if v%301 == 0 {
							ref.Kill()
						}
					}
				})
			}
			finished := make(chan struct{})
			go func() {
				defer close(finished)
				all.Wait()
				for { // behind everything that is queued
					if _, err := actor.Call[*num](context.Background(), ref, &num{Value: 1}); errors.Is(err, actor.ErrNoReply) {
						return
					}
				}
			}()
			for {
				l, cancel := g.ctx.WithTimeout(time.Millisecond)
				m, err := g.in.Receive(l)
				cancel()
				if err == nil {
					g.restart(m.(*eventMsg).Ref)
				}
				select {
				case <-finished:
					return nil
				default:
				}
			}
		})
		l := settle(t, sys)
		if l.Dead == 0 || l.Queued != 0 {
			t.Errorf("ledger %v", l)
		}
	})
}

// GUARD-9: EndChild of a child whose incarnation has ended ends it before it returns: its name is free, and it leaves its value.
func TestEndChildEndsAtOnce(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		guardian(t, sys, func(g *guarding) error {
			for range 100 {
				ref := g.spawn(actor.Handler(func(ctx *actor.Context, m *num) error {
					ctx.Stop()
					return ctx.SetValue(m.Value)
				}), actor.Options{Name: "the child"})
				for n := range int64(3) {
					if err := ref.Send(g.ctx, &num{Value: n + 1}); err != nil {
						return err
					}
				}
				e := g.next(actor.ChildEnded)
				if held, err := g.ctx.ChildHeld(ref.AnyRef); err != nil || held == nil || held.Kind != e.Kind || held.Incarnation != 1 {
					t.Errorf("held for %+v, %v", held, err)
				}
				if err := g.ctx.EndChild(ref.AnyRef); err != nil {
					return err
				}
				if _, found := sys.Lookup("the child"); found || ref.Alive() {
					t.Error("it is there after EndChild")
				}
				if v, err := ref.Wait(g.ctx); err != nil || v != int64(1) {
					t.Errorf("it left %v, %v", v, err)
				}
				if _, err := g.ctx.ChildHeld(ref.AnyRef); !errors.Is(err, actor.ErrStopped) {
					t.Errorf("held after its end: %v", err)
				}
			}
			return nil
		})
	})
}

// GUARD-10: StopChild concerns the present incarnation only; one that is held, by a failure or its end, is left as it is. One that has
// been restarted and does not run yet is stopped.
func TestStopChild(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		guardian(t, sys, func(g *guarding) error {
			ref := g.spawn(actor.Stateful(touchy), actor.Options{Resumable: true})
			if err := ref.Send(g.ctx, &num{Value: -2}); err != nil {
				return err
			}
			g.next(actor.ChildFailed)
			for range 2 {
				if err := g.ctx.StopChild(ref.AnyRef, true); !errors.Is(err, actor.ErrHeld) {
					t.Errorf("stop of one that is held: %v", err)
				}
				if held, err := g.ctx.ChildHeld(ref.AnyRef); err != nil || held == nil {
					t.Errorf("held: %v, %v", held, err)
				} else if held.Kind == actor.ChildFailed {
					if err := g.ctx.EndChild(ref.AnyRef); err != nil {
						return err
					}
					g.next(actor.ChildEnded)
				}
			}
			g.restart(ref.AnyRef)
			if sum := sumOf(t, ref, 5); sum != 5 {
				t.Errorf("after the restart: %d", sum)
			}
			for _, want := range []actor.ReasonKind{actor.ReasonShutdown, actor.ReasonKilled} {
				if err := g.ctx.StopChild(ref.AnyRef, want == actor.ReasonKilled); err != nil {
					return err
				}
				if e := g.next(actor.ChildEnded); e.Reason.Kind != want {
					t.Errorf("it ended with %v, want %v", e.Reason, want)
				}
				g.restart(ref.AnyRef)
			}
			if err := g.ctx.StopChild(g.ctx.Self(), false); !errors.Is(err, actor.ErrNotGuardian) {
				t.Errorf("stop of a stranger: %v", err)
			}
			return nil
		})
	})
}

// GUARD-11: Current tells whether the caller runs in the actor's own turn.
func TestCurrent(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		guardian(t, sys, func(g *guarding) error {
			self := g.ctx.Self()
			inBlock := false
			if err := g.ctx.Block(func() { inBlock = self.Current() }); err != nil {
				return err
			}
			elsewhere := true
			if err := g.ctx.Offload(g.ctx, func() error { elsewhere = self.Current(); return nil }); err != nil {
				return err
			}
			other := g.spawn(actor.Stateful(touchy))
			if !self.Current() || !inBlock || elsewhere || other.Current() || (actor.AnyRef{}).Current() {
				t.Errorf("self %v, in Block %v, in Offload %v, another %v", self.Current(), inBlock, elsewhere, other.Current())
			}
			return nil
		})
	})
}
