package actor

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"

	"google.golang.org/protobuf/proto"
)

// ErrSwapPending answers a Swap of an actor that another one is about to be carried out on.
var ErrSwapPending = errors.New("actor: another swap of this actor is pending")

// ErrSwapped is what a routine's Receive answers, and what ends its loop, while a swap is offered to it: see Inbox.Swapped.
var ErrSwapped = errors.New("actor: a new behaviour is offered")

// VetoError is what Swap returns when the actor has refused the new behaviour.
type VetoError struct {
	Ref AnyRef // who refused
	Err error  // what OnSwap returned, or Refuse was given
}

// Error names the actor and its reason.
func (e *VetoError) Error() string {
	if e == nil {
		return "actor: a nil *VetoError"
	}
	return e.Ref.String() + " refused the swap: " + textOf(e.Err)
}

// Unwrap returns the actor's reason.
func (e *VetoError) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.Err
}

// SwapOptions say how a swap is done. The zero value keeps the state, which the new behaviour must be able to take.
type SwapOptions struct {
	// Migrate turns the old behaviour's state into the new one's: see Migrate. It runs in the actor, between two messages, and must
	// leave the old state as it is if it fails. Nil keeps the state. It is not asked where there is no state: before the first message, and
	// between two incarnations, when what the old behaviour has kept (see Persistent) goes to the new one, if it is of its type.
	Migrate func(old any) (any, error)
	// Name and Version tell the actor what it is offered. They mean nothing to the runtime.
	Name, Version string
	// Taken, if not nil, is set to the number of the first incarnation that has the new behaviour, as a ChildEvent counts them, before that
	// runs: it tells whether a failure is the old behaviour's. Swap alone may return too late for that.
	Taken *atomic.Uint32
}

// SwapOffer is what an actor may look at before it takes a new behaviour.
type SwapOffer struct {
	Name, Version string // of SwapOptions, or of the registration
}

// Migrate makes a SwapOptions.Migrate of a function on typed states. An actor without a state of type Old refuses.
func Migrate[Old, New any](f func(old *Old) (*New, error)) func(any) (any, error) {
	return func(old any) (any, error) {
		s, ok := old.(*Old)
		if !ok {
			return nil, fmt.Errorf("actor: migrate: %w: the state is a %T, want a %T", ErrWrongType, old, s)
		}
		return f(s)
	}
}

// Swap replaces the behaviour of a running actor between two of its messages and waits, under ctx, until that has happened. The
// mailbox, name, ref, monitors, links and timers stay. In the middle of a message it is postponed; if ctx ends first the offer is
// withdrawn and ctx's error returned. The actor may refuse: Options.OnSwap, Inbox.Refuse. A restart starts the new behaviour.
//
// A handler takes it at once if it is idle. A routine's Receive answers ErrSwapped, and its loop over the inbox ends; what it gives
// to Inbox.HandOver is the state that Migrate, and then the new routine, gets (HandedOver).
// A guarded actor that is between two incarnations has no code that runs: it takes the new behaviour at once, without OnSwap and Migrate,
// and what Persistent has kept goes to the new behaviour.
// Errors: *VetoError; ErrWrongType if the new behaviour cannot take the state; what Migrate returned, *PanicError if it panicked;
// ErrSwapPending; ErrNilBehaviour; ErrNilContext; ErrStopped if the actor has ended, ends first, or ends in OnSwap or Migrate; ctx's own.
// With any of them the old behaviour goes on.
func Swap[M proto.Message](ctx context.Context, r Ref[M], b Behaviour[M], o ...SwapOptions) error {
	if len(o) > 1 {
		return errors.New("actor: more than one SwapOptions")
	}
	var opts SwapOptions
	if len(o) == 1 {
		opts = o[0]
	}
	return swap(ctx, r.AnyRef, b.b, opts)
}

// BehaviourOf returns the behaviour that an actor has now: what Swap puts back to undo another Swap. false: the actor has ended.
func BehaviourOf[M proto.Message](r Ref[M]) (Behaviour[M], bool) {
	a := r.cell()
	if a == nil {
		return Behaviour[M]{}, false
	}
	mu := r.node.sys.locks.of(a.idx)
	mu.Lock()
	defer mu.Unlock()
	if a.gen.Load() != uint32(r.id>>32) || a.beh == nil {
		return Behaviour[M]{}, false
	}
	return Behaviour[M]{a.beh}, true
}

// swapRequest is a swap on its way to the actor. It is guarded by the cell's lock until it is taken.
type swapRequest struct {
	b       behaviour
	o       SwapOptions
	settled atomic.Bool // that it will be carried out, or that nobody waits for it any more: whichever came first
	done    latch
	err     error // of what is done
}

// put gives the actor the new behaviour; the caller holds the cell's lock. In limbo it is the next incarnation that gets it.
func (req *swapRequest) put(a *cell, limbo bool) {
	a.beh = req.b
	if req.o.Taken == nil {
		return
	}
	first := a.cold.Load().restarts + 1
	if limbo {
		first++
	}
	req.o.Taken.Store(first)
}

// errUnheeded is why a swap is not carried out that was given up while OnSwap, or the new behaviour's start, waited.
var errUnheeded = errors.New("actor: nobody waits for the swap any more")

func (req *swapRequest) end(err error) {
	req.err = err
	req.done.open()
}

var errSwapAbroad = errors.New("actor: a behaviour is a function, which does not travel: register it on the actor's node (RegisterBehaviour) and swap by name, with SwapTo")

func swap(ctx context.Context, r AnyRef, b behaviour, o SwapOptions) error {
	if r.node == nil {
		return ErrNoActor
	}
	if b == nil {
		return ErrNilBehaviour
	}
	if ctx == nil {
		return ErrNilContext
	}
	if c, ok := FromContext(ctx); ok && c.Self() == r && c.here() != nil {
		return errors.New("actor: Swap of the caller itself would wait for itself: use Become")
	}
	if r.Remote() {
		return errSwapAbroad
	}
	r.awaitTurn("swaps")
	a := r.cell()
	if a == nil {
		return ErrStopped
	}
	req := &swapRequest{b: b, o: o}
	if err := r.node.sys.offer(a, r, req); err != nil {
		return err
	}
	if err := req.done.wait(ctx); err != nil && (r.node.sys.withdraw(a, req) || req.settled.CompareAndSwap(false, true)) {
		return err
	}
	if err := req.done.wait(context.WithoutCancel(ctx)); err != nil { // it has been taken: it ends soon
		return err
	}
	return req.err
}

// offer puts the request to the actor; one in limbo has no state, and takes it here.
func (sys *System) offer(a *cell, r AnyRef, req *swapRequest) error {
	mu := sys.locks.of(a.idx)
	mu.Lock()
	if a.gen.Load() != uint32(r.id>>32) {
		mu.Unlock()
		return ErrStopped
	}
	cold := a.coldOf()
	err := alike(a.beh, req.b)
	if err == nil && cold.swap != nil {
		err = ErrSwapPending
	}
	if err != nil {
		mu.Unlock()
		return fmt.Errorf("actor: swap %v: %w", r, err)
	}
	if cold.limbo != nil && !cold.limbo.failed() {
		req.put(a, true)
		mu.Unlock()
		req.end(nil)
		return nil
	}
	cold.swap = req
	a.ctl.Or(ctlSwap)
	mu.Unlock()
	sys.rouse(nil, a)
	return nil
}

// alike reports, as an error, whether b cannot take the place of a whatever its state.
func alike(a, b behaviour) error {
	if a.takesType() != b.takesType() {
		return fmt.Errorf("%w: the actor takes %v, the new behaviour %v", ErrWrongType, a.takesType(), b.takesType())
	}
	if a.routine() != b.routine() {
		return fmt.Errorf("%w: a routine can only become another routine, a handler another handler", ErrWrongType)
	}
	return nil
}

// withdraw takes an offer back unless it has been taken.
func (sys *System) withdraw(a *cell, req *swapRequest) bool {
	mu := sys.locks.of(a.idx)
	mu.Lock()
	defer mu.Unlock()
	cold := a.cold.Load()
	if cold == nil || cold.swap != req {
		return false
	}
	cold.swap = nil
	a.ctl.And(^ctlSwap)
	return true
}

// takeSwap takes the offer, if it is still there.
func (sys *System) takeSwap(a *cell) *swapRequest {
	mu := sys.locks.of(a.idx)
	mu.Lock()
	defer mu.Unlock()
	cold := a.cold.Load()
	if cold == nil {
		return nil
	}
	req := cold.swap
	cold.swap = nil
	a.ctl.And(^ctlSwap)
	return req
}

// swapHandler carries out an offer to a handler between two messages.
func (c *carrier) swapHandler(ctx *Context) {
	a, sys := ctx.cell, ctx.sys
	req := sys.takeSwap(a)
	if req == nil {
		return
	}
	state := ctx.state
	err := c.tryTake(ctx, req, &state)
	if err == nil {
		ctx.state = state
		ctx.changed = true
		sys.setBehaviour(a, req)
	}
	req.end(err)
}

// tryTake is take with its panics as errors. A kill and runtime.Goexit end the actor in it, and the swap with that.
func (c *carrier) tryTake(ctx *Context, req *swapRequest, state *any) error {
	returned := false
	defer func() {
		if !returned {
			req.end(fmt.Errorf("actor: swap %v: %w in the middle of it", ctx.Self(), ErrStopped))
		}
	}()
	err := protect(func() error { return ctx.take(req, state) })
	returned = true
	return err
}

// take asks the actor, and makes the new behaviour's state of the old one's.
func (ctx *Context) take(req *swapRequest, state *any) error {
	if cold := ctx.cell.cold.Load(); cold.opts.OnSwap != nil {
		if err := cold.opts.OnSwap(ctx, SwapOffer{req.o.Name, req.o.Version}); err != nil {
			return &VetoError{ctx.Self(), err}
		}
	}
	fresh := ctx.begun && req.o.Migrate == nil && *state == nil && !req.b.accepts(nil)
	if fresh {
		was := ctx.state
		err := req.b.begin(ctx)
		*state, ctx.state = ctx.state, was
		if err != nil {
			return err
		}
	}
	if !req.settled.CompareAndSwap(false, true) {
		return errUnheeded
	}
	if !ctx.begun || fresh {
		return nil // it will begin with the new one, or has
	}
	if req.o.Migrate != nil {
		s, err := req.o.Migrate(*state)
		if err != nil {
			return err
		}
		*state = s
	}
	if !req.b.accepts(*state) {
		return fmt.Errorf("actor: swap %v: %w: the new behaviour does not take a state of type %T", ctx.Self(), ErrWrongType, *state)
	}
	return nil
}

func (sys *System) setBehaviour(a *cell, req *swapRequest) {
	mu := sys.locks.of(a.idx)
	mu.Lock()
	req.put(a, false)
	mu.Unlock()
}

// handOver is what a routine returns to give its state to the next behaviour.
type handOver struct { //nolint:errname // a state on its way; that it travels as an error is a detail
	state   any
	offered bool // the routine had seen an offer; it may have been withdrawn since
}

func (*handOver) Error() string {
	return "actor: a routine handed its state over, but no swap was offered"
}

func handsOver(err error) bool {
	if err == nil {
		return false
	}
	var h *handOver
	return errors.As(err, &h)
}

// swapRoutine carries out an offer after the routine has returned err; it reports whether a routine, the new one or the old, is to run.
func (c *carrier) swapRoutine(ctx *Context, err error) bool {
	a, sys := ctx.cell, ctx.sys
	ctl := a.ctl.Load()
	if ctl&(ctlStop|ctlKill) != 0 {
		return false
	}
	var given *handOver
	if err != nil && !errors.As(err, &given) && !errors.Is(err, ErrSwapped) {
		return false
	}
	req := sys.takeSwap(a)
	if req == nil && (given == nil || !given.offered) {
		return false
	}
	var old any
	if given != nil {
		old = given.state
	}
	state := old
	if req != nil {
		err = c.tryTake(ctx, req, &state)
		if err != nil {
			state = old
		} else {
			sys.setBehaviour(a, req)
		}
	}
	c.release(ctx)
	c.keepMailbox(a)
	mu := sys.locks.of(a.idx)
	mu.Lock()
	a.coldOf().saved = state
	mu.Unlock()
	if req != nil {
		req.end(err)
	}
	return true
}

// Swapped reports whether a new behaviour is offered to the routine. It may return HandOver then, or Refuse and go on.
func (in *Inbox[M]) Swapped() bool {
	if in.owner().here() == nil || in.ctx.cell.ctl.Load()&ctlSwap == 0 {
		return false
	}
	in.offered = true
	return true
}

// Offer tells what is offered while Swapped.
func (in *Inbox[M]) Offer() SwapOffer {
	if in.owner().none() {
		return SwapOffer{}
	}
	mu := in.ctx.sys.locks.of(in.ctx.cell.idx)
	mu.Lock()
	defer mu.Unlock()
	if cold := in.ctx.cell.cold.Load(); cold != nil && cold.swap != nil {
		return SwapOffer{cold.swap.o.Name, cold.swap.o.Version}
	}
	return SwapOffer{}
}

// Refuse turns the offer down: Swap returns a *VetoError with err, and Receive works again.
func (in *Inbox[M]) Refuse(err error) {
	if in.owner().here() == nil {
		return
	}
	if err == nil {
		err = errors.New("no reason given")
	}
	in.offered = false
	if req := in.ctx.sys.takeSwap(in.ctx.cell); req != nil {
		req.end(&VetoError{in.ctx.Self(), err})
	}
}

// HandOver is what a routine returns while Swapped: the swap's Migrate, and then the new routine, get the state. Should the swap fail or
// be withdrawn, this routine is run again with the same state handed over.
func (in *Inbox[M]) HandOver(state any) error { return &handOver{state, in != nil && in.offered} }

// HandedOver takes the state that the routine before this one has handed over, or that Migrate has made of it.
func HandedOver[S any](ctx *Context) (*S, bool) {
	if ctx.here() == nil {
		return nil, false
	}
	s, ok := ctx.takeSaved().(*S)
	return s, ok && s != nil
}

// registered is a behaviour that can be asked for by name.
type registered struct {
	b behaviour
	o SwapOptions
}

// RegisterBehaviour makes b known to sys by a name and a version, so that SwapTo can be told by a command or another node which one to
// take. Migrate is what takes an actor from whatever it runs to b. ErrNameTaken: this version is registered already.
func RegisterBehaviour[M proto.Message](sys *System, name, version string, b Behaviour[M], migrate func(old any) (any, error)) error {
	if !sys.made() {
		return errNoSystem
	}
	if b.b == nil {
		return ErrNilBehaviour
	}
	if name == "" || version == "" {
		return errors.New("actor: a registered behaviour needs a name and a version")
	}
	key := [2]string{name, version}
	if _, taken := sys.behaviours.LoadOrStore(key, registered{b.b, SwapOptions{Migrate: migrate, Name: name, Version: version}}); taken {
		return fmt.Errorf("actor: register behaviour %q %q: %w", name, version, ErrNameTaken)
	}
	return nil
}

// SwapTo is Swap with a registered behaviour. ErrNoBehaviour: nothing is registered by that name and version. For an actor of another
// node it is the one that is registered there; a *VetoError tells the actor's reason as package remote tells errors.
func (sys *System) SwapTo(ctx context.Context, r AnyRef, name, version string) error {
	switch {
	case !sys.made():
		return errNoSystem
	case r.Remote() && ctx == nil:
		return ErrNilContext
	case r.Remote():
		return r.node.out.SwapTo(ctx, r, name, version)
	}
	v, ok := sys.behaviours.Load([2]string{name, version})
	if !ok {
		return fmt.Errorf("actor: swap %v to %q %q: %w", r, name, version, ErrNoBehaviour)
	}
	reg := v.(registered)
	return swap(ctx, r, reg.b, reg.o)
}

// ErrNoBehaviour means that no behaviour of that name and version is registered: see RegisterBehaviour.
var ErrNoBehaviour = errors.New("actor: no such behaviour is registered")

func typeOf[M proto.Message]() reflect.Type { return reflect.TypeFor[M]() }
