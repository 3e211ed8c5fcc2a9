package actor

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"
)

// ErrNodeDown means that the node of a remote actor was declared dead, or could not be reached in time. Whether a message that was
// accepted before has arrived is not known.
var ErrNodeDown = errors.New("actor: the node is down")

// Outbound is the way to the actors of one incarnation of another node. Package remote implements it; the rest of this package calls
// it wherever a ref leads to that node. Any goroutine may use it. What one actor sends to another by it arrives in that order,
// signals and Downs included.
type Outbound interface {
	// Send accepts m for to; from is the sending actor, zero for none. It waits under ctx while it may not accept more. If call is not
	// zero the message is a call, and the returned number is for Cancel.
	Send(ctx context.Context, from, to AnyRef, m proto.Message, call RemoteCall) (id uint64, err error)
	// Cancel says that the caller of a call gave up.
	Cancel(id uint64)
	// Deliver is Send that waits until m is in to's mailbox.
	Deliver(ctx context.Context, from, to AnyRef, m proto.Message) error
	// Fire is Send without any promise: the message may be lost, or overtaken. It never waits.
	Fire(from, to AnyRef, m proto.Message) error
	// Watch has down called when to has ended, once, from any goroutine, with ReasonNodeDown if its node is. by is the watching actor,
	// zero for a goroutine; by and id name the watch. down must be quick.
	Watch(by, to AnyRef, id uint64, down func(Down))
	// Unwatch ends a watch; down may be on its way.
	Unwatch(by, to AnyRef, id uint64)
	// Signal passes a signal on, in order with messages. It does not wait.
	Signal(from, to AnyRef, s Signal) error
	// SwapTo has to's node carry out System.SwapTo there, and waits under ctx for what comes of it.
	SwapTo(ctx context.Context, to AnyRef, name, version string) error
}

// Signal is what is told an actor of another node beside messages.
type Signal struct {
	Kind  SignalKind // what it is
	Why   Reason     // of SignalExit
	Err   error      // of SignalInterrupt
	Value any        // of SignalResume: nil or a message
}

// SignalKind says what a Signal is.
type SignalKind uint8

// The signals.
const (
	SignalStop      SignalKind = iota + 1 // AnyRef.Stop
	SignalShutdown                        // AnyRef.Shutdown
	SignalKill                            // AnyRef.Kill
	SignalDrain                           // AnyRef.Drain
	SignalInterrupt                       // AnyRef.Interrupt
	SignalResume                          // AnyRef.Resume
	SignalLink                            // Context.Link
	SignalUnlink                          // Context.Unlink
	SignalExit                            // a linked actor has ended
	SignalKinds                           // how many there are, with 0
)

// Abroad finds the way to other nodes. Package remote implements it.
type Abroad interface {
	// Outbound is the way to that incarnation of a node, which need not be known yet. ErrNoActor: too many are asked for.
	Outbound(node uint64) (Outbound, error)
}

// SetAbroad says who finds the way to other nodes from now on; nil for nobody. An error if somebody does already.
func (sys *System) SetAbroad(a Abroad) error {
	switch {
	case !sys.made():
		return errNoSystem
	case a == nil:
		sys.abroad.Store(nil)
	case !sys.abroad.CompareAndSwap(nil, &a):
		return errors.New("actor: the System is a node already: one remote.Start for each System")
	}
	return nil
}

// RefAt is the ref of an actor by its numbers: those that Ref's Node and ID return, and protobuf carries. ErrNoActor: it is of
// another node, and the System knows no way there.
func (sys *System) RefAt(nodeID, id uint64) (AnyRef, error) {
	switch {
	case !sys.made():
		return AnyRef{}, errNoSystem
	case nodeID == sys.node.id:
		return AnyRef{sys.node, id}, nil
	case nodeID == 0:
		return AnyRef{}, ErrNoActor
	}
	if n, ok := sys.nodes.Load(nodeID); ok {
		return AnyRef{n.(*node), id}, nil
	}
	abroad := sys.abroad.Load()
	if abroad == nil {
		return AnyRef{}, ErrNoActor
	}
	out, err := (*abroad).Outbound(nodeID)
	if err != nil {
		return AnyRef{}, err
	}
	n, _ := sys.nodes.LoadOrStore(nodeID, &node{id: nodeID, out: out, home: sys})
	return AnyRef{n.(*node), id}, nil
}

// ForgetNode drops what RefAt keeps of a node. Refs of it that exist stay what they are, but no longer equal new ones.
func (sys *System) ForgetNode(nodeID uint64) { sys.nodes.Delete(nodeID) }

// Remote reports whether the actor lives on another node.
func (r AnyRef) Remote() bool { return r.node != nil && r.node.out != nil }

// RemoteCall is one call to an actor of another node, and the right to answer it.
type RemoteCall struct{ ref callRef }

// IsZero reports whether it is no call.
func (r RemoteCall) IsZero() bool { return r.ref.c == nil }

// Waiting reports whether the caller still waits.
func (r RemoteCall) Waiting() bool { return r.ref.c.waiting(r.ref.seq) }

// Left is how long the caller waits from now on; 0 means without a deadline.
func (r RemoteCall) Left() time.Duration {
	sys := r.ref.c.sys
	until := r.ref.c.deadlineOf(sys, r.ref.seq)
	if until == 0 {
		return 0
	}
	return max(until-sys.ex.now(), 1)
}

// Answer ends the call; false if nobody waits any more.
func (r RemoteCall) Answer(m proto.Message, err error) bool {
	var value any
	if m != nil {
		value = m
	}
	return r.ref.c.finish(nil, r.ref.seq, value, err)
}

// senderOf is the actor that ctx belongs to, the zero ref if none or if another goroutine asks.
func (sys *System) senderOf(ctx context.Context) AnyRef {
	if c, ok := FromContext(ctx); ok && c.sys == sys && c.here() != nil {
		return c.Self()
	}
	return AnyRef{}
}

// sendAbroad is send to an actor of another node.
func sendAbroad(ctx context.Context, r AnyRef, env envelope) error {
	if ctx == nil {
		return ErrNilContext
	}
	m, ok := env.msg.(proto.Message)
	if !ok {
		return ErrWrongType
	}
	_, err := r.node.out.Send(ctx, r.node.home.senderOf(ctx), r, m, RemoteCall{callRef{env.call, env.seq()}})
	return err
}

// deliverAbroad is Deliver to an actor of another node.
func (r AnyRef) deliverAbroad(ctx context.Context, m proto.Message) error {
	switch {
	case ctx == nil:
		return ErrNilContext
	case noMessage(m):
		return ErrNilMessage
	}
	return r.node.out.Deliver(ctx, r.node.home.senderOf(ctx), r, m)
}

// callAbroad is waiting.call to an actor of another node: open and aimed, but not sent.
func (w *waiting) callAbroad(k *call, seq uint32, r AnyRef, m proto.Message) (v any, refused bool, err error) {
	id, err := r.node.out.Send(w.ctx, w.ctx.Self(), r, m, RemoteCall{callRef{k, seq}})
	if err != nil {
		k.close(seq, err)
		return nil, true, err
	}
	answered := false
	defer func() {
		if !answered { // also of one that is killed
			r.node.out.Cancel(id)
		}
	}()
	for k.state.Load()&callMask != callDone {
		if err := w.sleep(waitPark); err != nil {
			if answered = k.close(seq, err); !answered {
				return nil, false, err
			}
			break
		}
	}
	answered = true
	v, err = k.value, k.err
	k.value, k.err = nil, nil
	return v, false, err
}

// noWait bounds sends that must not wait.
var noWait = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// tickAbroad sends what a Timer sends. It runs where timers fire and cannot wait for room.
func tickAbroad(r AnyRef, m proto.Message) {
	if _, err := r.node.out.Send(noWait, AnyRef{}, r, m, RemoteCall{}); err != nil {
		why := DeadOverflow
		if errors.Is(err, ErrNodeDown) || errors.Is(err, ErrStopped) {
			why = DeadNodeDown
		}
		r.node.home.Undeliverable(DeadLetter{To: r, Message: m, Reason: why, Err: err})
	}
}

// askStopAbroad is askStop for an actor of another node.
func (r AnyRef) askStopAbroad(bit uint32, why Reason) {
	s := Signal{Kind: SignalStop}
	switch {
	case bit == ctlKill:
		s.Kind = SignalKill
	case why.Kind == ReasonShutdown:
		s.Kind = SignalShutdown
	}
	_ = r.signal(AnyRef{}, s) // whoever is on a node that is down is beyond being stopped
}

// signal passes s on to an actor of another node; ErrNoActor for the zero ref.
func (r AnyRef) signal(from AnyRef, s Signal) error { return r.node.out.Signal(from, r, s) }
