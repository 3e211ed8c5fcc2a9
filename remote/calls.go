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
	to   actor.AnyRef
	call actor.RemoteCall // zero for a Deliver
	done actor.Event      // of a Deliver
	err  error            // its outcome, there once done is set
	took time.Time

	reply func(m proto.Message, err error) // gets the outcome, if it is not nil, and must not wait
}

// begin gives an outgoing call its number.
func (s *session) begin(o *outgoing) (uint64, error) {
	id := s.nextID.Add(1)
	s.callMu.Lock()
	defer s.callMu.Unlock()
	if s.calls == nil {
		return 0, s.downError()
	}
	s.calls[id] = o
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
	id, err := s.begin(&outgoing{to: to, call: call})
	if err != nil {
		return 0, err
	}
	e := wire.Envelope{Kind: greenroomv1.Kind_KIND_CALL, ID: id, From: from.ID(), Left: uint64(call.Left() / time.Microsecond)}
	if err := s.send(ctx, from, to, m, &e); err != nil {
		if s.taken(id) == nil {
			return id, nil // the session has ended meanwhile, and the call was told
		}
		return 0, err
	}
	return id, nil
}

// cancel gives up a call.
func (s *session) cancel(id uint64) {
	if o := s.taken(id); o != nil {
		_ = s.out[answerLane].plain(pair{0, o.to.ID()}, &wire.Envelope{Kind: greenroomv1.Kind_KIND_CANCEL, ID: id}) // it may be too late
	}
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
func (s *session) answered(e *wire.Envelope, m proto.Message, err error) {
	o := s.taken(e.ID)
	if o == nil {
		return // given up
	}
	if o.reply != nil {
		o.reply(m, err)
		return
	}
	if o.call.IsZero() {
		o.err = err
		o.done.Set()
		return
	}
	if !o.call.Answer(m, err) && m != nil {
		s.node.sys.Undeliverable(actor.DeadLetter{Message: m, Reason: actor.DeadLateReply})
	}
}

// failCalls fails all that waits for an answer.
func (s *session) failCalls(why error) {
	s.callMu.Lock()
	calls := s.calls
	s.calls = nil
	s.callMu.Unlock()
	for _, o := range calls {
		if o.reply != nil {
			o.reply(nil, why)
			continue
		}
		if o.call.IsZero() {
			o.err = why
			o.done.Set()
			continue
		}
		o.call.Answer(nil, fmt.Errorf("remote: call of %v: %w", o.to, why))
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
	delete(c.s.incomings, c.id)
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
