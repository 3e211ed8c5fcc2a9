package actor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"
)

// Down tells that an actor has ended.
type Down struct {
	Ref    AnyRef // who ended
	Reason Reason // why
	Value  any    // what the actor set with SetValue
}

// MonitorRef names one monitor, for Demonitor. It is comparable.
type MonitorRef struct {
	target AnyRef
	id     uint64
}

// monitor is one actor's or goroutine's interest in the end of another actor.
type monitor struct {
	id    uint64         // of who's System, or of the target's if who is zero
	who   AnyRef         // the watching actor, or zero
	adapt func(Down) any // turns the Down into who's message
	call  func(Down)     // for Wait: called instead
	turn  uint64         // monitors are told in the order in which the target got them
}

// monitorKey finds a monitor at its target. Watchers of several Systems may use the same id.
type monitorKey struct {
	by *node // whose id it is, nil for the target's own System
	id uint64
}

func (m *monitor) key() monitorKey { return monitorKey{m.who.node, m.id} }

// observe has the actor tell m of its end. The caller holds the cell's lock, or nobody else knows the cell.
func (c *cold) observe(m *monitor) {
	if c.monitors == nil {
		c.monitors = make(map[monitorKey]*monitor)
	}
	c.turns++
	m.turn = c.turns
	c.monitors[m.key()] = m
}

// downMsg is a Down on its way through a mailbox.
type downMsg struct {
	down  Down
	id    uint64 // of the monitor or link, at the watcher
	link  bool
	adapt func(Down) any
}

// message makes the Down a message of the watcher's type, unless the watcher has demonitored or unlinked meanwhile.
func (d *downMsg) message(ctx *Context) any {
	mu := ctx.sys.lock(ctx.cell)
	wanted := d.wanted(ctx.cell.coldOf())
	mu.Unlock()
	if !wanted {
		return nil
	}
	return d.adapt(d.down)
}

// wanted reports whether the watcher still wants the Down, and takes note that it gets it. The caller holds the cell's lock.
func (d *downMsg) wanted(c *cold) bool {
	if d.link {
		l, ok := c.links[d.down.Ref]
		if ok = ok && l.id == d.id; ok {
			delete(c.links, d.down.Ref)
		}
		return ok
	}
	_, ok := c.watches[d.id]
	delete(c.watches, d.id)
	return ok
}

// Monitor has the calling actor told, once, when target ends: adapt turns the Down into a message of the caller's own
// type, in the caller's turn. The Down travels in order, behind what the target sent before it ended. If the target has
// ended already the Down comes at once, with ReasonNoActor; as long as the target's end is remembered (see AnyRef.Wait), its
// Value is the target's and its Reason.Err wraps the target's *ExitError. If adapt returns nil there is no message.
// Errors: ErrWrongType if the caller takes no M, ErrNoActor for a zero target, ErrForeignGoroutine, ErrEnded, ErrInBlock.
// Cost: one map entry on each side.
func Monitor[M proto.Message](ctx *Context, target AnyRef, adapt func(Down) M) (MonitorRef, error) {
	c := ctx.here()
	if c == nil {
		return MonitorRef{}, ctx.own()
	}
	if adapt == nil {
		return MonitorRef{}, errors.New("actor: Monitor needs a function that makes a message of a Down")
	}
	if err := fits[M](ctx); err != nil {
		return MonitorRef{}, err
	}
	return ctx.monitor(c.slot, target, func(d Down) any { return adapt(d) })
}

func (ctx *Context) monitor(s *slot, target AnyRef, adapt func(Down) any) (MonitorRef, error) {
	if target.node == nil {
		return MonitorRef{}, ErrNoActor
	}
	sys := ctx.sys
	m := &monitor{id: sys.nextID.Add(1), who: ctx.Self(), adapt: adapt}
	mu := sys.locks.of(ctx.cell.idx)
	mu.Lock()
	cold := ctx.cell.coldOf()
	if cold.watches == nil {
		cold.watches = make(map[uint64]AnyRef)
	}
	cold.watches[m.id] = target
	mu.Unlock()
	if !m.watch(target) {
		m.tell(s, target.gone())
	}
	return MonitorRef{target, m.id}, nil
}

// gone is what is told of an actor that has ended before it was asked about, with what is remembered of its end.
func (r AnyRef) gone() Down {
	d := Down{Ref: r, Reason: Reason{Kind: ReasonNoActor, Err: ErrNoActor}}
	if was, ok := r.remembered(); ok {
		d.Value = was.Value
		d.Reason.Err = fmt.Errorf("%w: %w", ErrNoActor, &ExitError{Ref: r, Reason: was.Reason})
	}
	return d
}

// watch registers m with target; false if target has ended.
func (m *monitor) watch(target AnyRef) bool {
	if target.Remote() {
		target.node.out.Watch(m.who, target, m.id, func(d Down) { m.tell(nil, d) })
		return true
	}
	a, mu := target.locked()
	if a == nil {
		return false
	}
	defer mu.Unlock()
	a.coldOf().observe(m)
	return true
}

func (m *monitor) before(o *monitor) int { return cmp.Compare(m.turn, o.turn) }

func (m *monitor) tell(s *slot, d Down) {
	if m.call != nil {
		m.call(d)
		return
	}
	sys := m.who.node.sys
	if s != nil && s.ex.sys != sys {
		s = nil
	}
	_ = sys.post(s, m.who, &downMsg{down: d, id: m.id, adapt: m.adapt}) // the watcher may have ended: nobody is left to tell
}

// Demonitor ends a monitor: no Down of it arrives after Demonitor has returned, not even one that is queued already.
func (ctx *Context) Demonitor(m MonitorRef) error {
	if ctx.here() == nil {
		return ctx.own()
	}
	mu := ctx.sys.lock(ctx.cell)
	if cold := ctx.cell.cold.Load(); cold != nil {
		delete(cold.watches, m.id)
	}
	mu.Unlock()
	m.target.unwatch(monitorKey{ctx.sys.node, m.id})
	return nil
}

func (r AnyRef) unwatch(k monitorKey) {
	if r.Remote() {
		r.node.out.Unwatch(AnyRef{k.by, 0}, r, k.id)
		return
	}
	a, mu := r.locked()
	if a == nil {
		return
	}
	defer mu.Unlock()
	if cold := a.cold.Load(); cold != nil {
		delete(cold.monitors, k)
	}
}

// link is one side of a link, kept under the other's ref.
type link struct {
	id   uint64 // of the System of the actor that keeps it: an actor's links are told in their order
	told bool   // the other has ended, and the Down of that is in the mailbox
}

// Link ties the calling actor and another together: when one ends abnormally the other ends too, with ReasonError and an
// *ExitError, unless it traps exits. When one ends with ReasonShutdown the other does so as well; ReasonNormal leaves it alone.
// Two actors have one link, however often they call Link. Linking to an actor that has ended already counts as its having
// ended with ReasonNoActor.
func (ctx *Context) Link(other AnyRef) error {
	c := ctx.here()
	if c == nil {
		return ctx.own()
	}
	if other.node == nil {
		return ErrNoActor
	}
	self := ctx.Self()
	if other == self {
		return nil
	}
	if l, ok := self.addLink(other); !ok || l.told {
		return nil // what can be told of other is on its way already
	}
	if other.Remote() {
		if err := other.signal(self, Signal{Kind: SignalLink}); err != nil {
			self.exitSignal(c.slot, Down{Ref: other, Reason: Reason{Kind: ReasonNodeDown, Err: err}})
		}
		return nil
	}
	if _, ok := other.addLink(self); !ok {
		self.exitSignal(c.slot, other.gone())
	}
	return nil
}

// Unlink undoes Link, on both sides. After it has returned the other's end has no effect on the calling actor: no Down of it
// arrives, not even one that is queued already. Only a request to stop that the link has brought before stays, as an exit
// signal does in OTP once it is received: the actor's Context is done by then.
func (ctx *Context) Unlink(other AnyRef) error {
	if ctx.here() == nil {
		return ctx.own()
	}
	ctx.Self().dropLink(other)
	if other.Remote() {
		_ = other.signal(ctx.Self(), Signal{Kind: SignalUnlink}) // a node that is down forgets by itself
		return nil
	}
	other.dropLink(ctx.Self())
	return nil
}

// TrapExit makes the ends of linked actors messages of the calling actor instead of its own end: adapt turns each Down into
// a message of its type, or nil for none; normal ends are told too. A nil adapt ends the trapping. ErrWrongType: the actor takes
// no M.
func TrapExit[M proto.Message](ctx *Context, adapt func(Down) M) error {
	if ctx.here() == nil {
		return ctx.own()
	}
	if err := fits[M](ctx); err != nil && adapt != nil {
		return err
	}
	defer ctx.sys.lock(ctx.cell).Unlock()
	cold := ctx.cell.coldOf()
	cold.trap = nil
	if adapt != nil {
		cold.trap = func(d Down) any { return adapt(d) }
	}
	return nil
}

// addLink gives r its side of a link to another, unless it has one; false if r has ended.
func (r AnyRef) addLink(to AnyRef) (l link, ok bool) {
	a, mu := r.locked()
	if a == nil {
		return link{}, false
	}
	defer mu.Unlock()
	cold := a.coldOf()
	if cold.links == nil {
		cold.links = make(map[AnyRef]link)
	}
	if l, ok = cold.links[to]; !ok {
		l.id = r.node.sys.nextID.Add(1)
		cold.links[to] = l
	}
	return l, true
}

func (r AnyRef) dropLink(to AnyRef) {
	a, mu := r.locked()
	if a == nil {
		return
	}
	defer mu.Unlock()
	if cold := a.cold.Load(); cold != nil {
		delete(cold.links, to)
	}
}

// exitSignal tells r that d.Ref has ended, if they are linked. To look for the link and to act on it is one step, so that
// nothing comes after Unlink.
func (r AnyRef) exitSignal(s *slot, d Down) {
	if r.Remote() {
		_ = r.signal(d.Ref, Signal{Kind: SignalExit, Why: d.Reason}) // a node that is down has been told
		return
	}
	a, mu := r.locked()
	if a == nil {
		return
	}
	sys := r.node.sys
	if s != nil && s.ex.sys != sys {
		s = nil
	}
	cold := a.coldOf()
	l, linked := cold.links[d.Ref]
	switch {
	case !linked || l.told:
		mu.Unlock()
	case cold.trap != nil:
		l.told = true
		cold.links[d.Ref] = l
		down := &downMsg{down: d, id: l.id, link: true, adapt: cold.trap}
		mu.Unlock()
		_ = sys.post(s, r, down) // r may have ended: nobody is left to tell
	default:
		delete(cold.links, d.Ref)
		why := d.passedOn()
		asked := why.Kind != ReasonNormal && a.noteStop(ctlStop, why)
		mu.Unlock()
		if asked {
			r.heedStop(s, a)
		}
	}
}

// passedOn is the reason for which those end who are linked to an actor that has ended and do not trap exits.
func (d Down) passedOn() Reason {
	if d.Reason.Normal() {
		return Reason{Kind: d.Reason.Kind}
	}
	return Reason{Kind: ReasonError, Err: &ExitError{Ref: d.Ref, Reason: d.Reason}}
}

// Stop asks the actor to come to an end, with a normal reason, and returns at once. The request overtakes messages: a handler
// ends after the message in hand, a waiting behaviour gets ErrStopped from its wait and the loop over an inbox ends; what is
// still queued becomes dead letters. Stopping an actor that has ended does nothing.
func (r AnyRef) Stop() {
	r.awaitTurn("stops")
	r.askStop(nil, ctlStop, Reason{})
}

// Shutdown is Stop with ReasonShutdown, as a supervisor stops its children.
func (r AnyRef) Shutdown() {
	r.awaitTurn("shuts down")
	r.askStop(nil, ctlStop, Reason{Kind: ReasonShutdown})
}

// Kill ends the actor at its next wait, or before its next message: its deferred functions run, its waits answer ErrKilled.
// Code that neither waits nor returns cannot be killed; the watchdog works around it.
func (r AnyRef) Kill() {
	r.awaitTurn("kills")
	r.askStop(nil, ctlKill, Reason{Kind: ReasonKilled, Err: ErrKilled})
}

// Drain asks the actor to stop once it has handled everything that is in its mailbox now. It travels as a message: what is
// sent after it becomes dead letters. A routine learns of it when it has received all that came before, also what Select passed
// over: then Receive answers ErrStopped. After that it may still receive under a Cleanup, also what was sent after the request. What a
// behaviour has stashed it must take back itself.
// In a priority mailbox the request counts as a message of priority 0.
func (r AnyRef) Drain() error {
	if r.node == nil {
		return ErrNoActor
	}
	r.awaitTurn("drains")
	if r.Remote() {
		return r.signal(AnyRef{}, Signal{Kind: SignalDrain})
	}
	return r.node.sys.post(nil, r, drainMsg{})
}

type drainMsg struct{}

func (drainMsg) message(ctx *Context) any {
	c := ctx.here()
	if ctx.cell.flags.Load()&flagRoutine == 0 {
		ctx.Self().askStop(c.slot, ctlStop, Reason{})
		return nil
	}
	mu := ctx.sys.locks.of(ctx.cell.idx)
	mu.Lock()
	ctx.cell.coldOf().unstashed = 0
	mu.Unlock()
	ctx.cell.ctl.Or(ctlDrained)
	return nil
}

// Interrupt makes the actor's current wait, or its next one, return an *InterruptError that unwraps to err. Interrupts queue
// up: one for each wait. An err that is nil, typed or not, is refused.
func (r AnyRef) Interrupt(err error) error {
	if noMessage(err) {
		return errors.New("actor: Interrupt needs an error to interrupt with")
	}
	r.awaitTurn("interrupts")
	if r.Remote() {
		return r.signal(AnyRef{}, Signal{Kind: SignalInterrupt, Err: err})
	}
	a, mu := r.locked()
	if a == nil {
		return ErrStopped
	}
	cold := a.coldOf()
	cold.interrupts = append(cold.interrupts, &InterruptError{err})
	a.ctl.Or(ctlInterrupt)
	mu.Unlock()
	r.node.sys.rouse(nil, a)
	return nil
}

// InterruptError is what a wait returns that Interrupt ended. It unwraps to what Interrupt was given.
type InterruptError struct {
	Err error // what Interrupt was given
}

// Error names the cause.
func (e *InterruptError) Error() string {
	if e == nil || e.Err == nil {
		return "actor: interrupted"
	}
	return "actor: interrupted: " + textOf(e.Err)
}

// Unwrap returns what Interrupt was given.
func (e *InterruptError) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.Err
}

func (ctx *Context) takeInterrupt() error {
	a := ctx.cell
	mu := ctx.sys.locks.of(a.idx)
	mu.Lock()
	defer mu.Unlock()
	cold := a.coldOf()
	if len(cold.interrupts) == 0 {
		a.ctl.And(^ctlInterrupt)
		return nil
	}
	err := cold.interrupts[0]
	cold.interrupts = cold.interrupts[1:]
	if len(cold.interrupts) == 0 {
		cold.interrupts = nil
		a.ctl.And(^ctlInterrupt)
	}
	return err
}

// askStop records a request to end and wakes the actor for it. The first reason counts; a kill overrides it.
func (r AnyRef) askStop(s *slot, bit uint32, why Reason) { r.askStopUnless(s, bit, why, nil) }

// askStopUnless is askStop for an actor of which unless, under its lock, does not say no; it reports whether it did not.
func (r AnyRef) askStopUnless(s *slot, bit uint32, why Reason, unless func(*cell) bool) bool {
	if r.Remote() {
		r.askStopAbroad(bit, why)
		return true
	}
	a, mu := r.locked()
	if a == nil {
		return true
	}
	if unless != nil && unless(a) {
		mu.Unlock()
		return false
	}
	asked := a.noteStop(bit, why)
	mu.Unlock()
	switch {
	case asked:
		r.heedStop(s, a)
	case bit == ctlKill:
		r.node.sys.stopChildren(s, a, r.id, true)
	}
	return true
}

// noteStop records a request to end; false if the actor only waits for its children to end. The caller holds the cell's lock.
func (a *cell) noteStop(bit uint32, why Reason) bool {
	if cold := a.cold.Load(); cold != nil && cold.dying {
		return false
	}
	if a.ctl.Load()&ctlStop == 0 || bit == ctlKill {
		switch { // an orderly stop, the usual one, takes no memory
		case why.Kind == ReasonShutdown:
			bit |= ctlShutdown
		case why.Kind != ReasonNormal:
			a.coldOf().stop = why
		}
	}
	a.ctl.Or(bit | ctlStop)
	return true
}

// heedStop has the actor look at a request to end that was just recorded.
func (r AnyRef) heedStop(s *slot, a *cell) {
	if ctx := a.ctx.Load(); ctx != nil && ctx.id() == r.id {
		ctx.ext.Load().cancelAll(ErrStopped)
	}
	r.node.sys.rouse(s, a)
}

// Stop makes the calling actor end normally once the message in hand is done.
func (ctx *Context) Stop() { ctx.Self().Stop() }

// SetValue sets what Wait and Down report as the actor's value. For the actor itself.
func (ctx *Context) SetValue(v any) error {
	if ctx.here() == nil {
		return ctx.own()
	}
	mu := ctx.sys.lock(ctx.cell)
	ctx.cell.coldOf().value = v
	mu.Unlock()
	return nil
}

// Stopping reports whether the actor was asked to stop.
func (ctx *Context) Stopping() bool {
	return !ctx.none() && ctx.cell.ctl.Load()&ctlStop != 0 && !ctx.ended.Load()
}

func (ctx *Context) stopReason() Reason {
	defer ctx.sys.lock(ctx.cell).Unlock()
	switch cold := ctx.cell.cold.Load(); {
	case cold != nil && cold.stop.Kind != ReasonNormal:
		return cold.stop
	case ctx.cell.ctl.Load()&ctlShutdown != 0:
		return Reason{Kind: ReasonShutdown}
	}
	return Reason{}
}

// signals looks at what overtakes messages, between two of them.
func (ctx *Context) signals() (Reason, bool) {
	if ctx.cell.ctl.Load()&(ctlStop|ctlKill) == 0 {
		return Reason{}, false
	}
	ctx.stopping = true
	return ctx.stopReason(), true
}

// endStage says how far the end of the actor on a carrier has got. What the end calls of the user's, OnExit, subscribers and the
// Logger, may call runtime.Goexit; then unwind has finish go on from there.
type endStage uint8

const (
	stageNone  endStage = iota
	stageBegun          // carrier.end says why
	stageExit           // OnExit was called
	stageKept           // what a guarded one leaves for its next incarnation was asked for
	stageLast           // the carrier no longer knows the actor
)

// finish is the first stage of an actor's end, for the reason in c.end, on its own carrier: it gives back what the actor holds
// and closes its mailbox. The second stage follows at once, or when the last child has ended. Each step can be done again.
func (c *carrier) finish(ctx *Context) {
	a, sys := ctx.cell, ctx.sys
	why := *c.end
	c.stage = max(c.stage, stageBegun)
	if why.Err != nil || ctx.stopping {
		c.conclude(ctx, why)
	}
	c.glance = false
	c.release(ctx)
	if c.stage == stageBegun && a.flags.Load()&flagResumable != 0 && (why.Kind == ReasonError || why.Kind == ReasonPanic) && !ctx.stopping && sys.guarded(a) {
		c.ctx, c.end, c.stage = nil, nil, stageLast
		sys.hold(c.slot, a, why, true)
		c.stage = stageNone
		return
	}
	c.finishIncarnation(ctx, why)
}

// finishIncarnation releases what the incarnation held.
func (c *carrier) finishIncarnation(ctx *Context, why Reason) {
	a, sys := ctx.cell, ctx.sys
	if c.stage < stageExit {
		c.stage = stageExit
		ctx.onExit(why)
	}
	ctx.ended.Store(true)
	ctx.ext.Load().cancelAll(ErrStopped)
	exit := &ExitError{Ref: ctx.Self(), Reason: why}
	if sys.guarded(a) {
		c.keepMailbox(a)
		if c.stage < stageKept {
			c.stage = stageKept
			c.persist(ctx)
		}
	} else {
		a.flags.And(^flagGuarded)
		c.closeMailbox(a, ctx.Self(), exit)
	}
	c.giveBack(ctx, exit)
	mu := sys.lock(a)
	children := a.nchild > 0
	if children {
		cold := a.coldOf()
		cold.dying = true
		cold.reason = why
	}
	mu.Unlock()
	s := c.slot
	c.ctx, c.end, c.stage = nil, nil, stageLast
	if children {
		sys.stopChildren(s, a, ctx.id(), why.Kind == ReasonKilled)
		sys.childrenGone(s, a, ctx.id())
	} else {
		sys.over(s, a, why)
	}
	c.stage = stageNone
}

func (ctx *Context) onExit(why Reason) {
	cold := ctx.cell.cold.Load()
	if cold == nil || cold.opts.OnExit == nil {
		return
	}
	ctx.shield(&limitedContext{Context: ctx, at: math.MaxInt64})
	ctx.killed = ctx.killed || why.Kind == ReasonKilled
	ctx.sys.guard("OnExit", func() { cold.opts.OnExit(ctx, why) })
}

// conclude settles the message in hand of an actor that ends while it has one.
func (c *carrier) conclude(ctx *Context, why Reason) {
	if !c.busy {
		return
	}
	exit := &ExitError{Ref: ctx.Self(), Reason: why}
	if why.Normal() {
		if ctx.answers {
			ctx.answers = false
			c.env.call.fail(c.slot, c.env.seq(), exit)
		}
		return
	}
	dead := DeadFailed
	if why.Kind == ReasonPanic {
		dead = DeadPanic
	}
	if !ctx.answers && !c.glance { // a call that Select only looks at is nobody else's to fail
		c.env = c.env.answered()
	}
	c.refuse(ctx, dead, exit)
}

// closeMailbox makes a dead letter of everything that the actor self has not handled. A subscriber that is shown one may call Goexit:
// then a deferred call goes on.
func (c *carrier) closeMailbox(a *cell, self AnyRef, exit *ExitError) {
	closed := false
	defer func() {
		if !closed {
			c.closeMailbox(a, self, exit)
		}
	}()
	early := &ExitError{Ref: exit.Ref, Reason: exit.Reason, Unhandled: true}
	lose := func(env envelope) { c.lose(self, env, early) }
	cold := a.cold.Load()
	if cold != nil {
		if cold.skipped != nil {
			handOut(cold.skipped, lose)
		}
		handOut(&cold.stash, func(env envelope) { c.lose(self, env, exit) }) // it had been in hand
	}
	if a.flags.Load()&flagQueue == 0 {
		a.box.Close(&c.slot.cache, lose)
	} else {
		if m, ok := cold.queue.(*routee); ok {
			m.r.lost(m, exit)
		}
		cold.queue.Close(func(env envelope) { cold.stash = append(cold.stash, env) })
		handOut(&cold.stash, lose)
	}
	closed = true
}

// handOut gives f all of the list. Each leaves the list before.
func handOut(list *[]envelope, f func(envelope)) {
	for len(*list) > 0 {
		env := (*list)[0]
		*list = (*list)[1:]
		f(env)
	}
	*list = nil
}

// lose makes a dead letter of what the actor leaves behind. A Down or a timer's tick that nobody is left to hear counts as handled.
func (c *carrier) lose(self AnyRef, env envelope, exit *ExitError) {
	if ad, ok := env.msg.(adapter); ok {
		c.slot.tally.handled++
		if m, ok := ad.(*mark); ok {
			m.f()
		}
		return
	}
	to := AnyRef{self.node, uint64(env.gen())<<32 | self.id&lowWord}
	c.slot.ex.sys.deadLetter(c.slot, to, env, DeadStopped, exit)
}

// giveBack releases what a dead incarnation held: its calls, monitors, timers, locks.
func (c *carrier) giveBack(ctx *Context, exit *ExitError) {
	a, sys := ctx.cell, ctx.sys
	cold := a.cold.Load()
	if cold == nil {
		return
	}
	mu := sys.lock(a)
	open, watches, timers, held := cold.open, cold.watches, cold.timers, cold.held
	cold.open, cold.watches, cold.timers, cold.held, cold.interrupts = openCalls{}, nil, nil, nil, nil
	mu.Unlock()
	for _, ref := range open.list {
		ref.c.fail(c.slot, ref.seq, exit)
	}
	for id, target := range watches {
		target.unwatch(monitorKey{sys.node, id})
	}
	for t := range timers {
		t.Cancel()
	}
	for h := range held {
		h.abandon(ctx.Self())
	}
}

func (sys *System) stopChildren(s *slot, a *cell, id uint64, kill bool) {
	for _, child := range sys.childrenOf(a, id) {
		if b := child.cell(); b != nil && sys.decide(s, b, child.id, verdictEnd) {
			continue // it was in limbo
		}
		if kill {
			child.askStop(s, ctlKill, Reason{Kind: ReasonKilled, Err: ErrKilled})
			continue
		}
		child.askStop(s, ctlStop, Reason{Kind: ReasonShutdown})
	}
}

// childrenOf lists the living children of actor id, youngest first.
func (sys *System) childrenOf(a *cell, id uint64) []AnyRef {
	defer sys.lock(a).Unlock()
	if a.gen.Load() != uint32(id>>32) {
		return nil // the cell is somebody else's by now
	}
	refs := make([]AnyRef, 0, a.nchild)
	for i := a.child; i != 0; {
		b := sys.table.at(i - 1)
		if gen := b.gen.Load(); gen != 0 { // else it has just ended
			refs = append(refs, AnyRef{sys.node, uint64(gen)<<32 | uint64(b.idx)})
		}
		i = b.older
	}
	return refs
}

// Children lists the actor's living children, youngest first.
func (ctx *Context) Children() []AnyRef {
	if ctx.none() || ctx.ended.Load() {
		return nil
	}
	return ctx.sys.childrenOf(ctx.cell, ctx.id())
}

// childrenGone runs the second stage of a dying actor's end once no child is left.
func (sys *System) childrenGone(s *slot, a *cell, id uint64) {
	mu := sys.lock(a)
	cold := a.cold.Load()
	if cold == nil || !cold.dying || a.nchild > 0 || a.gen.Load() != uint32(id>>32) {
		mu.Unlock()
		return
	}
	cold.dying = false
	why := cold.reason
	mu.Unlock()
	sys.over(s, a, why)
}

// finalize is the second stage: names are freed and end hooks run, then those who watch are told, then the cell.
func (sys *System) finalize(s *slot, a *cell, why Reason) {
	flags := a.flags.Load()
	mu := sys.lock(a)
	a.leaveChannels(mu)
	sys.settleEnd(a, mu)
	gen := a.gen.Load()
	self := AnyRef{sys.node, uint64(gen)<<32 | uint64(a.idx)}
	cold := a.cold.Load()
	a.last = gen
	a.gen.Store(0)
	a.ctx.Store(nil)
	a.beh = nil
	a.cold.Store(nil)
	a.resume = nil
	down := Down{Ref: self, Reason: why}
	if cold != nil {
		down.Value = cold.value
	}
	parent := a.parent
	a.parent = 0
	tomb := why.Kind != ReasonNormal || down.Value != nil
	if tomb {
		a.tomb = &Down{Ref: self, Reason: why, Value: down.Value}
	}
	mu.Unlock()
	if cold != nil && cold.swap != nil {
		cold.swap.end(&ExitError{Ref: self, Reason: why})
	}
	s.tally.ended[why.Kind]++
	if cold != nil {
		cold.tell(s, down)
	}
	defer sys.ended(flags) // deferred, so that it is done whatever the Logger does, this one's and the parent's
	if tomb {
		defer sys.table.bury(a)
	} else {
		defer sys.table.release(a)
	}
	if parent != 0 {
		defer sys.childEnded(s, parent, a)
	}
	if !why.Normal() && !cold.watched() {
		sys.say(slog.LevelWarn, "actor ended", "actor", self.String(), "name", nameOf(cold), "reason", why.String())
	}
}

// tell tells those who watch an actor, and those linked to it, of its end.
func (c *cold) tell(s *slot, d Down) {
	for _, m := range slices.SortedFunc(maps.Values(c.monitors), (*monitor).before) {
		m.tell(s, d)
	}
	for _, other := range inOrderOfLinks(c.links) {
		other.exitSignal(s, d)
	}
}

// watched reports whether anybody was told.
func (c *cold) watched() bool { return c != nil && len(c.monitors)+len(c.links) > 0 }

func inOrderOfLinks(links map[AnyRef]link) []AnyRef {
	return slices.SortedFunc(maps.Keys(links), func(a, b AnyRef) int { return cmp.Compare(links[a].id, links[b].id) })
}

func nameOf(c *cold) string {
	if c == nil {
		return ""
	}
	return c.name
}

// childEnded takes a out of its parent's family.
func (sys *System) childEnded(s *slot, parent uint64, a *cell) {
	p := sys.table.at(uint32(parent))
	mu := sys.lock(p)
	if a.younger != 0 {
		sys.table.at(a.younger - 1).older = a.older
	} else {
		p.child = a.older
	}
	if a.older != 0 {
		sys.table.at(a.older - 1).younger = a.younger
	}
	a.older, a.younger = 0, 0
	p.nchild--
	last := p.nchild == 0
	mu.Unlock()
	if last {
		sys.childrenGone(s, p, parent)
	}
}

func (sys *System) adopt(p, a *cell, parent uint64) {
	mu := sys.lock(p)
	a.parent = parent
	a.older, a.younger = p.child, 0
	if p.child != 0 {
		sys.table.at(p.child - 1).younger = a.idx + 1
	}
	p.child = a.idx + 1
	p.nchild++
	mu.Unlock()
}

// guard runs user code that has no actor to die: a panic is logged.
func (sys *System) guard(what string, f func()) {
	defer func() {
		if v := recover(); v != nil {
			sys.say(slog.LevelError, "panic in "+what, "panic", textOf(v), "stack", newPanicError(v).Stack())
		}
	}()
	f()
}

// say logs for the System. A Logger that panics has nobody to tell it to.
func (sys *System) say(level slog.Level, what string, args ...any) {
	defer func() { _ = recover() }()
	sys.log.Log(context.Background(), level, what, args...) //nolint:sloglint // made of its callers' constants
}

// setHeld lets the end of the actor find the messages that Select has passed over.
func (ctx *Context) setHeld(list *[]envelope) {
	cold := ctx.cell.cold.Load()
	if cold != nil && cold.skipped == list {
		return
	}
	mu := ctx.sys.lock(ctx.cell)
	ctx.cell.coldOf().skipped = list
	mu.Unlock()
}
