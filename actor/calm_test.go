package actor

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"
)

// calmed returns an actor that runs on the worker's own stack by now, and what makes it do something at its next message.
func calmed(t *testing.T, sys *System) (Ref[*number], func(work func(*Context) error) error) {
	t.Helper()
	var work func(*Context) error
	ref := MustSpawn(sys, Handler(func(ctx *Context, m *number) error {
		if work != nil {
			if err := work(ctx); err != nil {
				return err
			}
		}
		return ctx.Reply(m)
	}))
	call := func() error {
		_, err := Call[*number](context.Background(), ref, new(number))
		return err
	}
	for range 2 * calmAfter {
		if err := call(); err != nil {
			t.Fatal(err)
		}
	}
	return ref, func(w func(*Context) error) error {
		work = w
		return call()
	}
}

// onOwnStack reports whether the actor runs on its worker's stack.
func onOwnStack(ctx *Context) bool { return ctx.here().own != nil }

// eachWorkers runs f in Systems of one worker and of two.
func eachWorkers(t *testing.T, f func(t *testing.T, sys *System)) {
	t.Helper()
	for _, workers := range []int{1, 2} {
		t.Run(fmt.Sprintf("workers=%d", workers), func(t *testing.T) {
			sys, err := NewSystem(SystemOptions{Workers: workers})
			if err != nil {
				t.Fatal(err)
			}
			f(t, sys)
			if err := sys.Stop(context.Background()); err != nil {
				t.Error(err)
			}
			if l := sys.Ledger(); !l.Exact || !l.Balanced() {
				t.Errorf("ledger: %v", l)
			}
			if n := sys.ex.nCarriers.Load(); n != 0 {
				t.Errorf("%d stacks are left", n)
			}
		})
	}
}

// EXEC-7: an actor that has not waited for long runs on a worker's own stack, and may wait there like anywhere else: the others go
// on meanwhile, and it comes back.
func TestCalmActorMayWait(t *testing.T) {
	eachWorkers(t, func(t *testing.T, sys *System) {
		other := MustSpawn(sys, Handler(func(ctx *Context, m *number) error { return ctx.Reply(m) }))
		waits := map[string]func(*Context) error{
			"sleep":   func(ctx *Context) error { return ctx.Sleep(time.Millisecond) },
			"yield":   func(ctx *Context) error { return ctx.Yield() },
			"offload": func(ctx *Context) error { return ctx.Offload(ctx, func() error { return nil }) },
			"block":   func(ctx *Context) error { return ctx.Block(func() { runtime.Gosched() }) },
			"call": func(ctx *Context) error {
				_, err := Call[*number](ctx, other, new(number))
				return err
			},
			"several": func(ctx *Context) error {
				return errors.Join(ctx.Sleep(1), ctx.Yield(), ctx.Sleep(time.Millisecond), ctx.Yield())
			},
		}
		for name, wait := range waits {
			t.Run(name, func(t *testing.T) {
				_, do := calmed(t, sys)
				own := false
				if err := do(func(ctx *Context) error { own = onOwnStack(ctx); return wait(ctx) }); err != nil {
					t.Error(err)
				}
				if !own {
					t.Error("the actor was not on its worker's stack: this test measures nothing")
				}
				if err := do(wait); err != nil {
					t.Error("once more:", err)
				}
			})
		}
	})
}

// A calm actor that waits for a slot that Block has lost comes back as well.
func TestCalmActorLosesItsSlotInBlock(t *testing.T) {
	eachWorkers(t, func(t *testing.T, sys *System) {
		_, do := calmed(t, sys)
		other := MustSpawn(sys, Handler(func(ctx *Context, m *number) error { return ctx.Reply(m) }))
		err := do(func(ctx *Context) error {
			return ctx.Block(func() {
				for range 100 { // with one worker they are answered only once the slot is another's
					if _, err := Call[*number](context.Background(), other, new(number)); err != nil {
						t.Error(err)
					}
				}
			})
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// A calm actor ends like any other, running or waiting, and its worker goes on.
func TestCalmActorEnds(t *testing.T) {
	eachWorkers(t, func(t *testing.T, sys *System) {
		for name, c := range map[string]struct {
			work func(*Context) error
			want ReasonKind
		}{
			"panic":          {func(*Context) error { panic("x") }, ReasonPanic},
			"error":          {func(*Context) error { return errors.New("x") }, ReasonError},
			"goexit":         {func(*Context) error { runtime.Goexit(); return nil }, ReasonError},
			"killed waiting": {func(ctx *Context) error { ctx.Self().Kill(); return ctx.Sleep(time.Hour) }, ReasonKilled},
			"killed later": {func(ctx *Context) error {
				if err := ctx.Sleep(1); err != nil { // now on a stack that was lent
					return err
				}
				ctx.Self().Kill()
				return ctx.Sleep(time.Hour)
			}, ReasonKilled},
			"goexit later": {func(ctx *Context) error { _ = ctx.Sleep(1); runtime.Goexit(); return nil }, ReasonError},
			"panic later":  {func(ctx *Context) error { _ = ctx.Sleep(1); panic("x") }, ReasonPanic},
			"stop":         {func(ctx *Context) error { ctx.Stop(); return nil }, ReasonNormal},
		} {
			t.Run(name, func(t *testing.T) {
				ref, do := calmed(t, sys)
				_ = do(c.work)
				_, err := ref.Wait(context.Background())
				var exit *ExitError
				switch {
				case errors.As(err, &exit) && exit.Reason.Kind == c.want:
				case err == nil && c.want == ReasonNormal:
				default:
					t.Errorf("ended with %v, want %v", err, c.want)
				}
				if _, do := calmed(t, sys); do(nil) != nil {
					t.Error("others do not go on")
				}
			})
		}
	})
}

// A worker without work dozes, is handed the next actor, and is put to bed by whoever wants to know that nothing runs.
func TestDozingWorker(t *testing.T) {
	sys, err := NewSystem(SystemOptions{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	echo := MustSpawn(sys, Handler(func(ctx *Context, m *number) error { return ctx.Reply(m) }))
	parks := func() uint64 { return sys.count().parks }
	before := parks()
	const calls = 1000
	for range calls {
		if _, err := Call[*number](context.Background(), echo, new(number)); err != nil {
			t.Fatal(err)
		}
	}
	if n := parks() - before; n > calls/2 {
		t.Errorf("%d rests in %d calls: the worker does not doze", n, calls)
	}
	sink := MustSpawn(sys, Handler(func(*Context, *number) error { return nil }))
	for range 100 {
		if err := sink.Send(context.Background(), new(number)); err != nil {
			t.Fatal(err)
		}
		if err := sys.Quiesce(context.Background()); err != nil {
			t.Fatal(err)
		}
		if s := sys.ex.dozer.Load(); s != nil {
			t.Fatal("a worker dozes in a System at rest")
		}
	}
	if err := sys.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// A slot that was stuck is counted as recovered wherever its behaviour goes on to: spare slots do not pile up.
func TestStuckSlotsRecoverWhereverTheyWait(t *testing.T) {
	for name, then := range map[string]func(ctx *Context) error{
		"sleep": func(ctx *Context) error { return ctx.Sleep(time.Millisecond) },
		"yield": func(ctx *Context) error { return ctx.Yield() },
		"block": func(ctx *Context) error { return ctx.Block(runtime.Gosched) },
		"end":   func(*Context) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			sys, err := NewSystem(SystemOptions{Workers: 1, StuckAfter: time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			for range 5 {
				ref := MustSpawn(sys, Routine(func(ctx *Context, _ *Inbox[*number]) error {
					for s := ctx.here().slot; s.state() != slotStuck; {
						runtime.Gosched()
					}
					return then(ctx)
				}))
				if _, err := ref.Wait(context.Background()); err != nil {
					t.Error(err)
				}
				if err := sys.Quiesce(context.Background()); err != nil {
					t.Fatal(err)
				}
				sys.ex.mu.Lock()
				live, stuck := sys.ex.live, sys.ex.stuck
				sys.ex.mu.Unlock()
				if live != 1 || stuck != 0 {
					t.Fatalf("at rest: %d slots, %d of them stuck", live, stuck)
				}
			}
			if err := sys.Stop(context.Background()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// An actor that gives way in the middle of a flood goes to the slot that floods it.
func TestFloodedActorGoesHome(t *testing.T) {
	st := newStage(t)
	other := st.sys.ex.newSlot(100, false)
	rest := *st.sys.ex.slots.Load()
	slots := append(append([]*slot(nil), rest...), other)
	st.sys.ex.slots.Store(&slots)
	defer st.sys.ex.slots.Store(&rest)
	a := st.spawn(t, Handler(func(*Context, *number) error { return nil })).cell()
	st.s.every = maxEvery
	if st.s.goHome(a) {
		t.Error("it has no home yet")
	}
	a.home.Store(st.s.n)
	if st.s.goHome(a) {
		t.Error("it is at home")
	}
	a.home.Store(other.n)
	if !st.s.goHome(a) || other.lifo.Swap(nil) != a {
		t.Error("it did not go home")
	}
	if st.s.goHome(a) {
		t.Error("it went twice")
	}
}
