package remote

// Hot path. Per message: 0 allocs, one uncontended lock, no reflection beyond what package proto does; held by TestSendAllocs.

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/wire"
)

const (
	// frameBytes is how full a frame gets before the next one is begun.
	frameBytes = 64 << 10
	// pieceBytes is the longest envelope that goes into a frame in one piece.
	pieceBytes = 32 << 10
	// maxFrame is the longest frame that is read: a full one, the envelope that filled it, and what that says beside its message.
	maxFrame = 128 << 10
	// routesPerLane is how many routes have numbers at once. A lane begins with firstRoutes, since most have few.
	routesPerLane = 1024
	firstRoutes   = 16
)

// pair is a sender and a receiver. What goes from one to the other keeps its order.
type pair struct{ from, to uint64 }

// route is what a route's number means.
type route struct {
	to uint64
	t  *messageType
}

// routeChange is a route whose meaning changed within a frame.
type routeChange struct {
	number uint32
	route
}

// frame is a part of a lane on its way: it is kept until the other side has it.
type frame struct {
	data     []byte // with its header
	body     []byte // of a piece: what follows, which is a part of its envelope's buffer
	messages uint32 // of those that count in the ledger
	changes  []routeChange
	last     *large // its last piece is in this frame
	piece    bool
}

func (f *frame) len() int { return len(f.data) + len(f.body) }

// laneOut is the sending side of a lane: a sequence of numbered frames that outlives links.
//
// Senders append to cur; what is full is ready. The writer, a goroutine that begins with the first frame on a link, numbers them as it takes
// them. They stay in q until they are acknowledged; a new link begins with the first that is not.
type laneOut struct {
	s *session
	n int // its number

	mu      sync.Mutex
	cur     []byte // the frame being filled, with room for its header
	curMsgs uint32
	changes []routeChange
	ready   []frame // filled, and not numbered yet
	filled  uint64  // how many ever were ready
	begun   uint64  // how many of them were numbered
	q       []frame
	base    uint64 // how many frames were acknowledged: the number of q[0]
	next    int    // index in q of the next frame to write
	known   []route
	shadow  []route // routes as they are at q[0]: what the frames are read with if they never arrive
	named   []bool  // types by number that the other side was told the name of
	pairs   map[pair]*pairQueue
	turns   []*pairQueue // the pairs whose first is going in pieces, in turn
	waits   []*pairQueue // those whose first is not begun
	opened  int          // bytes of the envelopes that are begun and not sent in full
	pieces  int          // bytes of pieces that are not acknowledged
	bulk    bool         // it is the turn of a piece
	busy    bool         // the writer is writing a frame
	busyAt  uint64       // which: nobody else may use its memory then
	writing bool         // there is a writer
	waiting bool         // it waits to be woken

	direct   link.Stream   // what it writes to, for others while it waits
	directAt time.Duration // when one of them has, since node.start
	wake     chan struct{}
	closed   bool

	held atomic.Int64 // bytes that are not acknowledged
}

// pairQueue is what one pair has to send, since it has something that goes in pieces.
type pairQueue struct {
	pair
	list  []*large
	after uint64 // how many ready frames go first: what the pair has sent before is in them
}

// large is an envelope that waits to go in pieces, or behind one that does.
type large struct {
	id       uint64
	data     []byte // the envelope with its length
	sent     int
	messages uint32
}

func newLaneOut(s *session, n int) *laneOut {
	return &laneOut{s: s, n: n, wake: make(chan struct{}, 1)}
}

// message appends a message for r.to. e holds what the envelope says beside receiver, type and payload; size is that of m.
func (l *laneOut) message(p pair, t *messageType, e *wire.Envelope, m proto.Message, size int) (err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.s.downError()
	}
	counts := uint32(0)
	switch e.Kind {
	case greenroomv1.Kind_KIND_UNSPECIFIED, greenroomv1.Kind_KIND_CALL, greenroomv1.Kind_KIND_DELIVER:
		if !isService(p.to) {
			counts = 1
		}
	default: // in no ledger
	}
	if size > pieceBytes || len(l.pairs) > 0 && l.pairs[p] != nil {
		return l.long(p, t, e, m, size, counts)
	}
	at, changed := len(l.cur), len(l.changes)
	l.address(e, p.to, t)
	l.cur = e.Append(l.begin(), size)
	head := len(l.cur)
	l.cur, err = appendMessage(l.cur, m)
	if err != nil || len(l.cur)-head != size {
		l.cur = l.cur[:max(at, wire.FrameHeader)]
		l.undo(changed)
		return marshalError(t, err)
	}
	l.curMsgs += counts
	l.grew(len(l.cur) - max(at, wire.FrameHeader))
	l.full()
	l.notify()
	return nil
}

// plain appends an envelope without a message, or one whose payload is bytes.
func (l *laneOut) plain(p pair, e *wire.Envelope) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.s.downError()
	}
	e.To = p.to
	size := wire.NoBody
	if e.HasBody {
		size = len(e.Payload)
	}
	if n := e.Len(size); n > pieceBytes || len(l.pairs) > 0 && l.pairs[p] != nil {
		l.enqueue(p, append(e.Append(make([]byte, 0, n), size), e.Payload...), 0)
		l.notify()
		return nil
	}
	at := max(len(l.cur), wire.FrameHeader)
	l.cur = append(e.Append(l.begin(), size), e.Payload...)
	l.grew(len(l.cur) - at)
	l.full()
	l.notify()
	return nil
}

// queues reports whether a pair has something to send in pieces, behind which the rest waits.
func (l *laneOut) queues(p pair) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pairs[p] != nil
}

// queuesTo lists the pairs that lead to an actor and have something to send in pieces.
func (l *laneOut) queuesTo(to uint64) (list []pair) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.pairs {
		if p.to == to && p.from != 0 {
			list = append(list, p)
		}
	}
	return list
}

// begin is cur with room for the header of a frame.
func (l *laneOut) begin() []byte {
	if len(l.cur) == 0 {
		if l.cur == nil {
			l.cur = buffers.Get().(*[frameBytes + pieceBytes]byte)[:0]
		}
		l.cur = append(l.cur, make([]byte, wire.FrameHeader)...)
	}
	return l.cur
}

// buffers are those that frames are filled in.
var buffers = sync.Pool{New: func() any { return new([frameBytes + pieceBytes]byte) }}

func (l *laneOut) full() {
	if len(l.cur) >= frameBytes {
		l.seal()
	}
}

// seal makes a frame of cur. A small one gets a buffer of its size: it may be kept for a while.
func (l *laneOut) seal() {
	f := frame{messages: l.curMsgs, changes: l.changes}
	if len(l.cur) >= frameBytes/2 {
		f.data, l.cur = l.cur, nil
	} else {
		f.data = append(make([]byte, 0, len(l.cur)), l.cur...)
		l.cur = l.cur[:0]
	}
	l.curMsgs, l.changes = 0, nil
	l.ready = append(l.ready, f)
	l.filled++
}

// address has e name the receiver and the type, by a route if it has a number.
func (l *laneOut) address(e *wire.Envelope, to uint64, t *messageType) {
	if to == 0 { // a goroutine, which the envelope's number names; a route would not say that it leads nowhere
		e.TypeName = []byte(t.name)
		return
	}
	hash := uint32(to)*2654435761 + t.number*40503
	if l.known == nil {
		l.known = make([]route, firstRoutes)
	}
	i := hash % uint32(len(l.known))
	for {
		if l.known[i].to == to && l.known[i].t == t {
			e.Route = i + 1
			return
		}
		if l.known[i].t == nil || len(l.known) >= routesPerLane {
			break
		}
		l.known = append(l.known, make([]route, 3*len(l.known))...) // what numbers mean stays
		i = hash % uint32(len(l.known))
	}
	e.Route = i + 1
	l.known[i] = route{to, t}
	l.changes = append(l.changes, routeChange{i, route{to, t}})
	e.To = to
	l.nameType(e, t)
}

// undo takes back routes that an envelope changed that is not sent after all: they are told anew.
func (l *laneOut) undo(changed int) {
	for _, c := range l.changes[changed:] {
		l.known[c.number] = route{}
		if n := int(c.t.number); n < len(l.named) {
			l.named[n] = false
		}
	}
	l.changes = l.changes[:changed]
}

// nameType has e name a type by its number, and by its name as well if this is the first time.
func (l *laneOut) nameType(e *wire.Envelope, t *messageType) {
	e.Type = t.number
	if n := int(t.number); n >= len(l.named) {
		l.named = append(l.named, make([]bool, n+1-len(l.named)+8)...)
	}
	if !l.named[t.number] {
		l.named[t.number] = true
		e.TypeName = []byte(t.name)
	}
}

// appendMessage appends m to b. What is in b stays, also where m has a marshaller of its own that panics or returns nothing.
func appendMessage(b []byte, m proto.Message) (out []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			out, err = b, panicked("a message's marshaller", v)
		}
	}()
	if out, err = (proto.MarshalOptions{UseCachedSize: true}).MarshalAppend(b, m); err != nil {
		out = b
	}
	return out, err
}

// long queues a message that goes in pieces, or has to wait for one of its pair that does. It says all of its address itself.
func (l *laneOut) long(p pair, t *messageType, e *wire.Envelope, m proto.Message, size int, counts uint32) error {
	e.To, e.TypeName = p.to, []byte(t.name)
	data := e.Append(takeBulk(e.Len(size)), size)
	head := len(data)
	data, err := appendMessage(data, m)
	if err != nil || len(data)-head != size {
		giveBulk(data)
		return marshalError(t, err)
	}
	l.enqueue(p, data, counts)
	l.notify()
	return nil
}

func (l *laneOut) enqueue(p pair, data []byte, counts uint32) {
	q := l.pairs[p]
	if q == nil {
		if len(l.cur) > wire.FrameHeader {
			l.seal()
		}
		q = &pairQueue{pair: p, after: l.filled}
		if l.pairs == nil {
			l.pairs = make(map[pair]*pairQueue)
		}
		l.pairs[p] = q
		l.waits = append(l.waits, q)
	}
	q.list = append(q.list, &large{id: l.s.node.nextID.Add(1), data: data, messages: counts})
	l.s.bulk.Add(int64(len(data)))
	l.held.Add(int64(len(data)))
}

func (l *laneOut) grew(n int) {
	l.s.inflight.Add(int64(n))
	l.held.Add(int64(n))
}

// piece makes a frame of the next piece of the pair whose turn it is.
func (l *laneOut) piece() frame {
	q := l.turns[0]
	l.turns = l.turns[1:]
	g := q.list[0]
	f := frame{piece: true}
	part := g.data[g.sent:min(g.sent+pieceBytes, len(g.data))]
	f.data, f.body = make([]byte, wire.FrameHeader, wire.FrameHeader+40), part
	if len(part) < len(g.data) {
		e := wire.Envelope{Kind: greenroomv1.Kind_KIND_PIECE, ID: g.id}
		if g.sent == 0 {
			e.Size = uint64(len(g.data))
		}
		f.data = e.Append(f.data, len(part))
	}
	g.sent += len(part)
	if g.sent == len(g.data) {
		f.last, f.messages = g, g.messages
		q.list[0] = nil
		q.list = q.list[1:]
		l.opened -= len(g.data)
	}
	l.pieces += f.len()
	switch {
	case len(q.list) == 0:
		delete(l.pairs, q.pair)
	case f.last != nil:
		l.waits = append(l.waits, q)
	default:
		l.turns = append(l.turns, q)
	}
	return f
}

// take returns the next frame to write: nil if there is none. Pieces take turns with what else there is to send, and are bounded by
// the other side's pace, so that a long message holds nobody up.
func (l *laneOut) take() (head, body []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy, l.waiting = false, false // an earlier writer may have ended while it waited
	if l.next == len(l.q) && !l.number() {
		l.waiting = true
		l.rest()
		return nil, nil
	}
	f := &l.q[l.next]
	l.busy, l.busyAt = true, l.base+uint64(l.next)
	l.next++
	return f.data, f.body
}

// number numbers the next frame; false if there is none.
func (l *laneOut) number() bool {
	if len(l.ready) == 0 && len(l.cur) > wire.FrameHeader {
		l.seal()
	}
	var f frame
	l.bulk = !l.bulk
	switch mayPiece := l.nextPair(); {
	case mayPiece && (l.bulk || len(l.ready) == 0):
		f = l.piece()
	case len(l.ready) > 0:
		f = l.ready[0]
		l.begun++
		l.ready[0] = frame{}
		if l.ready = l.ready[1:]; len(l.ready) == 0 {
			l.ready = l.ready[:0:0]
		}
	default:
		return false
	}
	wire.PutHeader(f.data, len(f.body), l.base+uint64(len(l.q)))
	l.q = append(l.q, f)
	return true
}

// nextPair reports whether there is a piece to send; the pair at the front of turns sends it. The other side holds what is begun in
// memory: no more is begun than fits into the window, but for a single one that is longer.
func (l *laneOut) nextPair() bool {
	if int64(l.pieces) >= l.s.pieceWindow.Load() {
		return false
	}
	for range l.waits {
		q := l.waits[0]
		l.waits[0] = nil
		l.waits = l.waits[1:]
		if size := len(q.list[0].data); q.after <= l.begun && (l.opened == 0 || l.opened+size <= int(l.s.window.Load())) {
			l.turns = append([]*pairQueue{q}, l.turns...)
			l.opened += size
			break
		}
		l.waits = append(l.waits, q)
	}
	return len(l.turns) > 0
}

// notify wakes the writer. The caller holds the lock.
func (l *laneOut) notify() {
	if !l.writing {
		l.s.startWriter(l)
		return
	}
	if !l.waiting {
		return // it looks here before it waits
	}
	if l.writeNow() {
		return
	}
	l.waiting = false
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// lend lets senders write to st while the writer waits; nil: no longer.
func (l *laneOut) lend(st link.Stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.direct = st
}

// writeNow writes what there is in place of the writer, which waits, and so saves calls and their answers the way by another goroutine. It
// does so only after a pause, since those who send much are to fill frames.
func (l *laneOut) writeNow() bool {
	if l.direct == nil || l.next < len(l.q) || len(l.turns)+len(l.waits) > 0 {
		return false
	}
	now := time.Since(l.s.node.start)
	if now-l.directAt < directPause {
		return false
	}
	l.directAt = now
	if !l.number() {
		return true // there is nothing
	}
	b := l.q[l.next].data // no piece: there are none
	if l.direct.TryWrite(b) != nil {
		return false // it would have to wait, or the link is gone, which the writer finds out
	}
	l.next++
	l.s.count.wrote(1, len(b))
	l.rest()
	return true
}

// rest gives the buffer back, which is empty: most lanes are idle most of the time.
func (l *laneOut) rest() {
	if cap(l.cur) == frameBytes+pieceBytes {
		buffers.Put((*[frameBytes + pieceBytes]byte)(l.cur[:cap(l.cur)]))
		l.cur = nil
	}
}

// directPause is how long a lane's senders leave writing to the writer after one of them has written.
const directPause = 20 * time.Microsecond

// acked takes note that the other side has received all frames before number n.
func (l *laneOut) acked(n uint64) (ok bool) {
	l.mu.Lock()
	if n < l.base || n > l.base+uint64(len(l.q)) || l.closed {
		l.mu.Unlock()
		return n < l.base || l.closed // an ack may be overtaken by a newer one, or by the session's end
	}
	small, long, messages := 0, 0, uint32(0)
	count := int(n - l.base)
	again := !l.busy || l.busyAt >= n // whether the memory of frames may be used again: one may be written a second time at the moment
	for i := range l.q[:count] {
		f := &l.q[i]
		messages += f.messages
		if f.piece {
			l.pieces -= f.len()
		} else {
			small += len(f.data) - wire.FrameHeader
		}
		if f.last != nil {
			long += len(f.last.data)
			if again {
				giveBulk(f.last.data)
			}
		}
		l.follow(f.changes)
		if again && cap(f.data) == frameBytes+pieceBytes {
			buffers.Put((*[frameBytes + pieceBytes]byte)(f.data[:cap(f.data)]))
		}
		*f = frame{}
	}
	l.q = l.q[count:]
	if len(l.q) == 0 {
		l.q = l.q[:0:0]
	}
	l.base = n
	l.next = max(l.next-count, 0)
	if len(l.turns)+len(l.waits) > 0 {
		l.notify()
	}
	l.mu.Unlock()
	l.held.Add(-int64(small + long))
	l.s.released(small, long, uint64(messages))
	return true
}

// follow has shadow keep up with routes that changed in frames that have arrived.
func (l *laneOut) follow(changes []routeChange) {
	for _, c := range changes {
		if missing := int(c.number) + 1 - len(l.shadow); missing > 0 {
			l.shadow = append(l.shadow, make([]route, missing)...)
		}
		l.shadow[c.number] = c.route
	}
}

// rewind has the next link begin with the first frame that the other side has not received: n have been. false: it cannot be so.
func (l *laneOut) rewind(n uint64) bool {
	if !l.acked(n) {
		return false
	}
	l.mu.Lock()
	l.next = 0
	l.mu.Unlock()
	return true
}

// pendingLocked reports whether there is something to write. The caller holds the lock.
func (l *laneOut) pendingLocked() bool {
	return l.next < len(l.q) || len(l.ready) > 0 || len(l.cur) > wire.FrameHeader || len(l.turns)+len(l.waits) > 0
}

// lost is an envelope that never was acknowledged.
type lost struct {
	wire.Envelope
	to uint64
	t  *messageType
}

// close ends the lane and returns what was not acknowledged, oldest first, but for order among pairs.
func (l *laneOut) close() (all []lost) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	if len(l.cur) > wire.FrameHeader {
		l.seal()
	}
	l.closed = true
	done := make(map[*large]bool)
	frames := append(l.q, l.ready...)
	for i := range frames {
		f := &frames[i]
		switch {
		case f.last != nil:
			done[f.last] = true
			all = l.read(all, f.last.data, nil)
		case !f.piece:
			all = l.read(all, f.data[wire.FrameHeader:], f.changes)
		}
	}
	for _, q := range append(l.turns, l.waits...) {
		for _, g := range q.list {
			if !done[g] {
				all = l.read(all, g.data, nil)
			}
		}
	}
	l.q, l.ready, l.turns, l.waits, l.pairs, l.cur, l.known, l.shadow = nil, nil, nil, nil, nil, nil, nil, nil
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return all
}

// read appends the envelopes in b, which was written here, and in which routes changed.
func (l *laneOut) read(all []lost, b []byte, changes []routeChange) []lost {
	for len(b) > 0 {
		body, rest, err := wire.Next(b)
		if err != nil {
			return all
		}
		b = rest
		var x lost
		if x.Decode(body) != nil {
			return all
		}
		if x.Route != 0 && x.To != 0 && len(changes) > 0 {
			l.follow(changes[:1])
			changes = changes[1:]
		}
		numbered := x.Route != 0 && int(x.Route) <= len(l.shadow)
		if x.to = x.To; numbered && x.To == 0 {
			x.to = l.shadow[x.Route-1].to
		}
		if numbered {
			x.t = l.shadow[x.Route-1].t
		} else if len(x.TypeName) > 0 {
			x.t, _ = typeNamedBytes(x.TypeName)
		}
		all = append(all, x)
	}
	return all
}

func marshalError(t *messageType, err error) error {
	if err == nil {
		err = errChanged
	}
	return fmt.Errorf("remote: %s cannot be marshalled: %w", t.name, err)
}

var errChanged = errors.New("it was changed meanwhile: a message belongs to its receiver once it is sent")
