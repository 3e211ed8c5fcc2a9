package actor

import (
	"sync"
	"sync/atomic"

	"github.com/greenroom-go/greenroom/mailbox"
)

// A cell is an actor at rest: 128 bytes in a slab, two cache lines of its own, no goroutine, no stack.
//
// Who may touch what: box, ctl, park, gen, ctx and cold are shared. beh, flags and family change under the cell's lock.
// Everything else belongs to the slot that runs the actor; ownership passes with the actor through the run queues.
type cell struct {
	// The first cache line: all that a send and a turn touch.
	box   mailbox.MPSC[envelope] // idle: nobody runs the actor; busy: queued, running, or waiting in the middle of a message
	gen   atomic.Uint32          // the living incarnation, 0 while the cell is free
	ctl   atomic.Uint32          // control signals that overtake messages
	park  atomic.Uint32          // the wait in the middle of a message: see wait.go
	flags atomic.Uint32
	beh   behaviour
	ctx   atomic.Pointer[Context] // nil until the first message
	cold  atomic.Pointer[cold]    // what few actors need; nil for most

	next    *cell  // in the shared run queue
	parent  uint64 // id, 0 for none
	idx     uint32
	last    uint32 // the generation that lived here last
	child   uint32 // index+1 of the youngest child
	older   uint32 // index+1 of the next older sibling
	younger uint32
	nchild  uint32
	resume  *resumption // of a Suspend; guarded by the cell's lock
	tomb    *Down       // how the last incarnation ended, nil for normally and without a value; guarded by the cell's lock

	home atomic.Uint32 // number of the slot that sends to it on and on, 0 for none: see slot.goHome

	_ [4]byte // two cache lines, and each cell starts one
}

// Control signals, or'ed into cell.ctl. They are looked at between messages and at each wait.
const (
	ctlStop      uint32 = 1 << iota // asked to stop, for the reason in cold.stop if that is not zero
	ctlKill                         // ends at the next wait or message
	ctlInterrupt                    // an error waits in cold.interrupts
	ctlShutdown                     // with ctlStop: the reason is ReasonShutdown
	ctlVerdict                      // in limbo: the guardian has decided
	ctlSwap                         // cold.swap is offered
	ctlDrained                      // a routine has received all that came before a Drain

	ctlTurn = ctlStop | ctlKill | ctlSwap // what an idle handler wakes for
)

// Flags of a cell, fixed at spawn but for the first one, which the actor itself may change, and the last one.
const (
	flagDaemon uint32 = 1 << iota
	flagSystem
	flagRoutine
	flagQueue     // cold.queue replaces box's order: bounded or priority
	flagGuarded   // its guardian decides what follows an incarnation
	flagResumable // ... and, where a message fails, whether one ends
	flagJumpy     // it has waited on a worker's own stack
)

// The upper half of a cell's flags counts how calm it is: see cell.calm. Only the slot that runs the actor changes it.
const (
	calmOne  uint32 = 1 << 16
	calmMask uint32 = 0xff << 16
)

// cold holds what few actors need. It is made under the cell's lock, once, and lives until the actor ends.
type cold struct {
	name       string   // of Options
	names      []string // of Names.Bind
	ends       []EndHook
	opts       Options
	queue      queue
	monitors   map[monitorKey]*monitor // who watches this actor
	turns      uint64                  // monitors that it ever got
	watches    map[uint64]AnyRef       // whom this actor watches, by monitor id
	links      map[AnyRef]link
	subs       *Subscription // to channels, the youngest
	interrupts []error
	stop       Reason
	dying      bool // stage one of the exit is done, children still live
	over       bool // names are given up and end hooks have run
	reason     Reason
	value      any
	trap       func(Down) any
	timers     map[*Timer]struct{}
	held       map[holding]struct{} // given back when the actor ends
	open       openCalls            // calls kept as Responders
	stash      []envelope
	shields    []*limitedContext // Cleanups, of the actor's own goroutine
	skipped    *[]envelope
	unstashed  int                  // how many at the front of the mailbox were put back there since a Drain had its turn
	guard      func(ChildEvent) any // of a guardian
	limbo      *limbo               // of a guarded child
	restarts   uint32               // how often it was restarted
	saved      any                  // what the last incarnation, or routine, left for the next one
	swap       *swapRequest         // offered and not taken yet
}

// holding is something that an actor holds and that must not outlive it: a lock.
type holding interface{ abandon(holder AnyRef) }

// coldOf returns the cell's cold part, making it if needed. The caller holds the cell's lock.
func (a *cell) coldOf() *cold {
	c := a.cold.Load()
	if c == nil {
		c = new(cold)
		a.cold.Store(c)
	}
	return c
}

// lockTable spreads the locks of rarely changed fields over all cells.
type lockTable [256]struct {
	sync.Mutex
	_ [56]byte
}

// locked returns the actor's cell with its lock, which the caller then holds, or nil if the actor has ended.
func (r AnyRef) locked() (*cell, *sync.Mutex) {
	a := r.cell()
	if a == nil {
		return nil, nil
	}
	mu := r.node.sys.lock(a)
	if a.gen.Load() != uint32(r.id>>32) {
		mu.Unlock()
		return nil, nil
	}
	return a, mu
}

// lock locks the cell, whoever lives there.
func (sys *System) lock(a *cell) *sync.Mutex {
	mu := sys.locks.of(a.idx)
	mu.Lock()
	return mu
}

func (t *lockTable) of(idx uint32) *sync.Mutex { return &t[idx%uint32(len(t))].Mutex }

const chunkCells = 512

type chunk [chunkCells]cell

// table is the slab: cells by index, in chunks that never move.
//
// A freed index waits behind at least tombstones others before it is used again, so that its last exit reason can still
// be asked for, and so that a generation takes long to come round.
type table struct {
	dir   atomic.Pointer[[]*chunk]
	locks *lockTable
	mu    sync.Mutex
	free  []uint32 // ring: oldest first from head; with withTomb for a cell that has one
	head  int
	used  uint32 // indices handed out at least once
}

// tombstones is how many ended actors can still be asked for their result.
const tombstones = 4096

const withTomb = 1 << 31

// forgotten is the tomb of an actor behind which so many others have ended that its own is dropped.
var forgotten = new(Down)

func (t *table) at(idx uint32) *cell {
	dir := t.dir.Load()
	if dir == nil {
		return nil
	}
	i := idx / chunkCells
	if i >= uint32(len(*dir)) {
		return nil
	}
	return &(*dir)[i][idx%chunkCells]
}

// alloc returns a free cell. Cost: one uncontended lock.
func (t *table) alloc() *cell {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.free)-t.head > tombstones {
		idx := t.free[t.head] &^ withTomb
		t.head++
		if t.head >= 1024 && t.head*2 >= len(t.free) {
			t.free = t.free[:copy(t.free, t.free[t.head:])]
			t.head = 0
		}
		return t.at(idx)
	}
	idx := t.used
	if idx%chunkCells == 0 {
		t.grow()
	}
	t.used++
	a := t.at(idx)
	a.idx = idx
	return a
}

func (t *table) grow() {
	var dir []*chunk
	if old := t.dir.Load(); old != nil {
		dir = *old
	}
	if len(dir) == cap(dir) {
		dir = append(make([]*chunk, 0, 2*len(dir)+8), dir...)
	}
	dir = append(dir, new(chunk))
	t.dir.Store(&dir)
}

// release frees a cell without a tomb, bury one that has one.
func (t *table) release(a *cell) { t.put(a.idx) }

func (t *table) bury(a *cell) { t.put(a.idx | withTomb) }

func (t *table) put(idx uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.free = append(t.free, idx)
	i := len(t.free) - 1 - tombstones // alloc has taken none behind this one
	if i < t.head || t.free[i]&withTomb == 0 {
		return
	}
	t.free[i] &^= withTomb
	a := t.at(t.free[i])
	mu := t.locks.of(a.idx)
	mu.Lock()
	a.tomb = forgotten
	mu.Unlock()
}

// each calls f for every cell that was ever used.
func (t *table) each(f func(*cell)) {
	t.mu.Lock()
	used := t.used
	t.mu.Unlock()
	for i := range used {
		f(t.at(i))
	}
}
