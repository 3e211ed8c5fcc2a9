package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	"github.com/greenroom-go/greenroom/supervisor"
)

// each runs f for n numbers at the same time, in goroutines.
func each(n int, f func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}

// drawn is a number below n that the seed draws, another one for each which.
func drawn(sys *actor.System, which uint64, n int) int {
	return rand.New(rand.NewPCG(sys.NodeID(), which)).IntN(n)
}

// sound fails unless the supervisor either has ended because of its intensity, with all its children, or is alive with children that
// answer and agree with its count; then it stops it.
func sound(t *testing.T, sys *actor.System, sup supervisor.Supervisor) {
	t.Helper()
	settled(t, sys)
	pass(10 * time.Minute) // whatever waits has been started
	settled(t, sys)
	if !sup.Ref().Alive() {
		var limit *supervisor.RestartLimitError
		if why := ended(t, sup.Ref()); !errors.As(why.Err, &limit) {
			t.Errorf("the supervisor ended with %v", why)
		}
		return
	}
	infos, err := sup.Children(t.Context())
	if err != nil {
		t.Fatalf("children: %v", err)
	}
	running := 0
	for _, i := range infos {
		switch i.Status {
		case supervisor.Running:
			running++
			if i.Kind == supervisor.KindActor {
				told(t, i.Ref)
			} else if !i.Ref.Alive() {
				t.Errorf("%q should run", i.ID)
			}
		case supervisor.Waiting:
			t.Errorf("%q still waits", i.ID)
		default: // it has ended for good
		}
	}
	if n, err := sup.Count(t.Context()); err != nil || n.Active != running {
		t.Errorf("%d children run, counted are %+v, %v", running, n, err)
	}
	if err := sup.Stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
	for _, i := range infos {
		if i.Ref.Alive() {
			t.Errorf("%q is alive after the stop", i.ID)
		}
	}
}

// SUP-1: the whole matrix of strategies, classes and exits, with three children that end at the same time, and messages that go to
// them meanwhile, under many seeds.
func TestStorm(t *testing.T) {
	for _, strategy := range strategies {
		for _, class := range classes {
			t.Run(fmt.Sprintf("%v_%v", strategy, class), func(t *testing.T) {
				actortest.Explore(t, few(84), func(t *testing.T, sys *actor.System) {
					how := exits[drawn(sys, 0, len(exits))]
					c := child("w", class)
					c.Shutdown = supervisor.KillAtOnce
					spec := supervisor.Spec{Strategy: strategy, Intensity: 6, Children: []supervisor.Child{c}}
					if strategy != supervisor.Dynamic {
						c.Start = supervisor.Actor(worker(), actor.Options{OnStart: func(*actor.Context) error { return nil }})
						c.Shutdown = 0
						spec.Children = nil
						for i := range 3 {
							c.ID = strconv.Itoa(i)
							spec.Children = append(spec.Children, c)
						}
					}
					sup := start(t, sys, spec)
					refs := make([]actor.AnyRef, 3)
					for i := range refs {
						if strategy != supervisor.Dynamic {
							refs[i] = lookup(t, sup, strconv.Itoa(i))
						} else if ref, err := sup.Spawn(t.Context(), nil); err != nil {
							t.Fatal(err)
						} else {
							refs[i] = ref
						}
					}
					each(3, func(i int) {
						for range 2 {
							end(t.Context(), refs[i], how)
							_ = refs[i].Send(t.Context(), wrapperspb.String("hello"))
						}
					})
					sound(t, sys, sup)
				})
			})
		}
	}
}

// SUP-8: all requests at once, of children that end meanwhile, with and without backoff.
func TestRequestStorm(t *testing.T) {
	for _, strategy := range []supervisor.Strategy{supervisor.OneForOne, supervisor.OneForAll, supervisor.RestForOne} {
		t.Run(strategy.String(), func(t *testing.T) {
			actortest.Explore(t, few(100), func(t *testing.T, sys *actor.System) {
				spec := supervisor.Spec{Strategy: strategy, Intensity: 50}
				for i := range 3 {
					c := child(strconv.Itoa(i), classes[i])
					c.Start = supervisor.Actor(worker(), actor.Options{Name: "worker " + c.ID, Resumable: i == 0, OnStart: func(ctx *actor.Context) error {
						return ctx.Sleep(time.Duration(i) * time.Millisecond)
					}})
					if i == 1 {
						c.Backoff.Min = time.Millisecond
					}
					spec.Children = append(spec.Children, c)
				}
				sup := start(t, sys, spec)
				expect := func(err error, expected ...error) {
					t.Helper()
					for _, e := range append(expected, supervisor.ErrNoChild, supervisor.ErrRunning, supervisor.ErrExists) {
						if err == nil || errors.Is(err, e) {
							return
						}
					}
					t.Errorf("answer: %v", err)
				}
				each(5, func(i int) {
					id := strconv.Itoa(i % 3)
					for n := range 3 {
						switch (i + n) % 5 {
						case 0:
							expect(sup.Terminate(t.Context(), id))
						case 1:
							_, err := sup.Restart(t.Context(), id)
							expect(err)
						case 2:
							if ref, err := sup.Lookup(t.Context(), id); err == nil {
								end(t.Context(), ref, exits[(i+2*n)%len(exits)])
							}
						case 3:
							expect(sup.Delete(t.Context(), id))
						case 4:
							_, err := sup.Add(t.Context(), spec.Children[i%3])
							expect(err)
						}
					}
				})
				sound(t, sys, sup)
			})
		})
	}
}

// SUP-9: dynamic children that end, crash and are killed while they are terminated, and more that are started meanwhile.
func TestDynamicStorm(t *testing.T) {
	for _, decided := range []bool{false, true} {
		t.Run(fmt.Sprintf("decided=%v", decided), func(t *testing.T) {
			actortest.Explore(t, few(100), func(t *testing.T, sys *actor.System) {
				c := child("w", classes[drawn(sys, 0, 3)])
				if decided {
					c.Decide = func(f supervisor.Failure) supervisor.Decision {
						if f.Resumable && errors.Is(f.Reason.Err, errBroken) {
							return supervisor.Resume
						}
						return supervisor.ByClass
					}
					c.Backoff.Min = time.Millisecond
				}
				sup := start(t, sys, supervisor.Spec{Strategy: supervisor.Dynamic, Intensity: 100, Children: []supervisor.Child{c}})
				each(6, func(i int) {
					ref, err := sup.Spawn(t.Context(), nil)
					if err != nil {
						t.Errorf("spawn: %v", err)
						return
					}
					each(2, func(j int) {
						if j == 0 {
							end(t.Context(), ref, exits[i])
							return
						}
						if err := sup.TerminateRef(t.Context(), ref); err != nil && !errors.Is(err, supervisor.ErrNoChild) {
							t.Errorf("terminate: %v", err)
						}
						if ref.Alive() {
							t.Error("alive after Terminate")
						}
					})
					if i%2 == 0 {
						if _, err := sup.Spawn(t.Context(), nil); err != nil {
							t.Errorf("spawn: %v", err)
						}
					}
				})
				sound(t, sys, sup)
			})
		})
	}
}

// SUP-13: leaves that fail, supervisors that are killed and stopped from outside, three deep.
func TestTreeStorm(t *testing.T) {
	for _, class := range []supervisor.Restart{supervisor.Permanent, supervisor.Transient} {
		t.Run(class.String(), func(t *testing.T) {
			actortest.Explore(t, few(100), func(t *testing.T, sys *actor.System) {
				top := start(t, sys, nested(2, child("a", class), child("b", class)))
				each(3, func(i int) {
					mid, err := top.Tree(t.Context(), "mid")
					if err != nil {
						return
					}
					low, err := mid.Tree(t.Context(), "low")
					if err != nil {
						return
					}
					switch i {
					case 0:
						if ref, err := low.Lookup(t.Context(), "a"); err == nil {
							end(t.Context(), ref, "panic")
							end(t.Context(), ref, "goexit")
						}
					case 1:
						low.Ref().Kill()
						if ref, err := low.Lookup(t.Context(), "b"); err == nil {
							ref.Kill()
						}
					case 2:
						mid.Ref().Stop()
					}
				})
				sound(t, sys, top)
			})
		})
	}
}

// SUP-14: a supervisor that is stopped, or killed, while it starts, restarts, halts and waits for a backoff.
func TestStopStorm(t *testing.T) {
	for _, strategy := range strategies {
		t.Run(strategy.String(), func(t *testing.T) {
			actortest.Explore(t, few(100), func(t *testing.T, sys *actor.System) {
				c := supervisor.Child{ID: "w", Start: supervisor.Actor(worker(), actor.Options{
					OnStart: func(ctx *actor.Context) error { return ctx.Sleep(3) },
					OnExit: func(ctx *actor.Context, _ actor.Reason) {
						clean, done := ctx.Cleanup(5)
						defer done()
						var never actor.Event
						_ = never.Wait(clean)
					},
				})}
				if drawn(sys, 0, 2) == 0 {
					c.Backoff.Min = 4
				}
				spec := supervisor.Spec{Name: "stopped", Strategy: strategy, Intensity: 100, Children: []supervisor.Child{c}}
				if strategy != supervisor.Dynamic {
					for _, id := range []string{"x", "y"} {
						c.ID = id
						spec.Children = append(spec.Children, c)
					}
				}
				each(3, func(i int) {
					switch i {
					case 0:
						sup, err := supervisor.Start(t.Context(), sys, spec)
						if err != nil {
							if !errors.Is(err, actor.ErrStopped) && !errors.Is(err, actor.ErrKilled) {
								t.Errorf("start: %v", err)
							}
							return
						}
						ref, err := sup.Lookup(t.Context(), "x")
						if strategy == supervisor.Dynamic {
							ref, err = sup.Spawn(t.Context(), nil)
						}
						for range 3 {
							if err == nil {
								end(t.Context(), ref, "panic")
								pass(time.Duration(drawn(sys, 1, 64)))
							}
						}
					case 1:
						pass(time.Duration(drawn(sys, 2, 400)))
						for {
							if ref, ok := sys.Lookup("stopped"); ok {
								if drawn(sys, 3, 3) == 0 {
									ref.Kill()
								} else {
									ref.Shutdown()
								}
								break
							}
							pass(1)
						}
					case 2:
						pass(time.Duration(drawn(sys, 4, 400)))
						if ref, ok := sys.Lookup("stopped"); ok {
							_ = ref.Interrupt(errBroken)
						}
					}
				})
				if err := sys.Join(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// ROLL-3: a roll-out under load whose new behaviour crashes, while children come and go and are swapped by hand.
func TestRollOutStorm(t *testing.T) {
	for _, strategy := range strategies {
		t.Run(strategy.String(), func(t *testing.T) {
			actortest.Explore(t, few(60), func(t *testing.T, sys *actor.System) {
				sup, refs := fleet(t, sys, strategy, 4, supervisor.Spec{Intensity: 2})
				crashes := drawn(sys, 0, 2) == 0
				each(3, func(i int) {
					switch i {
					case 0:
						err := supervisor.RollOut(t.Context(), sup, supervisor.Actor(version(2)), supervisor.RollOutOptions{Canary: 2, Step: 1, Settle: 1000})
						var back *supervisor.RollOutError
						if crashes && (!errors.As(err, &back) || back.Back != nil) || !crashes && err != nil {
							t.Errorf("crashes %v: %v", crashes, err)
						}
					case 1:
						for range 40 {
							for _, ref := range refs {
								what := "hello"
								if crashes {
									what = "panic 2"
								}
								_ = ref.Send(t.Context(), wrapperspb.String(what))
							}
							pass(50)
						}
					case 2:
						pass(100 + time.Duration(drawn(sys, 5, 1000)))
						ctx, cancel := context.WithTimeout(t.Context(), time.Second)
						defer cancel()
						if err := supervisor.RollOut(ctx, sup, supervisor.Actor(version(1)), supervisor.RollOutOptions{Settle: -1}); err != nil && !errors.Is(err, supervisor.ErrRollingOut) {
							t.Errorf("another roll-out: %v", err)
						}
						if strategy == supervisor.Dynamic {
							if _, err := sup.Spawn(t.Context(), nil); err != nil {
								t.Errorf("spawn: %v", err)
							}
						}
					}
				})
				sound(t, sys, sup)
			})
		})
	}
}
