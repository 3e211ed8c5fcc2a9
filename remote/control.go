package remote

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// maxControl bounds what is said at once on a control stream: a Hello names all types of messages that a node knows.
const maxControl = 4 << 20

// maxUnsaid bounds what waits to be written on a control stream whose other side does not read.
const maxUnsaid = 8 << 20

// control is the control stream of a link. Its writing side is guarded by the session's mutex.
type control struct {
	st     link.Stream
	unsaid []byte
	armed  bool // the ack timer is
	echo   uint64
	echoAt time.Time
	stuck  bool
}

// queue puts c behind what is to be said.
func (c *control) queue(m *greenroomv1.Control) {
	if len(c.unsaid) > maxUnsaid {
		c.stuck = true
		return
	}
	c.unsaid = appendControl(c.unsaid, m)
}

func appendControl(b []byte, m *greenroomv1.Control) []byte {
	b = binary.AppendUvarint(b, uint64(proto.Size(m)))
	out, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, m)
	if err != nil { // a text that is not UTF-8, which is checked where it comes from
		return slices.Clip(b)
	}
	return out
}

// write says what there is to say if that takes no waiting; false if something is left.
func (c *control) write(count *counters) bool {
	if len(c.unsaid) == 0 {
		return true
	}
	if c.st.TryWrite(c.unsaid) != nil { // it would have to wait, or the link is gone, which its reader finds out
		return false
	}
	count.wrote(0, len(c.unsaid))
	if c.unsaid = c.unsaid[:0]; cap(c.unsaid) > 64<<10 {
		c.unsaid = nil
	}
	return true
}

// readLength reads a length of at most maxControl.
func readLength(r *bufio.Reader) (n uint64, err error) {
	for shift := 0; ; shift += 7 {
		c, err := r.ReadByte()
		if err != nil {
			return 0, err
		}
		n |= uint64(c&0x7f) << shift
		switch {
		case n > maxControl || shift > 28:
			return 0, broken("more than %d bytes at once on the control stream", maxControl)
		case c < 0x80:
			return n, nil
		}
	}
}

// readControl reads what the other side says.
func readControl(r *bufio.Reader, m *greenroomv1.Control) error {
	n, err := readLength(r)
	if err != nil {
		return err
	}
	var b []byte
	if n <= 64<<10 {
		b = make([]byte, n)
		_, err = io.ReadFull(r, b)
	} else {
		b, err = io.ReadAll(io.LimitReader(r, int64(n))) // it grows as it comes: the length is only what the other side says
		if err == nil && len(b) < int(n) {
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil {
		return err
	}
	proto.Reset(m)
	if err := unmarshal.Unmarshal(b, m); err != nil {
		return broken("%v", err)
	}
	return nil
}

// listen does what the other side says on the control stream until the link ends.
func (s *session) listen(r *bufio.Reader) error {
	var m greenroomv1.Control
	for {
		if err := readControl(r, &m); err != nil {
			return err
		}
		s.hear()
		if err := s.told(&m); err != nil {
			return err
		}
	}
}

func (s *session) told(m *greenroomv1.Control) error {
	switch w := m.GetWhat().(type) {
	case *greenroomv1.Control_Heartbeat:
		s.heartbeat(w.Heartbeat)
	case *greenroomv1.Control_Ack:
		if len(w.Ack.GetReceived()) != lanes {
			return broken("an ack of %d lanes", len(w.Ack.GetReceived()))
		}
		for i, n := range w.Ack.GetReceived() {
			if !s.out[i].acked(n) {
				return broken("an ack of %d frames in lane %d", n, i)
			}
		}
	case *greenroomv1.Control_Pause:
		s.peerPauses(w.Pause.GetIds(), true)
	case *greenroomv1.Control_Unpause:
		s.peerPauses(w.Unpause.GetIds(), false)
	case *greenroomv1.Control_Shapes:
		for name, why := range s.types.compare(w.Shapes) {
			s.node.log.Error("a type of message is not the same on both sides: messages of it are refused", "peer", s.far.String(), "type", name, "why", why)
		}
	case *greenroomv1.Control_WhoIs:
		s.node.whoIs(s, w.WhoIs.GetIncarnation())
	case *greenroomv1.Control_ThisIs:
		s.node.thisIs(w.ThisIs)
	case *greenroomv1.Control_Goodbye:
		if w.Goodbye.GetLeaves() {
			return &leftError{w.Goodbye.GetText()}
		}
		return fmt.Errorf("remote: the peer says goodbye: %s", clip(w.Goodbye.GetText(), 1000))
	case *greenroomv1.Control_Gone:
		if n := len(w.Gone.GetIds()); n > maxFlows {
			return broken("%d actors that have ended at once, and %d are the most", n, maxFlows)
		}
		s.peerGone(w.Gone.GetIds())
	case *greenroomv1.Control_Probe:
		return s.node.probed(w.Probe)
	case *greenroomv1.Control_Hello, *greenroomv1.Control_Resume:
		return broken("a second greeting")
	default: // of a later version
	}
	return nil
}

// leftError is the end of a peer that says that it stops.
type leftError struct{ text string }

func (e *leftError) Error() string { return "remote: the peer has stopped: " + clip(e.text, 1000) }

func (s *session) heartbeat(h *greenroomv1.Heartbeat) {
	now := time.Now()
	s.far.load.Store(h.GetLoad())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		return
	}
	s.at.ctl.echo, s.at.ctl.echoAt = h.GetSentUs(), now
	if echo := h.GetEchoUs(); echo != 0 {
		if rtt := now.Sub(s.node.start) - time.Duration(echo)*time.Microsecond; rtt > 0 && rtt < time.Hour {
			s.rtt = rtt
			s.roundTrip(rtt)
		}
	}
}

const (
	// pieceRate is the rate in bytes a second at which pieces should be able to go by one lane.
	pieceRate = 400 << 20
	// leastPieces is what may be on its way in any case: a few pieces, and as long as it takes to hear of them.
	leastPieces = 256 << 10
)

// roundTrip has the window of pieces follow the shortest round trip that was measured. What is on its way beyond what the way takes in only
// waits in some buffer, and whatever is sent later waits behind it. The caller holds the lock, or nobody else has the session.
func (s *session) roundTrip(rtt time.Duration) {
	if rtt > 0 && (s.shortest == 0 || rtt < s.shortest) {
		s.shortest = rtt
	}
	most := max(s.node.opts.WindowBytes/4, pieceBytes)
	s.pieceWindow.Store(int64(min(max(int(s.shortest.Seconds()*pieceRate), leastPieces), most)))
}

// say queues something for the other side and writes it.
func (s *session) say(m *greenroomv1.Control) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at != nil {
		s.at.ctl.queue(m)
		s.flushLocked()
	}
}

var errLinkReplaced = errors.New("remote: another link has taken its place")
