package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// String names the incarnation for logs: by its peer's name if that is known.
func (far *incarnation) String() string {
	if name := far.name(); name != "" {
		return name
	}
	return fmt.Sprintf("node %016x", far.id)
}

func (far *incarnation) name() string {
	far.mu.Lock()
	defer far.mu.Unlock()
	if far.peer == nil {
		return ""
	}
	return far.peer.name
}

// whose life it is, nil if that is not known.
func (far *incarnation) whose() *peer {
	far.mu.Lock()
	defer far.mu.Unlock()
	return far.peer
}

func (far *incarnation) is(p *peer) {
	far.mu.Lock()
	far.peer = p
	far.mu.Unlock()
}

// ousted says why the incarnation may not stand for name, "" if it may. Of two nodes of a name it is the one that came later.
func (far *incarnation) ousted(name string) string {
	far.mu.Lock()
	defer far.mu.Unlock()
	switch {
	case far.peer != nil && far.peer.name != name:
		return fmt.Sprintf("%s says that it is an incarnation of %s", name, far.peer.name)
	case far.gone == nil:
		return ""
	}
	return fmt.Sprintf("another node is called %s by now: give each a name, and a certificate, of its own", name)
}

// lose has the node forget it, if there is nothing going on with it. The caller holds n.mu.
func (far *incarnation) lose() bool {
	far.mu.Lock()
	defer far.mu.Unlock()
	far.lost = far.sess.Load() == nil && !far.busy && (far.peer == nil || far.peer.now != far)
	return far.lost
}

// found is who stands for the incarnation now.
func (far *incarnation) found() (*incarnation, error) {
	far.mu.Lock()
	lost := far.lost
	far.mu.Unlock()
	if !lost {
		return far, nil
	}
	n := far.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped {
		return nil, ErrStopped
	}
	return n.farLocked(far.id)
}

// present is the session that there is, nil if there is none.
func (far *incarnation) present() *session {
	if s := far.sess.Load(); s != nil {
		return s
	}
	if now, err := far.found(); err == nil {
		return now.sess.Load()
	}
	return nil
}

// session is the session with the incarnation; it is begun if there is none, and if seek says so a link is looked for. The error says
// why there can be none any more.
func (far *incarnation) session(seek bool) (*session, error) {
	if s := far.sess.Load(); s != nil {
		return s, nil
	}
	far.mu.Lock()
	defer far.mu.Unlock()
	if s := far.sess.Load(); s != nil {
		return s, nil
	}
	switch {
	case far.lost:
		return nil, errForgotten
	case far.gone != nil:
		return nil, far.gone
	case far.node.ctx.Err() != nil:
		return nil, ErrStopped
	}
	s := newSession(far)
	s.hands.follow(far.last)
	far.last = s.hands
	far.sess.Store(s)
	if seek {
		far.node.begin(far.seek)
	}
	return s, nil
}

var errForgotten = errors.New("remote: the incarnation was forgotten")

// way is session for those who send.
func (far *incarnation) way() (*session, error) {
	for {
		s, err := far.session(true)
		if !errors.Is(err, errForgotten) {
			return s, err
		}
		if far, err = far.found(); err != nil {
			return nil, err
		}
	}
}

// seek has a session that has no link get one: the incarnation is dialed if it is known where it is, else asked for.
func (far *incarnation) seek() {
	s := far.sess.Load()
	if s == nil || s.linkUp.Load() {
		return
	}
	n := far.node
	if far.redial() {
		return
	}
	n.mu.Lock()
	var ask []*session
	if far.whose() == nil {
		for _, other := range n.fars {
			if o := other.sess.Load(); o != nil && o != s && o.linkUp.Load() {
				ask = append(ask, o)
			}
		}
	}
	n.mu.Unlock()
	for _, o := range ask {
		o.say(&greenroomv1.Control{What: &greenroomv1.Control_WhoIs{WhoIs: &greenroomv1.WhoIs{Incarnation: far.id}}})
	}
}

// redial dials the incarnation where it was reached last, or else where it says that it is; false if neither is known. A link that there is
// gives way to the new one.
func (far *incarnation) redial() bool {
	far.node.mu.Lock()
	addr, name := "", ""
	if p := far.whose(); p != nil {
		addr, name = cmp.Or(p.dialed, p.addr), p.name
	}
	far.node.mu.Unlock()
	if addr == "" {
		return false
	}
	far.connect(addr, name)
	return true
}

// connect dials the incarnation, unless that is being done.
func (far *incarnation) connect(addr, name string) {
	far.mu.Lock()
	busy := far.busy || far.gone != nil || far.lost
	far.busy = far.busy || !busy
	far.mu.Unlock()
	if busy {
		return
	}
	begun := far.node.begin(func() {
		_, err := far.node.dial(addr, name, min(greetTimeout, max(far.node.opts.DownAfter/4, time.Second)), far.dialed)
		if err != nil {
			far.node.log.Debug("no link", "peer", far.String(), "addr", addr, "error", err.Error())
		}
	})
	if !begun {
		far.dialed()
	}
}

// dialed says that nobody dials the incarnation any more.
func (far *incarnation) dialed() {
	far.mu.Lock()
	far.busy = false
	far.mu.Unlock()
}

// linked takes note of a link of a session. The caller holds the session's lock.
func (far *incarnation) linked(s *session) {
	n := far.node
	n.m.links.Add(1)
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := far.whose(); p != nil && p.now == far && !p.up && far.sess.Load() == s { // or it has ended already
		p.up, p.since = true, time.Now()
		n.changedLocked(p, PeerUp)
	}
}

// unlinked takes note that a session has lost its link, and has it get another one.
func (far *incarnation) unlinked(why error) {
	var left *leftError
	if errors.As(why, &left) || far.node.ctx.Err() != nil {
		return
	}
	if errors.Is(why, errLinkReplaced) {
		return
	}
	far.node.begin(func() {
		far.node.pause(redialFirst)
		far.seek()
	})
}

// ended takes note of the end of a session.
func (far *incarnation) ended(s *session) {
	far.sess.CompareAndSwap(s, nil)
	n := far.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := far.whose(); p != nil && p.now == far && p.up {
		p.up, p.since = false, time.Now()
		n.changedLocked(p, PeerDown)
		if next := far.sess.Load(); next != nil && next.linkUp.Load() { // which found the peer up still
			p.up = true
			n.changedLocked(p, PeerUp)
		}
	}
}

// end says that there is no way to the incarnation any more.
func (far *incarnation) end(why error) {
	far.mu.Lock()
	if far.gone == nil {
		far.gone = why
	}
	far.mu.Unlock()
	if s := far.sess.Load(); s != nil {
		s.fail(why)
		<-s.over
	}
}

// Send implements actor.Outbound.
func (far *incarnation) Send(ctx context.Context, from, to actor.AnyRef, m proto.Message, call actor.RemoteCall) (uint64, error) {
	s, err := far.way()
	if err != nil {
		return 0, err
	}
	if !call.IsZero() {
		return s.sendCall(ctx, from, to, m, call)
	}
	return 0, s.sendMessage(ctx, from, to, m)
}

// Cancel implements actor.Outbound.
func (far *incarnation) Cancel(id uint64) {
	if s := far.present(); s != nil {
		s.cancel(id)
	}
}

// Deliver implements actor.Outbound.
func (far *incarnation) Deliver(ctx context.Context, from, to actor.AnyRef, m proto.Message) error {
	s, err := far.way()
	if err != nil {
		return err
	}
	return s.deliver(ctx, from, to, m)
}

// Fire implements actor.Outbound.
func (far *incarnation) Fire(from, to actor.AnyRef, m proto.Message) error {
	s, err := far.way()
	if err != nil {
		return err
	}
	return s.fire(from, to, m)
}

// Watch implements actor.Outbound.
func (far *incarnation) Watch(by, to actor.AnyRef, id uint64, down func(actor.Down)) {
	down = far.node.truly(to, down)
	s, err := far.way()
	if err == nil {
		err = s.watch(by, to, id, down)
	}
	if err != nil {
		down(actor.Down{Ref: to, Reason: actor.Reason{Kind: actor.ReasonNodeDown, Err: err}})
	}
}

// Unwatch implements actor.Outbound.
func (far *incarnation) Unwatch(_, to actor.AnyRef, id uint64) {
	if s := far.present(); s != nil {
		s.unwatch(to, id)
	}
}

// Signal implements actor.Outbound.
func (far *incarnation) Signal(from, to actor.AnyRef, sig actor.Signal) error {
	s, err := far.way()
	if err != nil {
		return err
	}
	return s.signal(from, to, sig)
}
