package remote

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/wire"
)

// lanes is how many lanes go each way. The first carries answers, which wait for no mailbox and hold nobody up; what goes to actors takes
// one of the others, by sender and receiver.
const (
	lanes      = 5
	answerLane = 0
)

// session is what two living incarnations have with each other: all that was sent and has not been confirmed, and who watches whom. It
// outlives the links that it runs over. It ends when the other side is declared down; a later session with the same incarnation has
// nothing to do with it.
type session struct {
	node *Node
	far  *incarnation
	ctx  context.Context // ends with the session
	end  context.CancelFunc
	mine uint64 // its number on this side

	hands *hands

	out         [lanes]*laneOut
	in          [lanes]*laneIn
	inflight    atomic.Int64 // bytes of messages that are not acknowledged, but for long ones
	bulk        atomic.Int64 // bytes of long ones
	linkUp      atomic.Bool  // there is a link
	starved     atomic.Bool  // somebody waits for room
	roomMu      sync.Mutex
	room        *actor.Event // set and replaced when there is room
	window      atomic.Int64
	maxMessage  atomic.Int64
	pieceWindow int
	granted     atomic.Uint32 // what the peer lets this node do
	roles       atomic.Uint32 // what this node lets the peer do
	types       understanding
	queries     atomic.Int32 // that the other side has standing here
	namesAsked  atomic.Bool  // it was asked for all names that it publishes, which have not come
	heard       atomic.Int64 // when the other side was last heard of, since node.start

	callMu  sync.Mutex
	calls   map[uint64]*outgoing
	prober  *time.Timer
	probing bool // the timer is set

	pauseMu  sync.Mutex
	pausedN  atomic.Int32
	paused   map[uint64]*actor.Event // actors there that want no more, and who waits for that to change
	changedP map[uint64]struct{}     // actors here whose pause has changed
	goneN    atomic.Int32            // how many there are in gone
	gone     map[uint64]struct{}     // actors there that have ended, of those sent to since
	hereGone []uint64                // actors here of which the peer is to be told that
	flows    sync.Map                // actor here: *flow
	flowN    atomic.Int64
	intake   atomic.Int64 // bytes that mailboxes here hold
	intakeEv actor.Event
	choked   atomic.Bool

	watchMu   sync.Mutex
	watches   map[uint64]*watch // from here
	watched   map[watchKey]uint64
	linkN     atomic.Int64
	links     map[linkKey]struct{}
	incomings map[uint64]*incoming

	count *counters // those of far

	mu        sync.Mutex
	yours     uint64 // its number on the other side, 0 until that is known
	linkCount uint32
	at        *attachment   // nil while there is no link
	over      chan struct{} // closed when the session's end is done with
	ended     error
	ackBytes  int
	ackTimer  *time.Timer
	beat      *time.Timer
	beatAt    time.Time
	rtt       time.Duration
}

func newSession(far *incarnation) *session {
	n := far.node
	s := &session{
		node: n, far: far, count: &far.count, room: new(actor.Event), hands: new(hands), pieceWindow: n.opts.WindowBytes / 4,
		calls: make(map[uint64]*outgoing), over: make(chan struct{}),
	}
	s.ctx, s.end = context.WithCancel(n.ctx)
	s.mine = randomID()
	for i := range s.out {
		s.out[i] = newLaneOut(s, i)
		s.in[i] = &laneIn{s: s, n: i}
	}
	s.window.Store(int64(n.opts.WindowBytes))
	s.maxMessage.Store(int64(n.opts.MaxMessageBytes))
	s.granted.Store(uint32(link.AllRoles)) // until its Hello says otherwise
	s.hear()
	s.beatAt = time.Now()
	s.beat = time.AfterFunc(n.beatEvery(), s.onBeat)
	return s
}

// randomID is a number that nobody else has, never 0.
func randomID() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: package crypto/rand
	return binary.LittleEndian.Uint64(b[:]) | 1
}

func (s *session) hear() { s.heard.Store(int64(time.Since(s.node.start))) }

func (s *session) silence() time.Duration {
	return time.Since(s.node.start) - time.Duration(s.heard.Load())
}

// downError is why the session has ended.
func (s *session) downError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// laneOf is the lane for what goes from one actor to another.
func (s *session) laneOf(p pair) *laneOut {
	h := (p.from*0x9E3779B97F4A7C15 ^ p.to) * 0xD6E8FEB86659FD93
	return s.out[1+(h>>33)%(lanes-1)]
}

// --- sending ---

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
	} else if s.inflight.Load() >= s.window.Load() {
		if err := s.awaitRoom(ctx, &s.inflight); err != nil {
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
	if size <= datagramBytes {
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

// --- receiving ---

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

// awaitIntake waits while mailboxes here hold more from the peer than they may in all. The link's end ends it.
func (s *session) awaitIntake(from link.Link) error {
	limit := int64(s.node.opts.MaxQueuedBytes / 4 * 3) // the rest is what is not counted yet
	for s.intake.Load() > limit || s.out[answerLane].held.Load() > limit {
		s.intakeEv.Clear()
		s.choked.Store(true)
		if s.intake.Load() <= limit && s.out[answerLane].held.Load() <= limit {
			break
		}
		ctx, cancel := context.WithTimeout(s.ctx, time.Second) // replies that were confirmed set no event
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
	s.dirtyLocked(s.ackBytes >= s.node.opts.WindowBytes/32) // pieces wait for acks, and what waits behind pieces with them
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

// --- life ---

// onBeat looks whether the other side is silent, and tells it that this side is alive.
func (s *session) onBeat() {
	every := s.node.beatEvery()
	s.mu.Lock()
	if s.ended != nil {
		s.mu.Unlock()
		return
	}
	if late := time.Since(s.beatAt) - every; late > s.node.opts.DownAfter/2 {
		// This process was stopped, or starved: that the other side was not heard says nothing yet.
		s.heard.Store(max(s.heard.Load(), int64(time.Since(s.node.start)-s.node.opts.DownAfter/2)))
		s.node.log.Warn("this node was not running for a while", "for", late)
	}
	s.beatAt = time.Now()
	silence := s.silence()
	switch {
	case silence > s.node.opts.DownAfter:
		s.mu.Unlock()
		s.fail(fmt.Errorf("remote: nothing heard of %s for %v: %w", s.far, silence.Round(time.Millisecond), actor.ErrNodeDown))
		return
	case s.at != nil:
		s.at.ctl.queue(s.heartbeatLocked())
		s.at.ctl.write(s.count)
	}
	s.beat.Reset(every)
	at := s.at
	stuck := at != nil && at.ctl.stuck
	s.mu.Unlock()
	if at == nil {
		s.far.seek()
		return
	}
	if silence > 2*every {
		s.far.redial() // the link may be dead, or wait longer and longer to send again
	}
	s.node.recheck(s, at.l)
	if stuck {
		_ = at.l.Close(closeNormal, "the control stream is not read")
	}
}

func (s *session) heartbeatLocked() *greenroomv1.Control {
	now := uint64(time.Since(s.node.start) / time.Microsecond)
	h := &greenroomv1.Heartbeat{Load: s.node.load(), SentUs: now}
	if ctl := s.at.ctl; ctl.echo != 0 {
		h.EchoUs = ctl.echo + uint64(time.Since(ctl.echoAt)/time.Microsecond)
	}
	return &greenroomv1.Control{What: &greenroomv1.Control_Heartbeat{Heartbeat: h}}
}

// fail ends the session: the other side is down, as far as this one is concerned. What follows from that happens when nothing of the
// other side's can arrive any more; over is closed when it is done.
func (s *session) fail(why error) {
	s.mu.Lock()
	if s.ended != nil {
		s.mu.Unlock()
		return
	}
	s.ended = why
	at := s.at
	s.beat.Stop()
	if s.ackTimer != nil {
		s.ackTimer.Stop()
	}
	s.mu.Unlock()
	s.end()
	if at != nil {
		_ = at.l.Close(closeSession, "the session is over: "+why.Error())
	}
	s.node.log.LogAttrs(context.Background(), slog.LevelWarn, "session ended", slog.String("peer", s.far.String()), slog.String("reason", why.Error()))
	s.wake()
	s.intakeEv.Set()
	s.pauseMu.Lock()
	for _, ev := range s.paused {
		ev.Set()
	}
	s.paused = nil
	s.pausedN.Store(0)
	s.pauseMu.Unlock()
	bury := func() {
		if at != nil {
			<-at.gone
		}
		defer close(s.over) // whoever is shown a dead letter may end the goroutine
		defer s.far.ended(s)
		defer s.node.orphans(s)
		defer s.dropWatches(why)
		defer s.failCalls(why)
		s.dropSent(why)
	}
	if !s.node.begin(bury) {
		bury()
	}
}

// dropSent makes dead letters of what was not acknowledged. Whether it has arrived is not known.
func (s *session) dropSent(why error) {
	var all []lost
	for _, l := range s.out {
		all = append(all, l.close()...)
	}
	s.dropAll(all, why)
}

// dropAll makes dead letters of all, whatever those do who are shown them.
func (s *session) dropAll(all []lost, why error) {
	defer func() {
		if len(all) > 0 {
			s.dropAll(all, why)
		}
	}()
	for len(all) > 0 {
		x := &all[0]
		all = all[1:]
		s.drop(x, why)
	}
}

func (s *session) drop(x *lost, why error) {
	call := x.Kind == greenroomv1.Kind_KIND_CALL
	switch {
	case x.Kind == greenroomv1.Kind_KIND_DELIVER:
		s.count.lost.Add(1) // whoever waits for it is told
		return
	case x.Kind != greenroomv1.Kind_KIND_UNSPECIFIED && !call:
		return
	}
	s.count.lost.Add(1)
	to, err := s.node.sys.RefAt(s.far.id, x.to)
	if err != nil {
		to = actor.AnyRef{}
	}
	letter := actor.DeadLetter{To: to, Call: call, Reason: actor.DeadNodeDown, Err: why}
	if x.t != nil {
		m := x.t.mt.New().Interface()
		if unmarshal.Unmarshal(x.Payload, m) == nil {
			letter.Message = m
		}
	}
	s.node.sys.Undeliverable(letter)
}
