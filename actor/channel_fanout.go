package actor

// Hot path. Per delivery: 0 allocs, 1 atomic RMW into a busy mailbox, 2 into an idle one, as a send; held by TestChannelAllocs.

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/greenroom-go/greenroom/mailbox"
)

// fanout is one message on its way through a channel and those below it, and what has come of it so far. It belongs to the sender.
type fanout struct {
	ctx     context.Context
	c       *carrier // of the actor that sends, nil for any other goroutine
	own     *System  // of that actor
	reached int
	slow    []*seat // mailboxes whose room the sender waits for, once all others have the message
	errs    []error
	lost    []loss

	abroad *System   // where the sender has no slot, and whose messages it pushes just now
	out    *outsider // of abroad
	woken  cellList  // there, to be made runnable together
	moving bool      // since departs

	wake    func()        // what those who end a wait for room call
	bell    chan struct{} // that wake rings for a goroutine that is no actor's
	pointed *seat         // whom the actor is known to wait for

	confirm  bool // the sender wants to know whom it reaches on other nodes
	away     []*away
	progress func(n int)
	told     int
}

// loss is a message that a full mailbox had no room for. It becomes a dead letter at the next flush: whoever watches those may do
// anything, end this goroutine too.
type loss struct {
	to  *member
	q   queue
	env envelope
}

// publish sends m to all who are subscribed to ch and below; see Stem.Publish.
func (ch *channel) publish(ctx context.Context, m any, atLeast int, confirm bool, progress func(n int)) (int, error) {
	if noMessage(m) {
		return 0, ErrNilMessage
	}
	if atLeast < 0 {
		return 0, fmt.Errorf("actor: channel %s: deliver to at least %d: use 0 for all, or a positive number", ch.name, atLeast)
	}
	if ch.sys.ex.seeded != nil {
		ch.sys.awaitTurn("sends to "+ch.name+" "+show(m), m)
	}
	if ch.closed.Load() {
		return 0, ErrChannelClosed // whatever the transform would say
	}
	m, ok, err := ch.transformed(m)
	if !ok {
		return 0, err
	}
	if atLeast > 0 {
		if err := ch.awaitEndPoints(ctx, atLeast); err != nil {
			return 0, err
		}
	}
	f := fanout{confirm: confirm, progress: progress}
	f.begin(ctx)
	defer f.end()
	if err := f.send(ch, m); err != nil {
		return 0, err
	}
	if len(f.slow)+len(f.errs)+len(f.away) == 0 {
		return f.reached, nil
	}
	err = f.settle(ch, atLeast)
	return f.reached, err
}

// transformed is what the channel makes of m; ok is false if nothing is to be sent.
func (ch *channel) transformed(m any) (_ any, ok bool, err error) {
	f := ch.transform.Load()
	if f == nil {
		return m, true, nil
	}
	if m, ok, err = apply(*f, m); err != nil {
		return nil, false, fmt.Errorf("actor: channel %s: transform: %w", ch.name, err)
	}
	return m, ok, nil
}

// apply calls user code that makes a message of another. A panic in it is an error.
func apply(f func(any) (any, bool), m any) (out any, ok bool, err error) {
	defer func() {
		if v := recover(); v != nil {
			out, ok, err = nil, false, newPanicError(v)
		}
	}()
	if out, ok = f(m); ok && noMessage(out) {
		return nil, false, ErrNilMessage
	}
	return out, ok, nil
}

// listeners are those to whom m goes. From here on m is what the channel retains.
func (ch *channel) listeners(m any) (*audience, error) {
	if !ch.retain {
		if aud := ch.audience.Load(); aud != nil {
			return aud, nil
		}
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.closed.Load() {
		return nil, ErrChannelClosed
	}
	if ch.retain {
		ch.lasts++
		ch.last = m // whoever subscribes after this gets m on subscribing; all before are in the list
	}
	aud := ch.audience.Load()
	if aud == nil {
		aud = ch.gather()
		ch.audience.Store(aud)
	}
	return aud, nil
}

// gather makes the list of the subscribers. The caller holds mu.
func (ch *channel) gather() *audience {
	if ch.holes > 0 {
		ch.compact()
	}
	aud := &audience{members: make([]member, 0, len(ch.actors)), branches: slices.Clone(ch.branches)}
	for _, s := range ch.subs {
		if s.child != nil {
			aud.channels = append(aud.channels, s.child)
			continue
		}
		aud.members = append(aud.members, s.member())
	}
	return aud
}

// member is what a delivery needs of s, an actor's. The caller holds ch.mu.
func (s *Subscription) member() member {
	sys := s.ref.node.sys
	return member{cell: sys.table.at(uint32(s.ref.id)), sub: s, sys: sys, how: s.how, gen: uint32(s.ref.id >> 32)}
}

func (f *fanout) begin(ctx context.Context) {
	f.ctx = ctx
	if c, ok := ctx.(*Context); ok && c != nil {
		if f.c = c.here(); f.c != nil {
			f.own = c.sys
		}
	}
}

// end gives back what was taken to send from outside of the slots.
func (f *fanout) end() {
	f.flush()
	if f.out != nil {
		f.abroad.ex.outsiders.Put(f.out)
		f.abroad, f.out = nil, nil
	}
}

// goAbroad prepares to send to sys from outside of its slots, until flush.
func (f *fanout) goAbroad(sys *System) {
	if f.abroad != sys {
		f.end()
		f.abroad, f.out = sys, sys.ex.outsiders.Get().(*outsider)
	}
	if !f.moving {
		f.moving = true
		sys.ex.departs()
	}
}

// flush brings what has been done so far to its end, before anything that may take its time: those whom messages from outside have
// woken become runnable, and what was dropped a dead letter.
func (f *fanout) flush() {
	if f.woken.n > 0 {
		f.abroad.ex.shared.pushAll(&f.woken)
		f.abroad.ex.wakeOne()
	}
	if !f.moving {
		f.show()
		return
	}
	f.moving = false
	defer f.abroad.ex.arrived()
	f.show()
}

// show makes dead letters of what was dropped.
func (f *fanout) show() {
	if len(f.lost) == 0 {
		return
	}
	defer f.show() // nothing is left unless somebody has ended this goroutine
	for len(f.lost) > 0 {
		l := f.lost[0]
		f.lost = f.lost[1:]
		l.to.sys.evicted(f.slotIn(l.to.sys), l.to.cell, l.q, l.env)
	}
}

// slotIn is the slot that the sender holds in sys, nil if it has none there.
func (f *fanout) slotIn(sys *System) *slot {
	if f.c == nil || f.own != sys {
		return nil
	}
	return f.c.slot
}

// send puts m into the mailboxes of all who listen to ch and below; it never waits for room.
func (f *fanout) send(ch *channel, m any) error {
	aud, err := ch.listeners(m)
	if err != nil {
		return err
	}
	if len(aud.branches) > 0 {
		f.flush()
		f.abroadTo(ch, aud.branches, m)
	}
	for i := range aud.members {
		f.give(&aud.members[i], m)
	}
	f.flush()
	for _, child := range aud.channels {
		below, ok, err := child.transformed(m)
		if err != nil {
			f.errs = append(f.errs, err)
		}
		if ok {
			_ = f.send(child, below) // if it has just been closed it has no subscribers
		}
	}
	return nil
}

// give puts m into one mailbox.
func (f *fanout) give(t *member, m any) {
	if t.how.adapt != nil {
		var ok bool
		if m, ok = f.adapted(t, m); !ok {
			return
		}
	}
	env := envelope{msg: m, meta: uint64(t.gen) << 32}
	s, a := f.slotIn(t.sys), t.cell
	switch {
	case s == nil:
		f.giveFromOutside(t, env)
		return
	case a.gen.Load() != t.gen:
		t.sub.leave(ErrStopped)
		return
	case a.flags.Load()&flagQueue != 0:
		f.giveQueue(s, t, env)
	default:
		if s.tally.sent&63 == 0 {
			if s.lastNow == 0 {
				s.look()
			}
			env.meta |= uint64(s.ex.stamp(s.lastNow))
		}
		out := a.box.Push(&s.cache, env)
		if out == mailbox.Closed {
			t.sub.leave(ErrStopped)
			return
		}
		if out == mailbox.Wake {
			s.push(a)
		}
		s.tally.sent++
		f.reached++
	}
	if s.left--; s.left <= 0 {
		f.flush()
		f.c.slot.lookFromSend(f.c, t.sub.ref) // which may be another one by now
	}
}

func (f *fanout) adapted(t *member, m any) (any, bool) {
	f.flush() // nobody waits for the user's code
	m, ok, err := apply(t.how.adapt, m)
	if err != nil {
		f.missed(t.sub, err)
	}
	return m, ok
}

// giveFromOutside is give for who has no slot in the receiver's System. What it wakes becomes runnable at the next flush.
func (f *fanout) giveFromOutside(t *member, env envelope) {
	sys, a := t.sys, t.cell
	if sd := sys.ex.seeded; sd != nil {
		f.flush()
		sd.awaitSend(f.ctx, t.sub.ref, env.msg)
	}
	if a.gen.Load() != t.gen {
		t.sub.leave(ErrStopped)
		return
	}
	f.goAbroad(sys)
	if a.flags.Load()&flagQueue != 0 {
		f.giveQueue(nil, t, env)
		return
	}
	if f.out.n++; f.out.n&63 == 0 {
		env.meta |= uint64(sys.ex.stamp(sys.ex.now()))
	}
	sys.outside.sent.Add(1)
	out := a.box.Push(&f.out.cache, env)
	if out == mailbox.Closed {
		sys.outside.sent.Add(^uint64(0))
		t.sub.leave(ErrStopped)
		return
	}
	if out == mailbox.Wake {
		f.wakes(a)
	}
	f.reached++
}

// wakes has a run, soon.
func (f *fanout) wakes(a *cell) {
	if f.abroad.ex.seeded != nil || a.flags.Load()&flagSystem != 0 {
		f.abroad.ex.pushShared(a)
		return
	}
	if f.woken.push(a); f.woken.n >= ringCells {
		f.flush()
	}
}

// giveQueue is give for a mailbox that is bounded or ordered. s is the sender's slot, or nil after goAbroad.
func (f *fanout) giveQueue(s *slot, t *member, env envelope) {
	switch out, q := f.offer(s, t, env); out {
	case mailbox.Closed:
		t.sub.leave(ErrStopped)
	case mailbox.Full:
		f.full(s, t, q, env)
		if t.how.slow == SlowCut && t.sub.leave(ErrFull) {
			t.sys.say(slog.LevelWarn, "slow subscriber cut off", "channel", t.sub.ch.name, "actor", t.sub.ref.String())
		}
	case mailbox.Queued, mailbox.Wake, mailbox.Dropped:
	}
}

// offer pushes without waiting. With Closed and Full the message has not been counted.
func (f *fanout) offer(s *slot, t *member, env envelope) (mailbox.Outcome, queue) {
	cold := t.cell.cold.Load()
	if cold == nil || cold.queue == nil {
		return mailbox.Closed, nil
	}
	rank, err := cold.queue.rank(env)
	if err != nil {
		f.missed(t.sub, t.sys.refused(s, err))
		return mailbox.Dropped, nil
	}
	t.sys.counting(s)
	out, oldest, evicted := cold.queue.push(env, rank)
	switch out {
	case mailbox.Closed, mailbox.Full:
		t.sys.uncount(s)
		return out, cold.queue
	case mailbox.Wake:
		t.sys.schedule(s, t.cell)
	case mailbox.Dropped:
		oldest, evicted = env, true
	case mailbox.Queued:
	}
	if evicted {
		f.lost = append(f.lost, loss{t, cold.queue, oldest})
	}
	f.reached++
	return out, nil
}

// full does what the policy says about a message that the mailbox q has no room for.
func (f *fanout) full(s *slot, t *member, q queue, env envelope) {
	if t.how.slow == SlowSuspend {
		f.slow = append(f.slow, newSeat(t, q.(boundedQueue), env))
		return
	}
	t.sub.dropped.Add(1)
	t.sys.counting(s)
	f.lost = append(f.lost, loss{t, q, env})
}

// retained puts what the channel retains, adapted, into the mailbox of a new subscriber. The caller holds its channel's mu: so nothing
// newer comes first, but nobody else's code may run here, nor anybody wait; settle does the rest.
func (f *fanout) retained(t *member, m any) {
	env := envelope{msg: m, meta: uint64(t.gen) << 32}
	if t.cell.flags.Load()&flagQueue == 0 {
		_ = t.sys.postEnvelope(nil, t.cell, env) // if it has just ended it leaves at once
		return
	}
	f.goAbroad(t.sys)
	out, q := f.offer(nil, t, env)
	switch {
	case out != mailbox.Full:
	case t.how.slow == SlowCut:
		f.errs = append(f.errs, t.sys.refused(nil, ErrFull))
	default:
		f.full(nil, t, q, env)
		for _, p := range f.slow {
			p.wake = f.waker()
			p.join(nil)
		}
	}
}

// missed notes that one subscriber does not get the message.
func (f *fanout) missed(s *Subscription, err error) {
	f.errs = append(f.errs, fmt.Errorf("actor: channel %s: %v not reached: %w", s.ch.name, s.ref, err))
}

// settle waits for slow subscribers and returns the errors, if there are any.
func (f *fanout) settle(ch *channel, atLeast int) error {
	f.flush()
	if len(f.slow)+len(f.away) > 0 {
		if left, err := f.wait(ch, atLeast); left > 0 {
			f.errs = append(f.errs, fmt.Errorf("actor: channel %s: %d subscribers not reached: %w", ch.name, left, err))
		}
	}
	if len(f.errs) == 1 {
		return f.errs[0]
	}
	return errors.Join(f.errs...)
}

// seat is a message in line for room in a slow subscriber's mailbox. Its sender waits, or has left it behind.
type seat struct {
	mailbox.Waiter[envelope]
	sub    *Subscription
	q      boundedQueue
	listed *list.Element // in sub.suspended; guarded by the channel's mu
	state  atomic.Uint32
	done   chan struct{} // closed when the state is final and somebody waits
	wake   func()
	joined bool
}

// States of a seat. It is in line from join until the state is seatIn or seatGone; seatBehind becomes neither.
const (
	seatWaiting uint32 = iota
	seatIn             // the message is in the mailbox
	seatGone           // the subscriber has ended or left, and gets it no more
	seatBehind         // the sender does not wait
)

func newSeat(t *member, q boundedQueue, env envelope) *seat {
	p := &seat{sub: t.sub, q: q, done: make(chan struct{})}
	p.Elem, p.Ready = env, p.ready
	return p
}

// join queues up, unless the subscriber has left. The caller holds the channel's mu, so that who leaves later finds it. s is the
// sender's slot if it is one of the receiver's System.
func (p *seat) join(s *slot) {
	p.joined = true
	if p.sub.left != nil {
		p.state.Store(seatGone)
		return
	}
	ref := p.sub.ref
	sys := ref.node.sys
	if s == nil {
		sys.ex.departs()
		defer sys.ex.arrived()
	}
	sys.counting(s)
	out, waiting := p.q.Await(&p.Waiter)
	switch {
	case out == mailbox.Wake:
		sys.schedule(s, sys.table.at(uint32(ref.id)))
		p.state.Store(seatIn)
		return
	case out == mailbox.Queued:
		p.state.Store(seatIn)
		return
	case waiting:
		p.listed = p.sub.suspended.PushBack(p)
	default:
		p.state.Store(seatGone)
	}
	sys.uncount(s)
}

// ready hears from the mailbox that the message got in, or that the subscriber has ended.
func (p *seat) ready(o mailbox.Outcome) {
	ref := p.sub.ref
	sys := ref.node.sys
	sys.admitted(o)
	state := seatIn
	if o != mailbox.Queued {
		state = seatGone
	}
	if p.outcome(state) {
		return
	}
	p.sub.behind.Store(false)
	if state == seatGone {
		sys.counting(nil)
		sys.deadLetter(nil, ref, p.Elem, DeadStopped, nil)
	}
}

// outcome tells the sender how its wait has ended; false if it does not wait.
func (p *seat) outcome(state uint32) bool {
	if !p.state.CompareAndSwap(seatWaiting, state) {
		return false
	}
	close(p.done)
	p.wake()
	return true
}

// letGo ends the waits of senders whose subscribers have left.
func letGo(freed []*seat) {
	for _, p := range freed {
		p.outcome(seatGone)
	}
}

// unlist takes the seat from among those that end with the subscription.
func (p *seat) unlist() {
	mu := &p.sub.ch.mu
	mu.Lock()
	defer mu.Unlock()
	p.unlistLocked()
}

func (p *seat) unlistLocked() {
	if p.listed != nil {
		p.sub.suspended.Remove(p.listed)
		p.listed = nil
	}
}

// leaveBehind has the message stay in line without its sender, unless another one does so already.
func (p *seat) leaveBehind() bool {
	mu := &p.sub.ch.mu
	mu.Lock()
	defer mu.Unlock()
	if p.listed == nil || !p.sub.behind.CompareAndSwap(false, true) {
		return false
	}
	if !p.state.CompareAndSwap(seatWaiting, seatBehind) {
		p.sub.behind.Store(false)
		return false
	}
	p.unlistLocked()
	return true
}

// giveUp takes the message out of its line; true if it has got in before.
func (p *seat) giveUp() bool {
	p.unlist()
	if !p.joined || p.q.Cancel(&p.Waiter) {
		return false
	}
	if p.state.Load() == seatWaiting {
		<-p.done // it is about to end by itself
	}
	return p.state.Load() == seatIn
}

// wait waits for room in the mailboxes of slow subscribers: of all of them or, with atLeast > 0, until so many have the message.
// It returns how many did not get it, and why. An actor suspends, any other goroutine blocks.
func (f *fanout) wait(ch *channel, atLeast int) (left int, err error) {
	w, err := enter(f.ctx)
	defer w.leave()
	over := false
	defer func() {
		if !over {
			f.giveUp() // killed
			f.giveUpAway(ErrKilled)
		}
	}()
	if err == nil {
		err = f.queueUp(&w, ch, atLeast)
	}
	over = true
	f.giveUpAway(err)
	return f.giveUp(), err
}

// giveUp takes the message out of all lines and returns for how many it has not got in.
func (f *fanout) giveUp() (left int) {
	for _, p := range f.slow {
		switch {
		case p.state.Load() == seatGone:
		case p.giveUp():
			f.reached++
		case p.state.Load() != seatGone:
			_ = p.sub.ref.node.sys.refused(nil, ErrStopped)
			left++
		}
	}
	f.slow = nil
	return left
}

// waker returns what wakes the sender from its wait.
func (f *fanout) waker() func() {
	if f.wake != nil {
		return f.wake
	}
	if c, ok := FromContext(f.ctx); ok && c.here() != nil {
		sys, a := c.sys, c.cell
		f.wake = func() { sys.rouse(nil, a) }
		return f.wake
	}
	bell := make(chan struct{}, 1)
	f.bell = bell
	f.wake = func() {
		select {
		case bell <- struct{}{}:
		default:
		}
	}
	return f.wake
}

// queueUp has the message wait in all lines at once, so that no slow subscriber holds up another.
func (f *fanout) queueUp(w *waiting, ch *channel, atLeast int) error {
	for _, a := range f.away {
		a.p.Notify(f.waker())
	}
	for _, p := range f.slow {
		if p.joined {
			continue
		}
		p.wake = f.waker()
		var s *slot
		if w.c != nil {
			s = w.slotIn(p.sub.ref.node.sys)
		}
		mu := &p.sub.ch.mu
		mu.Lock()
		p.join(s)
		mu.Unlock()
	}
	if w.c == nil {
		return f.block(ch.sys, atLeast)
	}
	defer w.c.edge.clear()
	for !f.settled(atLeast) {
		if f.point(w, atLeast) {
			continue
		}
		if err := w.sleep(waitPark); err != nil {
			return err
		}
	}
	return nil
}

// block is the wait of a goroutine that is no actor's.
func (f *fanout) block(sys *System, atLeast int) error {
	for !f.settled(atLeast) {
		select {
		case <-f.bell:
			sys.awaitTurn("has waited for room", nil)
		case <-f.ctx.Done():
			return f.ctx.Err()
		}
	}
	return nil
}

// settled counts those who have the message by now; true if there is nobody to wait for any more.
func (f *fanout) settled(atLeast int) bool {
	f.slow = slices.DeleteFunc(f.slow, func(p *seat) bool {
		switch p.state.Load() {
		case seatIn:
			f.reached++
		case seatGone:
		default:
			return false
		}
		p.unlist()
		return true
	})
	f.away = slices.DeleteFunc(f.away, f.tally)
	if atLeast > 0 && f.reached >= atLeast {
		f.slow = slices.DeleteFunc(f.slow, (*seat).leaveBehind)
		f.away = slices.DeleteFunc(f.away, func(a *away) bool { return a.p.LeaveBehind() })
	}
	if len(f.slow)+len(f.away) == 0 {
		return true
	}
	f.tell()
	return false
}

// point publishes whom the actor waits for, one at a time, and gives up on those that wait for it in turn: then it returns true.
// Where the message may do without some of them there is no deadlock.
func (f *fanout) point(w *waiting, atLeast int) bool {
	if len(f.slow) == 0 || atLeast > 0 && (f.reached+len(f.slow) > atLeast || len(f.away) > 0) {
		return false
	}
	if f.pointed == f.slow[0] {
		return false
	}
	unknown := f.slow[:1]
	if f.pointed == nil {
		unknown = f.slow
	}
	for _, p := range slices.Backward(unknown) {
		w.c.edge.set(w.ctx.Self(), p.sub.ref)
		err := w.ctx.deadlock(w.c, p.sub.ref)
		if err == nil {
			continue
		}
		if p.giveUp() {
			return true // it has got in meanwhile
		}
		if p.state.CompareAndSwap(seatWaiting, seatGone) {
			_ = p.sub.ref.node.sys.refused(nil, err)
			f.missed(p.sub, err)
		}
		return true
	}
	f.pointed = f.slow[0]
	return false
}
