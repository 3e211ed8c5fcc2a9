package remote

import (
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

func (far *incarnation) is(p *peer) {
	far.mu.Lock()
	far.peer = p
	far.mu.Unlock()
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
	case far.gone != nil:
		return nil, far.gone
	case far.node.ctx.Err() != nil:
		return nil, ErrStopped
	}
	s := newSession(far)
	far.sess.Store(s)
	if seek {
		far.node.work.Go(far.seek)
	}
	return s, nil
}

// seek has a session that has no link get one: the incarnation is dialed if it is known where it is, else asked for.
func (far *incarnation) seek() {
	s := far.sess.Load()
	if s == nil || s.linkUp.Load() {
		return
	}
	n := far.node
	n.mu.Lock()
	far.mu.Lock()
	p := far.peer
	far.mu.Unlock()
	addr, name := "", ""
	if p != nil {
		addr, name = p.addr, p.name
	}
	var ask []*session
	if p == nil {
		for _, other := range n.fars {
			if o := other.sess.Load(); o != nil && o != s && o.linkUp.Load() {
				ask = append(ask, o)
			}
		}
	}
	n.mu.Unlock()
	if addr != "" {
		far.connect(addr, name)
	}
	for _, o := range ask {
		o.say(&greenroomv1.Control{What: &greenroomv1.Control_WhoIs{WhoIs: &greenroomv1.WhoIs{Incarnation: far.id}}})
	}
}

// connect dials the incarnation, unless that is being done.
func (far *incarnation) connect(addr, name string) {
	far.mu.Lock()
	busy := far.busy || far.gone != nil
	far.busy = true
	far.mu.Unlock()
	if busy {
		return
	}
	far.node.work.Go(func() {
		_, err := far.node.dial(addr, name)
		far.mu.Lock()
		far.busy = false
		far.mu.Unlock()
		if err != nil {
			far.node.log.Debug("no link", "peer", far.String(), "addr", addr, "error", err.Error())
		}
	})
}

// linked takes note of a link. The caller holds the session's lock.
func (far *incarnation) linked() {
	n := far.node
	n.m.links.Add(1)
	n.work.Go(func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if p := far.peer; p != nil && p.now == far && !p.up {
			p.up, p.since = true, time.Now()
			n.changedLocked(p, PeerUp)
		}
	})
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
	far.node.work.Go(func() {
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
	if p := far.peer; p != nil && p.now == far && p.up {
		p.up, p.since = false, time.Now()
		n.changedLocked(p, PeerDown)
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
	}
}

// Send implements actor.Outbound.
func (far *incarnation) Send(ctx context.Context, from, to actor.AnyRef, m proto.Message, call actor.RemoteCall) (uint64, error) {
	s, err := far.session(true)
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
	if s := far.sess.Load(); s != nil {
		s.cancel(id)
	}
}

// Deliver implements actor.Outbound.
func (far *incarnation) Deliver(ctx context.Context, from, to actor.AnyRef, m proto.Message) error {
	s, err := far.session(true)
	if err != nil {
		return err
	}
	return s.deliver(ctx, from, to, m)
}

// Watch implements actor.Outbound.
func (far *incarnation) Watch(by, to actor.AnyRef, id uint64, down func(actor.Down)) {
	down = far.node.truly(to, down)
	s, err := far.session(true)
	if err == nil {
		err = s.watch(by, to, id, down)
	}
	if err == nil {
		return
	}
	down(actor.Down{Ref: to, Reason: actor.Reason{Kind: actor.ReasonNodeDown, Err: err}})
}

// Unwatch implements actor.Outbound.
func (far *incarnation) Unwatch(_, to actor.AnyRef, id uint64) {
	if s := far.sess.Load(); s != nil {
		s.unwatch(to, id)
	}
}

// Signal implements actor.Outbound.
func (far *incarnation) Signal(from, to actor.AnyRef, sig actor.Signal) error {
	s, err := far.session(true)
	if err != nil {
		return err
	}
	return s.signal(from, to, sig)
}
