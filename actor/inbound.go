package actor

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"
)

// ErrNoRoom answers Inbound's methods where the sender would have to wait for room: the mailbox is full and its policy is Suspend.
var ErrNoRoom = errors.New("actor: the mailbox has no room yet")

// Inbound puts what comes from other nodes into mailboxes: for package remote, which has one for each of its readers. One goroutine
// at a time may use it. Only what is called Wait does.
type Inbound struct {
	sys    *System
	out    outsider
	moving bool
}

// NewInbound returns a way into the System's mailboxes.
func (sys *System) NewInbound() *Inbound {
	in := &Inbound{sys: sys}
	in.out.cache.Init(&sys.ex.nodes)
	return in
}

// Begin has all that is sent until End count as one push, which costs less. What is called Wait is not for the time in between.
func (in *Inbound) Begin() {
	in.sys.ex.departs()
	in.moving = true
}

// End ends what Begin began.
func (in *Inbound) End() {
	in.moving = false
	in.sys.ex.arrived()
}

// Send puts m into the mailbox of the System's actor id. Errors: those of Ref.Send, and ErrNoRoom.
func (in *Inbound) Send(id uint64, m proto.Message) error {
	return in.push(id, envelope{msg: m})
}

// Call is Send of a call that back answers. left is how long the caller waits, 0 without a deadline. The returned function tells the
// callee that the caller gave up.
func (in *Inbound) Call(id uint64, m proto.Message, left time.Duration, back Caller) (giveUp func(), err error) {
	k, seq := in.open(left, back)
	if err := in.push(id, envelope{msg: m, call: k, meta: uint64(seq)}); err != nil {
		return nil, err
	}
	return func() { k.close(seq, context.Canceled) }, nil
}

// SendWait is Send that waits under ctx for room.
func (in *Inbound) SendWait(ctx context.Context, id uint64, m proto.Message) error {
	return in.pushWait(ctx, id, envelope{msg: m})
}

// CallWait is Call that waits under ctx for room.
func (in *Inbound) CallWait(ctx context.Context, id uint64, m proto.Message, left time.Duration, back Caller) (giveUp func(), err error) {
	k, seq := in.open(left, back)
	if err := in.pushWait(ctx, id, envelope{msg: m, call: k, meta: uint64(seq)}); err != nil {
		return nil, err
	}
	return func() { k.close(seq, context.Canceled) }, nil
}

func (in *Inbound) open(left time.Duration, back Caller) (*call, uint32) {
	k := &call{sys: in.sys, back: back}
	if left > 0 {
		k.until.Store(int64(in.sys.ex.in(left)))
	}
	return k, k.open()
}

func (in *Inbound) pushWait(ctx context.Context, id uint64, env envelope) error {
	return in.sys.sendBy(ctx, &in.out, AnyRef{in.sys.node, id}, env)
}

// Caller is where the answer to a call from another node goes.
type Caller interface {
	// Answered is called once, unless the caller gave up, by whoever answers: it must be quick and must not wait.
	Answered(m proto.Message, err error)
	// Life ends when the caller's node is declared down.
	Life() context.Context
}

// CallerLife ends when the node that the call in hand came from is declared down: for what serves a caller beyond its answer. nil: the
// caller is in this process, or there is no call in hand.
func (ctx *Context) CallerLife() context.Context {
	c := ctx.here()
	if c == nil || !ctx.answers || c.env.call.back == nil {
		return nil
	}
	return c.env.call.back.Life()
}

func (in *Inbound) push(id uint64, env envelope) error {
	sys := in.sys
	if noMessage(env.msg) {
		return ErrNilMessage
	}
	a := AnyRef{sys.node, id}.cell()
	if a == nil {
		return ErrStopped
	}
	env.meta |= id &^ lowWord
	if a.flags.Load()&flagQueue == 0 {
		if in.out.n++; in.out.n&63 == 0 && env.call == nil {
			env.meta |= uint64(sys.ex.stamp(sys.ex.now()))
		}
		if in.moving {
			return sys.pushMoving(a, &in.out, env)
		}
		return sys.pushOutside(a, &in.out, env)
	}
	wait, err := sys.pushQueue(context.Background(), nil, a, env)
	if wait != nil {
		return ErrNoRoom
	}
	return err
}

// Mark has f called once all that is in the mailbox of actor id now is handled, or the actor has ended; at once if it has already. f is
// called where that happens: it must be quick and must not wait. A mark counts as a message.
func (in *Inbound) Mark(id uint64, f func()) {
	if in.sys.post(nil, AnyRef{in.sys.node, id}, &mark{f}) != nil {
		f()
	}
}

// mark is called when its turn comes.
type mark struct{ f func() }

func (m *mark) message(*Context) any {
	m.f()
	return nil
}

// Watch has down called when actor id ends, once; at once if it has. by, of another node, and number name the watch. An actor, which has a
// monitor, is told of an earlier end as Monitor has it; who waits, and is no actor, gets the end itself as long as it is remembered.
func (in *Inbound) Watch(id uint64, by AnyRef, number uint64, down func(Down)) {
	target := AnyRef{in.sys.node, id}
	m := &monitor{id: number, who: by, call: down}
	if m.watch(target) {
		return
	}
	if was, ok := target.remembered(); ok && by.id == 0 {
		down(was)
		return
	}
	down(target.gone())
}

// Unwatch ends a watch.
func (in *Inbound) Unwatch(id uint64, by AnyRef, number uint64) {
	AnyRef{in.sys.node, id}.unwatch(monitorKey{by.node, number})
}

// Signal does to actor id what from, of another node, has sent.
func (in *Inbound) Signal(from AnyRef, id uint64, s Signal) {
	r := AnyRef{in.sys.node, id}
	switch s.Kind {
	case SignalStop:
		r.Stop()
	case SignalShutdown:
		r.Shutdown()
	case SignalKill:
		r.Kill()
	case SignalDrain:
		_ = r.Drain() // it may have ended
	case SignalInterrupt:
		_ = r.Interrupt(s.Err)
	case SignalResume:
		_ = r.Resume(s.Value) // it may wait for something else by now
	case SignalLink:
		if _, ok := r.addLink(from); !ok {
			_ = from.signal(r, Signal{Kind: SignalExit, Why: r.gone().Reason})
		}
	case SignalUnlink:
		r.dropLink(from)
	case SignalExit:
		r.exitSignal(nil, Down{Ref: from, Reason: s.Why})
	default: // of a later version: remote refuses it
	}
}

// Undeliverable makes a dead letter of a message to or from another node, which no mailbox has accepted: it counts as sent.
func (sys *System) Undeliverable(l DeadLetter) {
	sys.ex.departs()
	defer sys.ex.arrived()
	sys.outside.sent.Add(1)
	sys.outside.dead[l.Reason].Add(1)
	if l.Time.IsZero() {
		l.Time = time.Now()
	}
	sys.dead.add(sys, l)
}
