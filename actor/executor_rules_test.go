package actor

// These tests hold the executor's rules (docs/ARCHITECTURE.md lists them) by playing the worker themselves, so that they see what
// it does step by step and depend on no clock.

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

type number = wrapperspb.Int64Value

// stage is a slot that no other one steals from, with the test for its worker.
type stage struct {
	*worker
	sys *System
	s   *slot
}

func newStage(t *testing.T) *stage {
	t.Helper()
	sys, err := NewSystem(SystemOptions{Workers: 1, StuckAfter: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	s := sys.ex.newSlot(99, false)
	t.Cleanup(func() {
		for a := s.local(); a != nil; a = s.local() { // what is left runs elsewhere
			sys.ex.pushShared(a)
		}
		for _, c := range s.resting {
			sys.ex.keepCarrier(c)
		}
		s.lung.close()
		s.flush()
		sys.ex.mu.Lock()
		sys.retired.add(&s.pub)
		sys.ex.mu.Unlock()
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
	return &stage{newWorker(s), sys, s}
}

// spawn starts an actor on the stage.
func (st *stage) spawn(t *testing.T, b Behaviour[*number]) Ref[*number] {
	t.Helper()
	r, err := st.sys.place(st.s, nil, b.b, &Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ref, _ := TypedRef[*number](r)
	return ref
}

func (st *stage) routine(t *testing.T, f func(ctx *Context, in *Inbox[*number]) error) *cell {
	t.Helper()
	return st.spawn(t, Routine(f)).cell()
}

// resume has the next actor's carrier run until it switches away, and commits nothing.
func (st *stage) resume(t *testing.T) *carrier {
	t.Helper()
	a := st.s.local()
	if a == nil {
		t.Fatal("nobody is runnable")
	}
	c := st.s.carrierFor(a)
	c.slot = st.s
	st.s.lastNow = st.sys.ex.now()
	st.s.turnNow, st.s.left, st.s.every = st.s.lastNow, maxEvery, maxEvery // its time is not up
	c.next()
	return c
}

// play is the worker until nobody is runnable.
func (st *stage) play() {
	for a := st.s.local(); a != nil; a = st.s.local() {
		for a != nil {
			a = st.run(a)
		}
	}
}

// Until the worker has committed it, no wait shows: nobody can wake and run an actor whose carrier still runs.
func TestWorkerPublishesWaits(t *testing.T) {
	t.Run("park", func(t *testing.T) {
		st := newStage(t)
		a := st.routine(t, func(ctx *Context, _ *Inbox[*number]) error { return ctx.Sleep(time.Hour) })
		c := st.resume(t)
		if p, n := a.park.Load(), st.sys.ex.timers.pending(); p != parkRunning || n != 0 {
			t.Errorf("before the commit: park %d, %d timers", p, n)
		}
		st.commit(c)
		if p, n := a.park.Load(), st.sys.ex.timers.pending(); p != parkParked || n != 1 {
			t.Errorf("after the commit: park %d, %d timers", p, n)
		}
	})
	t.Run("mail", func(t *testing.T) {
		st := newStage(t)
		a := st.routine(t, func(ctx *Context, in *Inbox[*number]) error { _, err := in.Receive(ctx); return err })
		c := st.resume(t)
		if a.wake() {
			t.Error("a message would have resumed the actor before the commit")
		}
		st.commit(c)
		if !a.wake() {
			t.Error("a message would not wake the actor after the commit")
		}
		st.s.push(a)
	})
	t.Run("turn", func(t *testing.T) {
		st := newStage(t)
		st.routine(t, func(ctx *Context, _ *Inbox[*number]) error { return ctx.Yield() })
		c := st.resume(t)
		if st.s.hasWork() {
			t.Error("in the run queue before the commit")
		}
		st.commit(c)
		if !st.s.hasWork() {
			t.Error("not in the run queue after the commit")
		}
	})
	t.Run("slot", func(t *testing.T) {
		st := newStage(t)
		lent := make(chan struct{})
		a := st.spawn(t, Routine(func(ctx *Context, _ *Inbox[*number]) error {
			err := ctx.Block(func() { st.s.status.Add(slotMask + 1 + slotRunning - slotBlocked) }) // as the watchdog retakes it
			close(lent)
			return err
		}))
		c := st.resume(t)
		select {
		case <-lent:
			t.Fatal("went on without a slot")
		default:
		}
		if st.commit(c); st.slot != nil {
			t.Error("the worker kept a slot that was retaken")
		}
		<-lent // on the System's own worker
		if _, err := a.Wait(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// A wake-up between the switch and the commit is not lost.
func TestWakeUpBeforeTheCommit(t *testing.T) {
	for name, wait := range map[string]func(ctx *Context, in *Inbox[*number]) error{
		"park": func(ctx *Context, _ *Inbox[*number]) error { _, err := ctx.Suspend(ctx); return err },
		"mail": func(ctx *Context, in *Inbox[*number]) error { _, err := in.Receive(ctx); return err },
	} {
		t.Run(name, func(t *testing.T) {
			st := newStage(t)
			a := st.routine(t, wait)
			c := st.resume(t)
			if err := (AnyRef{st.sys.node, a.id()}).Interrupt(ErrKilled); err != nil {
				t.Fatal(err)
			}
			if st.s.hasWork() || st.sys.ex.shared.n.Load() != 0 {
				t.Fatal("runnable while its carrier runs")
			}
			st.commit(c)
			if !st.s.hasWork() {
				t.Error("the wake-up is lost")
			}
		})
	}
}

// Handlers run one after the other on one carrier: a turn that ends costs no switch.
func TestHandlersShareACarrier(t *testing.T) {
	st := newStage(t)
	const n = 10
	handled := 0
	var handlers [n]Ref[*number]
	for i := range handlers {
		handlers[i] = st.spawn(t, Handler(func(*Context, *number) error { handled++; return nil }))
	}
	st.routine(t, func(ctx *Context, _ *Inbox[*number]) error {
		for _, h := range handlers {
			if err := h.Send(ctx, &number{}); err != nil {
				return err
			}
		}
		return nil
	})
	st.commit(st.resume(t))
	if handled != n {
		t.Errorf("%d of %d were handled before the carrier switched away", handled, n)
	}
}

// An actor that has a carrier of its own is named to the worker, which resumes it without looking for work.
func TestCarrierNamesTheNext(t *testing.T) {
	st := newStage(t)
	waiter := st.routine(t, func(ctx *Context, _ *Inbox[*number]) error { _, err := ctx.Suspend(ctx); return err })
	st.commit(st.resume(t))
	st.routine(t, func(ctx *Context, _ *Inbox[*number]) error {
		st.sys.rouse(st.s, waiter)
		return nil
	})
	c := st.resume(t)
	if c.wait != waitRest || c.job != waiter {
		t.Errorf("waits for %d and names %p, want the waiter", c.wait, c.job)
	}
	if next := st.commit(c); next != waiter {
		t.Error("the worker does not go on with it")
	} else {
		st.s.push(next)
	}
}

// Block that ends soon keeps its slot: it is marked, and nothing else happens.
func TestBlockKeepsItsSlot(t *testing.T) {
	st := newStage(t)
	const n = 1000
	done := 0
	st.routine(t, func(ctx *Context, _ *Inbox[*number]) error {
		for range n {
			err := ctx.Block(func() {
				if st.s.status.Load()&slotMask != slotBlocked {
					t.Error("the slot is not marked as lent")
				}
			})
			if err != nil || st.s.status.Load()&slotMask != slotRunning {
				t.Error("the slot did not come back", err)
			}
			done++
		}
		return nil
	})
	c := st.resume(t)
	if done != n || c.wait != waitRest {
		t.Errorf("%d of %d calls were done when the carrier switched away to wait for %d", done, n, c.wait)
	}
	st.commit(c)
	if n := st.sys.ex.dog.retakes.Load(); n != 0 {
		t.Errorf("the watchdog took the slot %d times", n)
	}
}

// bareSlots are slots without workers, for their queues.
func bareSlots(n int) (*executor, []*slot) {
	ex := &executor{workers: n, sys: new(System)}
	slots := make([]*slot, n)
	for i := range slots {
		slots[i] = ex.newSlot(uint32(i), false)
	}
	ex.slots.Store(&slots)
	return ex, slots
}

// However much a slot has to do by itself, it looks at the shared queue.
func TestSharedQueueIsNotStarved(t *testing.T) {
	for _, own := range []string{"ring", "lifo"} {
		t.Run(own, func(t *testing.T) {
			ex, slots := bareSlots(1)
			s, shared := slots[0], new(cell)
			s.pushRing(new(cell))
			ex.shared.push(shared)
			for range globalEvery {
				a := s.local()
				if a == shared {
					return
				}
				if own == "ring" {
					s.pushRing(a)
				} else {
					s.push(a)
				}
			}
			t.Errorf("%d picks, and none from the shared queue", globalEvery)
		})
	}
}

// Two actors that wake each other in the LIFO place do not keep the ring waiting.
func TestLIFOPlaceIsUsedABoundedNumberOfTimes(t *testing.T) {
	_, slots := bareSlots(1)
	s, ring := slots[0], new(cell)
	s.pushRing(ring)
	s.push(new(cell))
	for range lifoRun + 1 {
		a := s.local()
		if a == ring {
			return
		}
		s.push(a)
	}
	t.Errorf("%d picks, and none from the ring", lifoRun+1)
}

// A slot without work takes half of another's ring, and the LIFO place only of one that makes no progress.
func TestIdleSlotsStealHalf(t *testing.T) {
	_, slots := bareSlots(2)
	victim, thief := slots[0], slots[1]
	for range 20 {
		victim.pushRing(new(cell))
	}
	if a := thief.steal(); a == nil || thief.queued() != 9 || victim.queued() != 10 || thief.tally.steals != 1 {
		t.Errorf("stolen: %v, thief has %d more, victim %d, %d steals", a != nil, thief.queued(), victim.queued(), thief.tally.steals)
	}
}

// What lies in a stuck slot can be had by others.
func TestStuckSlotsAreStolenFrom(t *testing.T) {
	for _, state := range []uint64{slotStuck, slotBlocked} {
		ex, slots := bareSlots(2)
		ex.start = time.Now()
		victim, thief := slots[0], slots[1]
		victim.beat.Store(int64(time.Hour)) // as if it had just looked at the clock
		victim.push(new(cell))
		if thief.steal() != nil {
			t.Error("the LIFO place of a slot that gets on was stolen from")
		}
		victim.status.Store(state)
		if thief.steal() == nil {
			t.Errorf("nothing stolen in state %d", state)
		}
	}
}

// A slot that was idle or in Block for long has not kept others waiting, and one that has left cannot be stuck.
func TestRestIsNotStuck(t *testing.T) {
	ex, slots := bareSlots(1)
	s := slots[0]
	ex.reserved, ex.live, ex.start = &slot{ex: ex, special: true}, 1, time.Now().Add(-time.Hour)
	ex.reserved.turnTo(slotIdle)
	ex.dog = watchdog{ex: ex, after: time.Minute, seen: make(map[*slot]uint64)}
	for _, c := range []struct {
		name      string
		s         *slot
		rest, end func()
	}{
		{"rest", s, func() { ex.lieDown(s) }, func() { ex.unrest(0) }},
		{"rest of the reserved one", ex.reserved, func() { ex.reserved.turnTo(slotIdle) }, func() { ex.stopResting(ex.reserved) }},
		{"Block", s, func() { s.blocks() }, func() { s.turnTo(slotRunning) }},
	} {
		s.beat.Store(int64(ex.now()))
		c.rest()
		c.s.beat.Store(0) // an hour ago
		ex.dog.look()
		c.end()
		if c.name != "Block" && c.s.beat.Load() >= 0 {
			t.Errorf("after a %s the watchdog is not told that the worker is still away", c.name)
		}
		ex.dog.look()
		if c.s.back(); c.s.beat.Load() < 0 {
			t.Errorf("after a %s the watchdog is not told that the worker is back", c.name)
		}
		if n := ex.dog.trips.Load(); n != 0 || ex.stuck != 0 {
			t.Fatalf("after a %s: %d trips, %d slots stuck", c.name, n, ex.stuck)
		}
	}
	seen := s.status.Load()
	ex.leave(s)
	if ex.dog.startSpare(s, seen); ex.stuck != 0 || ex.dog.trips.Load() != 0 {
		t.Errorf("%d slots stuck of those that have left", ex.stuck)
	}
}

// A slot that is busy lets other goroutines run now and then, and has Go look at its network poller.
func TestWorkersBreathe(t *testing.T) {
	st := newStage(t)
	s := st.s
	release, blocked := make(chan struct{}), make(chan struct{})
	defer close(release)
	MustSpawn(st.sys, Routine(func(ctx *Context, _ *Inbox[*number]) error { // so that no worker rests
		return ctx.Block(func() { close(blocked); <-release })
	}))
	<-blocked
	owe := func() { s.goNow, s.pollNow = s.lastNow-time.Second, s.lastNow-time.Second }
	breathed := func(when string) {
		if s.lung.r == nil || s.goNow < s.lastNow-goSlice || s.pollNow < s.lastNow-time.Second/2 {
			t.Errorf("no breath %s", when)
		}
	}
	handler := st.spawn(t, Handler(func(*Context, *number) error {
		breathed("between two turns")
		owe()
		return nil
	}))
	st.routine(t, func(ctx *Context, _ *Inbox[*number]) error {
		owe()
		return handler.Send(ctx, &number{})
	})
	st.commit(st.resume(t))
	breathed("after the last turn")
	st.routine(t, func(ctx *Context, _ *Inbox[*number]) error {
		owe()
		return ctx.Yield()
	})
	st.run(s.local())
	breathed("after a switch")
	st.play()
}

// A goroutine that computes and computes does not get the processor nearly to itself because workers breathe and it does not:
// who was kept away for long stays as long, and is not called stuck for it.
func TestWorkersStayAsLongAsTheyWereKeptAway(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	ex, slots := bareSlots(1)
	s := slots[0]
	ex.reserved, ex.live, ex.start = &slot{ex: ex, special: true}, 1, time.Now().Add(-time.Hour)
	ex.reserved.turnTo(slotIdle)
	ex.dog = watchdog{ex: ex, after: time.Millisecond, seen: make(map[*slot]uint64)}
	var quit atomic.Bool
	defer quit.Store(true)
	go func() {
		for !quit.Load() {
			for start := time.Now(); time.Since(start) < 2*hogSlice; {
			}
			ex.dog.look()
			runtime.Gosched()
		}
	}()
	stay := time.Duration(0)
	for tries := 0; stay == 0 && tries < 100; tries++ {
		s.lastNow = ex.now()
		s.goNow, s.pollNow = s.lastNow-goSlice, s.lastNow
		s.breathe()
		stay = s.goNow - s.lastNow
	}
	if stay < hogSlice || stay > 4*hogSlice {
		t.Errorf("the worker stays for %v", stay)
	}
	if n := ex.dog.trips.Load(); n != 0 {
		t.Error("the watchdog called a slot stuck whose worker was kept away")
	}
	if beat := s.beat.Load(); time.Duration(beat) != s.lastNow {
		t.Errorf("the last look at the clock was at %v, the watchdog thinks %v", s.lastNow, time.Duration(beat))
	}
}

// The watchdog and the runtime's timer stop while nothing runs, however long actors sleep.
func TestWatchdogSleepsAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys, err := NewSystem(SystemOptions{Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		sleeper := MustSpawn(sys, Routine(func(ctx *Context, _ *Inbox[*number]) error { return ctx.Sleep(time.Hour) }))
		time.Sleep(time.Second)
		synctest.Wait()
		if !sys.ex.dog.asleep.Load() {
			t.Error("the watchdog is awake in a System at rest")
		}
		sleeper.Stop()
		if _, err := sleeper.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if sys.ex.timers.next.Load() != 0 || sys.ex.timers.goT.Stop() {
			t.Error("a timer runs for nobody")
		}
		if err := sys.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// A behaviour that is stuck keeps its slot, and its stack is logged at its next send; the spare slot goes when it is stuck no more.
func TestSpareSlotsComeAndGo(t *testing.T) {
	for _, procs := range []int{2, 4} {
		was := runtime.GOMAXPROCS(procs)
		t.Cleanup(func() { runtime.GOMAXPROCS(was) })
		var log bytes.Buffer // written once, by the behaviour, before its end
		sys, err := NewSystem(SystemOptions{Workers: 1, StuckAfter: 20 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		ex := sys.ex
		stuck := MustSpawn(sys, Routine(func(ctx *Context, _ *Inbox[*number]) error {
			s := ctx.car.Load().slot
			for start := time.Now(); len(ex.all()) == 1; runtime.Gosched() {
				if time.Since(start) > 10*time.Second {
					t.Error("no spare slot")
					return nil
				}
			}
			if ctx.car.Load().slot != s || s.status.Load()&slotMask != slotStuck {
				t.Error("the slot was taken from code that runs")
			}
			s.look() // as its next send would
			return nil
		}))
		if _, err := stuck.Wait(context.Background()); err != nil {
			t.Error(err)
		}
		if err := sys.Quiesce(context.Background()); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(log.String(), "TestSpareSlotsComeAndGo") {
			t.Errorf("the stack of the behaviour was not logged: %q", log.String())
		}
		ex.mu.Lock()
		if ex.live != 1 || ex.stuck != 0 || len(ex.all()) != 1 {
			t.Errorf("at rest: %d slots, %d of them stuck, want one", ex.live, ex.stuck)
		}
		ex.mu.Unlock()
		if err := sys.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// A Context makes neither channel nor goroutine until somebody asks for Done, however waits under it are bounded.
func TestContextIsLazy(t *testing.T) {
	st := newStage(t)
	echo := st.spawn(t, Handler(func(ctx *Context, m *number) error {
		if ctx.ext.Load() != nil {
			t.Error("a call made a context")
		}
		return ctx.Reply(m)
	}))
	st.routine(t, func(ctx *Context, in *Inbox[*number]) error {
		bounded, cancel := ctx.WithTimeout(time.Hour)
		defer cancel()
		if _, err := Call[*number](bounded, echo, &number{}); err != nil {
			t.Error(err)
		}
		if err := ctx.Err(); err != nil {
			t.Error(err)
		}
		if l := bounded.(*limitedContext); ctx.ext.Load() != nil || l.std.Load() != nil {
			t.Error("a wait made a context")
		}
		return nil
	})
	st.play()
}

// Contexts of package context that derive from an actor's start no goroutine.
func TestDerivedContextsStartNoGoroutine(t *testing.T) {
	st := newStage(t)
	const n = 500
	st.routine(t, func(ctx *Context, _ *Inbox[*number]) error {
		before := runtime.NumGoroutine()
		for range n {
			_, cancel := context.WithCancel(ctx)
			defer cancel()
		}
		if grown := runtime.NumGoroutine() - before; grown > n/2 {
			t.Errorf("%d contexts started %d goroutines", n, grown)
		}
		return nil
	})
	st.commit(st.resume(t))
}

// Cells are small, and refs are two words that can be compared.
func TestCellsAndRefsAreSmall(t *testing.T) {
	if n := unsafe.Sizeof(cell{}); n > 128 {
		t.Errorf("a cell has %d bytes", n)
	}
	if n := unsafe.Sizeof(AnyRef{}); n != 16 {
		t.Errorf("a ref has %d bytes", n)
	}
}

// A freed index waits behind so many others that an ended actor can be asked about for long, and a generation takes long to come round.
func TestFreeIndexesWait(t *testing.T) {
	var cells table
	var used []*cell
	for range tombstones + 1 {
		used = append(used, cells.alloc())
	}
	for i, a := range used {
		if b := cells.alloc(); b.idx < uint32(len(used)) {
			t.Fatalf("index %d was used again when %d were free", b.idx, i)
		}
		cells.release(a)
	}
	if b := cells.alloc(); b != used[0] {
		t.Errorf("index %d comes before the oldest free one", b.idx)
	}
}

// A slot publishes its counters when it looks at the clock, which it does the less often the cheaper messages are.
func TestCountersArePublishedAtLooks(t *testing.T) {
	st := newStage(t)
	s := st.s
	for range 20 {
		s.lastNow = st.sys.ex.now() + time.Hour // no time has passed
		s.look()
	}
	if s.every != maxEvery || s.left != maxEvery {
		t.Errorf("cheap messages: every %d", s.every)
	}
	published := func() uint64 { var t tally; s.pub.load(&t); return t.handled }
	before := published()
	for range maxEvery - 1 {
		s.tally.handled++
		s.spend()
	}
	if published() != before {
		t.Error("published between two looks")
	}
	s.tally.handled++
	s.spend()
	if published() != before+maxEvery {
		t.Error("not published at a look")
	}
	for range 20 {
		s.lastNow = -time.Hour // much time has passed
		s.look()
	}
	if s.every != 1 {
		t.Errorf("costly messages: every %d", s.every)
	}
	s.tally.handled -= maxEvery // they were never sent
}

// A panic costs what its program counters take; its text is made when somebody asks.
func TestPanicIsFormattedLater(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { _ = newPanicError("on purpose") }); n > 3 {
		t.Errorf("%v allocations for a panic", n)
	}
}

// Between an actor that sends and one that handles nothing is allocated.
func TestSendAllocs(t *testing.T) {
	st := newStage(t)
	handled := 0
	sink := st.spawn(t, Handler(func(*Context, *number) error { handled++; return nil }))
	m := new(number)
	st.routine(t, func(ctx *Context, _ *Inbox[*number]) error {
		for {
			if err := sink.Send(ctx, m); err != nil {
				return err
			}
			if err := ctx.Yield(); err != nil {
				return err
			}
		}
	})
	var next *cell
	rounds := func() {
		for range 100 { // AllocsPerRun rounds down
			if next == nil {
				next = st.s.local()
			}
			next = st.run(next)
		}
	}
	for range 10 {
		rounds()
	}
	if n := testing.AllocsPerRun(10, rounds); n > 10 { // some are the watchdog's, which looks each millisecond
		t.Errorf("%v allocations in 100 rounds", n)
	}
	if next != nil {
		st.s.push(next)
	}
	if handled < 500 {
		t.Errorf("handled %d: this test measures nothing", handled)
	}
}

// Making an actor runnable and picking it allocate nothing.
func TestSchedulingAllocs(t *testing.T) {
	_, slots := bareSlots(1)
	s := slots[0]
	cells := make([]cell, ringCells/2)
	if n := testing.AllocsPerRun(100, func() {
		for i := range cells {
			s.push(&cells[i])
		}
		for range cells {
			if s.local() == nil {
				t.Error("an actor is lost")
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// An actor that has had its time goes behind those that wait in the shared queue: what is in a slot's ring does not keep them out.
func TestBusyActorsGoBehindTheSharedQueue(t *testing.T) {
	ex := &executor{workers: 1} // nobody works here
	s := ex.newSlot(0, false)
	waiting, busy := new(cell), new(cell)
	ex.shared.push(waiting)
	s.pushBack(busy)
	if first, second := ex.shared.popOne(), ex.shared.popOne(); first != waiting || second != busy {
		t.Error("who has had its time does not come behind who waits")
	}
	s.pushBack(busy)
	if ex.shared.n.Load() != 0 || s.popRing() != busy {
		t.Error("with nobody waiting it stays on its slot")
	}
}
