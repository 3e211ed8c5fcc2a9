package actor

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/greenroom-go/greenroom/mailbox"
)

// routee is one actor of a Router, seen from the Router; it is that actor's mailbox too. So the Router hears of each message
// when it comes and when it has ended, whoever sent it and however it ended, and can hold back those of a key whose earlier ones
// another routee still works on.
//
// held, due, counts and hand belong to the actor that pops; the rest may be used from anywhere.
type routee struct {
	r   *router
	ref AnyRef
	at  int // position in the table
	q   *mailbox.Bounded[routed]

	load    atomic.Int64 // messages that came and have not ended, and senders that are about to send
	retired atomic.Bool  // gets no new messages from the Router
	drained atomic.Bool
	exit    *ExitError // how it ends, before its mailbox closes

	back   atomic.Int64 // len(held)+len(due), for Len
	dirty  atomic.Bool  // a bucket has settled: held is to be looked through
	held   []routed     // wait for another routee, oldest first
	counts map[uint32]int
	due    []routed // were held and may be handled now, before what is in q
	hand   uint32   // the way of the message in hand
	busy   bool     // there is one
}

// routed is a message in a routee's mailbox.
type routed struct {
	env envelope
	way uint32 // bucket+1 if the Router counts it for a bucket, else 0
}

func newRoutee(r *router, at int, m Mailbox) (*routee, error) {
	capacity := m.Capacity
	if capacity == 0 {
		capacity = math.MaxInt
	}
	q, err := mailbox.NewBounded[routed](capacity, m.Overflow)
	return &routee{r: r, at: at, q: q}, err
}

func (m *routee) rank(envelope) (int, error) { return 0, nil }

func (m *routee) push(env envelope, _ int) (mailbox.Outcome, envelope, bool) {
	way := m.r.came(m, env.msg)
	out, oldest, evicted := m.q.Push(routed{env, way})
	if evicted {
		m.r.ended(m, oldest.way)
	}
	if out != mailbox.Queued && out != mailbox.Wake {
		m.r.ended(m, way)
	}
	return out, oldest.env, evicted
}

// Insert is push for what must be neither refused nor dropped.
func (m *routee) Insert(env envelope) mailbox.Outcome {
	way := m.r.came(m, env.msg)
	out := m.q.Insert(routed{env, way})
	if out == mailbox.Closed {
		m.r.ended(m, way)
	}
	return out
}

// Pop returns the next message that may be handled. The one before it has ended: handled, dead or put aside by its actor.
func (m *routee) Pop() (envelope, bool) {
	m.dropHand()
	if m.dirty.Load() {
		m.sift()
	}
	if len(m.due) > 0 {
		e := m.due[0]
		m.due[0] = routed{}
		m.due = m.due[1:]
		m.back.Add(-1)
		return m.take(e), true
	}
	for {
		e, ok := m.q.Pop()
		if !ok {
			return envelope{}, false
		}
		if e.way == 0 || !m.mustWait(e.way) {
			return m.take(e), true
		}
		m.held = append(m.held, e)
		m.back.Add(1)
		if m.counts == nil {
			m.counts = make(map[uint32]int)
		}
		m.counts[e.way]++
	}
}

func (m *routee) take(e routed) envelope {
	m.hand, m.busy = e.way, true
	return e.env
}

func (m *routee) dropHand() {
	if m.busy {
		m.busy = false
		m.r.ended(m, m.hand)
	}
}

// mustWait reports whether an earlier message of the bucket is with another routee, or held back here.
func (m *routee) mustWait(way uint32) bool {
	if len(m.held) > 0 && m.counts[way] > 0 {
		return true
	}
	return m.r.moving.Load() > 0 && m.r.buckets[way-1].unsettledFor(m)
}

// sift moves what need not be held back any more to due.
func (m *routee) sift() {
	m.dirty.Store(false)
	rest := m.held[:0]
	free := make(map[uint32]bool)
	for _, e := range m.held {
		ready, known := free[e.way]
		if !known {
			ready = !m.r.buckets[e.way-1].unsettledFor(m)
			free[e.way] = ready
		}
		if !ready {
			rest = append(rest, e)
			continue
		}
		m.due = append(m.due, e)
		delete(m.counts, e.way)
	}
	clear(m.held[len(rest):])
	m.held = rest
	if len(rest) == 0 {
		m.held = nil
	}
}

// Unpop puts back what was stashed. It counts no more: it had ended for the Router when it was put aside.
func (m *routee) Unpop(env envelope) {
	m.load.Add(1)
	m.q.Unpop(routed{env, 0})
}

// Idle puts the actor to rest unless there is something to handle.
func (m *routee) Idle() bool {
	if len(m.due) > 0 || !m.q.Idle() {
		return false
	}
	return !m.dirty.Load() || !m.q.Wake() // a bucket settled meanwhile: whoever wakes the actor has it look
}

func (m *routee) Wake() bool { return m.q.Wake() }

func (m *routee) Reopen(awake bool) { m.q.Reopen(awake) }

func (m *routee) Len() int { return m.q.Len() + int(m.back.Load()) }

func (m *routee) Close(f func(envelope)) {
	m.dropHand()
	end := func(e routed) {
		if e.env.call != nil && m.exit != nil {
			e.env.call.fail(nil, e.env.seq(), &unhandledError{m.exit})
		}
		f(e.env)
		m.r.ended(m, e.way)
	}
	back := append(m.due, m.held...)
	m.due, m.held = nil, nil
	m.back.Store(0)
	for _, e := range back {
		end(e)
	}
	m.q.Close(end)
}

// unhandledError answers a call whose routee ended before its turn. It is the routee's *ExitError.
type unhandledError struct{ exit *ExitError }

func (e *unhandledError) Error() string        { return e.exit.Error() }
func (e *unhandledError) Unwrap() error        { return e.exit }
func (e *unhandledError) Is(target error) bool { return target == ErrStopped }

// look has the actor look through what it holds back.
func (m *routee) look() {
	m.dirty.Store(true)
	if a := m.ref.cell(); a != nil && m.q.Wake() {
		m.r.sys.schedule(nil, a)
	}
}

// bucket is a share of the keys: they live together with one routee. When a bucket moves, its messages go to the new owner at
// once, which holds them back until the old one has none left.
type bucket struct {
	mu        sync.Mutex
	owner     *routee
	flying    int     // messages and senders on their way to owner
	old       *routee // the owner before, while messages are with it; nil when settled
	oldFlying int
}

func (b *bucket) unsettledFor(m *routee) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.owner == m && b.old != nil
}

// add counts one more for m; false if the bucket is not with m.
func (b *bucket) add(m *routee) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch m {
	case b.owner:
		b.flying++
	case b.old:
		b.oldFlying++
	default:
		return false
	}
	return true
}

// pin returns the owner, and keeps it until unpinned with router.ended.
func (b *bucket) pin() *routee {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flying++
	b.owner.load.Add(1)
	return b.owner
}

// end counts one less for m, and returns the owner if that settles the bucket.
func (b *bucket) end(m *routee) *routee {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch m {
	case b.owner:
		b.flying--
	case b.old:
		if b.oldFlying--; b.oldFlying == 0 {
			b.old = nil
			return b.owner
		}
	}
	return nil
}

// move gives a settled bucket to m; true if the old owner must finish first. moving is counted before anybody can see it.
func (b *bucket) move(m *routee, moving *atomic.Int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.owner == m {
		return
	}
	if b.flying > 0 {
		b.old, b.oldFlying = b.owner, b.flying
		moving.Add(1)
	}
	b.owner, b.flying = m, 0
}

// replace has n take the place of m, which has ended; it returns the owner if that settles the bucket.
func (b *bucket) replace(m, n *routee) *routee {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.owner == m {
		b.owner, b.flying = n, 0
	}
	if b.old == m {
		b.old, b.oldFlying = nil, 0
		return b.owner
	}
	return nil
}
