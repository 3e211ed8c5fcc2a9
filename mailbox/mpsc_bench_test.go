package mailbox

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// mutexSlice is the floor that anybody can write: append under a lock, and the consumer swaps the whole slice out.
type mutexSlice struct {
	mu    sync.Mutex
	items []*int
	taken []*int
	next  int
}

func (q *mutexSlice) push(e *int) {
	q.mu.Lock()
	q.items = append(q.items, e)
	q.mu.Unlock()
}

func (q *mutexSlice) pop() bool {
	if q.next == len(q.taken) {
		q.mu.Lock()
		q.taken, q.items, q.next = q.items, q.taken[:0], 0
		q.mu.Unlock()
		if len(q.taken) == 0 {
			return false
		}
	}
	q.taken[q.next] = nil
	q.next++
	return true
}

// side is one goroutine's view of a queue of pointers, so that all carry the same.
type side struct {
	push func(*int)
	pop  func() bool
	idle func()
}

func benchQueues(b *testing.B) map[string]func() side {
	b.Helper()
	mpsc, pool := new(MPSC[*int]), new(Pool[*int])
	bounded := newBounded[*int](b, 1<<20, Reject)
	priority, err := NewPriority(func(e *int) int { return *e }, 0)
	if err != nil {
		b.Fatal(err)
	}
	channel := make(chan *int, 1<<12)
	slice := new(mutexSlice)
	return map[string]func() side{
		"mpsc": func() side {
			c := NewCache(pool)
			return side{
				push: func(e *int) { mpsc.Push(c, e) },
				pop:  func() bool { _, ok := mpsc.Pop(c); return ok },
				idle: func() { mpsc.Idle() },
			}
		},
		"bounded": func() side {
			return side{
				push: func(e *int) { bounded.Push(e) },
				pop:  func() bool { _, ok := bounded.Pop(); return ok },
				idle: func() { bounded.Idle() },
			}
		},
		"priority": func() side {
			return side{
				push: func(e *int) { priority.Push(e) },
				pop:  func() bool { _, ok := priority.Pop(); return ok },
				idle: func() { priority.Idle() },
			}
		},
		"chan": func() side {
			return side{
				push: func(e *int) { channel <- e },
				pop: func() bool {
					select {
					case <-channel:
						return true
					default:
						return false
					}
				},
				idle: func() {},
			}
		},
		"mutex-slice": func() side { return side{push: slice.push, pop: slice.pop, idle: func() {}} },
	}
}

var benchImpls = []string{"mpsc", "bounded", "priority", "chan", "mutex-slice"}

// BenchmarkPushPop is one push, one pop and going idle on one goroutine: the uncontended cost of a message.
func BenchmarkPushPop(b *testing.B) {
	for _, impl := range benchImpls {
		b.Run("impl="+impl, func(b *testing.B) {
			b.ReportAllocs()
			s, e := benchQueues(b)[impl](), new(int)
			for b.Loop() {
				s.push(e)
				s.pop()
				s.idle()
			}
		})
	}
}

// BenchmarkMPSC streams from one producer goroutine, and from four, to one consumer goroutine that polls. No producer runs
// more than a window ahead, or else the figure would be that of a growing backlog.
func BenchmarkMPSC(b *testing.B) {
	for _, producers := range []int{1, 4} {
		for _, impl := range benchImpls {
			name := map[int]string{1: "producers=1/impl=", 4: "producers=4/impl="}[producers] + impl
			b.Run(name, func(b *testing.B) { stream(b, benchQueues(b)[impl], producers) })
		}
	}
}

const window = 1024 // elements that a producer pushes before it waits for the consumer to have taken as many

// stream counts one round of the loop as one element, each producer carrying its share.
func stream(b *testing.B, handle func() side, producers int) {
	b.Helper()
	b.ReportAllocs()
	var popped atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() { drain(handle(), &popped, &stop) })
	rounds := make(chan struct{})
	done := make(chan struct{}, producers)
	for range producers {
		wg.Go(func() {
			s, e := handle(), new(int)
			for range rounds {
				for range window / producers {
					s.push(e)
				}
				done <- struct{}{}
			}
		})
	}
	pushed, inRound := int64(0), 0
	for b.Loop() {
		if inRound++; inRound%window != 1 {
			continue
		}
		for range producers {
			rounds <- struct{}{}
		}
		for range producers {
			<-done
		}
		for pushed += window; popped.Load() < pushed-window; {
			runtime.Gosched()
		}
	}
	close(rounds)
	stop.Store(true)
	wg.Wait()
}

func drain(s side, popped *atomic.Int64, stop *atomic.Bool) {
	for !stop.Load() {
		n := int64(0)
		for s.pop() {
			n++
		}
		popped.Add(n)
		runtime.Gosched()
	}
}
