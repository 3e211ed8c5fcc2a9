package actor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/actor"
)

var errBoom = errors.New("boom")

// play runs f in an actor of its own and returns what the actor ended with.
func play(t *testing.T, sys *actor.System, f func(ctx *actor.Context) error) error {
	t.Helper()
	_, err := start(sys, f).Wait(bounded(t))
	return err
}

func start(sys *actor.System, f func(ctx *actor.Context) error) actor.AnyRef {
	return actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*num]) error { return f(ctx) })).Any()
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// untilStopped is a child that waits for its end.
func untilStopped(ended *atomic.Int32) func(ctx *actor.Context) error {
	return func(ctx *actor.Context) error {
		defer ended.Add(1)
		return ctx.Sleep(time.Hour)
	}
}

// SCOPE-1: RunScope returns when all children have ended, and what they wrote is there.
func TestScopeWaitsForAll(t *testing.T) {
	sys := newSystem(t)
	err := play(t, sys, func(ctx *actor.Context) error {
		sums := make([]int, 100)
		err := actor.RunScope(ctx, func(s *actor.Scope) error {
			for i := range sums {
				s.Go(func(ctx *actor.Context) error {
					if err := ctx.Yield(); err != nil {
						return err
					}
					sums[i] = i
					return nil
				})
			}
			return nil
		})
		for i, v := range sums {
			if v != i {
				return fmt.Errorf("child %d left %d", i, v)
			}
		}
		if n := len(ctx.Children()); n != 0 {
			return fmt.Errorf("%d children outlive their scope", n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// SCOPE-2: the first failure, whatever it is, stops the other children and is what RunScope returns; the actor goes on.
func TestScopeFirstFailureStopsTheRest(t *testing.T) {
	for _, c := range []struct {
		name string
		fail func(s *actor.Scope) error
		want func(err error) bool
	}{
		{"error of a child", func(s *actor.Scope) error {
			s.Go(func(*actor.Context) error { return errBoom })
			return nil
		}, func(err error) bool { return errors.Is(err, errBoom) }},
		{"error of f", func(*actor.Scope) error { return errBoom }, func(err error) bool { return errors.Is(err, errBoom) }},
		{"panic of a child", func(s *actor.Scope) error {
			s.Go(func(*actor.Context) error { panic(errBoom) })
			return nil
		}, func(err error) bool {
			var p *actor.PanicError
			return errors.As(err, &p) && errors.Is(err, errBoom)
		}},
		{"a child is killed", func(s *actor.Scope) error {
			s.Go(func(ctx *actor.Context) error { return ctx.Sleep(time.Hour) }).Kill()
			return nil
		}, func(err error) bool { return errors.Is(err, actor.ErrKilled) }},
		{"f waits under the scope's context", func(s *actor.Scope) error {
			s.Go(func(*actor.Context) error { return errBoom })
			ctx, _ := actor.FromContext(s.Context())
			if _, err := ctx.Suspend(s.Context()); !errors.Is(err, context.Canceled) {
				return err
			}
			return context.Cause(s.Context())
		}, func(err error) bool { return errors.Is(err, errBoom) }},
		{"a nil function", func(s *actor.Scope) error {
			s.Go(nil)
			return nil
		}, func(err error) bool { return errors.Is(err, actor.ErrNilBehaviour) }},
		{"in a nested scope", func(s *actor.Scope) error {
			s.Go(func(ctx *actor.Context) error {
				return actor.RunScope(ctx, func(s *actor.Scope) error {
					s.Go(func(*actor.Context) error { return errBoom })
					return nil
				})
			})
			return nil
		}, func(err error) bool { return errors.Is(err, errBoom) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			sys := newSystem(t)
			var ended atomic.Int32
			err := play(t, sys, func(ctx *actor.Context) error {
				err := actor.RunScope(ctx, func(s *actor.Scope) error {
					started := make(chan struct{}, 3)
					for range 3 {
						s.Go(func(ctx *actor.Context) error {
							started <- struct{}{}
							return untilStopped(&ended)(ctx)
						})
					}
					for len(started) < 3 {
						_ = ctx.Yield()
					}
					return c.fail(s)
				})
				if !c.want(err) {
					return fmt.Errorf("the scope returned %w", err)
				}
				if n := ended.Load(); n != 3 {
					return fmt.Errorf("%d of 3 had ended", n)
				}
				if ctx.Err() != nil {
					return errors.New("the actor of the scope is asked to stop")
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// SCOPE-3: a child that ends because somebody stopped it has not failed, and the others go on.
func TestScopeChildThatIsStoppedHasNotFailed(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		var ended, finished atomic.Int32
		err := play(t, sys, func(ctx *actor.Context) error {
			return actor.RunScope(ctx, func(s *actor.Scope) error {
				up := make(chan struct{})
				first := s.Go(func(ctx *actor.Context) error {
					close(up)
					return untilStopped(&ended)(ctx)
				})
				s.Go(func(ctx *actor.Context) error {
					if err := ctx.Block(func() { <-up }); err != nil {
						return err
					}
					first.Stop()
					if _, err := first.Wait(ctx); err != nil {
						return err
					}
					if err := ctx.Yield(); err != nil {
						return err
					}
					finished.Add(1)
					return nil
				})
				return nil
			})
		})
		if err != nil || ended.Load() != 1 || finished.Load() != 1 {
			t.Errorf("%d stopped, %d finished, %v", ended.Load(), finished.Load(), err)
		}
	})
}

// SCOPE-4: a scope ends with its actor, nested ones too.
func TestScopeEndsWithItsActor(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(r actor.AnyRef)
		want func(err error) bool
	}{
		{"stop", actor.AnyRef.Stop, func(err error) bool { return err == nil }},
		{"kill", actor.AnyRef.Kill, func(err error) bool { return errors.Is(err, actor.ErrKilled) }},
		{"interrupt", func(r actor.AnyRef) { _ = r.Interrupt(errBoom) }, func(err error) bool { return errors.Is(err, errBoom) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			sys := newSystem(t)
			var ended atomic.Int32
			up := make(chan struct{}, 2)
			child := func(ctx *actor.Context) error {
				up <- struct{}{}
				return untilStopped(&ended)(ctx)
			}
			ref := start(sys, func(ctx *actor.Context) error {
				return actor.RunScope(ctx, func(s *actor.Scope) error {
					s.Go(child)
					s.Go(func(ctx *actor.Context) error {
						return actor.RunScope(ctx, func(s *actor.Scope) error { s.Go(child); return nil })
					})
					return nil
				})
			})
			<-up
			<-up
			c.end(ref)
			if _, err := ref.Wait(bounded(t)); !c.want(err) {
				t.Fatalf("the actor ended with %v", err)
			}
			if n := ended.Load(); n != 2 {
				t.Fatalf("%d of 2 children had ended before their actor", n)
			}
		})
	}
}

// SCOPE-4: a scope ends with the context that it was given.
func TestScopeEndsWithItsContext(t *testing.T) {
	sys := newSystem(t)
	var ended atomic.Int32
	err := play(t, sys, func(ctx *actor.Context) error {
		inner, cancel := context.WithCancel(ctx)
		err := actor.RunScope(inner, func(s *actor.Scope) error {
			s.Go(untilStopped(&ended))
			s.Go(func(*actor.Context) error { cancel(); return nil })
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			return fmt.Errorf("cancelled: %w", err)
		}
		short, cancel := ctx.WithTimeout(time.Millisecond)
		defer cancel()
		err = actor.RunScope(short, func(s *actor.Scope) error { s.Go(untilStopped(&ended)); return nil })
		if !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("expired: %w", err)
		}
		if n := len(ctx.Children()); n != 0 {
			return fmt.Errorf("%d children outlive their scope", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// SCOPE-1: a child that does not heed the request to stop is waited for, and the panic of f waits too.
func TestScopeWaitsForTheStubborn(t *testing.T) {
	sys := newSystem(t)
	release, failing := make(chan struct{}), make(chan struct{})
	stubborn := func(ended *atomic.Int32) func(*actor.Context) error {
		return func(ctx *actor.Context) error {
			defer ended.Add(1)
			close(failing)
			return ctx.Block(func() { <-release })
		}
	}
	var ended atomic.Int32
	ref := start(sys, func(ctx *actor.Context) (err error) {
		defer func() {
			if v := recover(); v != any(errBoom) || ended.Load() != 1 {
				err = fmt.Errorf("recovered %v with %d children ended", v, ended.Load())
			}
		}()
		return actor.RunScope(ctx, func(s *actor.Scope) error {
			s.Go(stubborn(&ended))
			for {
				select {
				case <-failing:
					panic(errBoom)
				default:
					_ = ctx.Yield()
				}
			}
		})
	})
	<-failing
	if !ref.Alive() {
		t.Error("the scope ended before its child")
	}
	close(release)
	if _, err := ref.Wait(bounded(t)); err != nil {
		t.Fatal(err)
	}
}

// SCOPE-5: children start children; a scope that is over starts none.
func TestScopeGoFromAChildAndAfterTheEnd(t *testing.T) {
	sys := newSystem(t)
	err := play(t, sys, func(ctx *actor.Context) error {
		var kept *actor.Scope
		var ran atomic.Int32
		err := actor.RunScope(ctx, func(s *actor.Scope) error {
			kept = s
			s.Go(func(*actor.Context) error {
				s.Go(func(*actor.Context) error { ran.Add(1); return nil })
				return nil
			})
			return nil
		})
		if err != nil || ran.Load() != 1 {
			return fmt.Errorf("%d ran, %w", ran.Load(), err)
		}
		if r := kept.Go(func(*actor.Context) error { ran.Add(1); return nil }); !r.IsZero() {
			return errors.New("a scope that is over started a child")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// SCOPE-6: only an actor has scopes, on its own goroutine.
func TestScopeNeedsAnActor(t *testing.T) {
	if err := actor.RunScope(context.Background(), func(*actor.Scope) error { return nil }); err == nil {
		t.Error("a scope without an actor")
	}
	sys := newSystem(t)
	got := make(chan error, 2)
	err := play(t, sys, func(ctx *actor.Context) error {
		if err := actor.RunScope(ctx, nil); !errors.Is(err, actor.ErrNilBehaviour) {
			return fmt.Errorf("nil function: %w", err)
		}
		go func() { got <- actor.RunScope(ctx, func(*actor.Scope) error { return nil }) }()
		return ctx.Block(func() { got <- <-got })
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, actor.ErrForeignGoroutine) {
		t.Errorf("from another goroutine: %v", err)
	}
}

func ExampleRunScope() {
	sys, _ := actor.NewSystem()
	defer func() { _ = sys.Close() }()
	ref := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*num]) error {
		parts := make([]int, 4)
		err := actor.RunScope(ctx, func(s *actor.Scope) error {
			for i := range parts {
				s.Go(func(*actor.Context) error {
					parts[i] = i * i
					return nil
				})
			}
			return nil
		})
		fmt.Println(parts, err, slices.Max(parts))
		return err
	}))
	_, _ = ref.Wait(context.Background())
	// Output: [0 1 4 9] <nil> 9
}

// SCOPE-1, SCOPE-5: a scope whose child fails while the actor is asked to stop, killed children in nested scopes, and children started
// from children, many times over: no child is ever left.
func TestScopeHammer(t *testing.T) {
	sys := newSystem(t)
	var living atomic.Int32
	var tree func(depth int) func(ctx *actor.Context) error
	tree = func(depth int) func(ctx *actor.Context) error {
		return func(ctx *actor.Context) error {
			living.Add(1)
			defer living.Add(-1)
			if depth == 0 {
				return ctx.Sleep(time.Duration(ctx.Self().ID()%5) * 100 * time.Microsecond)
			}
			return actor.RunScope(ctx, func(s *actor.Scope) error {
				for range 3 {
					s.Go(tree(depth - 1))
				}
				s.Go(func(ctx *actor.Context) error {
					s.Go(tree(depth - 1))
					if ctx.Self().ID()%7 == 0 {
						panic(errBoom)
					}
					return ctx.Yield()
				})
				return nil
			})
		}
	}
	for i := range 60 {
		ref := start(sys, tree(3))
		switch i % 4 {
		case 0:
			ref.Kill()
		case 1:
			ref.Stop()
		case 2:
			_ = ref.Interrupt(errBoom)
		}
		_, _ = ref.Wait(bounded(t))
		if n := living.Load(); n != 0 {
			t.Fatalf("round %d: %d children outlive the actor", i, n)
		}
	}
}

type valueKey struct{ name string }

// SCOPE-7: children see the values of the context that their scope was given, through nested scopes too, and nothing else of it.
func TestScopeChildrenSeeValues(t *testing.T) {
	sys := newSystem(t)
	err := play(t, sys, func(ctx *actor.Context) error {
		outer, cancel := context.WithTimeout(context.WithValue(ctx, valueKey{"outer"}, 1), time.Hour)
		defer cancel()
		return actor.RunScope(outer, func(s *actor.Scope) error {
			s.Go(func(child *actor.Context) error {
				if got, ok := actor.FromContext(child); child.Value(valueKey{"outer"}) != 1 || !ok || got != child {
					return fmt.Errorf("a child sees %v, and is %v", child.Value(valueKey{"outer"}), got)
				}
				if _, bounded := child.Deadline(); bounded {
					return errors.New("a child has the deadline")
				}
				inner := context.WithValue(child, valueKey{"inner"}, 2)
				return actor.RunScope(inner, func(s *actor.Scope) error {
					s.Go(func(child *actor.Context) error {
						if o, i := child.Value(valueKey{"outer"}), child.Value(valueKey{"inner"}); o != 1 || i != 2 || child.Value(valueKey{}) != nil {
							return fmt.Errorf("a grandchild sees %v and %v", o, i)
						}
						derived, cancel := context.WithCancel(child)
						defer cancel()
						child.Stop()
						if !errors.Is(child.Sleep(time.Hour), actor.ErrStopped) || !errors.Is(context.Cause(child), actor.ErrStopped) {
							return fmt.Errorf("the cause of a grandchild's end is %w", context.Cause(child))
						}
						return child.Block(func() { <-derived.Done() })
					})
					return nil
				})
			})
			return nil
		})
	})
	if err != nil {
		t.Error(err)
	}
}

// SCOPE-8: a child that calls the actor of its scope, itself or through others, and an actor that waits for such children, are a
// deadlock and find out at once.
func TestScopeDeadlocks(t *testing.T) {
	for name, c := range map[string]struct {
		others int  // children that wait for nothing of it
		by     bool // the call goes through another actor
		early  bool // the child calls before the scope's actor waits
	}{
		"direct": {}, "among many": {others: 100}, "through another": {by: true, others: 5}, "before the wait": {early: true, others: 3},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, sys *actor.System) {
				var parent actor.Ref[*num]
				broker := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
					_, err := actor.Call[*num](ctx, parent, m)
					return ctx.Fail(err)
				}))
				called, ended := make(chan error, 1), make(chan error, 1)
				parent = actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
					ended <- actor.RunScope(ctx, func(s *actor.Scope) error {
						for range c.others {
							s.Go(func(ctx *actor.Context) error { return ctx.Sleep(time.Minute) })
						}
						s.Go(func(ctx *actor.Context) error {
							if !c.early {
								_ = ctx.Sleep(time.Second)
							}
							to := parent
							if c.by {
								to = broker
							}
							_, err := actor.Call[*num](ctx, to, &num{})
							called <- err
							return nil
						})
						if c.early {
							return ctx.Sleep(time.Second)
						}
						return nil
					})
					return nil
				}))
				tell(t, parent, 1)
				start := time.Now()
				callErr := <-called
				if d := time.Since(start); d != time.Second {
					t.Errorf("the call ended after %v", d)
				}
				scopeErr := <-ended
				dead, want, cycle := new(actor.DeadlockError), callErr, 3
				if c.early {
					want = scopeErr
				} else if scopeErr != nil {
					t.Errorf("the scope: %v", scopeErr)
				}
				if c.by {
					cycle = 4
				}
				if !errors.As(want, &dead) || len(dead.Path) != cycle || dead.Path[0] != dead.Path[cycle-1] || !slices.Contains(dead.Path, parent.AnyRef) {
					t.Errorf("the call: %v; the scope: %v", callErr, scopeErr)
				}
			})
		})
	}
}
