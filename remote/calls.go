package remote

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/remote/internal/wire"
)

// outgoing is a call or Deliver from here that waits for its answer.
type outgoing struct {
	to    actor.AnyRef
	p     pair             // from the caller to the callee
	call  actor.RemoteCall // zero for a Deliver
	done  actor.Event      // of a Deliver
	err   error            // its outcome, there once done is set
	next  time.Duration    // when to look for a cycle, since node.start; 0 for never
	wait  time.Duration    // and how long after that again
	nonce uint64           // of its probes, once there is one; others cannot make one up

	answer func(m proto.Message, err error) // of an ask: it must be quick
}

// begin gives an outgoing call its number.
func (s *session) begin(o *outgoing) (uint64, error) {
	id := s.node.nextID.Add(1)
	s.callMu.Lock()
	defer s.callMu.Unlock()
	if s.calls == nil {
		return 0, s.downError()
	}
	s.calls[id] = o
	if o.next != 0 && !s.probing {
		s.probing = true
		if s.prober == nil {
			s.prober = time.AfterFunc(probeAfter, s.onProbe)
		} else {
			s.prober.Reset(probeAfter)
		}
	}
	return id, nil
}

// taken is the call of that number, which is over.
func (s *session) taken(id uint64) *outgoing {
	s.callMu.Lock()
	defer s.callMu.Unlock()
	o := s.calls[id]
	delete(s.calls, id)
	return o
}

// sendCall sends a call.
func (s *session) sendCall(ctx context.Context, from, to actor.AnyRef, m proto.Message, call actor.RemoteCall) (uint64, error) {
	p := pair{from.ID(), to.ID()}
	o := &outgoing{to: to, p: p, call: call}
	if !from.IsZero() {
		o.wait = probeAfter
		o.next = time.Since(s.node.start) + probeAfter
	}
	id, err := s.begin(o)
	if err != nil {
		return 0, err
	}
	e := wire.Envelope{Kind: greenroomv1.Kind_KIND_CALL, ID: id, From: from.ID(), Left: uint64((call.Left() + time.Microsecond - 1) / time.Microsecond)}
	if err := s.send(ctx, from, to, m, &e); err != nil {
		if s.taken(id) == nil {
			return id, nil // the session has ended meanwhile, and the call was told
		}
		return 0, err
	}
	return id, nil
}

// ask is a call by nobody: answer is told, once, unless it returns an error or is cancelled.
func (s *session) ask(ctx context.Context, to actor.AnyRef, m proto.Message, answer func(m proto.Message, err error)) (uint64, error) {
	p := pair{0, to.ID()}
	id, err := s.begin(&outgoing{to: to, p: p, answer: answer})
	if err != nil {
		return 0, err
	}
	if err := s.send(ctx, actor.AnyRef{}, to, m, &wire.Envelope{Kind: greenroomv1.Kind_KIND_CALL, ID: id}); err != nil && s.taken(id) != nil {
		return 0, err
	}
	return id, nil
}

// cancel gives up a call. The word travels behind it.
func (s *session) cancel(id uint64) {
	if o := s.taken(id); o != nil {
		s.tellCancelled(o, id)
	}
}

func (s *session) tellCancelled(o *outgoing, id uint64) {
	_ = s.laneOf(o.p).plain(o.p, &wire.Envelope{Kind: greenroomv1.Kind_KIND_CANCEL, ID: id}) // it may be too late
}

// deliver sends a message and waits until it is in its receiver's mailbox.
func (s *session) deliver(ctx context.Context, from, to actor.AnyRef, m proto.Message) error {
	o := &outgoing{to: to}
	id, err := s.begin(o)
	if err != nil {
		return err
	}
	e := wire.Envelope{Kind: greenroomv1.Kind_KIND_DELIVER, ID: id, From: from.ID()}
	if err := s.send(ctx, from, to, m, &e); err != nil {
		s.taken(id)
		return err
	}
	if err := o.done.Wait(ctx); err != nil {
		if s.taken(id) != nil {
			return err // it may still arrive
		}
		_ = o.done.Wait(context.WithoutCancel(ctx)) // the answer is there, or all but
	}
	return o.err
}

// answered takes the answer to a call or Deliver of this side.
func (s *session) answered(e *wire.Envelope, m proto.Message, err error) error {
	o := s.taken(e.ID)
	switch {
	case o == nil: // given up
		s.late(m)
		return nil
	case o.delivers() != (e.Kind == greenroomv1.Kind_KIND_DELIVERED):
		why := broken("an answer of the wrong kind")
		o.fail(why)
		return why
	case o.answer != nil:
		o.answer(m, err)
		return nil
	case o.delivers():
		o.err = err
		o.done.Set()
		return nil
	}
	if !o.call.Answer(m, err) {
		s.late(m)
	}
	return nil
}

// late deals with a reply that nobody waits for any more.
func (s *session) late(m proto.Message) {
	if q, ok := m.(*greenroomv1.SpawnReply); ok {
		s.unwanted(q)
		return
	}
	if m != nil {
		s.node.sys.Undeliverable(actor.DeadLetter{Message: m, Reason: actor.DeadLateReply})
	}
}

// delivers reports whether it is a Deliver.
func (o *outgoing) delivers() bool { return o.call.IsZero() && o.answer == nil }

// fail ends it without an answer.
func (o *outgoing) fail(why error) {
	switch {
	case o.answer != nil:
		o.answer(nil, why)
		return
	case o.delivers():
		o.err = why
		o.done.Set()
		return
	}
	o.call.Answer(nil, fmt.Errorf("remote: call of %v: %w", o.to, why))
}

// failCalls fails all that waits for an answer.
func (s *session) failCalls(why error) {
	s.callMu.Lock()
	calls := s.calls
	s.calls = nil
	s.callMu.Unlock()
	for _, o := range calls {
		o.fail(why)
	}
}

// incoming is a call from the other side.
type incoming struct {
	s  *session
	id uint64
	p  pair // from the callee to the caller

	mu     sync.Mutex
	over   bool
	giveUp func()
}

// maxCalls bounds the calls of one peer that are unanswered.
const maxCalls = 1 << 16

// accept notes a call, so that it can be cancelled.
func (s *session) accept(c *incoming) error {
	s.watchMu.Lock()
	defer s.watchMu.Unlock()
	if s.ctx.Err() != nil {
		return s.downError()
	}
	if s.incomings[c.id] != nil {
		return fmt.Errorf("remote: %s has two calls of number %d: %w", s.far, c.id, ErrLimit)
	}
	if len(s.incomings) >= maxCalls {
		return fmt.Errorf("remote: %s has %d calls unanswered: %w", s.far, len(s.incomings), ErrLimit)
	}
	if s.incomings == nil {
		s.incomings = make(map[uint64]*incoming)
	}
	s.incomings[c.id] = c
	return nil
}

// begun says how the callee is told that the caller gave up.
func (c *incoming) begun(giveUp func()) {
	c.mu.Lock()
	c.giveUp = giveUp
	over := c.over
	c.mu.Unlock()
	if over {
		giveUp() // it was cancelled, or answered, meanwhile
	}
}

// finish ends the call on this side; false if it has ended already.
func (c *incoming) finish() bool {
	c.mu.Lock()
	was := c.over
	c.over = true
	c.mu.Unlock()
	if was {
		return false
	}
	c.s.watchMu.Lock()
	if c.s.incomings[c.id] == c {
		delete(c.s.incomings, c.id)
	}
	c.s.watchMu.Unlock()
	return true
}

// Answered implements actor.Caller.
func (c *incoming) Answered(m proto.Message, err error) {
	if !c.finish() {
		return
	}
	if err := c.s.reply(c.p, c.id, m, err); err != nil && m != nil {
		c.s.node.sys.Undeliverable(actor.DeadLetter{Message: m, Reason: actor.DeadLateReply, Err: err})
	}
}

// Life implements actor.Caller.
func (c *incoming) Life() context.Context { return c.s.ctx }

// refuse answers a call that reached nobody.
func (c *incoming) refuse(err error) {
	if c.finish() {
		_ = c.s.reply(c.p, c.id, nil, err) // a session that has ended has told the caller
	}
}

// cancelled is the caller's giving up.
func (s *session) cancelled(id uint64) {
	s.watchMu.Lock()
	c := s.incomings[id]
	s.watchMu.Unlock()
	if c == nil || !c.finish() {
		return
	}
	c.mu.Lock()
	giveUp := c.giveUp
	c.mu.Unlock()
	if giveUp != nil {
		giveUp()
	}
}
