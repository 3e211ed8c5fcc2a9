package actor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/mailbox"
)

// Strategy says which routee of a Router gets a message.
type Strategy uint8

// The strategies of a Router.
const (
	RoundRobin  Strategy = iota // one after the other
	Hash                        // by RouterOptions.Key: messages of one key go to one routee, in order
	Broadcast                   // all of them; they share the message and must not change it
	LeastLoaded                 // the one with the fewest messages that have not ended; linear in Size
	strategies
)

// RouterOptions configure a Router for messages of type M. The zero value is a round robin over one routee.
type RouterOptions[M proto.Message] struct {
	// Size is how many routees there are, at most 65,536. 0 means 1.
	Size int
	// Strategy says which of them gets a message.
	Strategy Strategy
	// Key is what the strategy Hash goes by, and needed by it alone. It must depend on the message only and have no effects: it
	// is called twice for a message, by whoever sends.
	Key func(m M) string
	// Buckets is how many shares the keys are divided into, at least Size and at most 65,536: a share moves as one. To start and to
	// resize takes time in proportion to Buckets times Size. 0 means 1,024.
	Buckets int
	// Routee are the options of each routee. Its Name must be empty, its mailbox neither ordered by Priority nor Suspend.
	Routee Options
	// Restarts is how many routees may end within the time Within before the Router gives up. 0 means 32, negative none.
	Restarts int
	// Within is the time that Restarts counts over. 0 means a second.
	Within time.Duration
}

// maxRoutees bounds the routees of a Router, and its buckets.
const maxRoutees = 1 << 16

func (o RouterOptions[M]) withDefaults() (RouterOptions[M], error) {
	o.Size = cmp.Or(o.Size, 1)
	o.Buckets = cmp.Or(o.Buckets, 1024)
	o.Restarts = max(cmp.Or(o.Restarts, 32), 0)
	o.Within = cmp.Or(o.Within, time.Second)
	switch {
	case o.Size < 0 || o.Buckets < 0 || o.Within < 0:
		return o, fmt.Errorf("actor: router options must not be negative: size %d, buckets %d, within %v", o.Size, o.Buckets, o.Within)
	case o.Size > maxRoutees || o.Buckets > maxRoutees:
		return o, fmt.Errorf("actor: a router of %d routees and %d buckets: use at most %d of each", o.Size, o.Buckets, maxRoutees)
	case o.Strategy >= strategies:
		return o, fmt.Errorf("actor: unknown routing strategy %d", o.Strategy)
	case (o.Strategy == Hash) != (o.Key != nil):
		return o, errors.New("actor: the strategy Hash, and no other, needs a Key")
	case o.Strategy == Hash && o.Size > o.Buckets:
		return o, fmt.Errorf("actor: a router of %d routees needs at least as many Buckets, not %d", o.Size, o.Buckets)
	case o.Routee.Name != "":
		return o, fmt.Errorf("actor: routees cannot all have the name %q: leave it empty", o.Routee.Name)
	case o.Routee.Mailbox.Priority != nil || o.Routee.Mailbox.Overflow == mailbox.Suspend && o.Routee.Mailbox.Capacity > 0:
		return o, errors.New("actor: a routee's mailbox is first in, first out, and does not suspend senders")
	}
	return o, o.Routee.check()
}

// Router spreads messages over actors of one behaviour, its routees. Make one with NewRouter and end it with Stop; any
// goroutine may use it.
//
// Shape: the routees are children of an actor of the Router's own (Ref), which is a child of whoever made the Router and does
// nothing; the sender picks the routee and puts the message into its mailbox.
// Order: with Hash, messages of one sender and one key are handled in the order they were sent, by one routee at a time, also
// while Resize runs; otherwise in the order they were sent to the same routee. A message that a routee stashes, or passes over
// with Select, counts as handled. Across the end of a routee order holds for what is not lost.
// A routee that ends, however it does, is replaced by a fresh one of the same behaviour before its mailbox closes, so that a Router
// that lives refuses nothing; what was in its mailbox and in its hands becomes dead letters. More than RouterOptions.Restarts ends
// within RouterOptions.Within end the Router, with an error that names the last.
// The zero value has no routees: it answers every message with an error.
// Cost: a routee has a mailbox under a mutex; Hash takes the lock of the key's bucket four times for a message.
type Router[M proto.Message] struct {
	r *router
}

var errNoRouter = errors.New("actor: this Router is nil or zero: make one with NewRouter")

// open returns what is inside, if there is anything.
func (r *Router[M]) open() (*router, error) {
	if r == nil || r.r == nil {
		return nil, errNoRouter
	}
	return r.r, nil
}

// router is a Router without its type.
type router struct {
	sys      *System
	node     *Context // stands for the anchor where its children are spawned; nobody runs on it
	b        behaviour
	key      func(msg any) (key string, ok bool)
	strategy Strategy
	routee   Options
	restarts int
	within   time.Duration

	turn     atomic.Uint64
	table    atomic.Pointer[[]*routee]
	buckets  []bucket
	moving   atomic.Int64 // buckets that have not settled
	resizing turnstile    // one at a time

	mu       sync.Mutex
	closed   bool
	retiring int             // routees that are to end
	resized  *latch          // of the Resize under way, or nil
	ends     []time.Duration // when the last routees ended
}

// NewRouter starts a Router; from a Context the Router, with its routees, is a child of that actor.
// Errors: those of Spawn, and one that says what is wrong with the options.
func NewRouter[M proto.Message](from Spawner, b Behaviour[M], o RouterOptions[M]) (*Router[M], error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if b.b == nil {
		return nil, ErrNilBehaviour
	}
	r := &router{
		b: b.b, strategy: o.Strategy, routee: o.Routee, restarts: o.Restarts, within: o.Within,
		resizing: turnstile{free: 1},
	}
	if o.Strategy == Hash {
		r.buckets = make([]bucket, o.Buckets)
		r.key = func(msg any) (string, bool) {
			m, ok := msg.(M)
			if !ok {
				return "", false
			}
			return o.Key(m), true
		}
	}
	if err := r.begin(from, o.Size); err != nil {
		return nil, err
	}
	return &Router[M]{r}, nil
}

// begin spawns the anchor and the first routees.
func (r *router) begin(from Spawner, size int) error {
	anchor, err := spawn(from, anchored{}, []Options{{Daemon: r.routee.Daemon, OnExit: func(*Context, Reason) { r.close() }}}, nil)
	if err != nil {
		return err
	}
	r.sys = anchor.node.sys
	r.node = &Context{sys: r.sys, cell: r.sys.table.at(uint32(anchor.id)), gen: uint32(anchor.id >> 32)}
	r.mu.Lock()
	_, err = r.fill(size)
	r.mu.Unlock()
	if err != nil {
		r.stop()
	}
	return err
}

// anchored is the behaviour of a Router's own actor: it takes nothing.
type anchored struct{}

func (anchored) handle(*Context, any) (bool, error) { return false, nil }
func (anchored) begin(*Context) error               { return nil }
func (anchored) routine() bool                      { return false }
func (anchored) starts() bool                       { return false }
func (anchored) accepts(any) bool                   { return false }
func (anchored) takesType() reflect.Type            { return nil }

// fill makes the table n long: it starts what is missing, moves the buckets and retires what is too much. The caller holds mu, and
// calls release with what was retired when it does not any more.
func (r *router) fill(n int) (retired []*routee, err error) {
	var old []*routee
	if t := r.table.Load(); t != nil {
		old = *t
	}
	table := slices.Clone(old[:min(n, len(old))])
	for at := len(old); at < n; at++ {
		m, err := r.start(at)
		if err != nil {
			return r.retire(table[len(old):]), err
		}
		table = append(table, m)
	}
	for i := range r.buckets {
		r.buckets[i].move(table[rendezvous(uint64(i), n)], &r.moving)
	}
	r.table.Store(&table)
	return r.retire(old[min(n, len(old)):]), nil
}

// start spawns a routee. The caller holds mu, so that the anchor cannot end before the routee is in its family.
func (r *router) start(at int) (*routee, error) {
	if r.closed || r.sys.stopping.Load() {
		return nil, ErrStopped
	}
	m, err := newRoutee(r, at, r.routee.Mailbox)
	if err != nil {
		return nil, err
	}
	o := r.routee
	o.queue = m
	watch := &monitor{id: r.sys.nextID.Add(1), call: func(Down) { r.down(m) }}
	m.ref, err = r.sys.place(nil, r.node, r.b, &o, watch)
	if err == nil {
		r.node.unnote(watch.id)
	}
	return m, err
}

// retire has routees get nothing more and end once they have handled all that was sent to them. The caller holds mu.
func (r *router) retire(routees []*routee) []*routee {
	r.retiring += len(routees)
	for _, m := range routees {
		m.retired.Store(true)
	}
	return routees
}

// release ends those of the retired routees that are done already; the others end when they are.
func (r *router) release(retired []*routee) {
	for _, m := range retired {
		if m.load.Load() == 0 {
			r.drain(m)
		}
	}
}

// drain has a retired routee end: it has handled all that was sent to it, unless it has ended already.
func (r *router) drain(m *routee) {
	if m.drained.CompareAndSwap(false, true) {
		_ = r.sys.post(nil, m.ref, drainMsg{})
	}
}

// lost hears that a routee ends, before its mailbox closes: its successor is in the table by the time anything sent to it is
// refused. It runs in the routee. Hearing it again is no news.
func (r *router) lost(m *routee, exit *ExitError) {
	r.mu.Lock()
	if m.exit != nil {
		r.mu.Unlock()
		return
	}
	m.exit = exit
	var settled []*routee
	var err error
	replaced := false
	switch {
	case r.closed:
	case m.retired.Load():
		settled = r.inherit(m, nil)
	default:
		settled, err = r.restart(m)
		replaced = err == nil
	}
	if err != nil {
		r.shut()
	}
	r.mu.Unlock()
	if err != nil {
		r.fail(err)
	}
	for _, owner := range settled {
		r.settle(owner)
	}
	if replaced {
		r.sys.say(slog.LevelWarn, "routee replaced", "actor", exit.Ref.String(), "reason", exit.Reason.String())
	}
}

// down hears that a routee's end is complete.
func (r *router) down(m *routee) {
	r.mu.Lock()
	if m.retired.Load() {
		r.retiring--
	}
	r.mu.Unlock()
	r.check()
}

// restart replaces a routee that ends by itself. An error ends the Router. The caller holds mu.
func (r *router) restart(m *routee) ([]*routee, error) {
	now := r.sys.ex.now()
	for len(r.ends) > 0 && now-r.ends[0] > r.within {
		r.ends = r.ends[1:]
	}
	r.ends = append(r.ends, now)
	if len(r.ends) > r.restarts {
		return nil, fmt.Errorf("actor: router: %d routees ended within %v, the last: %w", len(r.ends), r.within, m.exit)
	}
	n, err := r.start(m.at)
	if err != nil {
		return nil, fmt.Errorf("actor: router: replacing a routee that ended: %w", err)
	}
	table := slices.Clone(*r.table.Load())
	table[m.at] = n
	r.table.Store(&table)
	return r.inherit(m, n), nil
}

// inherit gives n the buckets of m, which has ended, and returns the owners of those that this settles.
func (r *router) inherit(m, n *routee) (settled []*routee) {
	for i := range r.buckets {
		if owner := r.buckets[i].replace(m, n); owner != nil {
			settled = append(settled, owner)
		}
	}
	return settled
}

// fail ends the Router abnormally.
func (r *router) fail(err error) {
	if !r.sys.stopping.Load() {
		r.ref().askStop(nil, ctlStop, Reason{Kind: ReasonError, Err: err})
	}
	r.close()
}

// shut has the Router refuse everything from now on. The caller holds mu.
func (r *router) shut() {
	r.closed = true
	r.table.Store(new([]*routee))
}

// close is the Router's end: at Stop, or before the anchor's children are asked to stop.
func (r *router) close() {
	r.mu.Lock()
	r.shut()
	resized := r.resized
	r.resized = nil
	r.mu.Unlock()
	r.resizing.close(ErrStopped)
	if resized != nil {
		resized.open()
	}
}

// came counts a message that comes to m, and returns the way under which it is counted.
func (r *router) came(m *routee, msg any) uint32 {
	m.load.Add(1)
	if r.strategy != Hash {
		return 0
	}
	i, err := r.bucketOf(msg)
	if err != nil || !r.buckets[i].add(m) {
		return 0 // not by way of the Router
	}
	return uint32(i) + 1
}

// ended counts a message, or a sender, that m has got rid of.
func (r *router) ended(m *routee, way uint32) {
	if way != 0 {
		if owner := r.buckets[way-1].end(m); owner != nil {
			r.settle(owner)
		}
	}
	if m.load.Add(-1) == 0 && m.retired.Load() {
		r.drain(m)
	}
}

// settle lets the new owner of a bucket handle what it has held back.
func (r *router) settle(owner *routee) {
	last := r.moving.Add(-1) == 0
	owner.look()
	if last {
		r.check()
	}
}

// check ends the Resize under way if all that it moved has settled and all that it retired have ended.
func (r *router) check() {
	r.mu.Lock()
	resized := r.resized
	if resized == nil || r.retiring > 0 || r.moving.Load() > 0 {
		r.mu.Unlock()
		return
	}
	r.resized = nil
	r.mu.Unlock()
	r.resizing.give()
	resized.open()
}

// bucketOf returns the number of the bucket of a message. A panic of the key function is an error here: it may be called where
// nobody could handle it.
func (r *router) bucketOf(msg any) (i int, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("actor: router: the key function: %w", newPanicError(v))
		}
	}()
	key, ok := r.key(msg)
	if !ok {
		return 0, ErrWrongType
	}
	h := uint64(14695981039346656037) // FNV-1a
	for _, c := range []byte(key) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return int(mix(h) % uint64(len(r.buckets))), nil
}

// rendezvous picks one of n for a bucket, so that a change of n moves as few buckets as can be.
func rendezvous(bucket uint64, n int) int {
	best, most := 0, uint64(0)
	for i := range n {
		if weight := mix(mix(bucket+1) + uint64(i)); weight >= most {
			best, most = i, weight
		}
	}
	return best
}

// mix spreads the bits of h. Source: S. Vigna, splitmix64.
func mix(h uint64) uint64 {
	h += 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// pick chooses the routee for msg and keeps it, and its claim to the key, until ended is called with the way. ErrStopped means that
// the Router has ended.
func (r *router) pick(msg any) (m *routee, way uint32, err error) {
	for {
		table := *r.table.Load()
		if len(table) == 0 {
			return nil, 0, ErrStopped
		}
		if r.strategy == Hash {
			i, err := r.bucketOf(msg)
			if err != nil {
				return nil, 0, err
			}
			return r.buckets[i].pin(), uint32(i) + 1, nil
		}
		start := int(r.turn.Add(1) % uint64(len(table)))
		m := table[start]
		if r.strategy == LeastLoaded {
			m = leastLoaded(table, start)
		}
		if r.keep(m) {
			return m, 0, nil
		}
	}
}

// keep has m stay until ended is called; false if it is to go already.
func (r *router) keep(m *routee) bool {
	m.load.Add(1)
	if m.retired.Load() {
		r.ended(m, 0)
		return false
	}
	return true
}

// leastLoaded returns the routee with the least load; among equals the first from start on.
func leastLoaded(table []*routee, start int) *routee {
	best := table[start]
	least := best.load.Load()
	for i := range table {
		m := table[(start+i)%len(table)]
		if n := m.load.Load(); n < least {
			best, least = m, n
		}
	}
	return best
}

// deliver sends msg to the routee that is picked, until one has not ended: one that has is in the table no more.
func (r *router) deliver(ctx context.Context, msg proto.Message) error {
	for {
		m, way, err := r.pick(msg)
		if err != nil {
			return err
		}
		if err := r.hand(ctx, m, way, msg); !errors.Is(err, ErrStopped) {
			return err
		}
	}
}

// hand sends msg to a routee that was picked, and lets go of it.
func (r *router) hand(ctx context.Context, m *routee, way uint32, msg proto.Message) error {
	defer r.ended(m, way)
	return send(ctx, m.ref, envelope{msg: msg})
}

// Send puts m into the mailbox of the routee that the strategy picks, and returns at once. With an error m was not delivered and
// is still yours: ErrStopped if the Router has ended, ErrFull, ErrNilMessage, or one about the key. With Broadcast it is Deliver, and
// an error means that not all have m.
func (r *Router[M]) Send(ctx context.Context, m M) error {
	_, err := r.Deliver(ctx, m)
	return err
}

// Deliver is Send that returns the number of mailboxes reached: 1, with Broadcast up to Size, the errors of the others joined.
func (r *Router[M]) Deliver(ctx context.Context, m M) (int, error) {
	in, err := r.open()
	switch {
	case err != nil:
		return 0, err
	case noMessage(m):
		return 0, ErrNilMessage
	}
	in.sys.awaitTurn("sends by a router", m)
	if in.strategy == Broadcast {
		return in.broadcast(ctx, m)
	}
	if err := in.deliver(ctx, m); err != nil {
		return 0, err
	}
	return 1, nil
}

func (r *router) broadcast(ctx context.Context, m proto.Message) (n int, err error) {
	table := *r.table.Load()
	if len(table) == 0 {
		return 0, ErrStopped
	}
	var errs []error
	for _, to := range table {
		reached, err := r.handTo(ctx, to, m)
		switch {
		case err != nil:
			errs = append(errs, err)
		case reached:
			n++
		}
	}
	return n, errors.Join(errs...)
}

// handTo sends msg to a routee, or to who has taken its place; false if nobody has.
func (r *router) handTo(ctx context.Context, m *routee, msg proto.Message) (reached bool, err error) {
	for r.keep(m) {
		if err := r.hand(ctx, m, 0, msg); !errors.Is(err, ErrStopped) {
			return err == nil, err
		}
		table := *r.table.Load()
		if len(table) == 0 {
			return false, ErrStopped
		}
		if m.at >= len(table) {
			return false, nil
		}
		m = table[m.at]
	}
	return false, nil
}

// CallVia is Call to the routee that the strategy picks; a routee that is to go is kept until it has answered. A call whose routee ends
// before its turn has not been handled, and goes to another; one that a routee has in hand when it ends fails with *ExitError. A
// router that broadcasts refuses it. A routee must not call by its own router: the key may be its own, or wait behind its own.
func CallVia[R, M proto.Message](ctx context.Context, r *Router[M], m M) (reply R, err error) {
	in, err := r.open()
	switch {
	case err != nil:
		return reply, err
	case noMessage(m):
		return reply, ErrNilMessage
	case in.strategy == Broadcast:
		return reply, errors.New("actor: a call has one reply, a broadcast has many: send, or call each of Refs")
	}
	in.sys.awaitTurn("calls by a router", m)
	v, from, err := in.call(ctx, m)
	if err != nil {
		return reply, err
	}
	return asReply[R](from, v)
}

// call calls the routee that is picked, until one has had the call in hand.
func (r *router) call(ctx context.Context, m proto.Message) (v any, from AnyRef, err error) {
	for {
		to, way, end := r.pick(m)
		if end != nil {
			return nil, from, cmp.Or(err, end)
		}
		var refused bool
		v, refused, err = r.callOne(ctx, to, way, m)
		var early *unhandledError
		switch {
		case errors.As(err, &early):
			err = early.exit
		case !refused || !errors.Is(err, ErrStopped):
			return v, to.ref, err
		}
	}
}

// callOne calls a routee that was picked, and lets go of it.
func (r *router) callOne(ctx context.Context, m *routee, way uint32, msg proto.Message) (v any, refused bool, err error) {
	defer r.ended(m, way)
	return doCall(ctx, m.ref, msg)
}

// Resize sets the number of routees while messages flow, and waits under ctx until the change is complete: with Hash each key that
// moved has been handed over, and the routees that go have handled all that was sent to them and have ended. Nothing is lost. If ctx
// ends first Resize returns its error and the change goes on; the next Resize waits for it. Not for a routee, which would wait for itself.
// The fewest keys that can be are moved; messages of a moved key wait in their new routee, beyond
// its mailbox's capacity, for those in the old one.
// Errors: ErrStopped; one that says what is wrong with n; ctx's own.
func (r *Router[M]) Resize(ctx context.Context, n int) error {
	in, err := r.open()
	switch {
	case err != nil:
		return err
	case n < 1 || n > maxRoutees || in.strategy == Hash && n > len(in.buckets):
		return fmt.Errorf("actor: a router of %d routees: use at least 1, at most %d and, with Hash, at most Buckets (%d)", n, maxRoutees, len(in.buckets))
	}
	if c, ok := FromContext(ctx); ok && slices.Contains(r.Refs(), c.Self()) {
		return errors.New("actor: Resize from a routee would wait for itself: call it from another actor or a goroutine")
	}
	in.sys.awaitTurn("resizes a router", nil)
	return in.resize(ctx, n)
}

func (r *router) resize(ctx context.Context, n int) error {
	if err := r.resizing.take(ctx); err != nil {
		return err
	}
	done := new(latch)
	r.mu.Lock()
	var retired []*routee
	err := ErrStopped
	if !r.closed {
		retired, err = r.fill(n)
	}
	if err == nil {
		r.resized = done
	}
	r.mu.Unlock()
	r.release(retired)
	if err != nil {
		r.resizing.give()
		return err
	}
	r.check()
	if err := done.wait(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrStopped
	}
	return nil
}

// Size is how many routees there are, 0 once the Router was asked to stop or has failed.
func (r *Router[M]) Size() int {
	in, err := r.open()
	if err != nil {
		return 0
	}
	return len(*in.table.Load())
}

// Refs lists the routees of this moment. A message that is sent to one of them directly is no concern of the strategy.
func (r *Router[M]) Refs() []AnyRef {
	in, err := r.open()
	if err != nil {
		return nil
	}
	table := *in.table.Load()
	refs := make([]AnyRef, len(table))
	for i, m := range table {
		refs[i] = m.ref
	}
	return refs
}

// Ref is the Router's own actor, the parent of the routees: to monitor, to link with, to Wait for. It takes no messages.
func (r *Router[M]) Ref() AnyRef {
	in, err := r.open()
	if err != nil {
		return AnyRef{}
	}
	return in.ref()
}

func (r *router) ref() AnyRef { return r.node.Self() }

// Stop has the Router refuse messages from now on, asks it and its routees to come to an end, and returns; what is queued becomes
// dead letters. Ref tells when it is done.
func (r *Router[M]) Stop() {
	if in, err := r.open(); err == nil {
		in.stop()
	}
}

func (r *router) stop() {
	r.close()
	r.ref().Stop()
}
