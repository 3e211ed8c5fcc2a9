package actor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
)

// ErrNoReply means that the callee handled a call and neither replied nor kept a Responder.
var ErrNoReply = errors.New("actor: the callee handled the call without a reply")

var errFailNil = fmt.Errorf("%w: it failed it with a nil error", ErrNoReply)

// ErrNoCall answers Reply where there is nothing to reply to: the message in hand was sent, or was answered already.
var ErrNoCall = errors.New("actor: no call to reply to")

// ErrCallerGone means that a reply came too late: its caller gave up, ended, or got another reply first. The reply was
// dead-lettered with DeadLateReply. A handler may return it like any error of Reply: it does not end the actor.
var ErrCallerGone = errors.New("actor: the caller no longer waits for this reply")

// DeadlockError is what a wait that could never end is refused with: a cycle of actors each of which waits for the next.
type DeadlockError struct {
	Path []AnyRef // the cycle, starting and ending with the caller
}

// Error names the cycle.
func (e *DeadlockError) Error() string {
	if e == nil || len(e.Path) == 0 {
		return "actor: deadlock"
	}
	var s strings.Builder
	s.WriteString("actor: deadlock:")
	for i, r := range e.Path {
		if i > 0 {
			s.WriteString(" waits for")
		}
		s.WriteString(" " + r.String())
	}
	return s.String()
}

// Values of call.state, in its low bits; seq<<callShift above them.
const (
	callFree    uint64 = iota
	callWaiting        // the caller waits
	callFilling        // a replier has won and writes
	callDone           // value or err is there
	callMask    uint64 = 3
	callShift          = 2
)

// call is one request and its reply. A carrier has one, used again and again: seq tells the uses apart, so that a reply
// that comes late finds its use over. Nothing in it is locked: what others than the caller write carries the use it is for,
// and gives way to a later one.
type call struct {
	state atomic.Uint64
	car   *carrier  // of a calling actor
	cell  *cell     // the calling actor
	done  chan bool // of a calling goroutine
	sys   *System   // of the caller; of the callee where a goroutine calls, or another node
	back  Caller    // where another node calls
	value any
	err   error
	until atomic.Int64 // deadline on the clock of home, 0 for none

	holder atomic.Uint64 // seq<<32 | index of the actor that received the call, to be woken when the caller gives up
	watch  atomic.Pointer[callWatch]
	moved  atomic.Pointer[callMove]

	from     atomic.Uint64 // the caller's number, its callee's and that one's node: the edge of a use that waits
	toID     atomic.Uint64
	calleeAt atomic.Pointer[node]
}

// callWatch is the callee's context, to be cancelled when the caller of that use gives up.
type callWatch struct {
	seq uint32
	ext *contextExt
}

// callMove says who owes the reply of a use since it was forwarded; n counts how often it was.
type callMove struct {
	seq uint32
	n   uint32
	to  AnyRef // zero for a Responder: it may be answered from anywhere
}

// callRef is one use of a call.
type callRef struct {
	c   *call
	seq uint32
}

// open begins a use; the caller has no other. What was prepared for it is visible to whoever sees it wait.
func (c *call) open() uint32 {
	seq := uint32(c.state.Load()>>callShift) + 1
	c.value, c.err = nil, nil
	c.state.Store(uint64(seq)<<callShift | callWaiting)
	return seq
}

// aim has the next use say whom it waits for. What stays the same is not written again: a store costs more than a look.
func (c *call) aim(from uint64, to AnyRef) {
	if c.from.Load() != from {
		c.from.Store(from)
	}
	if c.toID.Load() != to.id {
		c.toID.Store(to.id)
	}
	if c.calleeAt.Load() != to.node {
		c.calleeAt.Store(to.node)
	}
}

// win claims the right to answer use seq.
func (c *call) win(seq uint32) bool {
	return c.state.CompareAndSwap(uint64(seq)<<callShift|callWaiting, uint64(seq)<<callShift|callFilling)
}

// waiting reports whether use seq still wants its reply.
func (c *call) waiting(seq uint32) bool { return c.state.Load() == uint64(seq)<<callShift|callWaiting }

// later reports whether use a was opened after use b.
func later(a, b uint32) bool { return int32(a-b) > 0 }

// taken tells the call who has it in hand; false if nobody waits for it any more.
func (c *call) taken(seq uint32, a *cell) bool {
	for {
		old := c.holder.Load()
		if later(uint32(old>>32), seq) {
			return false
		}
		if c.holder.CompareAndSwap(old, uint64(seq)<<32|uint64(a.idx)) {
			return c.waiting(seq) // a caller who gives up after this sees the holder
		}
	}
}

// home is the System that the call went to first: deadlines count from its start.
func (c *call) home() *System {
	if at := c.calleeAt.Load(); at != nil && at.sys != nil {
		return at.sys
	}
	return c.sys
}

// deadlineOf is the deadline of use seq as time since the start of sys, 0 for none. It is read first: it holds if the use still waits.
func (c *call) deadlineOf(sys *System, seq uint32) time.Duration {
	until, home := time.Duration(c.until.Load()), c.home()
	if until == 0 || !c.waiting(seq) {
		return 0
	}
	if home != sys {
		until = max(home.ex.start.Add(until).Sub(sys.ex.start), 1)
	}
	return until
}

// abandoned returns the error with which work on a call should end whose caller has given up.
func (c *call) abandoned(seq uint32) error {
	if c.waiting(seq) || uint32(c.state.Load()>>callShift) == seq {
		return nil
	}
	return context.Canceled
}

// observe has ext cancelled when the caller gives up.
func (c *call) observe(seq uint32, ext *contextExt) error {
	w := &callWatch{seq, ext}
	for {
		old := c.watch.Load()
		if old != nil && later(old.seq, seq) {
			return c.abandoned(seq)
		}
		if c.watch.CompareAndSwap(old, w) {
			break
		}
	}
	if !c.waiting(seq) {
		return c.abandoned(seq)
	}
	return nil
}

// unobserve undoes observe.
func (c *call) unobserve(ext *contextExt) {
	if w := c.watch.Load(); w != nil && w.ext == ext {
		c.watch.CompareAndSwap(w, nil)
	}
}

// move says that use seq waits for to from now on, if it still waits for from.
func (c *call) move(seq uint32, from, to AnyRef) {
	for {
		old := c.moved.Load()
		if old != nil && later(old.seq, seq) {
			return
		}
		m := &callMove{seq: seq, to: to}
		if old != nil && old.seq == seq {
			if old.to != from {
				return
			}
			m.n = old.n + 1
		}
		if c.moved.CompareAndSwap(old, m) {
			return
		}
	}
}

// edge returns whom the actor from waits for by this call, the zero ref if for nobody, and a version of that.
func (c *call) edge(from AnyRef) (AnyRef, uint64) {
	st := c.state.Load()
	if st&callMask != callWaiting || c.from.Load() != from.id {
		return AnyRef{}, 0
	}
	to := AnyRef{c.calleeAt.Load(), c.toID.Load()}
	if m := c.moved.Load(); m != nil && m.seq == uint32(st>>callShift) {
		to = m.to
		return to, st | uint64(m.n+1)<<(32+callShift)
	}
	if c.state.Load() != st {
		return AnyRef{}, 0
	}
	return to, st
}

// finish delivers the outcome of use seq; s is the replier's slot or nil. false: nobody waits.
func (c *call) finish(s *slot, seq uint32, value any, err error) bool {
	if !c.win(seq) {
		return false
	}
	c.value, c.err = value, err
	sys, cell, done := c.sys, c.cell, c.done
	c.state.Store(uint64(seq)<<callShift | callDone)
	if c.back != nil {
		m, _ := value.(proto.Message)
		c.back.Answered(m, err)
		return true
	}
	if done != nil {
		done <- true
		return true
	}
	if cell.unpark() {
		if s != nil && s.ex.sys != sys {
			s = nil
		}
		sys.schedule(s, cell)
	}
	return true
}

func (c *call) fail(s *slot, seq uint32, err error) { c.finish(s, seq, nil, err) }

// close ends use seq from the caller's side: what comes later is late. It reports whether the reply was there already.
func (c *call) close(seq uint32, why error) (answered bool) {
	for {
		st := c.state.Load()
		switch st & callMask {
		case callDone:
			c.state.Store(uint64(seq)<<callShift | callFree)
			return true
		case callFilling:
			continue // the replier is between two stores
		}
		if c.state.CompareAndSwap(st, uint64(seq+1)<<callShift|callFree) {
			break
		}
	}
	if w := c.watch.Load(); w != nil && w.seq == seq {
		if why != context.DeadlineExceeded { //nolint:errorlint // an interrupt's error is the user's, and its Is may panic
			why = context.Canceled
		}
		w.ext.cancel(why)
		c.watch.CompareAndSwap(w, nil)
	}
	if h := c.holder.Load(); uint32(h>>32) == seq {
		sys := c.home()
		if m := c.moved.Load(); m != nil && m.seq == seq && m.to.node != nil {
			if sys = m.to.node.sys; sys == nil {
				return false // another node has it
			}
		}
		if a := sys.table.at(uint32(h)); a != nil {
			sys.rouse(nil, a)
		}
	}
	return false
}

// Call sends m to r and waits for the reply, which must be of type R. From an actor it suspends the actor and holds no slot;
// from any other goroutine it blocks that goroutine. ctx bounds the wait: its deadline and its end also reach the callee's
// Context, and a request that has expired before its turn is not handled.
//
// It fails at once, and by its own path, with *ExitError if the callee ends first, ErrStopped or ErrFull if the message was
// not delivered, *DeadlockError if the callee waits for the caller, ErrNoReply if the callee did not answer, ErrWrongType
// if the reply is no R, else with the error that the callee passed to Fail, or ctx's own.
// Cost: BenchmarkCall, BenchmarkCallInside; 0 allocs from an actor.
func Call[R, M proto.Message](ctx context.Context, r Ref[M], m M) (R, error) {
	v, _, err := doCall(ctx, r.AnyRef, m)
	if err != nil {
		var zero R
		return zero, err
	}
	return asReply[R](r.AnyRef, v)
}

func asReply[R proto.Message](from AnyRef, v any) (reply R, err error) {
	reply, ok := v.(R)
	if !ok {
		err = fmt.Errorf("actor: call of %v: %w: the reply is a %T", from, ErrWrongType, v)
	}
	return reply, err
}

// doCall is Call without types. refused says that the error is the mailbox's: the callee never had the message.
func doCall(ctx context.Context, r AnyRef, m proto.Message) (v any, refused bool, err error) {
	if r.node == nil {
		return nil, false, ErrNoActor
	}
	w, err := enter(ctx)
	if err != nil {
		w.leave()
		return nil, false, err
	}
	if w.c == nil {
		return callFromGoroutine(ctx, r, m)
	}
	defer w.leave()
	return w.call(r, m)
}

// call is Call from an actor.
func (w *waiting) call(r AnyRef, m proto.Message) (v any, refused bool, err error) {
	if err := w.check(); err != nil {
		return nil, false, err
	}
	c, a := w.c, w.ctx.cell
	k := c.call.Load()
	if k == nil {
		k = &call{car: c, sys: w.ctx.sys}
		c.call.Store(k)
	}
	k.cell = a
	until := w.until
	if until != 0 && r.node.sys != k.sys && r.node.sys != nil {
		until = max(k.sys.ex.start.Add(until).Sub(r.node.sys.ex.start), 1)
	}
	if k.until.Load() != int64(until) {
		k.until.Store(int64(until))
	}
	k.aim(w.ctx.id(), r)
	seq := k.open()
	if err := w.ctx.deadlock(c, r); err != nil {
		k.close(seq, err)
		return nil, false, err
	}
	if r.Remote() {
		if noMessage(m) {
			k.close(seq, ErrNilMessage)
			return nil, true, ErrNilMessage
		}
		return w.callAbroad(k, seq, r, m)
	}
	c.names = true
	err = send(w.ctx, r, envelope{msg: m, call: k, meta: uint64(seq)})
	c.names = false
	if err != nil {
		k.close(seq, err)
		return nil, true, err
	}
	for {
		if st := k.state.Load(); st&callMask == callDone {
			break
		}
		if err := w.sleep(waitPark); err != nil {
			c.unname()
			if !k.close(seq, err) {
				return nil, false, err
			}
			break
		}
	}
	v, err = k.value, k.err
	k.value, k.err = nil, nil
	return v, false, err
}

// unname makes the callee that was named as next runnable: its caller does not wait after all.
func (c *carrier) unname() {
	if a := c.job; a != nil {
		c.job = nil
		c.slot.push(a)
	}
}

// dropCall ends the Call that Goexit has ended the caller in.
func (c *carrier) dropCall() {
	c.names = false
	c.unname()
	k := c.call.Load()
	if k == nil {
		return
	}
	if st := k.state.Load(); st&callMask != callFree {
		k.close(uint32(st>>callShift), context.Canceled)
	}
}

// callFromGoroutine is Call from a goroutine outside of actors.
func callFromGoroutine(ctx context.Context, r AnyRef, m proto.Message) (v any, refused bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	if noMessage(m) {
		return nil, false, ErrNilMessage
	}
	sys := r.node.home
	out := sys.ex.outsiders.Get().(*outsider)
	defer sys.ex.outsiders.Put(out)
	k := &out.call
	until := time.Duration(0)
	if at, ok := ctx.Deadline(); ok {
		until = max(at.Sub(sys.ex.start), 1)
	}
	if k.until.Load() != int64(until) {
		k.until.Store(int64(until))
	}
	seq := k.open()
	cancel := func() {}
	if r.Remote() {
		id, err := r.node.out.Send(ctx, AnyRef{}, r, m, RemoteCall{callRef{k, seq}})
		if err != nil {
			k.close(seq, err)
			return nil, true, err
		}
		cancel = func() { r.node.out.Cancel(id) }
	} else if err := sys.sendBy(ctx, out, r, envelope{msg: m, call: k, meta: uint64(seq)}); err != nil {
		k.close(seq, err)
		return nil, true, err
	}
	if done := ctx.Done(); done == nil {
		<-k.done
	} else {
		select {
		case <-k.done:
		case <-done:
			if !k.close(seq, ctx.Err()) {
				cancel()
				return nil, false, ctx.Err()
			}
			<-k.done
		}
	}
	v, err = k.value, k.err
	k.value, k.err = nil, nil
	return v, false, err
}

// IsCall reports whether the message in hand is a call that still wants its reply.
func (ctx *Context) IsCall() bool { return ctx.here() != nil && ctx.answers }

// Reply answers the call in hand with m. ErrNoCall: there is none. ErrCallerGone: its caller no longer waits, and m was
// dead-lettered.
func (ctx *Context) Reply(m proto.Message) error {
	if noMessage(m) {
		return ErrNilMessage
	}
	return ctx.answer(m, nil)
}

// Fail answers the call in hand with an error, which Call returns as it is. Of a nil err, typed or not, the caller gets an error
// that is ErrNoReply and says so.
func (ctx *Context) Fail(err error) error {
	if noMessage(err) {
		err = errFailNil
	}
	return ctx.answer(nil, err)
}

func (ctx *Context) answer(m proto.Message, err error) error {
	c := ctx.here()
	if c == nil {
		return ctx.own()
	}
	if !ctx.answers {
		return ErrNoCall
	}
	ctx.settled(c)
	return ctx.sys.reply(c.slot, callRef{c.env.call, c.env.seq()}, m, err)
}

// reply delivers an answer and counts it as a message of its own: handled by the caller, or dead-lettered.
func (sys *System) reply(s *slot, r callRef, m proto.Message, err error) error {
	if s == nil {
		sys.ex.departs() // the System is not at rest between the steps of the count
		defer sys.ex.arrived()
	}
	var value any
	if m != nil {
		value = m
	}
	ok := r.c.finish(s, r.seq, value, err)
	if m != nil {
		sys.countReply(s, ok, m)
	}
	if !ok {
		return ErrCallerGone
	}
	return nil
}

func (sys *System) countReply(s *slot, ok bool, m proto.Message) {
	if s != nil {
		s.tally.sent++
		if ok {
			s.tally.handled++
			return
		}
	} else {
		sys.outside.sent.Add(1)
		if ok {
			sys.outside.handled.Add(1)
			return
		}
	}
	sys.deadLetter(s, AnyRef{}, envelope{msg: m}, DeadLateReply, nil)
}

// Responder is the right to answer one call later, or from elsewhere: it may be kept, passed to another actor in this
// process or to a goroutine. The first Reply or Fail counts. If the actor that took it ends first, the call fails with *ExitError.
type Responder struct {
	sys *System
	ref callRef
}

// Responder takes the call in hand out of the actor's hands: the handler may return without a reply. ErrNoCall: there is
// none. A call that waits for a Responder no longer counts for the detection of cycles.
func (ctx *Context) Responder() (Responder, error) {
	c := ctx.here()
	if c == nil {
		return Responder{}, ctx.own()
	}
	if !ctx.answers {
		return Responder{}, ErrNoCall
	}
	ctx.settled(c)
	ref := callRef{c.env.call, c.env.seq()}
	ref.c.move(ref.seq, ctx.Self(), AnyRef{})
	ctx.keepOpen(ref)
	return Responder{ctx.sys, ref}, nil
}

// keepOpen remembers a call that this actor owes a reply to beyond the message in hand, and looks at a few others, in turn, whether
// they were answered meanwhile: it forgets faster than it learns, at the same cost however many are open.
func (ctx *Context) keepOpen(ref callRef) {
	mu := ctx.sys.locks.of(ctx.cell.idx)
	mu.Lock()
	defer mu.Unlock()
	cold := ctx.cell.coldOf()
	cold.open.add(ref)
}

// openCalls are calls kept as Responders, in no order.
type openCalls struct {
	list []callRef
	at   int // where to look next
}

func (o *openCalls) add(ref callRef) {
	for range min(len(o.list), 3) {
		if o.at >= len(o.list) {
			o.at = 0
		}
		if r := o.list[o.at]; r.c.waiting(r.seq) {
			o.at++
			continue
		}
		last := len(o.list) - 1
		o.list[o.at], o.list[last] = o.list[last], callRef{}
		o.list = o.list[:last]
	}
	if cap(o.list) > 64 && len(o.list) < cap(o.list)/4 {
		o.list = append(make([]callRef, 0, cap(o.list)/2), o.list...)
	}
	o.list = append(o.list, ref)
}

// Waiting reports whether the caller still waits for an answer.
func (r Responder) Waiting() bool { return r.ref.c != nil && r.ref.c.waiting(r.ref.seq) }

// Reply answers the call with m, from any goroutine. ErrCallerGone: nobody waits any more, m was dead-lettered.
func (r Responder) Reply(m proto.Message) error {
	if noMessage(m) {
		return ErrNilMessage
	}
	if r.sys == nil {
		return ErrNoCall
	}
	r.sys.awaitTurn("replies", m)
	return r.sys.reply(nil, r.ref, m, nil)
}

// Fail answers the call with an error, from any goroutine. A nil one is told as by Context.Fail.
func (r Responder) Fail(err error) error {
	if r.sys == nil {
		return ErrNoCall
	}
	if noMessage(err) {
		err = errFailNil
	}
	r.sys.awaitTurn("fails a call", nil)
	return r.sys.reply(nil, r.ref, nil, err)
}

// Forward hands the message in hand to another actor. If it is a call, the reply will come from there and this actor owes
// none any more; if its caller would wait for itself then, the call fails with *DeadlockError and is not forwarded, which is no
// error here. On error the message is still in this actor's hands.
func Forward[M proto.Message](ctx *Context, to Ref[M], m M) error {
	c := ctx.here()
	if c == nil {
		return ctx.own()
	}
	if !ctx.answers {
		return to.Send(ctx, m)
	}
	k, seq := c.env.call, c.env.seq()
	k.move(seq, ctx.Self(), to.AnyRef)
	if err := k.deadlock(to.AnyRef); err != nil && k.finish(c.slot, seq, nil, err) {
		ctx.settled(c)
		return nil
	}
	if err := send(ctx, to.AnyRef, envelope{msg: m, call: k, meta: uint64(seq)}); err != nil {
		k.move(seq, to.AnyRef, ctx.Self())
		return err
	}
	ctx.settled(c)
	return nil
}

// edge says whom the actor on this carrier waits for by something else than a call: a lock, room in a full mailbox, an actor's
// end. The waiting actor writes it; version tells its values apart, so that a walk can see that nothing moved meanwhile.
// It is made at the first such wait: most carriers never need one.
type edge struct{ p atomic.Pointer[edgeState] }

type edgeState struct {
	mu      sync.Mutex
	from    AnyRef // who waits: a carrier serves many actors
	to      AnyRef
	lock    *lockCore // instead of to: whoever owns it by then
	scope   *Scope    // instead of to: all children that it has by then
	version uint64
}

// state is for the carrier's own actor, which alone points the edge somewhere.
func (e *edge) state() *edgeState {
	st := e.p.Load()
	if st == nil {
		st = new(edgeState)
		e.p.Store(st)
	}
	return st
}

func (st *edgeState) set(from, to AnyRef, lock *lockCore, scope *Scope) {
	st.mu.Lock()
	st.from, st.to, st.lock, st.scope = from, to, lock, scope
	st.version++
	st.mu.Unlock()
}

func (e *edge) set(from, to AnyRef) { e.state().set(from, to, nil, nil) }

// setLock has the edge lead to the owner of l, who may change while from waits.
func (e *edge) setLock(from AnyRef, l *lockCore) { e.state().set(from, AnyRef{}, l, nil) }

// setScope has the edge lead to all living children of s. read tells of none of them, fork of all.
func (e *edge) setScope(from AnyRef, s *Scope) { e.state().set(from, AnyRef{}, nil, s) }

func (e *edge) clear() {
	if st := e.p.Load(); st != nil {
		st.set(AnyRef{}, AnyRef{}, nil, nil)
	}
}

// read returns whom the actor from waits for, the zero ref if for nobody.
func (e *edge) read(from AnyRef) (AnyRef, uint64) {
	st := e.p.Load()
	if st == nil {
		return AnyRef{}, 0
	}
	st.mu.Lock()
	to, lock, version := st.to, st.lock, st.version
	same := st.from == from
	st.mu.Unlock()
	if !same {
		return AnyRef{}, 0
	}
	if lock != nil {
		owner, owners := lock.blocker(from)
		return owner, version<<32 | owners&(1<<32-1)
	}
	return to, version
}

// fork returns those whom the actor from waits for if that is all of a scope's children: self alone if it is one of them.
func (e *edge) fork(from, self AnyRef) ([]AnyRef, uint64) {
	st := e.p.Load()
	if st == nil {
		return nil, 0
	}
	st.mu.Lock()
	scope, version := st.scope, st.version
	same := st.from == from
	st.mu.Unlock()
	if !same || scope == nil {
		return nil, 0
	}
	children, changes := scope.blockers(self)
	return children, version<<32 | changes&(1<<32-1)
}

// waitsFor returns whom the actor from waits for on this carrier, the zero ref if for nobody, and a version of that.
func (c *carrier) waitsFor(from AnyRef) (AnyRef, uint64) {
	if k := c.call.Load(); k != nil {
		if to, version := k.edge(from); to.node != nil {
			return to, version
		}
	}
	return c.edge.read(from)
}

// deadlock looks for a cycle through the edge from this actor to r, which is published already.
func (ctx *Context) deadlock(c *carrier, r AnyRef) error {
	self := ctx.Self()
	if a := r.cell(); r != self && (a == nil || a.restful() || a.waitsForNobody(r, self)) {
		return nil
	}
	return deadlock(self, c)
}

// deadlock looks for a cycle through the call's edge to r, which is published already: is its caller to wait for itself?
func (c *call) deadlock(r AnyRef) error {
	if c.car == nil || r.node == nil {
		return nil // a goroutine's
	}
	caller := AnyRef{c.sys.node, c.from.Load()}
	if a := r.cell(); r != caller && (a == nil || a.restful() || a.waitsForNobody(r, caller)) {
		return nil
	}
	return deadlock(caller, c.car)
}

// restful is the usual case: the callee is idle, and waits for nobody in the middle of a message.
func (a *cell) restful() bool { return a.flags.Load()&flagQueue == 0 && a.box.Resting() }

// waitsForNobody is the usual case otherwise: the actor r, in cell a, runs. self is for whom it is asked.
func (a *cell) waitsForNobody(r, self AnyRef) bool {
	ctx := a.ctx.Load()
	if ctx == nil {
		return true
	}
	c := ctx.car.Load()
	if c == nil {
		return true
	}
	if to, _ := c.waitsFor(r); to.node != nil {
		return false
	}
	children, _ := c.edge.fork(r, self)
	return children == nil
}

// deadlock walks twice along the edges from self, which waits on c: if no edge of a cycle changed in between, all of them held at
// one moment, and since each of these actors waits, none can move.
func deadlock(self AnyRef, c *carrier) error {
	first := walk{self: self, left: maxWalk}
	if !first.leads(self, c) {
		return nil
	}
	second := walk{self: self, left: maxWalk}
	if !second.leads(self, c) || !slices.Equal(first.path, second.path) || !slices.Equal(first.versions, second.versions) {
		return nil
	}
	return &DeadlockError{Path: append([]AnyRef{self}, first.path...)}
}

// maxWalk bounds the edges that a walk looks at.
const maxWalk = 1024

// walk follows edges until they lead back to self.
type walk struct {
	self     AnyRef
	left     int
	path     []AnyRef // the refs passed, self last
	versions []uint64
}

// leads follows the edges from an actor that waits on c.
func (w *walk) leads(from AnyRef, c *carrier) bool {
	for c != nil {
		to, version := c.waitsFor(from)
		if to.node == nil {
			return w.forks(from, c)
		}
		next, home := w.step(to, version)
		if home {
			return true
		}
		from, c = to, next
	}
	return false
}

// forks follows the edges of a scope's children one after the other: their parent waits for each of them.
func (w *walk) forks(from AnyRef, c *carrier) bool {
	children, version := c.edge.fork(from, w.self)
	at := len(w.path)
	for _, child := range children {
		next, home := w.step(child, version)
		if home || w.leads(child, next) {
			return true
		}
		w.path, w.versions = w.path[:at], w.versions[:at]
	}
	return false
}

// step passes an edge; it returns the carrier on which to waits, or nil.
func (w *walk) step(to AnyRef, version uint64) (next *carrier, home bool) {
	if w.left--; w.left < 0 {
		return nil, false
	}
	w.path, w.versions = append(w.path, to), append(w.versions, version)
	if to == w.self {
		return nil, true
	}
	a := to.cell()
	if a == nil || a.ctl.Load()&(ctlStop|ctlKill|ctlInterrupt) != 0 {
		return nil, false // it has ended, or its wait is about to end
	}
	ctx := a.ctx.Load()
	if ctx == nil || ctx.Self() != to {
		return nil, false
	}
	return ctx.car.Load(), false
}
