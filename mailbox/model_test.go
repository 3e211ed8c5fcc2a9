package mailbox

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// subject is what the three queues have in common, as one goroutine sees it. *Bounded[int] is one as it stands.
type subject interface {
	Push(e int) (out Outcome, oldest int, evicted bool)
	Pop() (int, bool)
	PopBatch(dst []int) int
	Unpop(e int)
	Idle() bool
	Wake() bool
	Len() int
	Empty() bool
	Close(f func(int))
	Reopen(awake bool)
}

type mpscSubject struct {
	*MPSC[int]
	c *Cache[int]
}

func (s mpscSubject) Push(e int) (Outcome, int, bool) { return s.MPSC.Push(s.c, e), 0, false }
func (s mpscSubject) Pop() (int, bool)                { return s.MPSC.Pop(s.c) }
func (s mpscSubject) Unpop(e int)                     { s.MPSC.Unpop(s.c, e) }
func (s mpscSubject) Close(f func(int))               { s.MPSC.Close(s.c, f) }
func (s mpscSubject) PopBatch(dst []int) int {
	for i := range dst {
		e, ok := s.Pop()
		if !ok {
			return i
		}
		dst[i] = e
	}
	return len(dst)
}

type prioritySubject struct{ *Priority[int] }

func (s prioritySubject) Push(e int) (Outcome, int, bool) { return s.Priority.Push(e), 0, false }

// priorityOf is the priority function of all tests: an element's last two bits.
func priorityOf(e int) int { return e & 3 }

// kind describes a queue under test; handles makes one queue and returns how a goroutine gets its view of it.
type kind struct {
	name        string
	capacity    int // 0 means none
	policy      Overflow
	prioritized bool
	handles     func(t testing.TB) func() subject
}

func mpscKind() kind {
	return kind{name: "mpsc", handles: func(testing.TB) func() subject {
		q, pool := new(MPSC[int]), new(Pool[int])
		return func() subject { return mpscSubject{q, NewCache(pool)} }
	}}
}

func boundedKind(capacity int, policy Overflow) kind {
	name := fmt.Sprintf("bounded=%d/policy=%v", capacity, policy)
	return kind{name: name, capacity: capacity, policy: policy, handles: func(tb testing.TB) func() subject {
		tb.Helper()
		q := newBounded[int](tb, capacity, policy)
		return func() subject { return q }
	}}
}

func priorityKind(capacity int) kind {
	name := fmt.Sprintf("priority=%d", capacity)
	return kind{name: name, capacity: capacity, prioritized: true, handles: func(tb testing.TB) func() subject {
		tb.Helper()
		q := newPriority(tb, capacity)
		return func() subject { return prioritySubject{q} }
	}}
}

func newBounded[E any](tb testing.TB, capacity int, policy Overflow) *Bounded[E] {
	tb.Helper()
	q, err := NewBounded[E](capacity, policy)
	if err != nil {
		tb.Fatal(err)
	}
	return q
}

func newPriority(tb testing.TB, capacity int) *Priority[int] {
	tb.Helper()
	q, err := NewPriority(priorityOf, capacity)
	if err != nil {
		tb.Fatal(err)
	}
	return q
}

func kinds() []kind {
	ks := []kind{mpscKind(), priorityKind(0), priorityKind(1), priorityKind(100)}
	for _, capacity := range []int{1, 2, 3, 8, 100, 5000} {
		for policy := Reject; policy <= DropOldest; policy++ {
			ks = append(ks, boundedKind(capacity, policy))
		}
	}
	return ks
}

// model says what a queue of its kind must do, in the simplest way.
type model struct {
	kind
	items   []int // in the order of Pop
	waiting []int
	ended   []string // what waiters were told, in order
	idle    bool
	closed  bool
}

func (m *model) full() bool { return m.capacity > 0 && len(m.items) >= m.capacity }

// insert puts e behind (or with front before) everything of its own priority, and behind all of a higher one.
func (m *model) insert(e int, front bool) {
	i := len(m.items)
	if front {
		i = 0
	}
	if m.prioritized {
		i = slices.IndexFunc(m.items, func(x int) bool {
			return priorityOf(x) < priorityOf(e) || front && priorityOf(x) == priorityOf(e)
		})
		if i < 0 {
			i = len(m.items)
		}
	}
	m.items = slices.Insert(m.items, i, e)
}

func (m *model) queued(e int) Outcome {
	m.insert(e, false)
	if m.wake() {
		return Wake
	}
	return Queued
}

func (m *model) push(e int) (out Outcome, oldest int, evicted bool) {
	switch {
	case m.closed:
		return Closed, 0, false
	case !m.full():
	case m.policy == DropNewest:
		return Dropped, 0, false
	case m.policy == DropOldest:
		oldest, evicted = m.items[0], true
		m.items = m.items[1:]
	default:
		return Full, 0, false
	}
	return m.queued(e), oldest, evicted
}

func (m *model) await(e int) (Outcome, bool) {
	switch {
	case m.closed:
		return Closed, false
	case m.full():
		m.waiting = append(m.waiting, e)
		return Full, true
	}
	return m.queued(e), false
}

func (m *model) cancel(e int) bool {
	i := slices.Index(m.waiting, e)
	if i < 0 {
		return false
	}
	m.waiting = slices.Delete(m.waiting, i, i+1)
	return true
}

func (m *model) wake() bool {
	was := m.idle
	m.idle = false
	return was && !m.closed
}

func (m *model) goIdle() bool {
	if m.idle || m.closed || len(m.items) > 0 {
		return false
	}
	m.idle = true
	return true
}

func (m *model) pop() (int, bool) {
	if len(m.items) == 0 {
		return 0, false
	}
	e := m.items[0]
	m.items = m.items[1:]
	if len(m.waiting) > 0 && !m.full() {
		m.insert(m.waiting[0], false)
		m.ended = append(m.ended, fmt.Sprint(m.waiting[0], Queued))
		m.waiting = m.waiting[1:]
	}
	return e, true
}

func (m *model) close() []int {
	rest := m.items
	for _, e := range m.waiting {
		m.ended = append(m.ended, fmt.Sprint(e, Closed))
	}
	m.items, m.waiting, m.closed, m.idle = nil, nil, true, false
	return rest
}

func (m *model) reopen(awake bool) { m.closed, m.idle = false, !awake }

// run is one execution of a script against a queue and its model.
type run struct {
	t       testing.TB
	q       subject
	m       *model
	serial  int
	popped  []int // by the consumer, newest last; what Unpop may put back
	waiters map[int]*Waiter[int]
	ended   []string
}

// runScript executes one operation per byte: the low half names it, the high half is its argument.
func runScript(tb testing.TB, k kind, script []byte) {
	tb.Helper()
	r := &run{t: tb, q: k.handles(tb)(), m: &model{kind: k, idle: true}, waiters: map[int]*Waiter[int]{}}
	for step, b := range script {
		r.do(b&15, int(b>>4))
		if tb.Failed() {
			tb.Fatalf("%s: wrong after step %d of %d, operation %d, argument %d", k.name, step, len(script), b&15, b>>4)
		}
	}
	r.do(15, 15)
	checkMemory(tb, r.q)
}

func (r *run) do(op byte, arg int) {
	r.t.Helper()
	switch op {
	case 0, 1, 2, 3:
		r.push(arg)
	case 4, 5, 6:
		r.pop()
	case 7, 8:
		r.popBatch(arg)
	case 9:
		r.unpop()
	case 10, 11:
		same(r.t, "Idle", r.q.Idle(), r.m.goIdle())
	case 12:
		same(r.t, "Wake", r.q.Wake(), r.m.wake())
	case 13:
		r.await()
	case 14:
		r.cancel(arg)
	case 15:
		r.closeReopen(arg)
	}
	same(r.t, "Len", r.q.Len(), len(r.m.items))
	same(r.t, "Empty", r.q.Empty(), len(r.m.items) == 0)
	same(r.t, "waits that ended", fmt.Sprint(r.ended), fmt.Sprint(r.m.ended))
	r.ended, r.m.ended = nil, nil
	checkMemory(r.t, r.q)
}

func same[T comparable](tb testing.TB, what string, got, want T) {
	tb.Helper()
	if got != want {
		tb.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func (r *run) next() int {
	r.serial++
	return r.serial
}

func (r *run) push(arg int) {
	n := 1
	if arg == 15 {
		n = 700
	} else if arg > 8 {
		n = arg
	}
	for range n {
		e := r.next()
		out, oldest, evicted := r.q.Push(e)
		wantOut, wantOldest, wantEvicted := r.m.push(e)
		same(r.t, "Push", out, wantOut)
		same(r.t, "Push: evicted", evicted, wantEvicted)
		same(r.t, "Push: oldest", oldest, wantOldest)
	}
}

func (r *run) pop() {
	e, ok := r.q.Pop()
	want, wantOK := r.m.pop()
	same(r.t, "Pop: ok", ok, wantOK)
	same(r.t, "Pop", e, want)
	if ok {
		r.popped = append(r.popped, e)
	}
}

func (r *run) popBatch(arg int) {
	dst := make([]int, arg*arg*arg)
	got := dst[:r.q.PopBatch(dst)]
	for _, e := range got {
		want, _ := r.m.pop()
		same(r.t, "PopBatch", e, want)
	}
	if len(got) < len(dst) {
		same(r.t, "PopBatch: left over", len(r.m.items), 0)
	}
	r.popped = append(r.popped, got...)
}

func (r *run) unpop() {
	if len(r.popped) == 0 || r.m.idle || r.m.closed {
		return
	}
	last := len(r.popped) - 1
	e := r.popped[last]
	r.popped = r.popped[:last]
	r.q.Unpop(e)
	r.m.insert(e, true)
}

func (r *run) await() {
	q, ok := r.q.(*Bounded[int])
	if !ok || q.policy != Suspend {
		return
	}
	e := r.next()
	w := &Waiter[int]{Elem: e, Ready: func(out Outcome) { r.ended = append(r.ended, fmt.Sprint(e, out)) }}
	r.waiters[e] = w
	out, waiting := q.Await(w)
	wantOut, wantWaiting := r.m.await(e)
	same(r.t, "Await", out, wantOut)
	same(r.t, "Await: waiting", waiting, wantWaiting)
	if waiting {
		out, waiting = q.Await(w)
		same(r.t, "second Await", out, Full)
		same(r.t, "second Await: waiting", waiting, false)
	}
}

// cancel picks a waiter from among the last 16: some wait, of others the wait is over.
func (r *run) cancel(arg int) {
	q, _ := r.q.(*Bounded[int])
	if w := r.waiters[r.serial-arg]; w != nil {
		same(r.t, "Cancel", q.Cancel(w), r.m.cancel(r.serial-arg))
	}
}

func (r *run) closeReopen(arg int) {
	switch {
	case arg == 15:
		var rest []int
		r.q.Close(func(e int) { rest = append(rest, e) })
		same(r.t, "Close", fmt.Sprint(rest), fmt.Sprint(r.m.close()))
	case r.m.closed:
		awake := arg%2 == 0
		r.q.Reopen(awake)
		r.m.reopen(awake)
	}
}

// checkMemory looks inside: an idle or closed queue holds no buffer, an empty one no large one, and free places hold nothing.
func checkMemory(tb testing.TB, q subject) {
	tb.Helper()
	switch q := q.(type) {
	case mpscSubject:
		if q.c.n >= chainNodes {
			tb.Errorf("the cache's free list has %d nodes, want below %d", q.c.n, chainNodes)
		}
	case *Bounded[int]:
		checkBuffer(tb, q.gate, len(q.ring.buf), q.ring.n)
		for i := q.ring.n; i < len(q.ring.buf); i++ {
			same(tb, "free place of the ring", *q.ring.at(i), 0)
		}
	case prioritySubject:
		checkBuffer(tb, q.gate, len(q.heap.buf), q.heap.n)
		for _, x := range q.heap.buf[q.heap.n:] {
			same(tb, "free place of the heap", x, entry[int]{})
		}
	}
}

func checkBuffer(tb testing.TB, g gate, size, n int) {
	tb.Helper()
	if g != gateBusy && size > 0 {
		tb.Errorf("a queue that is not busy holds a buffer of %d places", size)
	}
	if size > max(keepPlaces, 4*n) {
		tb.Errorf("a buffer of %d places for %d elements", size, n)
	}
}

var seedFlag = flag.Uint64("mailbox.seed", 0, "repeat the random tests with this seed")

// random returns a generator whose seed is in the log of a test that fails.
func random(tb testing.TB) *rand.Rand {
	tb.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	tb.Logf("seed %d; to repeat: go test -run '^%s$' -mailbox.seed=%d", seed, tb.Name(), seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// randomScript changes its mind now and then about whether the queue shall rather grow or shrink.
func randomScript(rnd *rand.Rand, length int) []byte {
	script := make([]byte, length)
	grow := false
	for i := range script {
		if rnd.IntN(20) == 0 {
			grow = !grow
		}
		script[i] = byte(rnd.Uint32())
		if op := script[i] & 15; grow && (op == 7 || op == 8) || op == 15 && rnd.IntN(4) > 0 {
			script[i] &^= 15
		}
	}
	return script
}

func TestModel(t *testing.T) {
	rounds, length := 15, 300
	if testing.Short() || raceEnabled {
		rounds = 5
	}
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			rnd := random(t)
			for range rounds {
				runScript(t, k, randomScript(rnd, length))
			}
		})
	}
}
