package remote

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// What a stream is for: its first byte.
const (
	streamControl = 'C'
	streamLane    = 'L'
	streamFiles   = 'F'
)

// Codes that links are closed with.
const (
	closeNormal    = 0
	closeDuplicate = 1
	closeSession   = 2
	closeProtocol  = 3
	closeRefused   = 4
	closeStopped   = 5
)

const (
	protocolVersion = 1
	// featureDatagrams: Fire goes by datagrams.
	featureDatagrams = 1 << 0
	features         = featureDatagrams
)

// greetTimeout bounds the two greetings on a fresh link.
const greetTimeout = 10 * time.Second

// refusal is why a link is not wanted; the other side is told.
type refusal struct {
	code uint64
	text string
}

func (e *refusal) Error() string { return "remote: " + e.text }

// greeting is what is known of the other side of a fresh link.
type greeting struct {
	l     link.Link
	st    link.Stream
	r     *bufio.Reader
	hello *greenroomv1.Hello
	roles link.Roles // what it may do here
}

// greet says hello on a fresh link and listens to the other side's.
func (n *Node) greet(ctx context.Context, l link.Link) (*greeting, error) {
	ctx, cancel := context.WithTimeout(ctx, greetTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = l.Close(closeProtocol, "the greeting took too long") })
	defer stop()
	g := &greeting{l: l, roles: n.granted(l.Peer())}
	var err error
	if l.Dialed() {
		g.st, err = l.Open(ctx)
	} else {
		g.st, err = l.Accept(ctx)
	}
	if err != nil {
		return nil, err
	}
	g.st.SetUrgent()
	hello := appendControl(nil, &greenroomv1.Control{What: &greenroomv1.Control_Hello{Hello: n.hello(g.roles)}})
	if l.Dialed() {
		hello = append([]byte{streamControl}, hello...)
	}
	if _, err := g.st.Write(hello); err != nil {
		return nil, err
	}
	g.r = bufio.NewReaderSize(g.st, 512) // what is long is read where it belongs
	if !l.Dialed() {
		if kind, err := g.r.ReadByte(); err != nil {
			return nil, err
		} else if kind != streamControl {
			return nil, broken("the first stream is none of control")
		}
	}
	var m greenroomv1.Control
	if err := readControl(g.r, &m); err != nil {
		return nil, err
	}
	if g.hello = m.GetHello(); g.hello == nil {
		return nil, broken("the first word is no hello")
	}
	return g, n.checkHello(l, g.hello)
}

func (n *Node) hello(granted link.Roles) *greenroomv1.Hello {
	return &greenroomv1.Hello{
		MinVersion: protocolVersion, MaxVersion: protocolVersion, Features: features, Name: n.name, Incarnation: n.sys.NodeID(),
		Address: n.advertised(), GossipAddress: n.gossipAddr(), MaxMessage: uint64(n.opts.MaxMessageBytes), Granted: uint32(granted),
		Schemas: knownSchemas(), DownAfterUs: uint64(n.opts.DownAfter / time.Microsecond), Window: uint64(n.opts.WindowBytes),
	}
}

// checkHello tells why the other side cannot be talked to.
func (n *Node) checkHello(l link.Link, h *greenroomv1.Hello) error {
	switch {
	case h.GetMinVersion() > protocolVersion || h.GetMaxVersion() < protocolVersion:
		return &refusal{closeRefused, fmt.Sprintf("%s speaks protocol versions %d to %d, and this node %d: upgrade one of them", l.Peer().Name, h.GetMinVersion(), h.GetMaxVersion(), protocolVersion)}
	case h.GetName() != l.Peer().Name:
		return &refusal{closeRefused, fmt.Sprintf("a node says that it is %.300q, and its certificate that it is %q", h.GetName(), l.Peer().Name)}
	case h.GetIncarnation() == n.sys.NodeID():
		return &refusal{closeRefused, "this is the same node"}
	case h.GetName() == n.name:
		return &refusal{closeRefused, fmt.Sprintf("two nodes are called %q: give each a name, and a certificate, of its own", n.name)}
	case h.GetIncarnation() == 0:
		return broken("no incarnation")
	case len(h.GetAddress()) > 300 || len(h.GetGossipAddress()) > 300:
		return broken("an address of %d bytes", max(len(h.GetAddress()), len(h.GetGossipAddress())))
	}
	return nil
}

// run has a fresh link serve its session until it ends.
func (n *Node) run(l link.Link) error {
	s, g, err := n.welcome(l)
	if err == nil {
		return s.serve(g)
	}
	var no *refusal
	var breach *protocolError
	switch {
	case errors.As(err, &no):
		_ = l.Close(no.code, no.text)
	case errors.As(err, &breach):
		n.malformed(l.Peer().Name, l, breach)
	}
	return err
}

// welcome finds out whose a fresh link is, and what session it is for.
func (n *Node) welcome(l link.Link) (*session, *greeting, error) {
	g, err := n.greet(n.ctx, l)
	if err != nil {
		return nil, nil, err
	}
	far, err := n.meet(g)
	if err != nil {
		return nil, nil, err
	}
	s, err := far.session(false)
	return s, g, err
}

// malformed closes a link whose other side breaks the protocol.
func (n *Node) malformed(peer string, l link.Link, breach *protocolError) {
	if l.Cause() != nil {
		return // it was closed for that already, or is gone
	}
	n.log.Error("a peer breaks the protocol: its link is closed", "peer", peer, "addr", l.Addr(), "error", breach.Error())
	n.m.malformed.Add(1)
	_ = l.Close(closeProtocol, breach.what)
}

// attachment is a session's link, and those who work on it.
type attachment struct {
	l    link.Link
	ctl  *control
	over bool           // it is being left; guarded by the session's lock
	work sync.WaitGroup // lanes' readers and writers, and those of the control stream and of datagrams
	gone chan struct{}  // closed when nothing of it is left
}

// serve settles with the other side which session it is, and has it run over the link until that ends.
func (s *session) serve(g *greeting) (err error) {
	stop := context.AfterFunc(s.ctx, func() { _ = g.l.Close(closeSession, "the session is over") })
	defer stop()
	defer func() { s.closeLink(g.l, err) }()
	s.mu.Lock()
	resume := &greenroomv1.Resume{Session: s.mine, PeerSession: s.yours, Links: s.linkCount, Received: s.receivedLocked()}
	s.mu.Unlock()
	if _, err := g.st.Write(appendControl(nil, &greenroomv1.Control{What: &greenroomv1.Control_Resume{Resume: resume}})); err != nil {
		return err
	}
	_ = g.st.SetReadDeadline(time.Now().Add(greetTimeout))
	var m greenroomv1.Control
	if err := readControl(g.r, &m); err != nil {
		return err
	}
	_ = g.st.SetReadDeadline(time.Time{})
	theirs := m.GetResume()
	if theirs == nil || theirs.GetSession() == 0 || len(theirs.GetReceived()) != lanes {
		return broken("the second word is no resume")
	}
	s.hands.settle()
	at, err := s.attach(g, theirs)
	if err != nil {
		return err
	}
	g.hello = nil // it is long, and the link lives
	s.node.log.Info("link up", "peer", s.far.String(), "addr", g.l.Addr(), "dialed", g.l.Dialed())
	s.node.begin(func() { s.acceptStreams(at) })
	if !s.node.begin(func() { defer at.work.Done(); s.readDatagrams(at) }) {
		at.work.Done()
	}
	err = s.listen(g.r)
	at.work.Done()
	s.closeLink(g.l, err)
	s.detach(at, err)
	return err
}

// attach has the session run over the link.
func (s *session) attach(g *greeting, theirs *greenroomv1.Resume) (*attachment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.agree(theirs); err != nil {
		return nil, err
	}
	for s.at != nil {
		old := s.at
		concurrent := theirs.GetLinks() < s.linkCount && old.l.Dialed() != g.l.Dialed()
		if keepsOld := old.l.Dialed() == (s.node.name < s.far.name()); concurrent && keepsOld && !old.over {
			return nil, &refusal{closeDuplicate, "there is another link"}
		}
		s.mu.Unlock()
		s.closeLink(old.l, errLinkReplaced)
		s.detach(old, errLinkReplaced)
		s.mu.Lock()
	}
	if err := s.agree(theirs); err != nil { // it may have ended meanwhile
		return nil, err
	}
	for i, l := range s.out {
		if !l.rewind(theirs.GetReceived()[i]) {
			return nil, broken("it has received %d frames of lane %d", theirs.GetReceived()[i], i)
		}
	}
	at := &attachment{l: g.l, ctl: &control{st: g.st}, gone: make(chan struct{})}
	at.work.Add(2) // who listens, and who reads datagrams: what the link says last must not come after what the next one says first
	s.yours = theirs.GetSession()
	s.linkCount = max(s.linkCount, theirs.GetLinks()) + 1
	s.at = at
	s.linkUp.Store(true)
	s.ackBytes = 1 // what Resume has told is old by now
	s.hear()
	s.learnLocked(g)
	for _, l := range s.out {
		l.mu.Lock()
		if l.pendingLocked() {
			s.startWriterLocked(l)
		}
		l.mu.Unlock()
	}
	s.far.linked(s)
	return at, nil
}

// agree tells why the two sides do not mean the same session. The caller holds the lock.
func (s *session) agree(theirs *greenroomv1.Resume) error {
	known := theirs.GetPeerSession() == 0 || theirs.GetPeerSession() == s.mine
	switch {
	case s.ended != nil:
		return s.ended
	case known && (s.yours == 0 || s.yours == theirs.GetSession()):
		return nil
	case s.yours == 0 || s.yours == theirs.GetSession():
		return &refusal{closeSession, "the other side means a session that is over here"}
	}
	why := fmt.Errorf("remote: %s has given up the session, for which this node was silent: %w", s.far, actor.ErrNodeDown)
	s.node.begin(func() { s.fail(why) })
	return &refusal{closeSession, "the session is over on both sides"}
}

// learnLocked takes from the Hello what this side has to heed, and tells in turn what the other side has to know.
func (s *session) learnLocked(g *greeting) {
	h := g.hello
	s.granted.Store(h.GetGranted())
	s.features.Store(h.GetFeatures())
	s.roles.Store(uint32(g.roles))
	s.maxMessage.Store(int64(min(h.GetMaxMessage(), uint64(s.node.opts.MaxMessageBytes))))
	s.window.Store(int64(min(max(h.GetWindow(), 64<<10), uint64(s.node.opts.WindowBytes))))
	if shapes := s.types.hello(h.GetSchemas()); len(shapes.GetShapes()) > 0 {
		s.at.ctl.queue(&greenroomv1.Control{What: &greenroomv1.Control_Shapes{Shapes: shapes}})
	}
	s.pauseMu.Lock()
	for _, ev := range s.paused {
		ev.Set()
	}
	s.paused, s.changedP = nil, nil
	s.pausedN.Store(0)
	s.pauseMu.Unlock()
	if ids := s.pausedHere(); len(ids) > 0 {
		s.at.ctl.queue(&greenroomv1.Control{What: &greenroomv1.Control_Pause{Pause: &greenroomv1.Pause{Ids: ids}}})
	}
	s.at.ctl.queue(s.heartbeatLocked())
	s.flushLocked()
}

// detach has the session leave its link, which is closed, and returns when nothing works on it any more.
func (s *session) detach(at *attachment, why error) {
	s.mu.Lock()
	if at.over {
		s.mu.Unlock()
		<-at.gone
		return
	}
	at.over = true
	s.linkUp.Store(false)
	s.mu.Unlock()
	s.intakeEv.Set()
	at.work.Wait()
	s.mu.Lock()
	s.at = nil
	s.mu.Unlock()
	close(at.gone)
	s.far.unlinked(why)
	var left *leftError
	var breach *protocolError
	var closed *link.CloseError
	switch {
	case errors.As(why, &left), errors.As(why, &breach), errors.As(why, &closed) && closed.Code == closeProtocol:
		s.fail(fmt.Errorf("%w: %w", why, actor.ErrNodeDown)) // to go on would be to repeat it
	case closed != nil && closed.Code == link.CodeGone: // it had no session to say goodbye in
		s.fail(fmt.Errorf("remote: %s has stopped: %w: %w", s.far, why, actor.ErrNodeDown))
	case closed != nil && closed.Code == closeSession:
		s.fail(fmt.Errorf("remote: %s has given up the session: %w: %w", s.far, why, actor.ErrNodeDown))
	}
}

// closeLink closes a link with what the other side should know.
func (s *session) closeLink(l link.Link, err error) {
	var no *refusal
	var p *protocolError
	switch {
	case errors.As(err, &no):
		_ = l.Close(no.code, no.text)
	case errors.As(err, &p):
		s.node.malformed(s.far.String(), l, p)
	case errors.Is(err, errLinkReplaced):
		_ = l.Close(closeDuplicate, "another link has taken its place")
	default:
		s.node.closeEnded(l, err)
		_ = l.Close(closeNormal, "")
	}
}

// acceptStreams takes the streams that the other side opens, until the link ends.
func (s *session) acceptStreams(at *attachment) {
	for {
		st, err := at.l.Accept(s.ctx)
		if err != nil {
			return
		}
		s.mu.Lock()
		if at.over {
			s.mu.Unlock()
			st.Reset()
			return
		}
		at.work.Add(1)
		s.mu.Unlock()
		started := s.node.begin(func() {
			defer at.work.Done()
			err := errGoexit
			defer func() { s.streamEnded(at, err) }()
			err = s.serveStream(at.l, st)
		})
		if !started {
			at.work.Done()
			return
		}
	}
}

// errGoexit is how a stream ends whose reader called a user's code that ended the goroutine.
var errGoexit = errors.New("remote: a user's function has ended the reading goroutine")

// streamEnded looks at how a stream of the other side's ended. Lanes last as long as their link: one that ends has it end.
func (s *session) streamEnded(at *attachment, err error) {
	if err == nil {
		return
	}
	var breach *protocolError
	var panicked *panicError
	switch {
	case errors.As(err, &breach):
		s.closeLink(at.l, err)
		s.fail(fmt.Errorf("%w: %w", err, actor.ErrNodeDown))
		return
	case errors.As(err, &panicked), errors.Is(err, errGoexit):
		s.node.log.Error("a link ends: the rest of what it carries comes by the next one", "peer", s.far.String(), "error", err.Error())
	default:
		s.node.log.Debug("stream ended", "peer", s.far.String(), "reason", err.Error())
	}
	if !errors.Is(err, ErrRefused) {
		_ = at.l.Close(closeNormal, "a lane has ended")
	}
}

// serveStream serves one stream of the other side's.
func (s *session) serveStream(l link.Link, st link.Stream) error {
	var kind [2]byte // and the number of a lane
	if _, err := io.ReadFull(st, kind[:]); err != nil {
		st.Reset()
		return nil // a file request that was given up at once: an abort overtakes what was written. Who cannot write a lane ends the link
	}
	if kind[0] == streamFiles {
		if err := s.serveFiles(st); err != nil {
			s.node.log.Debug("file request failed", "peer", s.far.String(), "reason", err.Error())
		}
		return nil // whatever became of it, the link is good
	}
	defer st.Reset()
	if kind[0] == streamLane {
		if kind[1] >= lanes {
			return broken("lane %d", kind[1])
		}
		return guarded("reading a lane", func() error { return s.in[kind[1]].read(l, st) })
	}
	return broken("a stream of kind %q", kind[0])
}

// startWriter starts the lane's writer if there is a link. The caller holds the lane's lock, which comes after the session's.
func (s *session) startWriter(l *laneOut) {
	if !s.linkUp.Load() {
		return
	}
	s.node.begin(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		if s.at != nil && !s.at.over && !l.writing {
			s.startWriterLocked(l)
		}
	})
}

// startWriterLocked starts a lane's writer. The caller holds both locks.
func (s *session) startWriterLocked(l *laneOut) {
	at := s.at
	l.writing = true
	at.work.Add(1)
	started := s.node.begin(func() {
		defer at.work.Done()
		err := s.write(at.l, l)
		l.mu.Lock()
		l.writing = false
		l.mu.Unlock()
		if err != nil {
			_ = at.l.Close(closeNormal, "")
		}
	})
	if !started {
		l.writing = false
		at.work.Done()
	}
}

// write writes a lane's frames to the link until one of them ends.
func (s *session) write(to link.Link, l *laneOut) (err error) {
	st, err := to.Open(s.ctx)
	if err != nil {
		return err
	}
	defer st.Reset()
	if l.n == answerLane {
		st.SetUrgent()
	}
	if _, err := st.Write([]byte{streamLane, byte(l.n)}); err != nil {
		return err
	}
	l.lend(st)
	defer l.lend(nil)
	for {
		head, body := l.take()
		if head != nil {
			if _, err := st.Write(head); err != nil {
				return err
			}
			if len(body) > 0 {
				if _, err := st.Write(body); err != nil {
					return err
				}
			}
			s.count.wrote(1, len(head)+len(body))
			continue
		}
		select {
		case <-l.wake:
		case <-to.Done():
			return to.Cause()
		}
	}
}
