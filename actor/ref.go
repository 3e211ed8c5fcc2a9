package actor

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// node is where an actor lives. There is one value for each incarnation of a System, so that refs compare.
type node struct {
	id   uint64   // random, new for each System
	sys  *System  // the System in this process; nil for another node's
	out  Outbound // the way to another node; nil for a System in this process
	home *System  // of whose view it is: a node that is not in this process has one value for each System that knows it
}

// AnyRef is the address of an actor whose message type is not known at compile time.
//
// Shape: a node and generation<<32 | index, 16 bytes, comparable, free to copy and to use as a map key. It keeps no dead
// actor alive, and an index that is used again has another generation, so that a ref never reaches a stranger.
// The zero value addresses nobody: sending to it answers ErrNoActor. Any goroutine may use a ref.
type AnyRef struct {
	node *node
	id   uint64
}

// Ref is the address of an actor that takes messages of type M. Everything that AnyRef offers, it offers too; only Send,
// Deliver and Call insist on M.
//
// Spawn makes one, Self, and TypedRef, which looks at the actor. A literal, Ref[M]{AnyRef: r}, looks at nothing; if the actor does
// not take M, what is sent by such a ref ends as it would by r itself: a dead letter with DeadWrongType, or a Call that fails with
// ErrWrongType.
type Ref[M proto.Message] struct {
	AnyRef
}

// Any returns the same address without its message type.
func (r AnyRef) Any() AnyRef { return r }

// IsZero reports whether r addresses nobody.
func (r AnyRef) IsZero() bool { return r.node == nil }

// ID is the actor's number on its node: generation<<32 | index.
func (r AnyRef) ID() uint64 { return r.id }

// Node is the number of the System incarnation that the actor lives in, 0 for the zero ref.
func (r AnyRef) Node() uint64 {
	if r.node == nil {
		return 0
	}
	return r.node.id
}

// System is the one of this process that r belongs to: the actor's own or, if it lives on another node, the one that reaches it there. nil
// for the zero ref.
func (r AnyRef) System() *System {
	switch {
	case r.node == nil:
		return nil
	case r.Remote():
		return r.node.home
	}
	return r.node.sys
}

// String renders the ref for logs: "actor 12.1" is generation 1 of index 12, and "actor 12.1@..." that of another node.
func (r AnyRef) String() string {
	if r.node == nil {
		return "actor none"
	}
	if r.Remote() {
		return fmt.Sprintf("actor %d.%d@%016x", uint32(r.id), uint32(r.id>>32), r.node.id)
	}
	return fmt.Sprintf("actor %d.%d", uint32(r.id), uint32(r.id>>32))
}

// TypedRef narrows an untyped ref to messages of type M. It reports false if the actor has ended or does not take M.
//
// Of an actor on another node nothing is known: its ref is taken at its word. A message that it does not take ends there as a dead
// letter.
func TypedRef[M proto.Message](r AnyRef) (Ref[M], bool) {
	if r.Remote() {
		return Ref[M]{AnyRef: r}, true
	}
	a, mu := r.locked()
	if a == nil {
		return Ref[M]{}, false
	}
	_, ok := a.beh.(interface{ takes(M) })
	mu.Unlock()
	return Ref[M]{AnyRef: r}, ok
}

// Self is the calling actor's own address with its message type: what it hands to others who are to answer it, and Context.Self
// does not know. M must be the type that the actor was spawned with: ErrWrongType otherwise, and for the child of a Scope, which
// takes no messages. Any goroutine may ask; ErrEnded: the actor has ended. Cost: one uncontended lock.
func Self[M proto.Message](ctx *Context) (Ref[M], error) {
	if ctx == nil || ctx.sys == nil {
		return Ref[M]{}, ErrNilContext
	}
	a, mu := ctx.Self().locked()
	if a == nil {
		return Ref[M]{}, ErrEnded
	}
	_, ok := a.beh.(interface{ takes(M) })
	mu.Unlock()
	if !ok {
		return Ref[M]{}, fmt.Errorf("actor: %v: %w: it takes no %T", ctx.Self(), ErrWrongType, *new(M))
	}
	return Ref[M]{ctx.Self()}, nil
}

// cell returns the actor's cell if the actor is alive in this process, else nil.
func (r AnyRef) cell() *cell {
	if r.node == nil || r.node.sys == nil {
		return nil
	}
	a := r.node.sys.table.at(uint32(r.id))
	if a == nil || a.gen.Load() != uint32(r.id>>32) {
		return nil
	}
	return a
}

// name is the actor's, "" if it has none or has ended.
func (r AnyRef) name() string {
	a := r.cell()
	if a == nil {
		return ""
	}
	cold := a.cold.Load()
	if a.gen.Load() != uint32(r.id>>32) {
		return "" // it may be the next one's
	}
	return nameOf(cold)
}

// Queued is how many messages wait in the actor's mailbox: not the one in hand, nor what it has stashed or passed over in Select.
// A bounded or ordered mailbox knows the number, for whoever asks. An unbounded one counts nothing, since every send would pay
// for it: there known is false, unless the actor is idle, and the number 0, or asks for itself (ctx.Self().Queued()), which counts
// what is there. It may be another by the time you look; known is false too for an actor that has ended.
// Cost: one lock; for an actor with an unbounded mailbox that asks for itself, linear in the number.
func (r AnyRef) Queued() (n int, known bool) {
	a := r.cell()
	if a == nil {
		return 0, false
	}
	if a.flags.Load()&flagQueue != 0 {
		cold := a.cold.Load()
		if cold == nil || cold.queue == nil || !r.Alive() {
			return 0, false
		}
		return cold.queue.Len(), true
	}
	if ctx := a.ctx.Load(); ctx != nil && ctx.here() != nil {
		return a.box.Len(), true
	}
	return 0, a.box.Resting() && r.Alive()
}

// Alive reports whether the actor has not ended yet. It may have by the time you look. Of an actor on another node it is not known:
// Alive is true for it, and Monitor tells.
func (r AnyRef) Alive() bool { return r.Remote() || r.cell() != nil }

// Send puts m into the actor's mailbox and returns at once; only a mailbox with the overflow policy Suspend may wait for
// room, under ctx. nil means enqueued: the message now belongs to its receiver. With any error it was not delivered and
// is still yours: ErrStopped (the actor has ended), ErrFull, ErrNoActor (a zero ref), or ctx's error.
//
// Order: messages from one sender to one receiver arrive in the order they were sent.
// Cost: BenchmarkSend; 0 allocs. From inside an actor pass its own Context: another ctx, or another goroutine, takes the
// shared queue.
func (r Ref[M]) Send(ctx context.Context, m M) error {
	return send(ctx, r.AnyRef, envelope{msg: m})
}

// Send is Ref.Send for an untyped ref: a message of a type that the actor does not take is accepted here and
// dead-lettered with DeadWrongType when its turn comes.
func (r AnyRef) Send(ctx context.Context, m proto.Message) error {
	return send(ctx, r, envelope{msg: m})
}

// Fire is Send for what may be lost: to an actor on another node the message goes once, as a datagram if it is small enough. It is not
// repeated, does not keep its place among others, counts in no ledger, and never waits; nil means that it was sent or dropped. For a
// reading that the next one replaces, it is the cheapest way. To an actor of this process it is Send.
func (r Ref[M]) Fire(ctx context.Context, m M) error {
	switch {
	case !r.Remote():
		return r.Send(ctx, m)
	case noMessage(m):
		return ErrNilMessage
	}
	return r.node.out.Fire(r.node.home.senderOf(ctx), r.AnyRef, m)
}

// Deliver is Send with the confirmation that m is in the recipient's mailbox, wherever the recipient lives. It returns
// the number of mailboxes reached: 1, or 0 with an error.
func (r Ref[M]) Deliver(ctx context.Context, m M) (int, error) { return r.AnyRef.Deliver(ctx, m) }

// Deliver is Ref.Deliver for an untyped ref.
func (r AnyRef) Deliver(ctx context.Context, m proto.Message) (int, error) {
	deliver := r.deliverHere
	if r.Remote() {
		deliver = r.deliverAbroad
	}
	if err := deliver(ctx, m); err != nil {
		return 0, err
	}
	return 1, nil
}

func (r AnyRef) deliverHere(ctx context.Context, m proto.Message) error {
	return send(ctx, r, envelope{msg: m})
}
