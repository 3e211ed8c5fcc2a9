package registry_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	"github.com/greenroom-go/greenroom/registry"
)

// NAME-5: a query returns when the name appears, and one that meets just that misses nothing.
func TestLocateMissesNoName(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System, reg *registry.Registry) {
		for i := range 300 {
			name := fmt.Sprint("name ", i)
			var both sync.WaitGroup
			both.Go(func() {
				if r, err := registry.Locate[*num](patient(t), reg, name); err != nil || r.IsZero() {
					t.Errorf("a goroutine located %v, %v", r, err)
				}
			})
			waits := do(sys, func(ctx *actor.Context) error {
				_, err := reg.Locate(ctx, name)
				return err
			})
			if i%2 == 0 {
				idler(sys, actor.Options{Name: name})
			} else if err := reg.Register(name, idler(sys)); err != nil {
				t.Error(err)
			}
			both.Wait()
			if _, err := waits.Wait(patient(t)); err != nil {
				t.Errorf("an actor located: %v", err)
			}
			if n := sys.Names().Watchers(name); n != 0 {
				t.Errorf("%d queries are left", n)
			}
		}
	})
}

// NAME-5: thousands of queries for one name are answered together, and hold no slot until then.
func TestLocateAnswersAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := actortest.New(t, actor.SystemOptions{Workers: 2})
		reg := registry.Of(sys)
		const n = 2000
		var answered sync.WaitGroup
		answered.Add(2 * n)
		for range n {
			do(sys, func(ctx *actor.Context) error {
				defer answered.Done()
				_, err := registry.Locate[*num](ctx, reg, "late")
				return err
			})
			go func() {
				defer answered.Done()
				if _, err := reg.Locate(t.Context(), "late"); err != nil {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		if got := sys.Names().Watchers("late"); got != 2*n {
			t.Errorf("%d wait", got)
		}
		idler(sys, actor.Options{Name: "late"})
		answered.Wait()
		quiesce(t, sys)
		if got := sys.Names().Watchers("late"); got != 0 {
			t.Errorf("%d queries are left", got)
		}
	})
}

// NAME-5: an actor that has come and gone before the query could go on does not end it, the next one does.
func TestLocateReturnsTheLiving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := actortest.New(t, actor.SystemOptions{Workers: 1, StuckAfter: time.Hour})
		reg := registry.Of(sys)
		query := do(sys, func(ctx *actor.Context) error {
			r, err := reg.Locate(ctx, "x")
			if err == nil {
				err = ctx.SetValue(r)
			}
			return err
		})
		inOneTurn := func(f func() error) {
			if _, err := do(sys, func(*actor.Context) error { return f() }).Wait(t.Context()); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		synctest.Wait()
		a, b := idler(sys), idler(sys)
		inOneTurn(func() error { return errors.Join(reg.Register("x", a), reg.Unregister("x", a)) })
		if !query.Alive() {
			t.Error("the query is over")
		}
		inOneTurn(func() error {
			return errors.Join(reg.Register("x", a), reg.Unregister("x", a), reg.Register("x", b))
		})
		if r, err := query.Wait(t.Context()); r != b.AnyRef || err != nil {
			t.Errorf("located %v, %v, want %v", r, err, b)
		}
	})
}

// NAME-6: a query ends with its context, and when it is stopped, killed or interrupted, and leaves nothing behind.
func TestLocateIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := actortest.New(t)
		reg := registry.Of(sys)
		short, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := reg.Locate(short, "x")
		wantErr(t, "a goroutine's deadline", err, context.DeadlineExceeded)
		_, err = registry.Locate[*num](short, reg, "x")
		wantErr(t, "a deadline that has passed", err, context.DeadlineExceeded)
		canceled, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		_, err = reg.Locate(canceled, "x")
		wantErr(t, "a cancelled goroutine", err, context.Canceled)

		waits := func(name string) actor.AnyRef {
			return do(sys, func(ctx *actor.Context) error {
				l, cancel := ctx.WithTimeout(time.Hour)
				defer cancel()
				_, err := reg.Locate(l, "x")
				return fmt.Errorf("%s: %w", name, err)
			}).AnyRef
		}
		deadline, stopped, killed, interrupted := waits("deadline"), waits("stop"), waits("kill"), waits("interrupt")
		synctest.Wait()
		if n := sys.Names().Watchers("x"); n != 4 {
			t.Errorf("%d wait", n)
		}
		stopped.Stop()
		killed.Kill()
		wantErr(t, "interrupt", interrupted.Interrupt(context.Canceled), nil)
		for r, want := range map[actor.AnyRef]error{deadline: context.DeadlineExceeded, interrupted: context.Canceled, killed: actor.ErrKilled} {
			_, err := r.Wait(t.Context())
			wantErr(t, "the query", err, want)
		}
		_, _ = stopped.Wait(t.Context())
		if n := sys.Names().Watchers("x"); n != 0 {
			t.Errorf("%d queries are left", n)
		}
	})
}

// NAME-6: queries without a deadline end when their System stops, those of goroutines and of actors of other Systems too.
func TestLocateEndsWithTheSystem(t *testing.T) {
	for name, stop := range map[string]func(*actor.System) error{
		"stop":  func(sys *actor.System) error { return sys.Stop(context.Background()) },
		"close": (*actor.System).Close,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sys, other := actortest.New(t), actortest.New(t)
				reg := registry.Of(sys)
				failed := make(chan error, 2)
				go func() {
					_, err := reg.Locate(context.Background(), "x")
					failed <- err
				}()
				do(other, func(ctx *actor.Context) error {
					_, err := reg.Locate(ctx, "x")
					failed <- err
					return nil
				})
				events, _ := watchNames(t, other, reg, "y")
				idler(sys, actor.Options{Name: "y"})
				synctest.Wait()
				wantErr(t, name, stop(sys), nil)
				wantErr(t, "one query", <-failed, actor.ErrStopped)
				wantErr(t, "the other", <-failed, actor.ErrStopped)
				_, err := reg.Locate(context.Background(), "x")
				wantErr(t, "afterwards", err, actor.ErrStopped)
				quiesce(t, other)
				if got := events.take(); len(got) != 3 || !got[2].Ref.IsZero() {
					t.Errorf("who watches from another System saw %v", got)
				}
			})
		})
	}
}

// NAME-5: a query that waits holds no slot: the only one is free for whom it waits for.
func TestLocateHoldsNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := actortest.New(t, actor.SystemOptions{Workers: 1, StuckAfter: time.Hour})
		reg := registry.Of(sys)
		query := do(sys, func(ctx *actor.Context) error {
			r, err := registry.Locate[*num](ctx, reg, "x")
			if err == nil {
				err = r.Send(ctx, new(num))
			}
			return err
		})
		synctest.Wait()
		do(sys, func(*actor.Context) error { return reg.Register("x", idler(sys)) })
		if _, err := query.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
