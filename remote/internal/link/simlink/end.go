package simlink

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/conditions"
	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// pair is a link with both its ends.
type pair struct {
	net  *Network
	ends [2]*end // the dialer's first

	mu sync.Mutex // guards both ends and their streams
}

// end is one side of a link. One goroutine of its node takes in what arrives; what is sent leaves from the goroutine that writes, or from
// there when the path was not free.
type end struct {
	p      *pair
	other  *end
	node   *node
	peer   link.Identity
	dialed bool
	out    *conditions.Path
	in     *conditions.Path
	done   chan struct{}
	wake   chan struct{} // has the goroutine look

	cause     error
	arriving  conditions.Schedule[*event]
	stalled   []*event  // came while the path was blocked
	heard     time.Time // since when it has been silent, sends included until one was not answered
	asked     bool      // something was sent since something came
	ackComing bool      // an acknowledgement is on its way to the other end

	streams    map[streamID]*stream
	opened     uint64 // streams opened by this end
	mayOpen    int
	openable   signal
	seen       uint64 // streams opened by the other
	accepted   []*stream
	acceptable signal
	urgent     []*stream // with something to send, in turn
	ready      []*stream

	datagrams  [][]byte
	receivable signal
}

var _ link.Link = (*end)(nil)

func newPair(dialer, acceptor *node) *pair {
	p := &pair{net: dialer.net}
	side := func(node, peer *node, dialed bool) *end {
		return &end{
			p:       p,
			node:    node,
			peer:    peer.id,
			dialed:  dialed,
			out:     p.net.Path(node.addr, peer.addr),
			in:      p.net.Path(peer.addr, node.addr),
			done:    make(chan struct{}),
			wake:    make(chan struct{}, 1),
			heard:   time.Now(),
			streams: map[streamID]*stream{},
			mayOpen: p.net.MaxStreams,
		}
	}
	p.ends = [2]*end{side(dialer, acceptor, true), side(acceptor, dialer, false)}
	p.ends[0].other, p.ends[1].other = p.ends[1], p.ends[0]
	return p
}

// Peer is who is on the other side.
func (e *end) Peer() link.Identity { return e.peer }

// Dialed reports whether this side has dialed.
func (e *end) Dialed() bool { return e.dialed }

// Addr is the other side's address.
func (e *end) Addr() string { return e.other.node.addr }

// Done is closed when the link is gone.
func (e *end) Done() <-chan struct{} { return e.done }

// Cause is why the link is gone.
func (e *end) Cause() error {
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	return e.cause
}

// Close ends the link and tells the other side.
func (e *end) Close(code uint64, text string) error {
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	if e.cause == nil {
		e.post(&event{kind: closing, code: code, data: []byte(text)})
		e.die(link.ErrClosed)
	}
	return nil
}

// kill is Close without a word.
func (e *end) kill() {
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	e.die(link.ErrClosed)
}

// die ends this side. The pair's lock is held, here and in what follows.
func (e *end) die(cause error) {
	if e.cause != nil {
		return
	}
	e.cause = cause
	close(e.done)
	e.poke()
	for _, s := range e.streams {
		s.fire()
	}
	e.openable.fire()
	e.acceptable.fire()
	e.receivable.fire()
	e.arriving = conditions.Schedule[*event]{}
	e.stalled, e.urgent, e.ready, e.datagrams, e.accepted = nil, nil, nil, nil, nil
}

// poke has the end's goroutine look at what there is to do.
func (e *end) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Open opens a stream, and waits while MaxStreams are open.
func (e *end) Open(ctx context.Context) (link.Stream, error) {
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	for e.cause == nil && e.mayOpen == 0 {
		if err := e.await(ctx, &e.openable); err != nil {
			return nil, err
		}
	}
	if e.cause != nil {
		return nil, e.cause
	}
	e.mayOpen--
	s := newStream(e, streamID{e.dialed, e.opened})
	e.opened++
	return s, nil
}

// Accept waits for a stream that the other side opened.
func (e *end) Accept(ctx context.Context) (link.Stream, error) {
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	for e.cause == nil && len(e.accepted) == 0 {
		if err := e.await(ctx, &e.acceptable); err != nil {
			return nil, err
		}
	}
	if e.cause != nil {
		return nil, e.cause
	}
	s := e.accepted[0]
	e.accepted = e.accepted[1:]
	return s, nil
}

// await waits for a signal, without the lock.
func (e *end) await(ctx context.Context, s *signal) error {
	wait := s.wait()
	e.p.mu.Unlock()
	defer e.p.mu.Lock()
	select {
	case <-wait:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// SendDatagram sends b in one packet.
func (e *end) SendDatagram(b []byte) error {
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	switch {
	case e.cause != nil:
		return e.cause
	case len(b) > MaxDatagram:
		return link.ErrTooLarge
	}
	e.post(&event{kind: datagram, data: slices.Clone(b)})
	return nil
}

// ReceiveDatagram waits for a datagram.
func (e *end) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	for e.cause == nil && len(e.datagrams) == 0 {
		if err := e.await(ctx, &e.receivable); err != nil {
			return nil, err
		}
	}
	if e.cause != nil {
		return nil, e.cause
	}
	b := e.datagrams[0]
	e.datagrams = e.datagrams[1:]
	return b, nil
}

// kind is what an event is.
type kind uint8

const (
	bytes      kind = iota // of a stream
	reset                  // of a stream
	window                 // n bytes of a stream were read
	moreStream             // one more may be opened
	datagram
	ack
	closing
)

// reliable reports whether events of the kind are sent again until they get through. The word that a link is closed is nearly so, but it
// does not outlast a partition.
func (k kind) reliable() bool { return k < datagram || k == closing }

// event is what travels from one end to the other.
type event struct {
	kind   kind
	stream streamID
	offset uint64
	fin    bool
	n      int
	code   uint64
	data   []byte
}

// post sends an event to the other end.
func (e *end) post(ev *event) {
	if ev.kind != ack && !e.asked {
		e.asked, e.heard = true, time.Now()
	}
	to, now, size := e.other, time.Now(), header+len(ev.data)
	if to.cause != nil {
		return
	}
	if !ev.kind.reliable() {
		for _, at := range e.out.Send(now, size) {
			to.arrive(ev, at)
		}
		return
	}
	if ev.kind == closing && e.out.Blocked() {
		return
	}
	to.arrive(ev, e.out.SendReliably(now, size))
}

// arrive has an event come at that time.
func (e *end) arrive(ev *event, at time.Time) {
	if ev.kind == ack {
		e.other.ackComing = true
	}
	if e.arriving.Add(at, ev) {
		e.poke()
	}
}

// run takes in what arrives, and sends what had to wait, until the end is dead.
func (e *end) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		changed := e.p.net.Changed()
		next, alive := e.step()
		if !alive {
			return
		}
		timer.Reset(time.Until(next))
		select {
		case <-timer.C:
		case <-e.wake:
		case <-changed:
		}
	}
}

// step does what is due and says when there is more to do.
func (e *end) step() (next time.Time, alive bool) {
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	now := time.Now()
	blocked := e.in.Blocked()
	if !blocked {
		e.unstall(now)
	}
	for {
		ev, ok := e.arriving.Take(now)
		if !ok {
			break
		}
		if ev.kind == ack {
			e.other.ackComing = false
		}
		switch {
		case !blocked:
			e.take(ev, now)
		case ev.kind.reliable() && ev.kind != closing:
			e.stalled = append(e.stalled, ev)
		}
	}
	if e.cause == nil && !now.Before(e.heard.Add(e.p.net.IdleTimeout)) {
		e.die(errIdle)
	}
	if e.cause != nil {
		return now, false
	}
	next = e.heard.Add(e.p.net.IdleTimeout)
	if more := e.transmit(now); !more.IsZero() && more.Before(next) {
		next = more
	}
	if first := e.arriving.Next(); !first.IsZero() && first.Before(next) {
		next = first
	}
	return next, true
}

// unstall sends again what a partition has held up.
func (e *end) unstall(now time.Time) {
	for _, ev := range e.stalled {
		e.arriving.Add(e.in.SendReliably(now, header+len(ev.data)), ev)
	}
	e.stalled = nil
}

// take takes in an event.
func (e *end) take(ev *event, now time.Time) {
	if e.cause != nil {
		return
	}
	e.heard, e.asked = now, false
	switch ev.kind {
	case bytes, reset, window:
		if s := e.find(ev.stream); s != nil {
			s.take(ev)
		}
	case moreStream:
		e.mayOpen++
		e.openable.fire()
	case datagram:
		if len(e.datagrams) < keptDatagrams {
			e.datagrams = append(e.datagrams, slices.Clone(ev.data)) // a duplicate has the same
			e.receivable.fire()
		}
	case closing:
		e.die(&link.CloseError{Code: ev.code, Text: string(ev.data)})
		return
	case ack:
		return
	}
	if !e.ackComing {
		e.post(&event{kind: ack})
	}
}

// find is the stream of that id. One that the other side has opened comes into being with its first event, and those opened before it with
// it, as in QUIC.
func (e *end) find(id streamID) *stream {
	for id.byDialer != e.dialed && e.seen <= id.n {
		e.accepted = append(e.accepted, newStream(e, streamID{id.byDialer, e.seen}))
		e.seen++
		e.acceptable.fire()
	}
	return e.streams[id]
}

// flush is transmit, where it is not the end's own goroutine that sends.
func (e *end) flush() {
	if !e.transmit(time.Now()).IsZero() {
		e.poke()
	}
}

// transmit sends what streams have, as far as the path is free, and says when it is again if something is left.
func (e *end) transmit(now time.Time) time.Time {
	for {
		queue := &e.urgent
		if len(*queue) == 0 {
			queue = &e.ready
		}
		if len(*queue) == 0 || e.cause != nil {
			return time.Time{}
		}
		if free := e.out.Free(); free.After(now) {
			return free
		}
		s := (*queue)[0]
		*queue = (*queue)[1:]
		s.queued = false
		s.transmit()
	}
}
