package actor

import "testing"

// These tests hold what happens to a place in the moment between its being granted and its owner's giving up, which no test from
// outside can hit at will.

func fakeRef(id uint64) AnyRef { return AnyRef{new(node), id} }

func fakePlace(id uint64) *place {
	return &place{self: fakeRef(id), car: new(carrier), ready: make(chan struct{}), depth: 1}
}

func woken(p *place) bool {
	select {
	case <-p.ready:
		return true
	default:
		return false
	}
}

// LOCK-3: a lock that is granted to one that gives up at that moment goes to the next.
func TestForgoneLockGoesOn(t *testing.T) {
	var l lockCore
	l.give(fakeRef(1), 1)
	granted, queued := fakePlace(2), fakePlace(3)
	l.enqueue(granted)
	l.enqueue(queued)
	if l.pass() != granted {
		t.Fatal("handed to another than the oldest")
	}
	l.forgo(granted, nil)
	if l.owner != queued.self || !queued.granted.Load() || !woken(queued) {
		t.Error("a lock that was forgone was not handed on")
	}
	l.forgo(queued, nil)
	if l.owner.node != nil || l.queue != (places{}) {
		t.Errorf("not free: %+v", &l)
	}
}

func TestGrantedWaiterWaitsForNobody(t *testing.T) {
	var l lockCore
	l.give(fakeRef(1), 1)
	p := fakePlace(2)
	l.enqueue(p)
	if to, _ := p.car.edge.read(p.self); to != l.owner {
		t.Errorf("waits for %v", to)
	}
	l.pass()
	if to, _ := p.car.edge.read(p.self); to.node != nil {
		t.Errorf("waits for %v", to)
	}
}

// SEMA-3: so does a permit.
func TestForgonePermitGoesOn(t *testing.T) {
	m, err := NewSemaphore(1)
	if err != nil {
		t.Fatal(err)
	}
	holder, granted, queued := fakeRef(1), fakePlace(2), fakePlace(3)
	if err := m.settle(holder); err != nil {
		t.Fatal(err)
	}
	m.queue.push(granted)
	m.queue.push(queued)
	if m.giveBack(holder) != granted {
		t.Fatal("handed to another than the oldest")
	}
	m.forgo(granted, nil)
	if !queued.granted.Load() || !woken(queued) || m.holders[queued.self] != 1 {
		t.Error("a permit that was forgone was not handed on")
	}
	m.forgo(queued, nil)
	if m.free != 1 || len(m.holders) != 0 {
		t.Errorf("not free: %+v", m)
	}
}

func TestForgoneEventForgets(t *testing.T) {
	var e Event
	p := fakePlace(1)
	e.waiters.push(p)
	e.forgo(p, nil)
	if e.waiters != (places{}) {
		t.Error("the place stayed")
	}
}

// signalOne gives the lock of c to somebody, who signals one waiter and leaves another waiting.
func signalOne(c *Cond) (first, second *place) {
	first, second = fakePlace(2), fakePlace(3)
	l := c.core()
	l.give(fakeRef(1), 1)
	c.waiters.push(second)
	first.signalled.Store(true)
	l.enqueue(first)
	return first, second
}

// COND-4: so does a signal.
func TestForgoneSignalGoesOn(t *testing.T) {
	for _, granted := range []bool{false, true} {
		var c Cond
		first, second := signalOne(&c)
		if granted {
			c.core().pass()
		}
		c.forgo(first, nil)
		if !second.signalled.Load() || !woken(second) {
			t.Error("the signal is lost")
		}
		if granted != (c.core().owner.node == nil) || c.core().queue != (places{}) {
			t.Error("the lock stayed with a waiter that gave up")
		}
	}
}

// COND-4: a signal for one whose wait ended early meanwhile goes to the next.
func TestSignalThatComesTooLateGoesOn(t *testing.T) {
	var c Cond
	first, second := signalOne(&c)
	w := waiting{c: first.car}
	if err := c.relock(&w, first, c.core(), true); err != nil {
		t.Fatal(err)
	}
	if !second.signalled.Load() || !woken(second) {
		t.Error("the signal is lost")
	}
	if first.in != &c.core().queue {
		t.Error("the waiter left the lock's queue")
	}
}
