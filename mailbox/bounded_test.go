package mailbox

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestOverflowString(t *testing.T) {
	for o, want := range map[Overflow]string{
		Reject: "reject", Suspend: "suspend", DropNewest: "drop-newest", DropOldest: "drop-oldest", 4: "unknown", 255: "unknown",
	} {
		same(t, "String", o.String(), want)
	}
}

func TestNewBoundedBadInput(t *testing.T) {
	for _, c := range []struct {
		capacity int
		policy   Overflow
		want     string
	}{
		{0, Reject, "capacity 0"},
		{-1, Suspend, "capacity -1"},
		{math.MinInt, DropOldest, "want at least 1"},
		{1, DropOldest + 1, "unknown overflow policy 4"},
		{1, 255, "want Reject, Suspend, DropNewest or DropOldest"},
	} {
		q, err := NewBounded[int](c.capacity, c.policy)
		if err == nil || q != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("capacity %d, policy %d: got %v, %v, want an error with %q", c.capacity, c.policy, q, err, c.want)
		}
	}
}

func TestBoundedHugeCapacityCostsNothing(t *testing.T) {
	q := newBounded[int](t, math.MaxInt, Reject)
	same(t, "Cap", q.Cap(), math.MaxInt)
	same(t, "Push", first(q.Push(1)), Wake)
	same(t, "places", len(q.ring.buf), minPlaces)
}

func first(out Outcome, _ int, _ bool) Outcome { return out }

func TestBoundedPolicies(t *testing.T) {
	for policy, want := range map[Overflow]struct {
		out     Outcome
		oldest  int
		evicted bool
		left    string
	}{
		Reject:     {Full, 0, false, "[1 2]"},
		Suspend:    {Full, 0, false, "[1 2]"},
		DropNewest: {Dropped, 0, false, "[1 2]"},
		DropOldest: {Queued, 1, true, "[2 3]"},
	} {
		t.Run(policy.String(), func(t *testing.T) {
			q := newBounded[int](t, 2, policy)
			same(t, "first Push", first(q.Push(1)), Wake)
			same(t, "second Push", first(q.Push(2)), Queued)
			out, oldest, evicted := q.Push(3)
			same(t, "third Push", out, want.out)
			same(t, "oldest", oldest, want.oldest)
			same(t, "evicted", evicted, want.evicted)
			var left []int
			q.Close(func(e int) { left = append(left, e) })
			same(t, "left", fmt.Sprint(left), want.left)
			same(t, "Push after Close", first(q.Push(4)), Closed)
		})
	}
}

// waiter returns a waiter for e that writes how its wait ended to log.
func waiter(e int, log *[]string) *Waiter[int] {
	return &Waiter[int]{Elem: e, Ready: func(out Outcome) { *log = append(*log, fmt.Sprint(e, " ", out)) }}
}

func TestBoundedAwaitIsFirstComeFirstServed(t *testing.T) {
	q := newBounded[int](t, 1, Suspend)
	var log []string
	q.Push(1)
	for e := 2; e <= 4; e++ {
		out, waiting := q.Await(waiter(e, &log))
		same(t, "Await", out, Full)
		same(t, "waiting", waiting, true)
	}
	for want := 1; want <= 4; want++ {
		same(t, "Push while others wait", first(q.Push(99)), Full)
		e, _ := q.Pop()
		same(t, "Pop", e, want)
	}
	same(t, "log", fmt.Sprint(log), "[2 queued 3 queued 4 queued]")
	same(t, "Push after all waiters", first(q.Push(5)), Queued)
}

func TestBoundedAwaitWithRoom(t *testing.T) {
	q := newBounded[int](t, 2, Suspend)
	var log []string
	w := waiter(1, &log)
	for _, want := range []Outcome{Wake, Queued} {
		w.Elem = 1
		out, waiting := q.Await(w)
		same(t, "Await", out, want)
		same(t, "waiting", waiting, false)
		same(t, "Elem after it was queued", w.Elem, 0)
	}
	same(t, "log", len(log), 0)
}

func TestBoundedPopBatchTakesWhatWaitersBring(t *testing.T) {
	q := newBounded[int](t, 2, Suspend)
	var log []string
	q.Push(1)
	q.Push(2)
	for e := 3; e <= 7; e++ {
		q.Await(waiter(e, &log))
	}
	dst := make([]int, 4)
	same(t, "PopBatch", q.PopBatch(dst), 4)
	same(t, "taken", fmt.Sprint(dst), "[1 2 3 4]")
	same(t, "log", fmt.Sprint(log), "[3 queued 4 queued 5 queued 6 queued]")
	same(t, "PopBatch into nothing", q.PopBatch(nil), 0)
	same(t, "PopBatch of the rest", q.PopBatch(dst), 3)
	same(t, "rest", fmt.Sprint(dst[:3]), "[5 6 7]")
	same(t, "Idle", q.Idle(), true)
}

func TestBoundedCancel(t *testing.T) {
	q, other := newBounded[int](t, 1, Suspend), newBounded[int](t, 1, Suspend)
	var log []string
	q.Push(1)
	ws := []*Waiter[int]{waiter(2, &log), waiter(3, &log), waiter(4, &log), waiter(5, &log)}
	for _, w := range ws {
		q.Await(w)
	}
	same(t, "Cancel in another queue", other.Cancel(ws[0]), false)
	same(t, "Cancel of nil", q.Cancel(nil), false)
	same(t, "Cancel of one that never waited", q.Cancel(waiter(9, &log)), false)
	for _, i := range []int{1, 0, 3} { // in the middle, the first, the last
		same(t, "Cancel", q.Cancel(ws[i]), true)
		same(t, "second Cancel", q.Cancel(ws[i]), false)
		same(t, "Elem after Cancel", ws[i].Elem, i+2)
	}
	for _, want := range []int{1, 4} {
		e, _ := q.Pop()
		same(t, "Pop", e, want)
	}
	same(t, "log", fmt.Sprint(log), "[4 queued]")
	same(t, "Cancel after the end", q.Cancel(ws[2]), false)
	same(t, "Len", q.Len(), 0)
}

func TestBoundedAwaitMisuse(t *testing.T) {
	q, other := newBounded[int](t, 1, Suspend), newBounded[int](t, 1, Suspend)
	q.Push(1)
	other.Push(1)
	var log []string
	w := waiter(2, &log)
	q.Await(w)
	refused := func(what string, q *Bounded[int], w *Waiter[int]) {
		t.Helper()
		out, waiting := q.Await(w)
		same(t, what, out, Full)
		same(t, what+": waiting", waiting, false)
	}
	refused("nil", q, nil)
	refused("waits already", q, w)
	refused("waits elsewhere", other, w)
	for _, policy := range []Overflow{Reject, DropNewest, DropOldest} {
		refused(policy.String(), newBounded[int](t, 1, policy), waiter(3, &log))
	}
	q.Pop()
	same(t, "log", fmt.Sprint(log), "[2 queued]")
	out, waiting := other.Await(w)
	same(t, "Await once it is free", out, Full)
	same(t, "waiting", waiting, true)
}

// TestBoundedReadyMayUseTheQueue: no lock is held, so Ready may push, cancel others, and wait again with the same waiter.
func TestBoundedReadyMayUseTheQueue(t *testing.T) {
	q := newBounded[int](t, 1, Suspend)
	q.Push(1)
	w, victim := &Waiter[int]{Elem: 2}, &Waiter[int]{Elem: 3}
	cancelled := false
	w.Ready = func(out Outcome) {
		same(t, "Ready", out, Queued)
		cancelled = cancelled || q.Cancel(victim)
		if w.Elem = 4; len(q.waitingElems()) < 3 {
			_, waiting := q.Await(w)
			same(t, "waiting again", waiting, true)
		}
	}
	q.Await(w)
	q.Await(victim)
	var got []int
	for range 4 {
		e, _ := q.Pop()
		got = append(got, e)
	}
	same(t, "popped", fmt.Sprint(got), "[1 2 4 4]")
	same(t, "cancelled", cancelled, true)
}

func (q *Bounded[E]) waitingElems() (list []E) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for w := q.waiting.first; w != nil; w = w.next {
		list = append(list, w.Elem)
	}
	return list
}

func TestBoundedWaiterWithoutReady(t *testing.T) {
	q := newBounded[int](t, 1, Suspend)
	q.Push(1)
	q.Await(&Waiter[int]{Elem: 2})
	q.Await(&Waiter[int]{Elem: 3})
	q.Pop()
	e, _ := q.Pop()
	same(t, "Pop", e, 2)
	q.Push(4)
	q.Await(&Waiter[int]{Elem: 5})
	q.Close(func(int) {})
}

func TestBoundedClose(t *testing.T) {
	q := newBounded[int](t, 2, Suspend)
	var log []string
	w := waiter(3, &log)
	q.Push(1)
	q.Push(2)
	q.Await(w)
	q.Await(waiter(4, &log))
	q.Close(func(e int) { log = append(log, strconv.Itoa(e)) })
	same(t, "log", fmt.Sprint(log), "[1 2 3 closed 4 closed]")
	same(t, "Elem after Close", w.Elem, 3)
	same(t, "Cancel after Close", q.Cancel(w), false)
	same(t, "Idle", q.Idle(), false)
	same(t, "Wake", q.Wake(), false)
	out, waiting := q.Await(w)
	same(t, "Await", out, Closed)
	same(t, "Await: waiting", waiting, false)
	q.Close(func(int) { t.Error("a second Close handed something over") })
	q.Reopen(false)
	same(t, "Push after Reopen", first(q.Push(5)), Wake)
}

func TestBoundedUnpopBeyondCapacity(t *testing.T) {
	q := newBounded[int](t, 8, Suspend)
	var log []string
	for e := 1; e <= 8; e++ {
		q.Push(e)
	}
	q.Await(waiter(9, &log))
	q.Await(waiter(10, &log))
	q.Pop()
	q.Unpop(1)
	same(t, "Len", q.Len(), 9)
	same(t, "Push", first(q.Push(99)), Full)
	for want := 1; want <= 10; want++ {
		e, _ := q.Pop()
		same(t, "Pop", e, want)
	}
	same(t, "log", fmt.Sprint(log), "[9 queued 10 queued]")
}

func TestBoundedElementWithoutSize(t *testing.T) {
	q := newBounded[struct{}](t, 5000, Reject)
	for range 5000 {
		q.Push(struct{}{})
	}
	same(t, "Len", q.Len(), 5000)
	same(t, "PopBatch", q.PopBatch(make([]struct{}, 6000)), 5000)
	same(t, "Idle", q.Idle(), true)
}

// TestBoundedShrinksWhileNotEmpty: a queue that is never quite drained does not keep what a burst once needed.
func TestBoundedShrinksWhileNotEmpty(t *testing.T) {
	q := newBounded[int](t, burstSize, Reject)
	for i := range 100_000 {
		q.Push(i)
	}
	for i := range 100_000 - 1 {
		if e, _ := q.Pop(); e != i {
			t.Fatalf("Pop: got %d, want %d", e, i)
		}
	}
	same(t, "places for one element", len(q.ring.buf), keepPlaces)
}

// TestRingsAreShared: what one queue gives back another one of the same E gets, cleared.
func TestRingsAreShared(t *testing.T) {
	if raceEnabled {
		t.Skip("under the race detector a sync.Pool forgets on purpose")
	}
	type own int
	a, b := newBounded[own](t, 8, Reject), newBounded[own](t, 8, Reject)
	allocs := testing.AllocsPerRun(100, func() {
		for _, q := range []*Bounded[own]{a, b} {
			q.Push(1)
			if slices.Max(q.ring.buf[1:]) != 0 {
				t.Error("a ring came back with something in it")
			}
			q.Pop()
			q.Idle()
		}
	})
	same(t, "allocations", allocs, 0)
}

func TestBoundedAllocs(t *testing.T) { testAllocs(t, boundedKind(1000, DropOldest)) }

// testAllocs: 0 allocations for bursts of any size up to what is recycled, going idle after each, and in ping-pong.
func testAllocs(t *testing.T, k kind) {
	t.Helper()
	if raceEnabled {
		t.Skip("under the race detector a sync.Pool forgets on purpose")
	}
	q := k.handles(t)()
	batch := make([]int, 100)
	for _, burst := range []int{1, 8, 9, 100, 1000} {
		n := testing.AllocsPerRun(1000, func() {
			for i := range burst {
				q.Push(i)
			}
			q.Unpop(mustPop(t, q))
			for q.PopBatch(batch) > 0 {
			}
			if !q.Idle() {
				t.Error("not idle after all was popped")
			}
		})
		if n != 0 {
			t.Errorf("bursts of %d: %v allocations, want 0", burst, n)
		}
	}
}

func mustPop(t *testing.T, q subject) int {
	t.Helper()
	e, ok := q.Pop()
	if !ok {
		t.Error("nothing to pop")
	}
	return e
}

func TestBoundedAwaitAllocs(t *testing.T) {
	q := newBounded[int](t, 1, Suspend)
	told := 0
	w := &Waiter[int]{Ready: func(Outcome) { told++ }}
	q.Push(0)
	n := testing.AllocsPerRun(1000, func() {
		w.Elem = 1
		q.Await(w)
		q.Pop()
	})
	same(t, "allocations", n, 0)
	same(t, "told", told, 1001)
}

func TestBoundedGivesMemoryBack(t *testing.T) {
	testMemoryGivenBack(t, boundedKind(burstSize, Reject))
}
