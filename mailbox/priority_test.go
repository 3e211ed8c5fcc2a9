package mailbox

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

func TestNewPriorityBadInput(t *testing.T) {
	for _, c := range []struct {
		priority func(int) int
		capacity int
		want     string
	}{
		{nil, 0, "no priority function"},
		{priorityOf, -1, "capacity -1"},
		{priorityOf, math.MinInt, "0 for no bound"},
	} {
		q, err := NewPriority(c.priority, c.capacity)
		if err == nil || q != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("capacity %d: got %v, %v, want an error with %q", c.capacity, q, err, c.want)
		}
	}
}

func TestPriorityOrder(t *testing.T) {
	type job struct {
		urgency int
		name    string
	}
	q, err := NewPriority(func(j job) int { return j.urgency }, 0)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "first Push", q.Push(job{0, "a"}), Wake)
	for _, j := range []job{{5, "b"}, {math.MinInt, "c"}, {math.MaxInt, "d"}, {5, "e"}, {0, "f"}, {5, "g"}, {-1, "h"}} {
		same(t, "Push", q.Push(j), Queued)
	}
	head, _ := q.Pop()
	q.Unpop(head)
	dst := make([]job, 3)
	q.PopBatch(dst)
	q.Unpop(dst[2])
	q.Unpop(dst[1])
	got := dst[0].name
	q.Close(func(j job) { got += j.name })
	same(t, "order", got, "dbegafhc")
	same(t, "Push after Close", q.Push(job{}), Closed)
}

func TestPriorityBound(t *testing.T) {
	q := newPriority(t, 2)
	same(t, "Cap", q.Cap(), 2)
	q.Push(0)
	q.Push(3)
	same(t, "Push of a higher priority on a full queue", q.Push(3), Full)
	q.Pop()
	same(t, "Push with room", q.Push(2), Queued)
	q.Unpop(3)
	same(t, "Len after Unpop", q.Len(), 3)
	same(t, "Push", q.Push(1), Full)
}

// TestPriorityFunctionPanics: the panic reaches the producer, and the queue goes on as if the push had not been.
func TestPriorityFunctionPanics(t *testing.T) {
	q, err := NewPriority(func(e int) int {
		if e < 0 {
			panic(fmt.Sprint("no priority for ", e))
		}
		return e
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	try := func(f func(int)) (reason any) {
		defer func() { reason = recover() }()
		f(-1)
		return nil
	}
	push, unpop := func(e int) { q.Push(e) }, func(e int) { q.Unpop(e) }
	same[any](t, "panic of Push", try(push), "no priority for -1")
	same(t, "Push after a panic", q.Push(1), Wake)
	same(t, "Push", q.Push(2), Queued)
	same[any](t, "panic of Push", try(push), "no priority for -1")
	same[any](t, "panic of Unpop", try(unpop), "no priority for -1")
	for _, want := range []int{2, 1} {
		e, _ := q.Pop()
		same(t, "Pop", e, want)
	}
	same(t, "Idle", q.Idle(), true)
}

func TestPriorityShrinksWhileNotEmpty(t *testing.T) {
	q := newPriority(t, 0)
	for i := range 100_000 {
		q.Push(i)
	}
	q.PopBatch(make([]int, 100_000-1))
	same(t, "places for one element", len(q.heap.buf), keepPlaces)
}

func TestPriorityAllocs(t *testing.T) { testAllocs(t, priorityKind(0)) }

func TestPriorityGivesMemoryBack(t *testing.T) { testMemoryGivenBack(t, priorityKind(0)) }
