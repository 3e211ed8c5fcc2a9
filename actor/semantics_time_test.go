package actor_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/greenroom-go/greenroom/actor"
)

// scenario runs f as a routine and reports its error.
func scenario(t *testing.T, sys *actor.System, f func(ctx *actor.Context, in *actor.Inbox[*num]) error) {
	t.Helper()
	if _, err := actor.MustSpawn(sys, actor.Routine(f)).Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// took fails unless d has passed since start, to the microsecond.
func took(start time.Time, d time.Duration) error {
	if got := time.Since(start); got < d || got > d+time.Millisecond {
		return fmt.Errorf("took %v, want %v", got, d)
	}
	return nil
}

// TIME-1: Sleep lasts as long as it says, and nothing but its own end, a signal or the caller's giving up ends it.
func TestSleepLasts(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		scenario(t, sys, func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			self, _ := actor.TypedRef[*num](ctx.Self())
			start := time.Now()
			if _, err := actor.SendAfter(ctx, time.Second, self, &num{}); err != nil {
				return err
			}
			err := ctx.Sleep(time.Minute) // messages and Resume do not end it
			return errors.Join(err, took(start, time.Minute), ctx.Sleep(0), ctx.Sleep(-time.Hour), took(start, time.Minute))
		})
	})
}

// TIME-2: every kind of deadline bounds a wait: Context.WithTimeout, package context's, ReceiveTimeout.
func TestDeadlinesBoundWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		silent := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			_, err := ctx.Responder()
			return err
		}))
		scenario(t, sys, func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			ours := func() (context.Context, context.CancelFunc) { return ctx.WithTimeout(time.Second) }
			std := func() (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, time.Second) }
			nested := func() (context.Context, context.CancelFunc) {
				l, stop := ctx.WithTimeout(time.Second)
				d, cancel := context.WithTimeout(context.WithValue(l, contextKey{}, 1), time.Hour)
				return d, func() { cancel(); stop() }
			}
			for name, derive := range map[string]func() (context.Context, context.CancelFunc){"ours": ours, "std": std, "nested": nested} {
				for what, wait := range map[string]func(context.Context) error{
					"Receive": func(c context.Context) error { _, err := in.Receive(c); return err },
					"Select":  func(c context.Context) error { _, err := in.Select(c, func(*num) bool { return true }); return err },
					"Call":    func(c context.Context) error { _, err := actor.Call[*num](c, silent, &num{}); return err },
					"Suspend": func(c context.Context) error { _, err := ctx.Suspend(c); return err },
					"Wait":    func(c context.Context) error { _, err := silent.Wait(c); return err },
					"Offload": func(c context.Context) error {
						return ctx.Offload(c, func() error { <-time.After(2 * time.Second); return nil })
					},
				} {
					bounded, cancel := derive()
					start := time.Now()
					err := wait(bounded)
					cancel()
					if !errors.Is(err, context.DeadlineExceeded) || took(start, time.Second) != nil {
						return fmt.Errorf("%s, %s: %w, %w", name, what, err, took(start, time.Second))
					}
				}
				bounded, cancel := derive()
				cancel()
				if _, err := in.Receive(bounded); !errors.Is(err, context.Canceled) {
					return fmt.Errorf("%s, cancelled: %w", name, err)
				}
				if bounded.Err() == nil {
					return fmt.Errorf("%s: cancelled without an error", name)
				}
				<-bounded.Done()
			}
			start := time.Now()
			if _, err := in.ReceiveTimeout(time.Second); !errors.Is(err, context.DeadlineExceeded) || took(start, time.Second) != nil {
				return fmt.Errorf("ReceiveTimeout: %w", err)
			}
			if _, err := in.ReceiveTimeout(0); !errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("ReceiveTimeout(0): %w", err)
			}
			return nil
		})
	})
}

type contextKey struct{}

// TIME-3: contexts of package context that derive from an actor's are cancelled with it, carry values, and cancel its waits.
func TestDerivedContexts(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		got := make(chan error, 4)
		ready := make(chan struct{})
		a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			derived, cancel := context.WithCancel(context.WithValue(ctx, contextKey{}, "v"))
			defer cancel()
			if derived.Value(contextKey{}) != "v" {
				return errors.New("the value is lost")
			}
			if own, ok := actor.FromContext(derived); !ok || own != ctx {
				return errors.New("the actor is lost")
			}
			go cancel()
			_, err := in.Receive(derived)
			got <- err
			child, cancel2 := context.WithTimeout(ctx, time.Hour)
			defer cancel2()
			context.AfterFunc(child, func() { got <- child.Err() })
			taken := ctx.AfterFunc(func() { t.Error("a function that was taken back ran") })
			if !taken() || taken() {
				return errors.New("AfterFunc could not be taken back, once")
			}
			close(ready)
			_, err = in.Receive(ctx)
			_ = ctx.Block(func() { <-child.Done() })
			return err
		}))
		wantErr(t, "receive", await(t, got), context.Canceled)
		await(t, ready)
		a.Stop()
		wantErr(t, "the derived context", await(t, got), actor.ErrStopped)
		wantKind(t, a.AnyRef, actor.ReasonNormal)
	})
}

// TIME-4: SendAfter and SendEvery send when they say, until they are cancelled.
func TestTimersSend(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		scenario(t, sys, func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			self, _ := actor.TypedRef[*num](ctx.Self())
			start := time.Now()
			after, err := actor.SendAfter(ctx, 10*time.Second, self, &num{Value: 1})
			if err != nil {
				return err
			}
			every, err := actor.SendEvery(ctx, 3*time.Second, self, &num{Value: 2})
			if err != nil {
				return err
			}
			gone, err := actor.SendAfter(ctx, time.Second, self, &num{Value: 3})
			if err != nil || !gone.Cancel() || gone.Cancel() {
				return fmt.Errorf("cancel: %w", err)
			}
			for i, want := range []struct {
				seconds int
				value   int64
			}{{3, 2}, {6, 2}, {9, 2}, {10, 1}, {12, 2}} {
				at := time.Duration(want.seconds) * time.Second
				m, err := in.Receive(ctx)
				if err != nil || m.Value != want.value || took(start, at) != nil {
					return fmt.Errorf("message %d: %v, %w, %w", i, m, err, took(start, at))
				}
			}
			if after.Cancel() || !every.Cancel() {
				return errors.New("a timer that has sent was cancelled, or one that had not was not")
			}
			if _, err := in.ReceiveTimeout(time.Hour); !errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("after the cancel: %w", err)
			}
			return nil
		})
	})
}

// TIME-5: a timer ends with the actor that started it.
func TestTimersEndWithTheirOwner(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		var got atomic.Int32
		sink := actor.MustSpawn(sys, actor.Handler(func(*actor.Context, *num) error { got.Add(1); return nil }))
		owner := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			_, e1 := actor.SendAfter(ctx, time.Second, sink, &num{})
			_, e2 := actor.SendEvery(ctx, time.Second, sink, &num{})
			return errors.Join(e1, e2, ctx.Sleep(time.Hour))
		}))
		synctest.Wait()
		owner.Kill()
		synctest.Wait()
		<-time.After(time.Minute)
		synctest.Wait()
		if n := got.Load(); n != 0 {
			t.Fatalf("%d messages of a dead actor's timers", n)
		}
	})
}

// TIME-9: what a timer sends to an actor that has ended is a dead letter, and a SendEvery finds out and ends.
func TestTimersToNobody(t *testing.T) {
	for name, o := range map[string]actor.Options{"plain": {}, "bounded": {Mailbox: actor.Mailbox{Capacity: 1}}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, sys *actor.System) {
				sink := actor.MustSpawn(sys, idler(), o)
				dead := deaths(t, sys)
				scenario(t, sys, func(ctx *actor.Context, in *actor.Inbox[*num]) error {
					_, e1 := actor.SendAfter(ctx, time.Second, sink, &num{Value: 1})
					every, e2 := actor.SendEvery(ctx, 2*time.Second, sink, &num{Value: 2})
					sink.Stop()
					if err := errors.Join(e1, e2, ctx.Sleep(time.Minute)); err != nil {
						return err
					}
					if every.Cancel() {
						return errors.New("the timer goes on")
					}
					return nil
				})
				letters := dead.all()
				if l := settle(t, sys); len(letters) != 2 || l.ByReason[actor.DeadStopped] != 2 || l.Returned != 0 {
					t.Fatalf("%v, dead letters %v", l, letters)
				}
				for i, letter := range letters {
					if letter.To != sink.AnyRef || letter.Message.(*num).Value != int64(i+1) {
						t.Errorf("dead letter %v", letter)
					}
				}
			})
		})
	}
}

// TIME-8: SuspendFor returns what it was resumed with, or the alarm value when its time is over.
func TestSuspendFor(t *testing.T) {
	inBubble(t, func(t *testing.T, sys *actor.System) {
		scenario(t, sys, func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			start := time.Now()
			v, err := ctx.SuspendFor(time.Second, "alarm")
			if v != "alarm" || err != nil || took(start, time.Second) != nil {
				return fmt.Errorf("%v, %w", v, err)
			}
			if v, err := ctx.SuspendFor(0, "at once"); v != "at once" || err != nil || took(start, time.Second) != nil {
				return fmt.Errorf("%v, %w", v, err)
			}
			self := ctx.Self()
			go func() {
				<-time.After(time.Second)
				_ = self.Resume("resumed")
			}()
			if v, err := ctx.SuspendFor(time.Hour, "alarm"); v != "resumed" || err != nil || took(start, 2*time.Second) != nil {
				return fmt.Errorf("%v, %w", v, err)
			}
			return nil
		})
	})
}
