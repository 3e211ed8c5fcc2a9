package remote

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/remote/internal/wire"
)

// watch is an actor's or goroutine's interest, here, in the end of an actor there.
type watch struct {
	by   actor.AnyRef
	to   actor.AnyRef
	down func(actor.Down)
}

// watchKey names a watch of the other side.
type watchKey struct{ by, id uint64 }

// linkKey is a link between an actor here and one there.
type linkKey struct{ here, there uint64 }

// watch has down called when to ends, or when the session does. An error: it will not be.
func (s *session) watch(by, to actor.AnyRef, id uint64, down func(actor.Down)) error {
	s.watchMu.Lock()
	if s.ctx.Err() != nil {
		s.watchMu.Unlock()
		return s.downError()
	}
	if s.watches == nil {
		s.watches = make(map[uint64]*watch)
	}
	s.watches[id] = &watch{by, to, down}
	s.watchMu.Unlock()
	p := pair{by.ID(), to.ID()}
	_ = s.laneOf(p).plain(p, &wire.Envelope{Kind: greenroomv1.Kind_KIND_WATCH, ID: id, From: by.ID()}) // or the session has ended, which tells all watches
	return nil
}

// unwatch ends a watch.
func (s *session) unwatch(to actor.AnyRef, id uint64) {
	s.watchMu.Lock()
	w := s.watches[id]
	delete(s.watches, id)
	s.watchMu.Unlock()
	if w != nil {
		p := pair{w.by.ID(), to.ID()}
		_ = s.laneOf(p).plain(p, &wire.Envelope{Kind: greenroomv1.Kind_KIND_UNWATCH, ID: id, From: w.by.ID()}) // or it has ended, and all watches with it
	}
}

// signal passes a signal on.
func (s *session) signal(from, to actor.AnyRef, sig actor.Signal) error {
	kinds := [actor.SignalKinds]greenroomv1.Kind{
		actor.SignalStop: greenroomv1.Kind_KIND_STOP, actor.SignalShutdown: greenroomv1.Kind_KIND_SHUTDOWN,
		actor.SignalKill: greenroomv1.Kind_KIND_KILL, actor.SignalDrain: greenroomv1.Kind_KIND_DRAIN,
		actor.SignalInterrupt: greenroomv1.Kind_KIND_INTERRUPT, actor.SignalResume: greenroomv1.Kind_KIND_RESUME,
		actor.SignalLink: greenroomv1.Kind_KIND_LINK, actor.SignalUnlink: greenroomv1.Kind_KIND_UNLINK, actor.SignalExit: greenroomv1.Kind_KIND_EXIT,
	}
	p := pair{from.ID(), to.ID()}
	e := wire.Envelope{Kind: kinds[sig.Kind], From: from.ID()}
	switch sig.Kind {
	case actor.SignalLink:
		if err := s.linked(linkKey{from.ID(), to.ID()}); err != nil {
			return err
		}
	case actor.SignalUnlink:
		s.unlinked(linkKey{from.ID(), to.ID()})
	case actor.SignalExit:
		s.unlinked(linkKey{from.ID(), to.ID()})
		e.Failure = marshalFailure(reasonFailure(sig.Why))
	case actor.SignalDrain:
		return s.drainThere(to.ID())
	case actor.SignalInterrupt:
		e.Failure = marshalFailure(failureOf(sig.Err))
	case actor.SignalResume:
		m, ok := sig.Value.(proto.Message)
		if !ok && sig.Value != nil {
			return fmt.Errorf("remote: resume %v with a %T: only a message can go to another node: %w", to, sig.Value, actor.ErrWrongType)
		}
		if ok {
			return s.body(p, &e, m)
		}
	default:
	}
	return s.laneOf(p).plain(p, &e)
}

// drainThere asks an actor there to drain, behind everything that was sent to it, by whomever: the word goes every way that leads there, and
// counts when it has come by all of them.
func (s *session) drainThere(to uint64) error {
	ways := make([][]pair, lanes)
	e := wire.Envelope{Kind: greenroomv1.Kind_KIND_DRAIN, ID: s.node.nextID.Add(1)}
	for i := answerLane + 1; i < lanes; i++ {
		ways[i] = append(s.out[i].queuesTo(to), pair{0, to})
		e.Size += uint64(len(ways[i]))
	}
	for i, list := range ways {
		for _, p := range list {
			if err := s.out[i].plain(p, &e); err != nil {
				return err
			}
		}
	}
	return nil
}

// drainHere reports whether an envelope is the last of those that ask for one Drain.
func (s *session) drainHere(e *wire.Envelope) (bool, error) {
	s.watchMu.Lock()
	defer s.watchMu.Unlock()
	left, begun := s.drains[e.ID]
	switch {
	case !begun && e.Size <= 1 || left == 1:
		delete(s.drains, e.ID)
		return true, nil
	case !begun && len(s.drains) >= maxCalls:
		return false, broken("more than %d drains", maxCalls)
	case !begun:
		left = e.Size
	}
	if s.drains == nil {
		s.drains = make(map[uint64]uint64)
	}
	s.drains[e.ID] = left - 1
	return false, nil
}

// body sends an envelope with a message that is none of the ledger's.
func (s *session) body(p pair, e *wire.Envelope, m proto.Message) error {
	t, err := typeOf(m)
	if err != nil {
		return err
	}
	size := proto.Size(m)
	if int64(size) > s.maxMessage.Load() {
		return fmt.Errorf("%w: %s of %d bytes", ErrTooLarge, t.name, size)
	}
	return s.laneOf(p).message(p, t, e, m, size)
}

func (s *session) linked(k linkKey) error {
	s.watchMu.Lock()
	defer s.watchMu.Unlock()
	if s.ctx.Err() != nil {
		return s.downError()
	}
	if s.links == nil {
		s.links = make(map[linkKey]struct{})
	}
	s.links[k] = struct{}{}
	s.linkN.Store(int64(len(s.links)))
	return nil
}

func (s *session) unlinked(k linkKey) {
	s.watchMu.Lock()
	delete(s.links, k)
	s.linkN.Store(int64(len(s.links)))
	s.watchMu.Unlock()
}

// control does what an envelope says that is no message. Errors end the link.
func (s *session) control(l *laneIn, e *wire.Envelope, r *routeIn) error {
	var fail greenroomv1.Failure
	if e.Failure != nil {
		if err := unmarshal.Unmarshal(e.Failure, &fail); err != nil {
			return broken("a failure that is none")
		}
	}
	switch e.Kind {
	case greenroomv1.Kind_KIND_REPLY, greenroomv1.Kind_KIND_DELIVERED:
		var m proto.Message
		err := error(nil)
		switch {
		case e.Failure != nil:
			err = s.node.errorFrom(&fail, s.far.String())
		case e.Kind == greenroomv1.Kind_KIND_REPLY:
			if m, err = l.open(e, r); err != nil {
				err = fmt.Errorf("remote: the reply: %w", err)
			}
		}
		return s.answered(e, m, err)
	case greenroomv1.Kind_KIND_CANCEL:
		s.cancelled(e.ID)
		return nil
	case greenroomv1.Kind_KIND_DOWN:
		s.isDown(l, e, r, &fail)
		return nil
	default: // the rest is for an actor here
	}
	no := s.mayReach(r)
	if no == nil && r.service != 0 && e.Kind != greenroomv1.Kind_KIND_UNWATCH {
		no = fmt.Errorf("%w: a service of %s takes no signals", ErrRefused, s.node.name) // least of all Kill
	}
	if no != nil {
		if e.Kind == greenroomv1.Kind_KIND_WATCH { // it would wait for ever
			s.tellDown(pair{r.to, e.From}, e.ID, actor.Down{Reason: actor.Reason{Kind: actor.ReasonNodeDown, Err: no}})
		}
		return nil // what such a peer sends has no effect; its messages are dead letters
	}
	from, err := s.node.sys.RefAt(s.far.id, e.From)
	if err != nil {
		return broken("%v", err)
	}
	switch e.Kind {
	case greenroomv1.Kind_KIND_WATCH:
		return s.watchFor(l, from, r.to, e.ID)
	case greenroomv1.Kind_KIND_UNWATCH:
		s.watchMu.Lock()
		delete(s.watched, watchKey{e.From, e.ID})
		s.watchMu.Unlock()
		l.in.Unwatch(r.to, from, e.ID)
		return nil
	default: // a signal
	}
	sig := actor.Signal{Kind: signalOf[e.Kind]}
	switch sig.Kind {
	case 0:
		return nil // of a later version
	case actor.SignalLink:
		if err := s.linked(linkKey{r.to, e.From}); err != nil {
			return err
		}
		if n := s.linkN.Load(); n > maxWatches {
			return broken("more than %d links", maxWatches)
		}
	case actor.SignalUnlink:
		s.unlinked(linkKey{r.to, e.From})
	case actor.SignalExit:
		s.unlinked(linkKey{r.to, e.From})
		sig.Why = s.node.reasonFrom(&fail, s.far.String())
	case actor.SignalDrain:
		if last, err := s.drainHere(e); !last {
			return err
		}
	case actor.SignalInterrupt:
		sig.Err = s.node.errorFrom(&fail, s.far.String())
	case actor.SignalResume:
		if e.HasBody {
			if m, err := l.open(e, r); err == nil {
				sig.Value = m
			}
		}
	default:
	}
	switch sig.Kind {
	case actor.SignalExit, actor.SignalDrain: // they take their turn behind messages
		s.inTurn(r.to, func(in *actor.Inbound) { in.Signal(from, r.to, sig) }, l.in)
	default:
		l.in.Signal(from, r.to, sig)
	}
	return nil
}

// inTurn calls do when what has come for actor id before is in its mailbox: now, if nothing waits for room there.
func (s *session) inTurn(id uint64, do func(in *actor.Inbound), in *actor.Inbound) {
	if f, ok := s.flows.Load(id); ok && f.(*flow).late.Load() > 0 {
		f.(*flow).enqueue(lateMessage{do: do})
		return
	}
	do(in)
}

var signalOf = map[greenroomv1.Kind]actor.SignalKind{
	greenroomv1.Kind_KIND_STOP: actor.SignalStop, greenroomv1.Kind_KIND_SHUTDOWN: actor.SignalShutdown, greenroomv1.Kind_KIND_KILL: actor.SignalKill,
	greenroomv1.Kind_KIND_DRAIN: actor.SignalDrain, greenroomv1.Kind_KIND_INTERRUPT: actor.SignalInterrupt,
	greenroomv1.Kind_KIND_RESUME: actor.SignalResume, greenroomv1.Kind_KIND_LINK: actor.SignalLink,
	greenroomv1.Kind_KIND_UNLINK: actor.SignalUnlink, greenroomv1.Kind_KIND_EXIT: actor.SignalExit,
}

// maxWatches bounds the watches that one peer has here, and the links with it.
const maxWatches = 1 << 22

// watchFor begins a watch of the other side's.
func (s *session) watchFor(l *laneIn, by actor.AnyRef, to, id uint64) error {
	k := watchKey{by.ID(), id}
	s.watchMu.Lock()
	if s.ctx.Err() != nil {
		s.watchMu.Unlock()
		return s.downError()
	}
	if s.watched == nil {
		s.watched = make(map[watchKey]uint64)
	}
	if len(s.watched) >= maxWatches {
		s.watchMu.Unlock()
		return broken("more than %d watches", maxWatches)
	}
	if _, twice := s.watched[k]; twice {
		s.watchMu.Unlock()
		return broken("two watches of number %d", id)
	}
	s.watched[k] = to
	s.watchMu.Unlock()
	l.in.Watch(to, by, id, func(d actor.Down) {
		s.watchMu.Lock()
		_, wanted := s.watched[k]
		delete(s.watched, k)
		s.watchMu.Unlock()
		if wanted {
			s.tellDown(pair{to, by.ID()}, id, d)
		}
	})
	return nil
}

// tellDown tells the other side of an end here. It travels behind what the actor has sent.
func (s *session) tellDown(p pair, id uint64, d actor.Down) {
	if p.to == 0 {
		p.to = answersTo // a Wait, which is no actor: a route leads somewhere
	}
	e := wire.Envelope{Kind: greenroomv1.Kind_KIND_DOWN, ID: id, From: d.Ref.ID(), Failure: marshalFailure(reasonFailure(d.Reason))}
	if m, ok := d.Value.(proto.Message); ok && m != nil && s.body(p, &e, m) == nil {
		return
	}
	e = wire.Envelope{Kind: greenroomv1.Kind_KIND_DOWN, ID: id, From: d.Ref.ID(), Failure: e.Failure}
	_ = s.laneOf(p).plain(p, &e) // or the session has ended, and told of that
}

// isDown takes the news of an end there.
func (s *session) isDown(l *laneIn, e *wire.Envelope, r *routeIn, fail *greenroomv1.Failure) {
	s.watchMu.Lock()
	w := s.watches[e.ID]
	delete(s.watches, e.ID)
	s.watchMu.Unlock()
	if w == nil {
		return
	}
	d := actor.Down{Ref: w.to, Reason: s.node.reasonFrom(fail, s.far.String())}
	if e.HasBody {
		if m, err := l.open(e, r); err == nil {
			d.Value = m
		}
	}
	s.inTurn(w.by.ID(), func(*actor.Inbound) { w.down(d) }, nil)
}

// dropWatches tells all who watch or are linked to an actor there that its node is down, and forgets those who watch from there.
func (s *session) dropWatches(why error) {
	s.watchMu.Lock()
	watches, watched, links, incomings := s.watches, s.watched, s.links, s.incomings
	s.watches, s.watched, s.links, s.incomings = nil, nil, nil, nil
	s.watchMu.Unlock()
	reason := actor.Reason{Kind: actor.ReasonNodeDown, Err: why}
	for _, w := range watches {
		w.down(actor.Down{Ref: w.to, Reason: reason})
	}
	in := s.node.sys.NewInbound()
	for k, to := range watched {
		if by, err := s.node.sys.RefAt(s.far.id, k.by); err == nil {
			in.Unwatch(to, by, k.id)
		}
	}
	for k := range links {
		if there, err := s.node.sys.RefAt(s.far.id, k.there); err == nil {
			in.Signal(there, k.here, actor.Signal{Kind: actor.SignalExit, Why: reason})
		}
	}
	for _, c := range incomings {
		c.mu.Lock()
		c.over = true
		giveUp := c.giveUp
		c.mu.Unlock()
		if giveUp != nil {
			giveUp()
		}
	}
}
