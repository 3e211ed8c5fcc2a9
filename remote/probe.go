package remote

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// Cycles of calls across nodes. Within a node a call that would close a cycle is refused at once: package actor walks along those who
// wait. Across nodes the walk is a probe: once a call has waited for probeAfter its node follows the chain from the caller as far as it leads
// within the node, and sends what it found to the node where it goes on. If a probe comes back to the caller a second one follows: if the chain and
// the versions of all waits in it are the same, all of them held at one moment between the two, and since each of these actors waits none
// can move. Only then the call fails with *actor.DeadlockError. A chain that several branches leave (a scope's children) is not followed.

const (
	// probeAfter is how long a call waits before it is looked at, and, doubled each time, looked at again.
	probeAfter = 100 * time.Millisecond
	// probeLast is the longest such time.
	probeLast = 5 * time.Second
	// maxProbe bounds the steps of a chain.
	maxProbe = 256
)

// onProbe sends a probe for each call that has waited for long enough.
func (s *session) onProbe() {
	now := time.Since(s.node.start)
	type due struct {
		id    uint64
		nonce uint64
		call  actor.RemoteCall
	}
	var list []due
	soonest := time.Duration(0)
	s.callMu.Lock()
	for id, o := range s.calls {
		if o.next == 0 {
			continue
		}
		if o.next <= now {
			if o.nonce == 0 {
				o.nonce = randomID()
			}
			list = append(list, due{id, o.nonce, o.call})
			o.next, o.wait = now+o.wait, min(2*o.wait, probeLast)
		}
		if soonest == 0 || o.next < soonest {
			soonest = o.next
		}
	}
	if s.probing = soonest != 0 && s.calls != nil; s.probing {
		s.prober.Reset(max(soonest-now, probeAfter/4))
	}
	s.callMu.Unlock()
	for _, d := range list {
		if caller, _ := d.call.Caller(); !caller.IsZero() {
			s.node.follow(&greenroomv1.Probe{Origin: caller.Proto(), Call: d.id, Nonce: d.nonce}, caller)
		}
	}
}

// follow goes on with a probe from an actor of this node.
func (n *Node) follow(p *greenroomv1.Probe, from actor.AnyRef) {
	origin := n.refFrom(p.GetOrigin())
	chain := n.sys.Waits(from, origin, maxProbe-len(p.GetSteps()))
	if len(chain) == 0 {
		return
	}
	for _, w := range chain {
		p.Steps = append(p.Steps, &greenroomv1.Probe_Step{Ref: w.For.Proto(), Version: w.Version})
	}
	last := chain[len(chain)-1].For
	switch {
	case last == origin && !origin.Remote():
		n.cameBack(p, origin)
	case last.Remote():
		n.mu.Lock()
		far := n.fars[last.Node()]
		n.mu.Unlock()
		if far == nil {
			return
		}
		if s := far.sess.Load(); s != nil && proto.Size(p) < maxControl/4 {
			s.say(&greenroomv1.Control{What: &greenroomv1.Control_Probe{Probe: p}})
		}
	}
}

// probed takes a probe from another node.
func (n *Node) probed(p *greenroomv1.Probe) error {
	steps := p.GetSteps()
	if len(steps) == 0 || len(steps) > maxProbe || len(p.GetEarlier()) > maxProbe {
		return broken("a probe of %d steps", len(steps))
	}
	here := n.refFrom(steps[len(steps)-1].GetRef())
	origin := n.refFrom(p.GetOrigin())
	switch {
	case here.IsZero() || here.Remote():
	case here == origin:
		n.cameBack(p, origin)
	case len(steps) < maxProbe:
		n.follow(p, here)
	}
	return nil
}

// cameBack has a chain that leads back to its caller followed once more; the second time the call fails.
func (n *Node) cameBack(p *greenroomv1.Probe, origin actor.AnyRef) {
	first := n.refFrom(p.GetSteps()[0].GetRef())
	n.mu.Lock()
	far := n.fars[first.Node()]
	n.mu.Unlock()
	if far == nil {
		return
	}
	s := far.sess.Load()
	if s == nil {
		return
	}
	s.callMu.Lock()
	o := s.calls[p.GetCall()]
	s.callMu.Unlock()
	if o == nil || o.nonce != p.GetNonce() {
		return
	}
	caller, version := o.call.Caller()
	if caller != origin || version != p.GetSteps()[0].GetVersion() {
		return
	}
	if len(p.GetEarlier()) == 0 {
		n.follow(&greenroomv1.Probe{Origin: p.GetOrigin(), Call: p.GetCall(), Nonce: p.GetNonce(), Earlier: p.GetSteps()}, origin)
		return
	}
	same := func(a, b *greenroomv1.Probe_Step) bool { return proto.Equal(a, b) }
	if !slices.EqualFunc(p.GetSteps(), p.GetEarlier(), same) || s.taken(p.GetCall()) == nil {
		return
	}
	dead := &actor.DeadlockError{Path: []actor.AnyRef{origin}}
	for _, step := range p.GetSteps() {
		dead.Path = append(dead.Path, n.refFrom(step.GetRef()))
	}
	n.log.Warn("calls across nodes wait for each other", "cycle", fmt.Sprint(dead.Path))
	o.call.Answer(nil, dead)
	s.tellCancelled(o, p.GetCall())
}
