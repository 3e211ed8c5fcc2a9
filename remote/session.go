package remote

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/remote/internal/link"
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
	end  context.CancelCauseFunc
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
	pieceWindow atomic.Int64  // bytes of pieces that a lane may have on their way
	granted     atomic.Uint32 // what the peer lets this node do
	features    atomic.Uint64 // what else it can do
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
	drains    map[uint64]uint64 // Drains of which some envelopes have come, and how many are still to come
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
	rtt       time.Duration // the last that was measured
	shortest  time.Duration // and the shortest
}

func newSession(far *incarnation) *session {
	n := far.node
	s := &session{
		node: n, far: far, count: far.counters(), room: new(actor.Event), hands: new(hands),
		calls: make(map[uint64]*outgoing), over: make(chan struct{}),
	}
	s.ctx, s.end = context.WithCancelCause(n.ctx)
	s.mine = randomID()
	s.roundTrip(0)
	for i := range s.out {
		s.out[i] = newLaneOut(s, i)
		s.in[i] = &laneIn{s: s, n: i}
	}
	s.window.Store(int64(n.opts.WindowBytes))
	s.maxMessage.Store(int64(n.opts.MaxMessageBytes))
	s.granted.Store(uint32(link.AllRoles)) // until its Hello says otherwise
	s.hear()
	s.beatAt = time.Now()
	s.mu.Lock() // the first beat may come before there is a timer to set again
	s.beat = time.AfterFunc(n.beatEvery(), s.onBeat)
	s.mu.Unlock()
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

// downError is why the session has ended, nil if it has not. Whoever holds a lock may ask.
func (s *session) downError() error { return context.Cause(s.ctx) }

// laneOf is the lane for what goes from one actor to another.
func (s *session) laneOf(p pair) *laneOut {
	h := (p.from*0x9E3779B97F4A7C15 ^ p.to) * 0xD6E8FEB86659FD93
	return s.out[1+(h>>33)%(lanes-1)]
}

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
	s.end(why)
	if at != nil {
		_ = at.l.Close(closeSession, "the session is over: "+why.Error())
	}
	level := slog.LevelWarn
	var left *leftError
	if errors.Is(why, ErrStopped) || errors.As(why, &left) {
		level = slog.LevelInfo // in good order
	}
	s.node.log.LogAttrs(context.Background(), level, "session ended", slog.String("peer", s.far.String()), slog.String("reason", why.Error()))
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
