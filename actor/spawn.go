package actor

import (
	"context"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/mailbox"
)

// ErrNilBehaviour answers a Spawn or Become with a zero Behaviour or a nil function.
var ErrNilBehaviour = errors.New("actor: the behaviour is nil: make one with Handler, Stateful or Routine")

var errNoSpawner = errors.New("actor: spawn from nil: pass a *System made by NewSystem, or an actor's *Context")

// Options say what is particular about one actor. The zero value is an unnamed actor with an unbounded mailbox.
type Options struct {
	// Name finds the actor with System.Lookup. Empty means none. A name is unique among the living, valid UTF-8, and of at most
	// MaxNameBytes. Package registry gives further names.
	Name string
	// Daemon actors do not keep System.Join waiting. Context.SetDaemon changes it.
	Daemon bool
	// System actors run on a reserved slot, which user load never delays. They must be brief.
	System bool
	// Mailbox bounds or orders the mailbox. The zero value is unbounded, first in first out.
	Mailbox Mailbox
	// OnStart runs in the actor before its first message, or before its routine starts. An error ends the actor with it.
	OnStart func(ctx *Context) error
	// OnExit runs in the actor when it ends, whatever the reason. It may still send, and wait within ctx.Cleanup.
	OnExit func(ctx *Context, why Reason)

	// OnSwap is asked in the actor, between two messages, before it takes a new behaviour: an error refuses it. See Swap.
	OnSwap func(ctx *Context, offer SwapOffer) error
	// AwaitReady has the guardian of a guarded child wait until the child calls Context.Ready: its code decides when it has started.
	AwaitReady bool
	// Resumable has the guardian told of a failed message before anything is released, so that it can have the actor go on:
	// see SpawnGuarded and ResumeChild. For handlers; a routine that has returned cannot go on.
	Resumable bool

	queue   queue           // of a Router's routee, else nil
	values  context.Context // what a Scope's child has values of, else nil
	guarded bool            // by SpawnGuarded
}

// Mailbox says how an actor's mailbox is bounded and ordered. Only one of Capacity with Overflow, or Priority, may be set.
type Mailbox struct {
	// Capacity bounds the mailbox to so many messages, at most 2^30. 0 means unbounded.
	Capacity int
	// Overflow says what happens to a message that finds a bounded mailbox full.
	Overflow mailbox.Overflow
	// Priority orders the mailbox: higher first, equal ones in the order they came. It is called by whoever sends, on several
	// goroutines at once, and with messages of the actor's own type only, so that it may assert that. If it panics the message
	// is refused with a *PanicError; a Timer's becomes a dead letter with DeadPanic.
	Priority func(m proto.Message) int
}

const maxCapacity = 1 << 30

func (o Options) check() error {
	if o.Name != "" {
		if err := CheckName(o.Name); err != nil {
			return fmt.Errorf("actor: spawn: %w", err)
		}
	}
	switch {
	case o.Mailbox.Capacity < 0:
		return fmt.Errorf("actor: a mailbox capacity of %d: use 0 for an unbounded mailbox or a positive number", o.Mailbox.Capacity)
	case o.Mailbox.Capacity > maxCapacity:
		return fmt.Errorf("actor: a mailbox capacity of %d: use at most %d, or 0 for an unbounded mailbox", o.Mailbox.Capacity, maxCapacity)
	case o.Mailbox.Capacity == 0 && o.Mailbox.Overflow != 0:
		return fmt.Errorf("actor: an overflow policy (%v) needs a mailbox capacity", o.Mailbox.Overflow)
	case o.Mailbox.Overflow > mailbox.DropOldest:
		return fmt.Errorf("actor: unknown overflow policy %d", o.Mailbox.Overflow)
	case o.Mailbox.Priority != nil && o.Mailbox.Overflow != mailbox.Reject:
		return fmt.Errorf("actor: a priority mailbox that is full rejects: the policy %v is for unordered ones", o.Mailbox.Overflow)
	}
	return nil
}

func (o Options) plain() bool {
	return o.Name == "" && o.Mailbox.Capacity == 0 && o.Mailbox.Priority == nil && o.OnStart == nil && o.OnExit == nil && o.OnSwap == nil && !o.AwaitReady && o.queue == nil && o.values == nil
}

// Spawner is where actors are spawned from: a *System, or a *Context, whose actor becomes the parent.
type Spawner interface {
	spawner() (*System, *Context)
}

func (sys *System) spawner() (*System, *Context)  { return sys, nil }
func (ctx *Context) spawner() (*System, *Context) { return ctx.System(), ctx }

// Spawn starts an actor and returns its address; at most one Options may be given. From a Context the actor is a child: it
// ends before its parent's end is told to anybody. A handler's code runs when its first message comes, a routine's at once.
// Errors: ErrNilBehaviour, ErrNameTaken, ErrStopped (the System or the parent is stopping), ErrForeignGoroutine, ErrEnded, or
// one that says what is wrong with the options.
// Cost: BenchmarkSpawn; no allocation for a handler with zero options.
func Spawn[M proto.Message](from Spawner, b Behaviour[M], o ...Options) (Ref[M], error) {
	r, err := spawn(from, b.b, o, nil)
	return Ref[M]{r}, err
}

// SpawnMonitor is Spawn from an actor together with Monitor, so that no end is missed however early.
func SpawnMonitor[W, M proto.Message](ctx *Context, b Behaviour[M], adapt func(Down) W, o ...Options) (Ref[M], MonitorRef, error) {
	if adapt == nil {
		return Ref[M]{}, MonitorRef{}, errors.New("actor: SpawnMonitor needs a function that makes a message of a Down")
	}
	if err := ctx.own(); err != nil {
		return Ref[M]{}, MonitorRef{}, err
	}
	if err := fits[W](ctx); err != nil {
		return Ref[M]{}, MonitorRef{}, err
	}
	id := ctx.sys.nextID.Add(1)
	m := &monitor{id: id, who: ctx.Self(), adapt: func(d Down) any { return adapt(d) }}
	r, err := spawn(ctx, b.b, o, m)
	return Ref[M]{r}, MonitorRef{r, id}, err
}

// MustSpawn is Spawn for programs and tests that cannot go on without the actor: it panics on an error.
func MustSpawn[M proto.Message](from Spawner, b Behaviour[M], o ...Options) Ref[M] {
	r, err := Spawn(from, b, o...)
	if err != nil {
		panic(err)
	}
	return r
}

func spawn(from Spawner, b behaviour, opts []Options, m *monitor) (AnyRef, error) {
	if from == nil {
		return AnyRef{}, errNoSpawner
	}
	sys, ctx := from.spawner()
	if sys == nil || sys.ex == nil {
		return AnyRef{}, errNoSpawner
	}
	if b == nil {
		return AnyRef{}, ErrNilBehaviour
	}
	var s *slot
	if ctx != nil {
		c := ctx.here()
		if c == nil {
			return AnyRef{}, ctx.own()
		}
		if ctx.cell.ctl.Load()&ctlStop != 0 {
			return AnyRef{}, ErrStopped
		}
		s = c.slot
	}
	var o Options
	if len(opts) > 0 {
		o = opts[0]
		if err := o.check(); err != nil {
			return AnyRef{}, err
		}
	}
	if len(opts) > 1 {
		return AnyRef{}, errors.New("actor: more than one Options")
	}
	if ctx == nil && sys.ex.seeded != nil {
		sys.ex.seeded.await("spawns an actor "+o.Name, 0, nil)
	}
	if sys.stopping.Load() {
		return AnyRef{}, ErrStopped
	}
	return sys.place(s, ctx, b, &o, m)
}

// place puts a checked spawn into a cell.
func (sys *System) place(s *slot, parent *Context, b behaviour, o *Options, m *monitor) (AnyRef, error) {
	a := sys.table.alloc()
	gen := max(a.last+1, 1)
	self := AnyRef{sys.node, uint64(gen)<<32 | uint64(a.idx)}
	name, err := sys.names.claim(o.Name)
	if err != nil {
		sys.table.release(a)
		return AnyRef{}, err
	}
	flags := sys.prepare(a, gen, b, o)
	sys.born(flags)
	if sys.stopping.Load() { // seen after born: either this, or Stop waits for the new actor
		name.drop()
		sys.unplace(a, flags)
		return AnyRef{}, ErrStopped
	}
	if m != nil {
		a.coldOf().observe(m)
		if parent != nil {
			parent.note(m.id, self)
		}
	}
	if parent != nil {
		sys.adopt(parent.cell, a, parent.id())
	}
	sys.birth(s, a, gen, name, flags&flagRoutine != 0 || o.OnStart != nil || o.guarded && startsVisibly(b, o))
	if s != nil {
		s.tally.spawned++
	} else {
		sys.outside.spawned.Add(1)
	}
	if sys.stopping.Load() {
		self.askStop(s, ctlStop, Reason{Kind: ReasonShutdown}) // Stop may have looked at this cell before it was filled
	}
	return self, nil
}

// birth opens a filled cell's mailbox and gives the cell its generation, then its name. The mailbox opens first, or it would refuse
// who sees the generation; and it opens claimed, so that a message or signal for an earlier tenant cannot have the actor run
// without one.
func (sys *System) birth(s *slot, a *cell, gen uint32, name claim, runs bool) {
	if a.flags.Load()&flagQueue != 0 {
		a.cold.Load().queue.Reopen(true)
	} else {
		a.box.Reopen(true)
	}
	a.gen.Store(gen)
	name.keep(a)
	if runs || !a.idle() || a.ctl.Load()&ctlTurn != 0 && a.wake() {
		sys.schedule(s, a)
	}
}

// unplace takes back a cell that nobody has seen yet.
func (sys *System) unplace(a *cell, flags uint32) {
	mu := sys.locks.of(a.idx)
	mu.Lock()
	a.beh = nil
	a.cold.Store(nil)
	mu.Unlock()
	sys.table.release(a)
	sys.ended(flags)
}

// prepare fills a cell for generation gen; its mailbox stays closed.
func (sys *System) prepare(a *cell, gen uint32, b behaviour, o *Options) uint32 {
	var flags uint32
	if o.Daemon {
		flags |= flagDaemon
	}
	if o.System {
		flags |= flagSystem | flagDaemon
	}
	if b.routine() {
		flags |= flagRoutine
	}
	if o.guarded {
		flags |= flagGuarded
		if o.Resumable && !b.routine() {
			flags |= flagResumable
		}
	}
	mu := sys.locks.of(a.idx)
	mu.Lock()
	a.beh = b
	a.last, a.tomb = gen, nil // together: who asks for the last tenant's end gets it, or hears that it is forgotten
	mu.Unlock()
	if a.ctl.Load() != 0 {
		a.ctl.Store(0)
	}
	if a.park.Load() != parkRunning {
		a.park.Store(parkRunning)
	}
	if !o.plain() {
		cold := &cold{name: o.Name, opts: *o, queue: newQueue(o.Mailbox, b)}
		if o.queue != nil {
			cold.queue = o.queue
		}
		if cold.queue != nil {
			flags |= flagQueue
			cold.queue.Close(nil) // until birth
			a.box.Close(nil, nil) // it would be open in a cell that was never used
		}
		a.cold.Store(cold)
	}
	if a.flags.Load() != flags {
		a.flags.Store(flags)
	}
	return flags
}

func (ctx *Context) note(id uint64, target AnyRef) {
	mu := ctx.sys.locks.of(ctx.cell.idx)
	mu.Lock()
	cold := ctx.cell.coldOf()
	if cold.watches == nil {
		cold.watches = make(map[uint64]AnyRef)
	}
	cold.watches[id] = target
	mu.Unlock()
}

// queue is a mailbox other than the plain one.
type queue interface {
	Pop() (envelope, bool)
	Unpop(envelope)
	Idle() bool
	Wake() bool
	Len() int
	Insert(envelope) mailbox.Outcome
	Close(func(envelope))
	Reopen(awake bool)
	rank(env envelope) (int, error)
	push(env envelope, rank int) (out mailbox.Outcome, oldest envelope, evicted bool)
}

type boundedQueue struct{ *mailbox.Bounded[envelope] }

func (boundedQueue) rank(envelope) (int, error) { return 0, nil }

func (q boundedQueue) push(env envelope, _ int) (mailbox.Outcome, envelope, bool) { return q.Push(env) }

// priorityQueue asks for the priority before it pushes: user code runs where nothing is counted or queued yet.
type priorityQueue struct {
	q        *mailbox.Priority[ranked]
	priority func(proto.Message) int
	takes    func(msg any) bool
}

type ranked struct {
	env  envelope
	rank int
}

// rank is the priority of env. What the actor does not take comes first, to be dead-lettered; what is the System's own has 0.
func (q priorityQueue) rank(env envelope) (rank int, err error) {
	m, ok := env.msg.(proto.Message)
	switch {
	case !ok:
		return 0, nil
	case !q.takes(m):
		return math.MaxInt, nil
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("actor: the mailbox's Priority function: %w", newPanicError(v))
		}
	}()
	return q.priority(m), nil
}

func (q priorityQueue) push(env envelope, rank int) (mailbox.Outcome, envelope, bool) {
	return q.q.Push(ranked{env, rank}), envelope{}, false
}

func (q priorityQueue) Insert(env envelope) mailbox.Outcome { return q.q.Insert(ranked{env: env}) }

func (q priorityQueue) Pop() (envelope, bool) {
	r, ok := q.q.Pop()
	return r.env, ok
}

// Unpop puts back what had a priority when it came; should it have none now, it comes first.
func (q priorityQueue) Unpop(env envelope) {
	rank, err := q.rank(env)
	if err != nil {
		rank = math.MaxInt
	}
	q.q.Unpop(ranked{env, rank})
}

func (q priorityQueue) Close(f func(envelope)) { q.q.Close(func(r ranked) { f(r.env) }) }
func (q priorityQueue) Reopen(awake bool)      { q.q.Reopen(awake) }
func (q priorityQueue) Idle() bool             { return q.q.Idle() }
func (q priorityQueue) Wake() bool             { return q.q.Wake() }
func (q priorityQueue) Len() int               { return q.q.Len() }

func newQueue(m Mailbox, b behaviour) queue {
	switch {
	case m.Priority != nil:
		q, err := mailbox.NewPriority(func(r ranked) int { return r.rank }, m.Capacity)
		typed, ok := b.(interface{ takesMessage(m any) bool })
		if err == nil && ok {
			return priorityQueue{q, m.Priority, typed.takesMessage}
		}
	case m.Capacity > 0:
		q, err := mailbox.NewBounded[envelope](m.Capacity, m.Overflow)
		if err == nil {
			return boundedQueue{q}
		}
	}
	return nil
}

// sendToQueue is send for a mailbox that is bounded or ordered. s is the caller's slot or nil.
func (sys *System) sendToQueue(ctx context.Context, s *slot, a *cell, env envelope) error {
	wait, err := sys.pushQueue(ctx, s, a, env)
	if wait != nil {
		return sys.awaitRoom(ctx, a, *wait, env)
	}
	return err
}

// pushQueue pushes without waiting; it returns the mailbox if the sender has to wait for room.
func (sys *System) pushQueue(ctx context.Context, s *slot, a *cell, env envelope) (*boundedQueue, error) {
	if s == nil {
		sys.ex.departs()
		defer sys.ex.arrived()
	}
	cold := a.cold.Load()
	if cold == nil || cold.queue == nil {
		return nil, sys.refused(s, ErrStopped)
	}
	rank, err := cold.queue.rank(env)
	if err != nil {
		return nil, sys.refused(s, err)
	}
	sys.counting(s)
	switch sys.put(s, a, cold.queue, env, rank) {
	case mailbox.Closed:
		sys.uncount(s)
		return nil, sys.refused(s, ErrStopped)
	case mailbox.Full:
		sys.uncount(s)
		q, bounded := cold.queue.(boundedQueue)
		if ctx == nil || !bounded || cold.opts.Mailbox.Overflow != mailbox.Suspend {
			return nil, sys.refused(s, ErrFull)
		}
		return &q, nil
	default: // it is in, or settled
		return nil, nil
	}
}

// put pushes env, which is counted, and settles what is dropped for it or in its place. With Closed and Full env is still the caller's.
func (sys *System) put(s *slot, a *cell, q queue, env envelope, rank int) mailbox.Outcome {
	out, oldest, evicted := q.push(env, rank)
	if out == mailbox.Wake {
		sys.schedule(s, a)
	}
	switch { // last: a subscriber to dead letters may end this goroutine
	case evicted:
		sys.evicted(s, a, q, oldest)
	case out == mailbox.Dropped:
		sys.deadLetter(s, AnyRef{sys.node, uint64(env.gen())<<32 | uint64(a.idx)}, env, DeadOverflow, nil)
	}
	return out
}

// evicted settles what had to make room. A Down is not dropped: it comes a little later.
func (sys *System) evicted(s *slot, a *cell, q queue, env envelope) {
	if _, own := env.msg.(adapter); !own {
		sys.deadLetter(s, AnyRef{sys.node, uint64(env.gen())<<32 | uint64(a.idx)}, env, DeadOverflow, nil)
		return
	}
	switch q.Insert(env) {
	case mailbox.Wake:
		sys.schedule(s, a)
	case mailbox.Closed: // in between: nobody is left to hear
		if s != nil {
			s.tally.handled++
			return
		}
		sys.outside.handled.Add(1)
	default: // queued: its receiver is awake already
	}
}

// insert queues a Down or another of the System's own messages, which no capacity keeps out.
func (sys *System) insert(s *slot, a *cell, env envelope) error {
	if s == nil {
		sys.ex.departs()
		defer sys.ex.arrived()
	}
	cold := a.cold.Load()
	if cold == nil || cold.queue == nil {
		return ErrStopped
	}
	sys.counting(s)
	switch cold.queue.Insert(env) {
	case mailbox.Closed:
		sys.uncount(s)
		return ErrStopped
	case mailbox.Wake:
		sys.schedule(s, a)
	default: // queued: its receiver is awake already
	}
	return nil
}

// counting counts a message as accepted, before it is pushed: its receiver may be done with it, and the ledger read, before
// the sender goes on. uncount takes that back.
func (sys *System) counting(s *slot) {
	if s != nil {
		s.tally.sent++
		return
	}
	sys.outside.sent.Add(1)
}

func (sys *System) uncount(s *slot) {
	if s != nil {
		s.tally.sent--
		return
	}
	sys.outside.sent.Add(^uint64(0))
}

func (sys *System) refused(s *slot, err error) error {
	if s != nil {
		s.tally.returned++
	} else {
		sys.outside.returned.Add(1)
	}
	return err
}
