package actor

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
)

// ChildEventKind says what has become of a guarded child.
type ChildEventKind uint8

// What a guardian is told.
const (
	// ChildStarted: the incarnation's start function and OnStart have returned. It comes only where there is one to wait for.
	ChildStarted ChildEventKind = iota
	// ChildFailed: a message failed, by an error or a panic, in an actor spawned with Options.Resumable. Nothing of it is released
	// yet: ResumeChild has it go on with the next message, EndChild ends the incarnation, and ChildEnded follows.
	ChildFailed
	// ChildEnded: the incarnation has ended, and what it held is released. RestartChild starts the next one, EndChild ends the actor.
	ChildEnded
)

// String names the kind in lower case.
func (k ChildEventKind) String() string {
	names := [...]string{"started", "failed", "ended"}
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}

// ChildEvent tells a guardian of one of its guarded children. It travels in order, behind what the child sent before.
type ChildEvent struct {
	Ref         AnyRef         // the child
	Kind        ChildEventKind // what has become of it
	Reason      Reason         // of ChildFailed and ChildEnded
	Value       any            // what the incarnation set with SetValue
	Incarnation uint32         // 1 for the first
}

// ErrNotGuardian answers RestartChild, ResumeChild and EndChild for an actor that is no guarded child of the caller.
var ErrNotGuardian = errors.New("actor: not a guarded child of this actor")

// ErrNotHeld answers RestartChild, ResumeChild and EndChild for a child that runs, or of which that has been decided already.
var ErrNotHeld = errors.New("actor: the child does not wait for a decision")

// Guard makes the calling actor a guardian: it may spawn children with SpawnGuarded, and adapt turns what becomes of them into
// messages of the caller's own type, in the caller's turn. A second Guard replaces the function for what is told from then on.
func Guard[M proto.Message](ctx *Context, adapt func(ChildEvent) M) error {
	if ctx.here() == nil {
		return ctx.own()
	}
	if adapt == nil {
		return errors.New("actor: Guard needs a function that makes a message of a ChildEvent")
	}
	if err := fits[M](ctx); err != nil {
		return err
	}
	mu := ctx.sys.locks.of(ctx.cell.idx)
	mu.Lock()
	ctx.cell.coldOf().guard = func(e ChildEvent) any { return adapt(e) }
	mu.Unlock()
	return nil
}

// SpawnGuarded starts a child whose ends are its guardian's to decide: when its behaviour ends, for whatever reason, the actor is
// held and the guardian is told. Its ref, name, mailbox, monitors and links stay; what the incarnation held (its own monitors,
// timers, locks, children, calls that it owed an answer) is released, the message in hand is dealt with as at any end, and no further one is
// handled until the guardian calls RestartChild or EndChild. Monitors, links and Wait hear of the actor's final end only. Signals sent
// meanwhile are for the next incarnation. When the guardian ends, so do its guarded children, held or not.
//
// started is false if the behaviour has a start function, or the options an OnStart or AwaitReady: ChildStarted or ChildEnded will tell.
// Cost: that of Spawn; nothing in memory until the child ends for the first time.
func SpawnGuarded[M proto.Message](ctx *Context, b Behaviour[M], o ...Options) (ref Ref[M], started bool, err error) {
	r, started, err := spawnGuarded(ctx, b.b, o)
	return Ref[M]{r}, started, err
}

func spawnGuarded(ctx *Context, b behaviour, opts []Options) (AnyRef, bool, error) {
	if ctx == nil || ctx.here() == nil {
		return AnyRef{}, false, ctx.own()
	}
	if cold := ctx.cell.cold.Load(); cold == nil || cold.guard == nil {
		return AnyRef{}, false, fmt.Errorf("actor: spawn a guarded child: %w: call Guard first", ErrNotGuardian)
	}
	o := Options{}
	if len(opts) > 0 {
		o = opts[0]
		opts = opts[1:]
	}
	o.guarded = true
	r, err := spawn(ctx, b, append([]Options{o}, opts...), nil)
	return r, err == nil && !startsVisibly(b, &o), err
}

// startsVisibly reports whether a guardian is told that an incarnation has started.
func startsVisibly(b behaviour, o *Options) bool {
	return o.OnStart != nil || o.AwaitReady || b.starts()
}

// verdict is what a guardian wants of a child that is held.
type verdict uint8

const (
	undecided verdict = iota
	verdictRestart
	verdictResume
	verdictEnd
)

// limbo is where an actor is between the end of an incarnation, or a failure, and its guardian's decision. Nobody runs it; its mailbox
// is busy.
type limbo struct {
	event   ChildEvent // what the guardian is told
	verdict verdict
}

// failed reports that nothing is released yet: the actor may be resumed.
func (l *limbo) failed() bool { return l.event.Kind == ChildFailed }

// childMsg is a ChildEvent on its way through the guardian's mailbox.
type childMsg struct {
	event ChildEvent
	adapt func(ChildEvent) any
}

func (m *childMsg) message(*Context) any { return m.adapt(m.event) }

// guarded reports whether the actor has a guardian that can still decide.
func (sys *System) guarded(a *cell) bool {
	return a.flags.Load()&flagGuarded != 0 && sys.guardianOf(a.parent) != nil
}

// guardianOf returns the adapter of a living guardian that is not about to end, else nil.
func (sys *System) guardianOf(id uint64) func(ChildEvent) any {
	p := sys.table.at(uint32(id))
	mu := sys.locks.of(p.idx)
	mu.Lock()
	defer mu.Unlock()
	cold := p.cold.Load()
	if p.gen.Load() != uint32(id>>32) || cold == nil || cold.dying || cold.limbo != nil {
		return nil
	}
	return cold.guard
}

// hold puts the actor aside until its guardian has decided. The caller runs it; nobody does after that. Order: what is written here,
// then a look at the guardian; a guardian that ends marks itself first and then looks at its children (stopChildren). So one of the
// two sees the other.
func (sys *System) hold(s *slot, a *cell, why Reason, failed bool) {
	var swap *swapRequest
	mu := sys.locks.of(a.idx)
	mu.Lock()
	self := AnyRef{sys.node, uint64(a.gen.Load())<<32 | uint64(a.idx)}
	cold := a.coldOf()
	event := ChildEvent{Ref: self, Kind: ChildFailed, Reason: why, Value: cold.value, Incarnation: cold.restarts + 1}
	if !failed {
		event.Kind = ChildEnded
	}
	cold.limbo = &limbo{event: event}
	if !failed {
		cold.endIncarnation()
		a.ctx.Store(nil)
		a.resume = nil
		a.ctl.Store(0)
		if swap = cold.swap; swap != nil {
			cold.swap = nil
			swap.put(a, true)
		}
	}
	parent := a.parent
	mu.Unlock()
	if swap != nil {
		swap.end(nil)
	}
	if !sys.tellGuardian(s, parent, event) {
		sys.decide(s, a, self.id, verdictEnd)
	}
}

// endIncarnation forgets what belongs to one incarnation only.
func (c *cold) endIncarnation() {
	c.value, c.stop, c.interrupts, c.trap, c.shields, c.dying, c.reason = nil, Reason{}, nil, nil, nil, false, Reason{}
}

// tellGuardian posts an event; false if nobody is there to decide.
func (sys *System) tellGuardian(s *slot, parent uint64, e ChildEvent) bool {
	adapt := sys.guardianOf(parent)
	return adapt != nil && sys.post(s, AnyRef{sys.node, parent}, &childMsg{e, adapt}) == nil
}

// tellStarted tells the guardian that the incarnation has started, where there was something to wait for.
func (c *carrier) tellStarted(ctx *Context) {
	a := ctx.cell
	var o Options
	restarts := uint32(0)
	if cold := a.cold.Load(); cold != nil {
		o, restarts = cold.opts, cold.restarts
	}
	if startsVisibly(a.beh, &o) && !o.AwaitReady {
		ctx.sys.tellGuardian(c.slot, a.parent, ChildEvent{Ref: ctx.Self(), Kind: ChildStarted, Incarnation: restarts + 1})
	}
}

// Ready tells the guardian of an actor spawned with Options.AwaitReady that it has started. Anywhere else it does nothing.
func (ctx *Context) Ready() error {
	c := ctx.here()
	if c == nil {
		return ctx.own()
	}
	a := ctx.cell
	if cold := a.cold.Load(); cold != nil && cold.opts.AwaitReady && a.flags.Load()&flagGuarded != 0 {
		ctx.sys.tellGuardian(c.slot, a.parent, ChildEvent{Ref: ctx.Self(), Kind: ChildStarted, Incarnation: cold.restarts + 1})
	}
	return nil
}

// decide records what shall become of an actor that is held, and has it run to carry that out; false if it is not held, or decided.
func (sys *System) decide(s *slot, a *cell, id uint64, v verdict) bool {
	mu := sys.locks.of(a.idx)
	mu.Lock()
	cold := a.cold.Load()
	if a.gen.Load() != uint32(id>>32) || cold == nil || cold.limbo == nil || cold.limbo.verdict != undecided {
		mu.Unlock()
		return false
	}
	cold.limbo.verdict = v
	a.ctl.Or(ctlVerdict)
	mu.Unlock()
	sys.schedule(s, a)
	return true
}

// carryOut does what the guardian has decided, on the actor's own carrier; it reports whether the turn goes on.
func (c *carrier) carryOut(a *cell) bool {
	sys := c.slot.ex.sys
	mu := sys.locks.of(a.idx)
	mu.Lock()
	cold := a.cold.Load()
	h := cold.limbo
	cold.limbo = nil
	a.ctl.And(^ctlVerdict)
	if h.verdict == verdictRestart {
		cold.restarts++
	}
	mu.Unlock()
	switch {
	case h.verdict == verdictRestart:
		c.slot.tally.restarted++
		a.park.Store(parkRunning)
		return true
	case h.verdict == verdictResume:
		return true
	case h.failed():
		ctx := a.ctx.Load()
		ctx.car.Store(c)
		c.ctx = ctx
		c.endWith(h.event.Reason)
		c.stage = stageBegun
		c.finishIncarnation(ctx, h.event.Reason)
		return false
	}
	c.stage = stageLast
	c.endHeld(a, h.event)
	c.stage = stageNone
	return false
}

// endHeld ends an actor for good whose incarnation has ended and which nobody else can run: it was in limbo, and the caller took it
// from there.
func (c *carrier) endHeld(a *cell, e ChildEvent) {
	sys := c.slot.ex.sys
	if e.Value != nil {
		mu := sys.locks.of(a.idx)
		mu.Lock()
		a.cold.Load().value = e.Value // its last words
		mu.Unlock()
	}
	defer sys.finalize(c.slot, a, e.Reason) // whatever subscribers do
	c.closeMailbox(a, e.Ref, &ExitError{Ref: e.Ref, Reason: e.Reason})
}

// over is the second stage of an incarnation's end: the actor's final one, unless it has a guardian.
func (sys *System) over(s *slot, a *cell, why Reason) {
	if a.flags.Load()&flagGuarded != 0 {
		sys.hold(s, a, why, false)
		return
	}
	sys.finalize(s, a, why)
}

// keepMailbox puts what the incarnation had set aside back in front of what is queued: first what it had stashed, then what Select had
// passed over.
func (c *carrier) keepMailbox(a *cell) {
	cold := a.cold.Load()
	if cold == nil {
		return
	}
	mu := c.slot.ex.sys.locks.of(a.idx)
	mu.Lock()
	aside := cold.stash
	if cold.skipped != nil {
		aside = append(aside, *cold.skipped...)
	}
	cold.stash, cold.skipped = nil, nil
	cold.unstashed += len(aside)
	mu.Unlock()
	for _, env := range slices.Backward(aside) {
		env = env.unstamped()
		if a.flags.Load()&flagQueue != 0 {
			cold.queue.Unpop(env)
		} else {
			a.box.Unpop(&c.slot.cache, env)
		}
	}
}

// child returns the cell of a guarded child of this actor.
func (ctx *Context) child(ref AnyRef) (*cell, error) {
	if ctx == nil || ctx.here() == nil {
		return nil, ctx.own()
	}
	if ref.Remote() {
		return nil, ErrNotGuardian
	}
	a := ref.cell()
	if a == nil {
		return nil, ErrStopped
	}
	if ref.node != ctx.sys.node || a.flags.Load()&flagGuarded == 0 {
		return nil, ErrNotGuardian
	}
	mu := ctx.sys.locks.of(a.idx)
	mu.Lock()
	defer mu.Unlock()
	if a.parent != ctx.id() {
		return nil, ErrNotGuardian
	}
	return a, nil
}

// RestartChild starts the next incarnation of a guarded child of which ChildEnded has told: its state is fresh, or what its behaviour
// makes of what the last one left (see Persistent), its mailbox goes on with the next message. started is as in SpawnGuarded.
// Errors: ErrNotGuardian, ErrNotHeld, ErrStopped if the child has ended for good, and those of a foreign goroutine.
func (ctx *Context) RestartChild(ref AnyRef) (started bool, err error) {
	a, err := ctx.child(ref)
	if err != nil {
		return false, err
	}
	if ctx.sys.limboOf(a) != limboEnded {
		return false, ErrNotHeld
	}
	mu := ctx.sys.locks.of(a.idx)
	mu.Lock()
	started = !startsVisibly(a.beh, &a.cold.Load().opts)
	mu.Unlock()
	if !ctx.sys.decide(ctx.here().slot, a, ref.id, verdictRestart) {
		return false, ErrNotHeld
	}
	return started, nil
}

// ResumeChild has a guarded child of which ChildFailed has told go on with its next message, as if nothing had happened.
func (ctx *Context) ResumeChild(ref AnyRef) error {
	a, err := ctx.child(ref)
	if err != nil {
		return err
	}
	if ctx.sys.limboOf(a) != limboFailed || !ctx.sys.decide(ctx.here().slot, a, ref.id, verdictResume) {
		return ErrNotHeld
	}
	return nil
}

// EndChild ends the incarnation of a guarded child of which ChildFailed has told: ChildEnded follows. Of one of which ChildEnded has
// told it ends the actor before it returns: what is in its mailbox becomes dead letters, its name is free, then its monitors, links and
// those who Wait are told.
func (ctx *Context) EndChild(ref AnyRef) error {
	a, err := ctx.child(ref)
	if err != nil {
		return err
	}
	c := ctx.here()
	mu := ctx.sys.locks.of(a.idx)
	mu.Lock()
	cold := a.cold.Load()
	if a.gen.Load() == uint32(ref.id>>32) && cold != nil && cold.limbo != nil && cold.limbo.verdict == undecided && !cold.limbo.failed() {
		event := cold.limbo.event
		cold.limbo = nil
		mu.Unlock()
		c.endHeld(a, event)
		return nil
	}
	mu.Unlock()
	if !ctx.sys.decide(c.slot, a, ref.id, verdictEnd) {
		return ErrNotHeld
	}
	return nil
}

// StopChild is Shutdown, or Kill, for a guarded child of this actor, and for its present incarnation only: one that is held is left as
// it is, and ErrHeld returned, where those would be for the next incarnation.
func (ctx *Context) StopChild(ref AnyRef, kill bool) error {
	if _, err := ctx.child(ref); err != nil {
		return err
	}
	bit, why := ctlStop, Reason{Kind: ReasonShutdown}
	if kill {
		bit, why = ctlKill, Reason{Kind: ReasonKilled, Err: ErrKilled}
	}
	if !ref.askStopUnless(ctx.here().slot, bit, why, func(a *cell) bool {
		cold := a.cold.Load()
		return cold != nil && cold.limbo != nil && cold.limbo.verdict == undecided
	}) {
		return ErrHeld
	}
	return nil
}

// ErrHeld answers StopChild for a child that is held.
var ErrHeld = errors.New("actor: the child is held: it waits for a decision")

// ChildHeld returns what a guarded child of this actor is held for while that has not been decided, else nil. Errors: ErrNotGuardian,
// ErrStopped, and those of a foreign goroutine.
func (ctx *Context) ChildHeld(ref AnyRef) (*ChildEvent, error) {
	a, err := ctx.child(ref)
	if err != nil {
		return nil, err
	}
	mu := ctx.sys.locks.of(a.idx)
	mu.Lock()
	defer mu.Unlock()
	cold := a.cold.Load()
	if cold == nil || cold.limbo == nil || cold.limbo.verdict != undecided {
		return nil, nil
	}
	e := cold.limbo.event
	return &e, nil
}

// Current reports whether the calling goroutine runs r's behaviour just now, so that a wait for r would be one for itself.
func (r AnyRef) Current() bool {
	a := r.cell()
	if a == nil {
		return false
	}
	ctx := a.ctx.Load()
	if ctx == nil || ctx.id() != r.id {
		return false
	}
	err := ctx.own()
	return err == nil || err == ErrInBlock //nolint:errorlint // ours, bare
}

type limboState uint8

const (
	noLimbo limboState = iota
	limboFailed
	limboEnded
)

func (sys *System) limboOf(a *cell) limboState {
	mu := sys.locks.of(a.idx)
	mu.Lock()
	defer mu.Unlock()
	cold := a.cold.Load()
	switch {
	case cold == nil || cold.limbo == nil:
		return noLimbo
	case cold.limbo.failed():
		return limboFailed
	}
	return limboEnded
}
