package remote

// The receiving half of a session: what mailboxes hold, and what the other side is told.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/wire"
)

// mayReach tells why the peer's messages may not reach r.
func (s *session) mayReach(r *routeIn) error {
	need := link.MaySend
	if r.service != 0 {
		need = roleFor[r.service]
	}
	if link.Roles(s.roles.Load())&need == 0 {
		return fmt.Errorf("%w: %s has not the role %v here", ErrRefused, s.far, need)
	}
	return nil
}

// undelivered makes a dead letter of a message that found no mailbox.
func (s *session) undelivered(e *wire.Envelope, r *routeIn, m proto.Message, err error, call bool) {
	if m == nil && r.t != nil { // what is not known here can still be looked at, and sent on
		m = &anypb.Any{TypeUrl: "type.googleapis.com/" + r.t.name, Value: append([]byte(nil), e.Payload...)}
	}
	s.lose(r.to, m, err, call)
}

func (s *session) lose(to uint64, m proto.Message, err error, call bool) {
	why := actor.DeadStopped
	switch {
	case errors.Is(err, ErrUnknownType):
		why = actor.DeadUnknownType
	case errors.Is(err, ErrRefused):
		why = actor.DeadRefused
	case errors.Is(err, actor.ErrFull), errors.Is(err, ErrLimit):
		why = actor.DeadOverflow
	case s.ctx.Err() != nil:
		why, err = actor.DeadNodeDown, s.downError()
	}
	s.count.dead.Add(1)
	ref, _ := s.node.sys.RefAt(s.node.sys.NodeID(), to)
	if why == actor.DeadStopped && !ref.Alive() {
		s.tellGone(to) // with the ack of this message
	}
	s.node.sys.Undeliverable(actor.DeadLetter{To: ref, Message: m, Call: call, Reason: why, Err: err})
}

// flowTo is the flow to actor id.
func (s *session) flowTo(id uint64) *flow {
	if f, ok := s.flows.Load(id); ok {
		return f.(*flow)
	}
	f, loaded := s.flows.LoadOrStore(id, &flow{s: s, to: id})
	if !loaded && s.flowN.Add(1)%maxFlows == 0 {
		s.sweepFlows()
	}
	return f.(*flow)
}

// maxFlows is after how many new receivers those are forgotten that have ended.
const maxFlows = 4096

func (s *session) sweepFlows() {
	s.flows.Range(func(k, v any) bool {
		f := v.(*flow)
		ref, _ := s.node.sys.RefAt(s.node.sys.NodeID(), f.to)
		if !ref.Alive() && f.held.Load() == 0 && f.late.Load() == 0 && !f.paused.Load() {
			f.gone.Store(true)
			s.flows.Delete(k)
		}
		return true
	})
}

// intakeLimit is how many bytes mailboxes here may hold when more is read: the rest of what they may in all is not counted yet.
func (s *session) intakeLimit() int64 { return int64(s.node.opts.MaxQueuedBytes / 4 * 3) }

// unread is how many bytes the peer has not acknowledged beyond what senders here may have on their way, or of answers to calls: it is told of
// ends, and answered, without anybody waiting for that.
func (s *session) unread() int64 {
	return max(s.inflight.Load()-s.window.Load(), s.out[answerLane].held.Load())
}

// awaitIntake waits while mailboxes here hold more from the peer than they may in all, or the peer leaves as much unread. The link's end
// ends it, and a peer that reads nothing for DownAfter.
func (s *session) awaitIntake(from link.Link) error {
	limit := s.intakeLimit()
	least, since := s.unread(), time.Now()
	for s.intake.Load() > limit || s.unread() > limit {
		s.intakeEv.Clear()
		s.choked.Store(true)
		if s.intake.Load() <= limit && s.unread() <= limit {
			break
		}
		ctx, cancel := context.WithTimeout(s.ctx, time.Second) // what was confirmed sets no event
		err := s.intakeEv.Wait(ctx)
		cancel()
		switch {
		case s.ctx.Err() != nil:
			return s.ctx.Err()
		case from.Cause() != nil:
			return from.Cause()
		case err == nil:
			s.hear()
		}
		switch n := s.unread(); {
		case n < least || n <= limit:
			least, since = n, time.Now()
		case time.Since(since) > s.node.opts.DownAfter:
			return broken("%d bytes of answers and signals wait for it, and it has acknowledged none for %v", n, s.node.opts.DownAfter)
		}
	}
	return nil
}

// outtake takes note that mailboxes hold less.
func (s *session) outtake(n int64) {
	if s.intake.Add(-n) <= int64(s.node.opts.MaxQueuedBytes)/2 && s.choked.CompareAndSwap(true, false) {
		s.intakeEv.Set()
	}
}

// arrived takes note of a frame. The peer is told of many at once.
func (s *session) arrived(l *laneIn, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.received++
	l.handed = 0
	s.ackBytes += n
	s.dirtyLocked(s.ackBytes >= s.node.opts.WindowBytes/64) // pieces wait for acks, and what waits behind pieces with them
}

// ackDelay is how long the peer may wait to be told what has arrived.
const ackDelay = 10 * time.Millisecond

// dirtyLocked has the control stream written, now or soon.
func (s *session) dirtyLocked(now bool) {
	switch {
	case s.at == nil:
	case now:
		s.flushLocked()
	case s.ackTimer == nil:
		s.ackTimer = time.AfterFunc(ackDelay, s.flush)
		s.at.ctl.armed = true
	case !s.at.ctl.armed:
		s.at.ctl.armed = true
		s.ackTimer.Reset(ackDelay)
	}
}

func (s *session) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at != nil {
		s.at.ctl.armed = false
		s.flushLocked()
	}
}

// flushLocked tells the peer what has arrived and who is paused.
func (s *session) flushLocked() {
	if s.ackBytes > 0 {
		s.ackBytes = 0
		s.at.ctl.queue(&greenroomv1.Control{What: &greenroomv1.Control_Ack{Ack: &greenroomv1.Ack{Received: s.receivedLocked()}}})
	}
	s.queuePauses()
	if !s.at.ctl.write(s.count) {
		s.dirtyLocked(false)
	}
}

func (s *session) receivedLocked() []uint64 {
	list := make([]uint64, lanes)
	for i, l := range s.in {
		list[i] = l.received
	}
	return list
}

// pauseChanged has the peer told, at once, that an actor here is paused or no longer is.
func (s *session) pauseChanged(id uint64) {
	s.pauseMu.Lock()
	if s.changedP == nil {
		s.changedP = make(map[uint64]struct{})
	}
	s.changedP[id] = struct{}{}
	s.pauseMu.Unlock()
	s.node.begin(s.flush) // whoever calls runs an actor
}

// queuePauses queues what has changed about pauses, and who has ended. The caller holds s.mu.
func (s *session) queuePauses() {
	s.pauseMu.Lock()
	changed, ended := s.changedP, s.hereGone
	s.changedP, s.hereGone = nil, nil
	s.pauseMu.Unlock()
	if len(ended) > 0 {
		slices.Sort(ended)
		s.at.ctl.queue(&greenroomv1.Control{What: &greenroomv1.Control_Gone{Gone: &greenroomv1.Gone{Ids: slices.Compact(ended)}}})
	}
	if len(changed) == 0 {
		return
	}
	pause, unpause := &greenroomv1.Pause{}, &greenroomv1.Unpause{}
	for id := range changed {
		if f, ok := s.flows.Load(id); ok && f.(*flow).paused.Load() {
			pause.Ids = append(pause.Ids, id)
		} else {
			unpause.Ids = append(unpause.Ids, id)
		}
	}
	s.at.ctl.queue(&greenroomv1.Control{What: &greenroomv1.Control_Pause{Pause: pause}})
	s.at.ctl.queue(&greenroomv1.Control{What: &greenroomv1.Control_Unpause{Unpause: unpause}})
}

// pausedHere lists the actors here that are paused.
func (s *session) pausedHere() (ids []uint64) {
	s.flows.Range(func(_, v any) bool {
		if f := v.(*flow); f.paused.Load() {
			ids = append(ids, f.to)
		}
		return true
	})
	return ids
}
