package conditions

import (
	"container/heap"
	"time"
)

// Schedule holds what is on its way, by the time when it arrives; what arrives at the same time comes in the order in which it was added.
// The zero value is empty. One goroutine at a time may use it.
type Schedule[T any] struct {
	entries entries[T]
	seq     uint64
}

type entry[T any] struct {
	at  time.Time
	seq uint64
	x   T
}

// Add adds x, which arrives at that time, and reports whether it is the next to arrive.
func (s *Schedule[T]) Add(at time.Time, x T) bool {
	s.seq++
	heap.Push(&s.entries, entry[T]{at, s.seq, x})
	return s.entries[0].seq == s.seq
}

// Take takes out the next that has arrived by now.
func (s *Schedule[T]) Take(now time.Time) (x T, ok bool) {
	if len(s.entries) == 0 || s.entries[0].at.After(now) {
		return x, false
	}
	return heap.Pop(&s.entries).(entry[T]).x, true
}

// Next is when the next one arrives, zero if there is none.
func (s *Schedule[T]) Next() time.Time {
	if len(s.entries) == 0 {
		return time.Time{}
	}
	return s.entries[0].at
}

// Len is how many are on their way.
func (s *Schedule[T]) Len() int { return len(s.entries) }

// entries is a heap.
type entries[T any] []entry[T]

func (e entries[T]) Len() int { return len(e) }

func (e entries[T]) Less(i, j int) bool {
	if c := e[i].at.Compare(e[j].at); c != 0 {
		return c < 0
	}
	return e[i].seq < e[j].seq
}

func (e entries[T]) Swap(i, j int) { e[i], e[j] = e[j], e[i] }

func (e *entries[T]) Push(x any) { *e = append(*e, x.(entry[T])) }

func (e *entries[T]) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	(*e)[last] = entry[T]{}
	*e = (*e)[:last]
	return x
}
