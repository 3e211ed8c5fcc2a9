package mailbox

import (
	"runtime"
	"testing"
)

func TestOutcomeString(t *testing.T) {
	for out, want := range map[Outcome]string{
		Queued: "queued", Wake: "wake", Closed: "closed", Full: "full", Dropped: "dropped", Dropped + 1: "unknown", 255: "unknown",
	} {
		same(t, "String", out.String(), want)
	}
}

func newMPSC() (*MPSC[int], *Pool[int]) { return new(MPSC[int]), new(Pool[int]) }

func TestMPSCWakesOncePerIdlePeriod(t *testing.T) {
	q, pool := newMPSC()
	c := NewCache(pool)
	same(t, "Push on an idle queue", q.Push(c, 1), Wake)
	same(t, "Push on a busy queue", q.Push(c, 2), Queued)
	same(t, "Wake on a busy queue", q.Wake(), false)
	same(t, "Idle with two queued", q.Idle(), false)
	q.Pop(c)
	same(t, "Idle with one in the private list", q.Idle(), false)
	q.Pop(c)
	same(t, "Idle when drained", q.Idle(), true)
	same(t, "Wake on an idle queue", q.Wake(), true)
	same(t, "Push after Wake", q.Push(c, 3), Queued)
}

func TestMPSCUnpop(t *testing.T) {
	q, pool := newMPSC()
	c := NewCache(pool)
	q.Push(c, 1)
	q.Push(c, 2)
	q.Pop(c)
	q.Push(c, 3)
	q.Unpop(c, 1)
	for want := 1; want <= 3; want++ {
		e, ok := q.Pop(c)
		same(t, "Pop: ok", ok, true)
		same(t, "Pop", e, want)
	}
}

func TestMPSCClosedRefuses(t *testing.T) {
	q, pool := newMPSC()
	c := NewCache(pool)
	q.Wake()
	q.Close(c, func(int) { t.Error("an empty queue handed something over") })
	same(t, "Push", q.Push(c, 1), Closed)
	same(t, "Wake", q.Wake(), false)
	same(t, "Idle", q.Idle(), false)
	same(t, "Len", q.Len(), 0)
	q.Close(c, func(int) { t.Error("a second Close handed something over") })
	q.Reopen(false)
	same(t, "Push after Reopen", q.Push(c, 2), Wake)
}

// TestMPSCLargeElement: the marks stand for nodes of any size, also where the compiler checks pointer conversions.
func TestMPSCLargeElement(t *testing.T) {
	type large [1 << 20]byte
	var q MPSC[large]
	var pool Pool[large]
	c := NewCache(&pool)
	same(t, "Wake", q.Wake(), true)
	same(t, "Push", q.Push(c, large{1 << 19: 7}), Queued)
	e, _ := q.Pop(c)
	same(t, "Pop", e[1<<19], 7)
	same(t, "Idle", q.Idle(), true)
	q.Close(c, func(large) {})
	same(t, "Push after Close", q.Push(c, large{}), Closed)
}

func TestMPSCElementWithoutSize(t *testing.T) {
	var q MPSC[struct{}]
	var pool Pool[struct{}]
	c := NewCache(&pool)
	for range 100 {
		q.Push(c, struct{}{})
	}
	for range 100 {
		if _, ok := q.Pop(c); !ok {
			t.Fatal("an element was lost")
		}
	}
	same(t, "Idle", q.Idle(), true)
}

// TestMPSCAllocs: nodes that one side frees find their way back to the other.
func TestMPSCAllocs(t *testing.T) {
	q, pool := newMPSC()
	producer, consumer := NewCache(pool), NewCache(pool)
	for _, burst := range []int{1, 63, 64, 65, 1000} {
		cycle := func() {
			for i := range burst {
				q.Push(producer, i)
			}
			for range burst {
				q.Pop(consumer)
			}
			if !q.Idle() {
				t.Error("not idle after all was popped")
			}
		}
		for range 1000 {
			cycle()
		}
		if n := testing.AllocsPerRun(1000, cycle); n != 0 {
			t.Errorf("bursts of %d: %v allocations, want 0", burst, n)
		}
	}
}

// TestMPSCLetsGo: a free node does not keep the element that it carried alive.
func TestMPSCLetsGo(t *testing.T) {
	var q MPSC[*int]
	var pool Pool[*int]
	c := NewCache(&pool)
	for i := range 200 {
		q.Push(c, &i)
	}
	for range 150 {
		q.Pop(c)
	}
	q.Close(c, func(*int) {})
	q.Push(c, new(int))
	pool.mu.Lock()
	defer pool.mu.Unlock()
	for _, chain := range append(pool.chains, c.free, c.spare) {
		for n := chain; n != nil; n = n.next {
			if n.e != nil {
				t.Fatal("a free node holds an element")
			}
		}
	}
}

func TestCacheAndPoolAreBounded(t *testing.T) {
	q, pool := newMPSC()
	c := NewCache(pool)
	const burst = chainNodes * (poolChains + 10)
	for i := range burst {
		q.Push(c, i)
	}
	for range burst {
		q.Pop(c)
	}
	same(t, "chains in the pool", len(pool.chains), poolChains)
	for _, chain := range append(pool.chains, c.spare) {
		n := 0
		for ; chain != nil; chain = chain.next {
			n++
		}
		same(t, "nodes of a chain", n, chainNodes)
	}
	if c.n >= chainNodes {
		t.Errorf("the cache's free list has %d nodes, want below %d", c.n, chainNodes)
	}
}

const burstSize = 1_000_000

func TestMPSCGivesMemoryBack(t *testing.T) {
	testMemoryGivenBack(t, mpscKind())
}

// testMemoryGivenBack drains a burst of a million and wants the heap to be what it was, but for what may be recycled.
func testMemoryGivenBack(t *testing.T, k kind) {
	t.Helper()
	q := k.handles(t)()
	before := heapAlloc()
	for i := range burstSize {
		q.Push(i)
	}
	full := heapAlloc()
	for range burstSize {
		q.Pop()
	}
	drained := heapAlloc()
	same(t, "Idle", q.Idle(), true)
	idle := heapAlloc()
	t.Logf("bytes: full %d, drained %d, idle %d", full-before, drained-before, idle-before)
	if full-before < 8*burstSize {
		t.Errorf("a queue of %d holds only %d bytes: this test measures nothing", burstSize, full-before)
	}
	const recycled = chainNodes*poolChains*16 + 256<<10
	if drained-before > recycled || idle-before > recycled {
		t.Errorf("after a burst of %d the queue keeps %d bytes drained and %d idle, want at most %d", burstSize, drained-before, idle-before, recycled)
	}
	runtime.KeepAlive(q)
}

// heapAlloc collects often enough for a sync.Pool to let go.
func heapAlloc() int64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Where the function given to Close panics, another Close hands out the rest, in order and behind a closed door.
func TestMPSCCloseGoesOn(t *testing.T) {
	q, pool := newMPSC()
	c := NewCache(pool)
	for e := range 6 {
		q.Push(c, e)
		if e == 2 {
			q.Pop(c)
		}
	}
	var got []int
	for range 6 {
		func() {
			defer func() { _ = recover() }()
			q.Close(c, func(e int) {
				same(t, "Push while closing", q.Push(c, 9), Closed)
				got = append(got, e)
				panic(e)
			})
		}()
	}
	same(t, "handed out", len(got), 5)
	for i, e := range got {
		same(t, "element", e, i+1)
	}
}
