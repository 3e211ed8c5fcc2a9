package actor

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/mailbox"
)

// ErrChannelClosed answers what is asked of a channel that is closed, or was never made.
var ErrChannelClosed = errors.New("actor: the channel is closed")

// ErrNotSubscribed answers Unsubscribe of somebody who is not subscribed; it is what Subscription.Err says after Unsubscribe.
var ErrNotSubscribed = errors.New("actor: not subscribed")

// ChannelCycleError answers SubscribeChannel where messages would come back to where they started.
type ChannelCycleError struct {
	Path []string // names of channels: each is subscribed to the one before it, and the last is the first
}

// Error names the cycle.
func (e *ChannelCycleError) Error() string {
	return "actor: channel cycle: " + strings.Join(e.Path, " -> ")
}

// Slow says what becomes of a message for a subscriber whose mailbox is full. A mailbox without a bound, and one that drops
// by itself (DropNewest, DropOldest), is never full.
type Slow uint8

// What is done about slow subscribers.
const (
	SlowDrop    Slow = iota // the message is dropped for this subscriber, counted, and a dead letter with DeadOverflow
	SlowSuspend             // the sender waits for room, once all others have the message; the mailbox must have the policy Suspend
	SlowCut                 // as SlowDrop, and the subscriber is unsubscribed: its Subscription answers ErrFull
	slows
)

// SubscribeOptions say what is particular about one subscriber. The zero value drops what a full mailbox has no room for.
type SubscribeOptions struct {
	// Slow says what becomes of a message that finds the subscriber's mailbox full.
	Slow Slow
}

// ChannelOptions configure a Channel for messages of type M. The zero value passes on all that is sent.
type ChannelOptions[M proto.Message] struct {
	// Name is what errors and logs call the channel. Empty means a number.
	Name string
	// Transform is called once for each message, by whoever sends: what it returns is sent in place of the message, and with
	// false nothing is. It must not change the message, which may be in other hands too, nor have effects: many may send at once.
	Transform func(m M) (M, bool)
	// Retain keeps the last message for those who subscribe later: an actor that subscribes gets it at once, before anything newer.
	Retain bool
}

// Channel hands each message that is sent to it to all who have subscribed: actors, of any System, and other channels.
// Make one with NewChannel; a nil or zero Channel is a closed one. Any goroutine may use it, actors and others alike.
//
// Shape: no actor of its own: whoever sends goes through an immutable list of the subscribers and puts the message into their
// mailboxes. All share the one message and must not change it. Where subscribers have come or gone, the next send makes a new list.
// Order: messages from one sender to one subscriber arrive in the order in which they were sent. There is none between senders, and
// two subscribers may see two senders' messages in different orders.
// Each delivery counts as a message in the ledger of its receiver's System.
// A subscriber that ends is unsubscribed before anybody is told of its end. A channel ends by Close, when its System has stopped, or
// when nobody has it any more: then its subscriptions go with it. Its subscribers do not keep it.
// Cost: BenchmarkChannel; to subscribe and to leave is O(1), the next send O(subscribers), as any send; no allocation for a send.
type Channel[M proto.Message] struct {
	ch *channel
}

// channel is a Channel without its type. It never refers to the Channel, so that this is collected when nobody has it.
type channel struct {
	sys       *System
	id        uint64
	name      string
	retain    bool
	transform atomic.Pointer[func(any) (any, bool)]
	audience  atomic.Pointer[audience] // nil: to be made anew
	nested    atomic.Int32             // len(parents), to be read without hierarchy

	mu       sync.Mutex      // taken before a cell's lock and a mailbox's, never after one
	closed   atomic.Bool     // set under mu
	subs     []*Subscription // in the order in which they came; nil where one has left
	holes    int
	actors   map[AnyRef]*Subscription
	channels map[*channel]*Subscription
	last     any       // what is retained
	lasts    uint64    // how often that has changed
	barriers list.List // of *latch: each opens when there may be more end points, or the channel is closed

	branches []Branch // to other nodes; guarded by mu
	onChange func()   // guarded by mu
	onClose  func()   // guarded by mu

	parents []*channel  // that this one is subscribed to; guarded by hierarchy
	foreign []ChannelID // of other nodes, that messages come through; guarded by hierarchy
}

// hierarchy guards who is subscribed to whom among channels, of all Systems, so that two attempts at once make no cycle. It is taken
// before any channel's lock, and held while channels are followed, never while messages are sent.
var hierarchy sync.Mutex

// Subscription is one subscriber's place in a channel, as Subscribe returns it. Any goroutine may use it. It does not keep the
// channel: that is closed when nobody else has it.
type Subscription struct {
	ch      *channel
	ref     AnyRef   // the subscriber, or zero
	child   *channel // the subscribed channel, or nil
	keep    any      // the Channel of child: the parent may be all that still leads to it
	at      int      // in ch.subs
	dropped atomic.Uint64
	behind  atomic.Bool // a message of a Deliver that has returned waits for room

	how       how       // guarded by ch.mu
	left      error     // why it is over, else nil; guarded by ch.mu
	suspended list.List // of *seat: messages whose senders wait; guarded by ch.mu

	older, newer *Subscription // of the same actor; guarded by its cell's lock
}

// how is the way in which a subscriber takes its messages.
type how struct {
	adapt func(any) (any, bool) // makes its type of the channel's, or nil
	slow  Slow
}

// audience is who gets a message: an immutable copy of a channel's subscribers.
type audience struct {
	members  []member
	channels []*channel
	branches []Branch
}

// member is a subscribed actor, with all that a delivery needs side by side.
type member struct {
	cell *cell
	sub  *Subscription
	sys  *System
	how  how
	gen  uint32
}

func (h how) check(o Mailbox) error {
	if h.slow == SlowSuspend && (o.Capacity > 0 || o.Priority != nil) && o.Overflow != mailbox.Suspend {
		return fmt.Errorf("actor: SlowSuspend needs a mailbox that suspends senders, not one that is full with %v", o.Overflow)
	}
	return nil
}

// NewChannel makes a channel of sys; at most one ChannelOptions may be given. It needs no goroutine and no actor.
func NewChannel[M proto.Message](sys *System, o ...ChannelOptions[M]) (*Channel[M], error) {
	switch {
	case sys == nil:
		return nil, errors.New("actor: a channel of no System: pass a *System")
	case len(o) > 1:
		return nil, errors.New("actor: more than one ChannelOptions")
	}
	ch := &channel{sys: sys, id: sys.nextID.Add(1), actors: make(map[AnyRef]*Subscription)}
	if len(o) > 0 {
		ch.name, ch.retain = o[0].Name, o[0].Retain
		ch.setTransform(erase(o[0].Transform))
	}
	if ch.name == "" {
		ch.name = fmt.Sprintf("channel %d", ch.id)
	}
	if !sys.channels.add(ch) {
		return nil, ErrStopped
	}
	c := &Channel[M]{ch: ch}
	runtime.AddCleanup(c, (*channel).close, ch)
	return c, nil
}

// erase hides the types of a transform, or of what adapts messages to a subscriber.
func erase[M, N any](f func(M) (N, bool)) func(any) (any, bool) {
	if f == nil {
		return nil
	}
	return func(m any) (any, bool) { return f(m.(M)) }
}

// core returns what is behind c, nil for a channel that was never made.
func (c *Channel[M]) core() *channel {
	if c == nil {
		return nil
	}
	return c.ch
}

// Name is what ChannelOptions called the channel, or else a number that no other channel of its System has.
func (c *Channel[M]) Name() string {
	if c.core() == nil {
		return ""
	}
	return c.ch.name
}

// SetTransform replaces ChannelOptions.Transform for what is sent from now on; nil passes on everything.
func (c *Channel[M]) SetTransform(f func(m M) (M, bool)) error {
	if c.core() == nil {
		return ErrChannelClosed
	}
	c.ch.setTransform(erase(f))
	return nil
}

func (ch *channel) setTransform(f func(any) (any, bool)) {
	if f == nil {
		ch.transform.Store(nil)
		return
	}
	ch.transform.Store(&f)
}

// Send hands m to all who are subscribed and returns at once; only subscribers with SlowSuspend may make it wait for room, under
// ctx, once all others have m. nil means that nobody was left out, save where a policy for slow subscribers says so. What a
// transform drops is no error. With an error some or all have not got m:
//
//   - ErrChannelClosed, ErrNilMessage, the *PanicError of the channel's own transform: nobody has it;
//   - an error that says how many did not get it, and wraps why: ErrStopped or ErrKilled if the sender is ended while it waits
//     for room, an interrupt, a *DeadlockError, or ctx's own;
//   - the *PanicError of a transform further down, or of a SubscribeAs function: those behind it have not got it.
//
// Cost: BenchmarkChannel. From inside an actor pass its own Context: another ctx, or another goroutine, takes the shared queue.
func (c *Channel[M]) Send(ctx context.Context, m M) error {
	if c.core() == nil {
		return ErrChannelClosed
	}
	_, err := c.ch.publish(ctx, m, 0, false, nil)
	runtime.KeepAlive(c)
	return err
}

// Deliver is Send that returns the number of actors reached, through all channels below this one, and that can wait for there to
// be somebody: with atLeast > 0 it first waits, under ctx, until so many actors are subscribed here and below, and does not wait
// for slow ones once so many have m. m then stays in line for each of the others and gets in when there is room; one message at
// a time may be in line for a subscriber like this, another Deliver waits. If that subscriber ends first the message is a dead letter.
//
// An actor that is reached in two ways counts twice. The count may be lower than atLeast, without an error, where transforms drop m or
// subscribers leave at that moment. What a transform drops is 0 at once, without waiting.
// Errors: those of Send; ErrChannelClosed if the channel is closed during the wait; one about a negative atLeast.
func (c *Channel[M]) Deliver(ctx context.Context, m M, atLeast int) (int, error) {
	if c.core() == nil {
		return 0, ErrChannelClosed
	}
	n, err := c.ch.publish(ctx, m, atLeast, true, nil)
	runtime.KeepAlive(c) // it is not closed for want of anybody who has it meanwhile
	return n, err
}

// Subscribe has ref get what is sent from now on, and first what the channel retains. Who is subscribed already keeps its place,
// with the new options. At most one SubscribeOptions may be given; ctx bounds the wait for room for what is retained.
// Errors: ErrNoActor, ErrStopped (ref has ended), ErrChannelClosed; ErrFull, or ctx's own, if what is retained finds no room, the
// *PanicError of a SubscribeAs function that it is too much for: then ref is not subscribed; one that says what is wrong with the options.
func (c *Channel[M]) Subscribe(ctx context.Context, ref Ref[M], o ...SubscribeOptions) (*Subscription, error) {
	if c.core() == nil {
		return nil, ErrChannelClosed
	}
	s, err := c.ch.subscribe(ctx, ref.AnyRef, nil, o)
	runtime.KeepAlive(c)
	return s, err
}

// SubscribeAs is Subscribe for an actor that takes another type of message: adapt makes it of the channel's. A nil result is not
// sent: so adapt may choose as well. It runs in the sender's turn and must depend on the message only and have no effects; what it
// panics with is the sender's error.
func SubscribeAs[N, M proto.Message](ctx context.Context, c *Channel[M], ref Ref[N], adapt func(m M) N, o ...SubscribeOptions) (*Subscription, error) {
	switch {
	case c.core() == nil:
		return nil, ErrChannelClosed
	case adapt == nil:
		return nil, errors.New("actor: SubscribeAs needs a function that makes a message of the subscriber's type")
	}
	s, err := c.ch.subscribe(ctx, ref.AnyRef, erase(func(m M) (N, bool) {
		n := adapt(m)
		return n, !noMessage(n)
	}), o)
	runtime.KeepAlive(c)
	return s, err
}

// SubscribeChannel has other pass on what is sent to c from now on; c keeps it from being collected. Doing it again changes nothing.
// A retained message is for actors: other gets none, and hands out its own. ctx is for what may come: nothing waits.
// Errors: ErrChannelClosed if either is; *ChannelCycleError if c would get its messages back, also when two attempts at once would
// make a cycle together: one of them is refused.
func (c *Channel[M]) SubscribeChannel(_ context.Context, other *Channel[M]) (*Subscription, error) {
	if c.core() == nil || other.core() == nil {
		return nil, ErrChannelClosed
	}
	s, err := c.ch.nest(other.ch, other)
	runtime.KeepAlive(c)
	return s, err
}

// Unsubscribe ends the subscription of an actor: what is sent after it has returned does not reach it. What is under way may;
// senders that wait for room in its mailbox are let go and it does not count as left out. ErrNotSubscribed if it was not subscribed.
func (c *Channel[M]) Unsubscribe(ref AnyRef) error {
	if c.core() == nil {
		return ErrNotSubscribed
	}
	c.ch.mu.Lock()
	s := c.ch.actors[ref]
	c.ch.mu.Unlock()
	return s.Unsubscribe()
}

// UnsubscribeChannel is Unsubscribe for a channel.
func (c *Channel[M]) UnsubscribeChannel(other *Channel[M]) error {
	if c.core() == nil || other.core() == nil {
		return ErrNotSubscribed
	}
	c.ch.mu.Lock()
	s := c.ch.channels[other.ch]
	c.ch.mu.Unlock()
	return s.Unsubscribe()
}

// Subscribers lists the actors that are subscribed to this very channel, in the order in which they came.
func (c *Channel[M]) Subscribers() []AnyRef {
	ch := c.core()
	if ch == nil {
		return nil
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	refs := make([]AnyRef, 0, len(ch.actors))
	for _, s := range ch.subs {
		if s != nil && s.child == nil {
			refs = append(refs, s.ref)
		}
	}
	return refs
}

// EndPoints counts the actors that a message reaches if nothing is dropped, through all channels below: an actor that is subscribed
// in two places counts twice, and one below a channel that is reached in two ways too. Cost: linear in the channels below.
func (c *Channel[M]) EndPoints() int {
	if c.core() == nil {
		return 0
	}
	return c.ch.endPoints()
}

func (ch *channel) endPoints() int { return ch.reach(make(map[*channel]int)) }

// reach counts the end points of ch, and notes the number in counted, so that who is reached in many ways is asked once.
func (ch *channel) reach(counted map[*channel]int) int {
	if n, ok := counted[ch]; ok {
		return n
	}
	ch.mu.Lock()
	n := len(ch.actors)
	var below []*channel
	for child := range ch.channels {
		below = append(below, child)
	}
	for _, b := range ch.branches {
		n += b.EndPoints()
	}
	ch.mu.Unlock()
	for _, child := range below {
		n += child.reach(counted)
	}
	counted[ch] = n
	return n
}

// Close ends all subscriptions, this channel's to others too; closing it again does nothing. What is sent later answers
// ErrChannelClosed, as does a Deliver that waits for subscribers. A send under way goes on, to those whom it does not wait for: its
// sender is let go.
func (c *Channel[M]) Close() {
	if c.core() == nil {
		return
	}
	c.ch.sys.awaitTurn("closes "+c.ch.name, nil)
	c.ch.close()
}

// Err is nil while the subscription lasts, and then says why it is over: ErrNotSubscribed after Unsubscribe, ErrStopped when the
// subscriber has ended, ErrFull when it was cut off, ErrChannelClosed when the channel, or the one subscribed, was closed.
func (s *Subscription) Err() error {
	if s == nil {
		return ErrNotSubscribed
	}
	s.ch.mu.Lock()
	defer s.ch.mu.Unlock()
	return s.left
}

// Dropped counts the messages that were dropped for this subscriber since its mailbox was full.
func (s *Subscription) Dropped() uint64 {
	if s == nil {
		return 0
	}
	return s.dropped.Load()
}

// Unsubscribe is Channel.Unsubscribe for this subscriber.
func (s *Subscription) Unsubscribe() error {
	if s == nil {
		return ErrNotSubscribed
	}
	s.ch.sys.awaitTurn("unsubscribes from "+s.ch.name, nil)
	if !s.end(ErrNotSubscribed) {
		return ErrNotSubscribed
	}
	return nil
}

func (ch *channel) subscribe(ctx context.Context, ref AnyRef, adapt func(any) (any, bool), o []SubscribeOptions) (*Subscription, error) {
	h := how{adapt: adapt}
	switch {
	case len(o) > 1:
		return nil, errors.New("actor: more than one SubscribeOptions")
	case len(o) == 1 && o[0].Slow >= slows:
		return nil, fmt.Errorf("actor: unknown policy %d for a slow subscriber", o[0].Slow)
	case len(o) == 1:
		h.slow = o[0].Slow
	}
	switch {
	case ref.IsZero():
		return nil, ErrNoActor
	case ref.Remote():
		return nil, fmt.Errorf("actor: channel %s: %v lives on another node: remote.OpenChannel there, and subscribe it there: %w", ch.name, ref, ErrNoActor)
	}
	ch.sys.awaitTurn("subscribes "+ref.String()+" to "+ch.name, nil)
	var f fanout
	f.begin(ctx)
	defer f.end()
	s, err := ch.enlist(&f, ref, h)
	if err != nil {
		return nil, err
	}
	ch.grown()
	err = ErrKilled // unless settle returns
	defer func() {
		if err != nil {
			s.end(err)
		}
	}()
	if err = f.settle(ch, 0); err != nil {
		return nil, err
	}
	return s, nil
}

// enlist puts ref among the subscribers, with what is retained in its mailbox or in line for it. A SubscribeAs function makes that of
// what is retained without the lock, as it may do what it should not; if newer messages come again and again meanwhile, under it.
func (ch *channel) enlist(f *fanout, ref AnyRef, h how) (*Subscription, error) {
	for try := 1; ; try++ {
		ch.mu.Lock()
		m, lasts := ch.last, ch.lasts
		if m == nil || h.adapt == nil || try > 3 {
			defer ch.mu.Unlock()
			m, err := ch.adapted(h, m)
			if err != nil {
				return nil, err
			}
			return ch.admit(f, ref, h, m)
		}
		ch.mu.Unlock()
		m, err := ch.adapted(h, m)
		if err != nil {
			return nil, err
		}
		ch.mu.Lock()
		if ch.lasts == lasts {
			defer ch.mu.Unlock()
			return ch.admit(f, ref, h, m)
		}
		ch.mu.Unlock()
	}
}

// adapted is what a subscriber gets of a message that is retained; nil for nothing.
func (ch *channel) adapted(h how, m any) (any, error) {
	if m == nil || h.adapt == nil {
		return m, nil
	}
	out, ok, err := apply(h.adapt, m)
	switch {
	case err != nil:
		return nil, fmt.Errorf("actor: channel %s: what it retains: %w", ch.name, err)
	case !ok:
		return nil, nil
	}
	return out, nil
}

// admit puts ref among the subscribers, and m, if it is not nil, into its mailbox. The caller holds mu.
func (ch *channel) admit(f *fanout, ref AnyRef, h how, m any) (*Subscription, error) {
	if ch.closed.Load() {
		return nil, ErrChannelClosed
	}
	old := ch.actors[ref]
	s := old
	if s == nil {
		s = &Subscription{ch: ch, ref: ref}
	}
	a, err := s.link(h, old == nil)
	if err != nil {
		return nil, err
	}
	s.how = h
	ch.audience.Store(nil)
	if old != nil {
		return s, nil
	}
	ch.actors[ref] = s
	ch.append(s)
	if m != nil {
		f.retained(&member{cell: a, sub: s, sys: ref.node.sys, how: h, gen: uint32(ref.id >> 32)}, m)
	}
	return s, nil
}

// append gives s a place in the list.
func (ch *channel) append(s *Subscription) {
	if ch.holes > len(ch.subs)/2 {
		ch.compact()
	}
	s.at = len(ch.subs)
	ch.subs = append(ch.subs, s)
	ch.sys.channels.subs.Add(1)
}

// compact closes the holes that those have left who went.
func (ch *channel) compact() {
	ch.subs = slices.DeleteFunc(ch.subs, func(s *Subscription) bool { return s == nil })
	for i, s := range ch.subs {
		s.at = i
	}
	ch.holes = 0
}

// link ties s to the life of its actor, if that lives and its mailbox goes with h.
func (s *Subscription) link(h how, isNew bool) (*cell, error) {
	a, mu := s.ref.locked()
	if a == nil {
		return nil, ErrStopped
	}
	defer mu.Unlock()
	cold := a.coldOf()
	if err := h.check(cold.opts.Mailbox); err != nil {
		return nil, err
	}
	if isNew {
		s.older = cold.subs
		if s.older != nil {
			s.older.newer = s
		}
		cold.subs = s
	}
	return a, nil
}

// unlink unties s from the life of its actor.
func (s *Subscription) unlink() {
	if a, mu := s.ref.locked(); a != nil {
		s.unlinkFrom(a.cold.Load())
		mu.Unlock()
	}
}

// unlinkFrom is unlink for who holds the cell's lock. It may have been done before.
func (s *Subscription) unlinkFrom(c *cold) {
	switch {
	case s.newer != nil:
		s.newer.older = s.older
	case c.subs == s:
		c.subs = s.older
	}
	if s.older != nil {
		s.older.newer = s.newer
	}
	s.older, s.newer = nil, nil
}

// leaveChannels ends the subscriptions of an actor that is about to be no more. The caller holds the cell's lock mu, which is given back
// meanwhile: those who come until then leave too.
func (a *cell) leaveChannels(mu *sync.Mutex) {
	for {
		cold := a.cold.Load()
		if cold == nil || cold.subs == nil {
			return
		}
		s := cold.subs
		s.unlinkFrom(cold)
		mu.Unlock()
		s.leave(ErrStopped)
		mu.Lock()
	}
}

// end ends the subscription, of an actor or a channel, for the reason why; false if it had ended already.
func (s *Subscription) end(why error) bool {
	if s.child == nil {
		return s.leave(why)
	}
	hierarchy.Lock()
	defer hierarchy.Unlock()
	if !s.leave(why) {
		return false
	}
	s.child.orphan(s.ch)
	s.child.announce()
	return true
}

// orphan forgets one that the channel was subscribed to. The caller holds hierarchy.
func (ch *channel) orphan(parent *channel) {
	if i := slices.Index(ch.parents, parent); i >= 0 {
		ch.parents = slices.Delete(ch.parents, i, i+1)
	}
	ch.nested.Store(int32(len(ch.parents)))
}

// leave takes s out of its channel and lets go of senders that wait for it.
func (s *Subscription) leave(why error) bool {
	ch := s.ch
	ch.mu.Lock()
	if s.left != nil {
		ch.mu.Unlock()
		return false
	}
	ch.remove(s, why)
	ch.subs[s.at] = nil
	ch.holes++
	delete(ch.actors, s.ref)
	delete(ch.channels, s.child)
	freed := s.cancelAll()
	ch.mu.Unlock()
	if s.child == nil {
		s.unlink()
		ch.shrunk()
	} else {
		ch.shrunkLocked()
	}
	letGo(freed)
	return true
}

// remove marks s as over. The caller holds mu.
func (ch *channel) remove(s *Subscription, why error) {
	s.left, s.keep = why, nil
	ch.audience.Store(nil)
	ch.sys.channels.subs.Add(-1)
}

// cancelAll takes the messages that wait for room out of their line and returns them, for their senders to be told where no lock is
// held. The caller holds ch.mu.
func (s *Subscription) cancelAll() (freed []*seat) {
	for e := s.suspended.Front(); e != nil; e = s.suspended.Front() {
		p := s.suspended.Remove(e).(*seat)
		p.listed = nil
		if p.q.Cancel(&p.Waiter) {
			freed = append(freed, p)
		} // else it has got in, or is about to
	}
	return freed
}

// nest subscribes child. keep is its Channel.
func (ch *channel) nest(child *channel, keep any) (*Subscription, error) {
	ch.sys.awaitTurn("subscribes "+child.name+" to "+ch.name, nil)
	hierarchy.Lock()
	s, err := ch.adopt(child, keep)
	hierarchy.Unlock()
	if err != nil {
		return nil, err
	}
	ch.grown()
	return s, nil
}

// adopt is nest for who holds hierarchy.
func (ch *channel) adopt(child *channel, keep any) (*Subscription, error) {
	if path := child.pathTo(ch, make(map[*channel]bool)); path != nil {
		return nil, &ChannelCycleError{append([]string{ch.name}, path...)}
	}
	if child.closed.Load() || ch.closed.Load() { // which hierarchy guards, too
		return nil, ErrChannelClosed
	}
	ch.mu.Lock()
	s := ch.channels[child]
	ch.mu.Unlock()
	if s != nil {
		return s, nil
	}
	if err := ch.crosses(child); err != nil {
		return nil, err
	}
	child.parents = append(child.parents, ch)
	child.nested.Store(int32(len(child.parents)))
	child.announce() // before there are messages
	ch.mu.Lock()
	defer ch.mu.Unlock()
	s = &Subscription{ch: ch, child: child, keep: keep}
	if ch.channels == nil {
		ch.channels = make(map[*channel]*Subscription)
	}
	ch.channels[child] = s
	ch.append(s)
	ch.audience.Store(nil)
	return s, nil
}

// pathTo returns the names on a way down from ch to target, both included, or nil if there is none. The caller holds hierarchy.
func (ch *channel) pathTo(target *channel, seen map[*channel]bool) []string {
	if ch == target {
		return []string{ch.name}
	}
	seen[ch] = true
	for _, child := range ch.children() {
		if seen[child] {
			continue
		}
		if path := child.pathTo(target, seen); path != nil {
			return append([]string{ch.name}, path...)
		}
	}
	return nil
}

// children lists the subscribed channels in the order in which they came.
func (ch *channel) children() (list []*channel) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if len(ch.channels) == 0 {
		return nil
	}
	for _, s := range ch.subs {
		if s != nil && s.child != nil {
			list = append(list, s.child)
		}
	}
	return list
}

// close is Close without a turn: the garbage collector and the System's end call it too.
func (ch *channel) close() {
	hierarchy.Lock()
	for _, parent := range slices.Clone(ch.parents) {
		parent.mu.Lock()
		s := parent.channels[ch]
		parent.mu.Unlock()
		if s != nil {
			s.leave(ErrChannelClosed)
		}
	}
	ch.parents = nil
	ch.nested.Store(0)
	for _, child := range ch.children() {
		child.orphan(ch)
		child.announce()
	}
	ch.mu.Lock()
	subs := ch.subs
	var freed []*seat
	for _, s := range subs {
		if s != nil {
			ch.remove(s, ErrChannelClosed)
			freed = append(freed, s.cancelAll()...)
		}
	}
	ch.closed.Store(true)
	ch.audience.Store(nil)
	ch.subs, ch.actors, ch.channels, ch.last, ch.branches = nil, nil, nil, nil, nil
	latches := ch.latches(nil)
	closed := ch.onClose
	if ch.onChange != nil {
		watchedChannels.Add(-1)
	}
	ch.onChange, ch.onClose = nil, nil
	ch.mu.Unlock()
	hierarchy.Unlock()
	for _, s := range subs {
		if s != nil && s.child == nil {
			s.unlink()
		}
	}
	letGo(freed)
	for _, l := range latches {
		l.open()
	}
	if closed != nil {
		closed()
	}
	ch.sys.channels.remove(ch)
}

// awaitEndPoints waits until at least n actors are subscribed here and below.
func (ch *channel) awaitEndPoints(ctx context.Context, n int) error {
	for ch.endPoints() < n {
		if err := ch.awaitChange(ctx, n); err != nil {
			return err
		}
		ch.sys.awaitTurn("has waited for subscribers", nil)
	}
	return nil
}

// awaitChange waits until there may be more end points than there were, unless there are n.
func (ch *channel) awaitChange(ctx context.Context, n int) error {
	l := new(latch)
	ch.mu.Lock()
	if ch.closed.Load() {
		ch.mu.Unlock()
		return ErrChannelClosed
	}
	e := ch.barriers.PushBack(l)
	ch.mu.Unlock()
	defer func() { // also when a kill ends the wait
		ch.mu.Lock()
		ch.barriers.Remove(e)
		ch.mu.Unlock()
	}()
	if ch.endPoints() >= n {
		return nil
	}
	if err := l.wait(ctx); err != nil {
		return err
	}
	if ch.closed.Load() {
		return ErrChannelClosed
	}
	return nil
}

// latches adds those of all who wait for end points. The caller holds mu.
func (ch *channel) latches(to []*latch) []*latch {
	for e := ch.barriers.Front(); e != nil; e = e.Next() {
		to = append(to, e.Value.(*latch))
	}
	return to
}

// grown tells those who wait for end points, here and above, that there may be more.
func (ch *channel) grown() {
	var latches []*latch
	if ch.nested.Load() == 0 {
		ch.mu.Lock()
		latches = ch.latches(nil)
		ch.mu.Unlock()
	} else {
		hierarchy.Lock()
		latches = ch.latchesAbove(nil, make(map[*channel]bool))
		hierarchy.Unlock()
	}
	for _, l := range latches {
		l.open()
	}
	ch.shrunk() // or grown: who watches is told the same
}

func (ch *channel) latchesAbove(to []*latch, seen map[*channel]bool) []*latch {
	if seen[ch] {
		return to
	}
	seen[ch] = true
	ch.mu.Lock()
	to = ch.latches(to)
	ch.mu.Unlock()
	for _, parent := range ch.parents {
		to = parent.latchesAbove(to, seen)
	}
	return to
}

// channelSet is the channels of a System that are not closed.
type channelSet struct {
	mu   sync.Mutex
	all  map[*channel]struct{}
	over bool
	subs atomic.Int64 // subscriptions in all of them
}

func (set *channelSet) add(ch *channel) bool {
	set.mu.Lock()
	defer set.mu.Unlock()
	if set.over {
		return false
	}
	if set.all == nil {
		set.all = make(map[*channel]struct{})
	}
	set.all[ch] = struct{}{}
	return true
}

func (set *channelSet) remove(ch *channel) {
	set.mu.Lock()
	defer set.mu.Unlock()
	delete(set.all, ch)
}

func (set *channelSet) count() int {
	set.mu.Lock()
	defer set.mu.Unlock()
	return len(set.all)
}

// close closes them all, oldest first.
func (set *channelSet) close() {
	set.mu.Lock()
	set.over = true
	all := make([]*channel, 0, len(set.all))
	for ch := range set.all {
		all = append(all, ch)
	}
	set.mu.Unlock()
	slices.SortFunc(all, func(a, b *channel) int { return cmp.Compare(a.id, b.id) })
	for _, ch := range all {
		ch.close()
	}
}
