package remote

// Hot path. Per message: the message itself is allocated, and what is in it; beyond that 0 allocs.

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/wire"
)

// laneIn is the receiving side of a lane. It outlives links: what it has received, and what numbers mean, stays. One goroutine at a
// time, the lane's reader, uses it.
type laneIn struct {
	s        *session
	n        int
	in       *actor.Inbound
	received uint64 // frames; written under s.mu, read by the reader without
	routes   []routeIn
	types    map[uint32]*typeIn
	parts    map[uint64]*assembly
	parting  int // bytes of the envelopes in parts, when they are whole
	fresh    int // bytes in mailboxes that are not counted yet
	handed   int // envelopes of the next frame that were handed out: not again, should that frame come again
	names    int // bytes of the names in types
	env      wire.Envelope
	reading  atomic.Bool // there is a reader
}

// routeIn is what a route's number means.
type routeIn struct {
	to      uint64
	service uint64 // which, if to is one
	counts  uint64 // 1 if messages of this route are in the ledger: those to numbers of services are not
	t       *typeIn
	flow    *flow
}

// typeIn is a type of message that the other side sends.
type typeIn struct {
	name string
	mt   protoreflect.MessageType // nil: not known here
	elem reflect.Type             // what generated code makes of it, nil for others
	no   error                    // why such messages are not taken
}

// assembly is an envelope that comes in pieces.
type assembly struct {
	size int
	data []byte
}

// unmarshal reads messages. What is deeper than that is no message of ours but an attack on the stack.
var unmarshal = proto.UnmarshalOptions{RecursionLimit: 100}

// unmarshalFresh reads messages that are empty.
var unmarshalFresh = proto.UnmarshalOptions{RecursionLimit: 100, Merge: true}

// new is an empty message: for those of generated code what their MessageType's New does, by a shorter way.
func (t *typeIn) new() proto.Message {
	if t.elem != nil {
		if m, ok := reflect.TypeAssert[proto.Message](reflect.New(t.elem)); ok {
			return m
		}
	}
	return t.mt.New().Interface()
}

// protocolError is what a peer does that no implementation of the protocol would: the link ends.
type protocolError struct{ what string }

func (e *protocolError) Error() string { return "remote: the peer breaks the protocol: " + e.what }

func broken(format string, args ...any) error { return &protocolError{fmt.Sprintf(format, args...)} }

// read reads frames from r, a stream of that link, until one of them or the session ends.
func (l *laneIn) read(from link.Link, r io.Reader) error {
	if !l.reading.CompareAndSwap(false, true) {
		return broken("two streams of lane %d", l.n)
	}
	defer l.reading.Store(false)
	l.s.hands.enter()
	defer l.s.hands.leave()
	if l.in == nil {
		l.in = l.s.node.sys.NewInbound()
	}
	br := bufio.NewReaderSize(r, 1024) // for headers and small frames: the rest of a long one is read where it belongs
	var buf []byte
	head := make([]byte, wire.FrameHeader)
	for {
		if _, err := io.ReadFull(br, head); err != nil {
			return err
		}
		n, number := wire.Header(head, l.received)
		if n > maxFrame {
			return broken("a frame of %d bytes", n)
		}
		if cap(buf) < n {
			buf = make([]byte, max(n, 1024))
		}
		buf = buf[:n]
		if _, err := io.ReadFull(br, buf); err != nil {
			return err
		}
		l.s.hear()
		l.s.count.read(wire.FrameHeader + n)
		switch {
		case number < l.received:
			l.s.node.m.duplicates.Add(1)
			continue // it came by an earlier link
		case number > l.received:
			return broken("frame %d of lane %d, and %d have come", number, l.n, l.received)
		}
		if l.n != answerLane { // answers fill no mailbox, and what mailboxes hold may wait for them
			if err := l.s.awaitIntake(from); err != nil {
				return err
			}
		}
		if err := l.s.downError(); err != nil {
			return err // a later session may have begun, and those who watch are about to be told that nothing comes any more
		}
		if err := l.frame(buf); err != nil {
			return err
		}
		l.s.arrived(l, wire.FrameHeader+n)
		if n >= frameBytes/2 {
			runtime.Gosched() // its receivers run while its messages are in the processor's cache
		}
	}
}

// frame hands out the envelopes of a frame, each once: a user's code that is called on the way may panic, or end the goroutine, and the
// frame comes again.
func (l *laneIn) frame(b []byte) error {
	messages := uint64(0)
	l.in.Begin()
	defer func() {
		l.in.End()
		l.s.count.received.Add(messages)
	}()
	for i := 0; len(b) > 0; i++ {
		body, rest, err := wire.Next(b)
		if err != nil {
			return broken("%v", err)
		}
		if b = rest; i < l.handed {
			continue
		}
		l.handed++
		if err := l.env.Decode(body); err != nil {
			return broken("%v", err)
		}
		if l.env.Kind == greenroomv1.Kind_KIND_PIECE {
			err = l.piece(&l.env, &messages)
		} else {
			err = l.envelope(&l.env, len(body), &messages)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// piece takes a piece of a long envelope, and hands that out when it is the last.
func (l *laneIn) piece(e *wire.Envelope, messages *uint64) error {
	a := l.parts[e.ID]
	limit := l.s.node.opts.MaxMessageBytes + frameBytes
	switch {
	case a == nil && (e.Size == 0 || e.Size > uint64(limit)):
		return broken("a piece of an envelope of %d bytes, and %d are the most", e.Size, limit)
	case a == nil && len(l.parts) > l.s.node.opts.WindowBytes/pieceBytes:
		return broken("pieces of more than %d envelopes at once", len(l.parts))
	case a == nil:
		if l.parts == nil {
			l.parts = make(map[uint64]*assembly)
		}
		if l.parting += int(e.Size); l.parting > l.s.node.opts.WindowBytes+limit { // the other side begins no more than fit into the window
			return broken("more than %d bytes of unfinished envelopes", l.s.node.opts.WindowBytes+limit)
		}
		a = &assembly{size: int(e.Size)}
		l.parts[e.ID] = a
	}
	if len(e.Payload) == 0 || len(a.data)+len(e.Payload) > a.size {
		return broken("pieces of %d bytes for an envelope of %d", len(a.data)+len(e.Payload), a.size)
	}
	a.add(e.Payload)
	if len(a.data) < a.size {
		return nil
	}
	l.parting -= a.size
	delete(l.parts, e.ID)
	body, rest, err := wire.Next(a.data)
	var whole wire.Envelope
	if err == nil {
		err = whole.Decode(body)
	}
	if err != nil || len(rest) > 0 || whole.Kind == greenroomv1.Kind_KIND_PIECE {
		return broken("pieces that make no envelope")
	}
	if err := l.envelope(&whole, len(body), messages); err != nil {
		return err
	}
	giveBulk(a.data) // what has come of it has memory of its own
	return nil
}

// add adds a piece. The memory is eight times of what has come at most: how long it will be is only what the other side says.
func (a *assembly) add(piece []byte) {
	if len(a.data)+len(piece) > cap(a.data) {
		more := takeBulk(min(a.size, 8*(len(a.data)+len(piece))))
		more = append(more, a.data...)
		if a.data != nil {
			giveBulk(a.data)
		}
		a.data = more
	}
	a.data = append(a.data, piece...)
}

// envelope does what e says. Errors are those that end the link.
func (l *laneIn) envelope(e *wire.Envelope, size int, messages *uint64) error {
	r, err := l.resolve(e)
	if err != nil {
		return err
	}
	if answer := e.Kind == greenroomv1.Kind_KIND_REPLY || e.Kind == greenroomv1.Kind_KIND_DELIVERED; answer != (l.n == answerLane) {
		return broken("an envelope of kind %d in lane %d", e.Kind, l.n)
	}
	switch e.Kind {
	case greenroomv1.Kind_KIND_UNSPECIFIED:
		*messages += r.counts
		l.message(e, r, size)
		return nil
	case greenroomv1.Kind_KIND_FIRE:
		l.fired(e, r)
		return nil
	case greenroomv1.Kind_KIND_CALL:
		*messages += r.counts
		l.call(e, r, size)
		return nil
	case greenroomv1.Kind_KIND_DELIVER:
		*messages += r.counts
		l.deliver(e, r, size)
		return nil
	default:
		if int(e.Kind) >= len(greenroomv1.Kind_name) {
			return broken("an envelope of kind %d", e.Kind)
		}
		return l.s.control(l, e, r)
	}
}

// resolve finds out whom e is for, and of which type its message is.
func (l *laneIn) resolve(e *wire.Envelope) (*routeIn, error) {
	if e.Route == 0 {
		return l.s.node.routeTo(e.To, l.typeOf(e)), nil
	}
	if e.Route > routesPerLane {
		return nil, broken("route %d", e.Route)
	}
	for int(e.Route) > len(l.routes) { // to 16, 64, 256 and 1,024, as the other side does
		l.routes = append(l.routes, make([]routeIn, max(3*len(l.routes), firstRoutes))...)
	}
	r := &l.routes[e.Route-1]
	if e.To != 0 {
		*r = *l.s.node.routeTo(e.To, l.typeOf(e))
		if r.t == nil {
			return nil, broken("a route without a type")
		}
	}
	if r.t == nil {
		return nil, broken("route %d means nothing", e.Route)
	}
	return r, nil
}

// typeOf is the type that e names, nil if it names none.
func (l *laneIn) typeOf(e *wire.Envelope) *typeIn {
	if e.Type != 0 {
		if t := l.types[e.Type]; t != nil && len(e.TypeName) == 0 {
			return t
		}
	}
	if len(e.TypeName) == 0 {
		return nil
	}
	t := &typeIn{name: string(e.TypeName)}
	t.no = l.s.refuses(t.name)
	if known, err := typeNamedBytes(e.TypeName); err == nil {
		t.mt, t.elem = known.mt, known.elem
	}
	if l.names += len(t.name); e.Type != 0 && len(l.types) < maxTypes && l.names <= maxControl {
		if l.types == nil {
			l.types = make(map[uint32]*typeIn)
		}
		l.types[e.Type] = t
	}
	return t
}

// refuses tells why no messages of a type are taken from the peer, nil if they are.
func (s *session) refuses(name string) error {
	accept, ok := s.node.opts.Policy.Accept, true
	if accept == nil {
		return nil
	}
	if err := apart("Policy.Accept", func() error {
		ok = accept(s.far.name(), name)
		return nil
	}); err != nil {
		s.node.log.Error("a type of message is refused", "peer", s.far.String(), "type", name, "error", err.Error())
		ok = false
	}
	if ok {
		return nil
	}
	return fmt.Errorf("%w: no %s is taken from %s", ErrRefused, name, s.far)
}

func typeNamedBytes(name []byte) (*messageType, error) {
	if t, ok := types.byName.Load(string(name)); ok {
		return t.(*messageType), nil
	}
	return typeNamed(protoreflect.FullName(name))
}

// open reads the message in e. Its errors are the dead letter's reason.
func (l *laneIn) open(e *wire.Envelope, r *routeIn) (m proto.Message, err error) {
	switch {
	case r.t == nil:
		return nil, fmt.Errorf("%w: it has none", ErrUnknownType)
	case r.t.no != nil && r.service == 0: // of services, roles decide
		return nil, r.t.no
	case r.t.mt == nil:
		return nil, fmt.Errorf("remote: %s: %w", r.t.name, ErrUnknownType)
	}
	m = r.t.new()
	if err := unmarshalFresh.Unmarshal(e.Payload, m); err != nil {
		return nil, fmt.Errorf("remote: %s: %w: %w", r.t.name, ErrUnknownType, err)
	}
	if r.service != 0 {
		if err := l.s.speaksForItself(m); err != nil {
			return m, err
		}
	}
	return m, nil
}

// perMessage is what a message in a mailbox counts for beside its bytes.
const perMessage = 64

// message puts a message into its receiver's mailbox.
func (l *laneIn) message(e *wire.Envelope, r *routeIn, size int) {
	m, err := l.open(e, r)
	if err == nil {
		err = l.s.mayReach(r)
	}
	if err != nil {
		l.s.undelivered(e, r, m, err, false)
		return
	}
	if r.service != 0 {
		if ok, err := l.s.serveMessage(r.service, nil, m); ok {
			if err != nil {
				l.s.undelivered(e, r, m, err, false)
			}
			return
		}
	}
	f := l.flowOf(r)
	if f.late.Load() > 0 {
		f.enqueue(lateMessage{m: m, size: size + perMessage})
		return
	}
	switch err := l.in.Send(r.to, m); {
	case err == nil:
		l.took(f, size+perMessage)
	case errors.Is(err, actor.ErrNoRoom):
		f.enqueue(lateMessage{m: m, size: size + perMessage})
	default:
		l.s.undelivered(e, r, m, err, false)
	}
}

// fired puts a message into its receiver's mailbox of which nothing was promised.
func (l *laneIn) fired(e *wire.Envelope, r *routeIn) {
	m, err := l.open(e, r)
	if err == nil {
		err = l.s.mayReach(r)
	}
	if f := l.flowOf(r); err == nil {
		if f.paused.Load() || f.late.Load() > 0 || l.s.intake.Load() > l.s.intakeLimit() {
			err = actor.ErrFull
		} else if err = l.in.Send(r.to, m); err == nil {
			l.took(f, len(e.Payload)+perMessage)
		}
	}
	if err != nil {
		l.s.node.m.fireLost.Add(1)
	}
}

// call puts a call into its receiver's mailbox.
func (l *laneIn) call(e *wire.Envelope, r *routeIn, size int) {
	back := &incoming{s: l.s, id: e.ID, p: pair{r.to, e.From}}
	m, err := l.open(e, r)
	if err == nil {
		err = l.s.mayReach(r)
	}
	if err == nil {
		err = l.s.accept(back)
	}
	if err != nil {
		l.s.undelivered(e, r, m, err, true)
		back.refuse(err)
		return
	}
	if r.service != 0 {
		if ok, err := l.s.serveMessage(r.service, back, m); ok {
			if err != nil {
				l.s.undelivered(e, r, m, err, true)
				back.refuse(err)
			}
			return
		}
		m = l.s.asked(m)
	}
	left := time.Duration(min(e.Left, maxLeft)) * time.Microsecond
	f := l.flowOf(r)
	if f.late.Load() > 0 {
		f.enqueue(lateMessage{m: m, size: size + perMessage, back: back, until: deadline(left)})
		return
	}
	giveUp, err := l.in.Call(r.to, m, left, back)
	switch {
	case err == nil:
		back.begun(giveUp)
		l.took(f, size+perMessage)
	case errors.Is(err, actor.ErrNoRoom):
		f.enqueue(lateMessage{m: m, size: size + perMessage, back: back, until: deadline(left)})
	default:
		l.s.undelivered(e, r, m, err, true)
		back.refuse(err)
	}
}

// maxLeft bounds the time that a caller may say it waits: a century.
const maxLeft = 100 * 365 * 24 * uint64(time.Hour/time.Microsecond)

func deadline(left time.Duration) time.Time {
	if left == 0 {
		return time.Time{}
	}
	return time.Now().Add(left)
}

// deliver puts a message into its receiver's mailbox and confirms that.
func (l *laneIn) deliver(e *wire.Envelope, r *routeIn, size int) {
	m, err := l.open(e, r)
	if err == nil {
		err = l.s.mayReach(r)
	}
	f := l.flowOf(r)
	if err == nil {
		late := f.late.Load() > 0
		if !late {
			err = l.in.Send(r.to, m)
		}
		if late || errors.Is(err, actor.ErrNoRoom) {
			f.enqueue(lateMessage{m: m, size: size + perMessage, confirm: e.ID, from: e.From})
			return
		}
	}
	if err == nil {
		l.took(f, size+perMessage)
	} else {
		l.s.count.returned.Add(1)
	}
	l.s.confirm(pair{r.to, e.From}, e.ID, err)
}

// flowOf is the flow of r's receiver.
func (l *laneIn) flowOf(r *routeIn) *flow {
	if r.flow == nil || r.flow.gone.Load() {
		r.flow = l.s.flowTo(r.to)
	}
	return r.flow
}
