package remote

// The sending half of a session: what is accepted, and what it waits for.

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/wire"
)

// send accepts a message: the way of Send, Call and Deliver. e says which.
func (s *session) send(ctx context.Context, from, to actor.AnyRef, m proto.Message, e *wire.Envelope) error {
	t, err := typeOf(m)
	if err != nil {
		return err
	}
	p := pair{from.ID(), to.ID()}
	size := proto.Size(m)
	if err := s.admissible(t, size, isService(to.ID())); err != nil {
		return err
	}
	if s.goneN.Load() > 0 && s.isGone(p.to) {
		return actor.ErrStopped
	}
	if s.pausedN.Load() > 0 {
		if err := s.awaitUnpaused(ctx, p); err != nil {
			return err
		}
	}
	if size > pieceBytes {
		if err := s.awaitBulk(ctx, size); err != nil {
			return err
		}
		defer s.released(0, size, 0) // it is counted anew where it waits
	} else if n := s.gauge(p, size); n.Load() >= s.window.Load() {
		if err := s.awaitRoom(ctx, n); err != nil {
			return err
		}
	}
	if err := s.laneOf(p).message(p, t, e, m, size); err != nil {
		return err
	}
	if !isService(p.to) {
		s.count.sent.Add(1)
	}
	return nil
}

// sendMessage sends a plain message.
func (s *session) sendMessage(ctx context.Context, from, to actor.AnyRef, m proto.Message) error {
	var e wire.Envelope
	return s.send(ctx, from, to, m, &e)
}

// admissible tells why the peer would not take a message.
func (s *session) admissible(t *messageType, size int, service bool) error {
	if limit := s.maxMessage.Load(); int64(size) > limit {
		return fmt.Errorf("%w: %s of %d bytes, and %s takes %d", ErrTooLarge, t.name, size, s.far, limit)
	}
	if link.Roles(s.granted.Load())&link.MaySend == 0 && !service {
		return fmt.Errorf("%w: %s lets this node send nothing (role send)", ErrRefused, s.far)
	}
	return s.types.accepts(t)
}

// gauge is what a message of that size adds to: the bytes of short ones that are on their way, or those of long ones and of what waits
// behind them.
func (s *session) gauge(p pair, size int) *atomic.Int64 {
	if size > pieceBytes || s.bulk.Load() >= s.window.Load() && s.laneOf(p).queues(p) {
		return &s.bulk
	}
	return &s.inflight
}

// awaitRoom waits until fewer bytes than the window are on their way.
func (s *session) awaitRoom(ctx context.Context, n *atomic.Int64) error {
	for {
		s.roomMu.Lock()
		room := s.room
		s.starved.Store(true)
		s.roomMu.Unlock()
		if n.Load() < s.window.Load() || s.ctx.Err() != nil {
			return s.downError()
		}
		s.count.suspended.Add(1)
		if err := room.Wait(ctx); err != nil {
			return err
		}
	}
}

// awaitBulk is awaitRoom for a long message, which it counts in before it lets the next one look.
func (s *session) awaitBulk(ctx context.Context, size int) error {
	for {
		n := s.bulk.Load()
		if n < s.window.Load() {
			if s.bulk.CompareAndSwap(n, n+int64(size)) {
				return nil
			}
			continue
		}
		if err := s.awaitRoom(ctx, &s.bulk); err != nil {
			return err
		}
	}
}

// released takes note that bytes have arrived.
func (s *session) released(small, long int, messages uint64) {
	s.count.confirmed.Add(messages)
	a, b := s.inflight.Add(-int64(small)), s.bulk.Add(-int64(long))
	low := s.window.Load() * 3 / 4
	if s.starved.Load() && (a < low && small > 0 || b < low && long > 0) {
		s.wake()
	}
}

// wake has all who wait for room look again.
func (s *session) wake() {
	s.roomMu.Lock()
	room := s.room
	s.room = new(actor.Event)
	s.starved.Store(false)
	s.roomMu.Unlock()
	room.Set()
}

// awaitUnpaused waits until the receiver wants more. A sender that has itself too much waiting from there must not wait for it: the
// two would wait for each other.
func (s *session) awaitUnpaused(ctx context.Context, p pair) error {
	for {
		s.pauseMu.Lock()
		ev := s.paused[p.to]
		s.pauseMu.Unlock()
		if ev == nil {
			return s.downError()
		}
		if f, ok := s.flows.Load(p.from); ok && f.(*flow).paused.Load() {
			return fmt.Errorf("remote: sender and receiver have each more from the other than they can handle: %w", actor.ErrFull)
		}
		s.count.suspended.Add(1)
		if err := ev.Wait(ctx); err != nil {
			return err
		}
	}
}

// peerPauses takes the peer's Pause or Unpause.
func (s *session) peerPauses(ids []uint64, on bool) {
	s.pauseMu.Lock()
	defer s.pauseMu.Unlock()
	if s.ctx.Err() != nil {
		return // nobody would ever be let go
	}
	for _, id := range ids {
		ev := s.paused[id]
		switch {
		case on && ev == nil && len(s.paused) < maxTypes:
			if s.paused == nil {
				s.paused = make(map[uint64]*actor.Event)
			}
			s.paused[id] = new(actor.Event)
		case !on && ev != nil:
			delete(s.paused, id)
			ev.Set()
		}
	}
	s.pausedN.Store(int32(len(s.paused)))
}

// fire sends a message without any promise: as a datagram if it fits into a packet, else in its lane unless that would have to wait.
func (s *session) fire(from, to actor.AnyRef, m proto.Message) error {
	t, err := typeOf(m)
	if err != nil {
		return err
	}
	size := proto.Size(m)
	if err := s.admissible(t, size, isService(to.ID())); err != nil {
		return err
	}
	s.mu.Lock()
	at := s.at
	s.mu.Unlock()
	if at == nil {
		s.node.m.fireLost.Add(1)
		return s.downError()
	}
	e := wire.Envelope{To: to.ID(), TypeName: []byte(t.name)}
	if size <= datagramBytes && s.features.Load()&featureDatagrams != 0 {
		b, err := appendMessage(e.Append(make([]byte, 0, e.Len(size)), size), m)
		if err != nil {
			return marshalError(t, err)
		}
		if err = at.l.SendDatagram(b); err == nil {
			s.node.m.fired.Add(1)
			return nil
		}
		if !errors.Is(err, link.ErrTooLarge) {
			s.node.m.fireLost.Add(1)
			return s.downError()
		}
	}
	if s.inflight.Load() >= s.window.Load() || s.bulk.Load() >= s.window.Load() {
		s.node.m.fireLost.Add(1)
		return nil
	}
	p := pair{from.ID(), to.ID()}
	s.node.m.fired.Add(1)
	return s.laneOf(p).message(p, t, &wire.Envelope{Kind: greenroomv1.Kind_KIND_FIRE}, m, size)
}

// datagramBytes is the longest message that is tried as a datagram: packets are larger than that nowhere by much.
const datagramBytes = 1400

// readDatagrams takes what others fire at actors here, until the link ends.
func (s *session) readDatagrams(at *attachment) {
	l := &laneIn{s: s, n: lanes, in: s.node.sys.NewInbound()}
	routes, types := make(map[uint64]*routeIn), make(map[string]*typeIn)
	for {
		b, err := at.l.ReceiveDatagram(s.ctx)
		if err != nil {
			return
		}
		s.hear()
		body, rest, err := wire.Next(b)
		if err != nil || len(rest) > 0 || l.env.Decode(body) != nil || l.env.Route != 0 || l.env.Kind != greenroomv1.Kind_KIND_UNSPECIFIED {
			s.node.m.malformed.Add(1)
			continue
		}
		t := types[string(l.env.TypeName)]
		if t == nil {
			if t = l.typeOf(&l.env); len(types) < maxFlows {
				types[string(l.env.TypeName)] = t
			}
		}
		r := routes[l.env.To]
		if r == nil {
			if len(routes) >= maxFlows {
				clear(routes)
			}
			r = s.node.routeTo(l.env.To, nil)
			routes[l.env.To] = r
		}
		r.t = t
		l.fired(&l.env, r)
	}
}

// peerGone takes the peer's word for who has ended.
func (s *session) peerGone(ids []uint64) {
	s.pauseMu.Lock()
	defer s.pauseMu.Unlock()
	if s.gone == nil || len(s.gone) > maxFlows {
		s.gone = make(map[uint64]struct{}) // those that are forgotten are told of again when somebody sends there
	}
	for _, id := range ids {
		s.gone[id] = struct{}{}
	}
	s.goneN.Store(int32(len(s.gone)))
}

func (s *session) isGone(id uint64) bool {
	s.pauseMu.Lock()
	defer s.pauseMu.Unlock()
	_, gone := s.gone[id]
	return gone
}

// tellGone has the peer told that an actor here that it has sent to has ended.
func (s *session) tellGone(id uint64) {
	s.pauseMu.Lock()
	if len(s.hereGone) < maxFlows {
		s.hereGone = append(s.hereGone, id)
	}
	s.pauseMu.Unlock()
}

// reply sends an answer. It never waits: the peer bounds how many calls it makes.
func (s *session) reply(p pair, id uint64, m proto.Message, err error) error {
	e := wire.Envelope{Kind: greenroomv1.Kind_KIND_REPLY, ID: id}
	if m != nil {
		t, terr := typeOf(m)
		size := proto.Size(m)
		if err = terr; err == nil {
			if err = s.types.accepts(t); err == nil && int64(size) > s.maxMessage.Load() {
				err = fmt.Errorf("%w: a reply of %d bytes, and %s takes %d", ErrTooLarge, size, s.far, s.maxMessage.Load())
			}
		}
		if err == nil {
			err = s.out[answerLane].message(pair{p.from, answersTo}, t, &e, m, size)
		}
		if err == nil || s.ctx.Err() != nil {
			return err
		}
	}
	e.Failure = marshalFailure(failureOf(err))
	if err := s.out[answerLane].plain(p, &e); err != nil {
		return err
	}
	return err
}

// confirm answers a Deliver.
func (s *session) confirm(p pair, id uint64, err error) {
	e := wire.Envelope{Kind: greenroomv1.Kind_KIND_DELIVERED, ID: id}
	if err != nil {
		e.Failure = marshalFailure(failureOf(err))
	}
	_ = s.out[answerLane].plain(p, &e) // a session that has ended has told the sender so
}
