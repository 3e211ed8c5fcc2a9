package supervisor

import (
	"math"

	"github.com/greenroom-go/greenroom/actor"
)

// template is a child of a Dynamic supervisor as its spec says, started by start if that is given.
func (s *super) template(start Starter) Child {
	var c Child
	if len(s.spec.Children) > 0 {
		c = s.spec.Children[0]
	}
	if start != nil {
		c.Start = start
	}
	if c.Start == nil {
		c.Start = &guarded{} // of a child that was added with a Starter of its own: it is restarted in place
	}
	return c
}

// addDynamic starts one more child. Nothing is remembered of it but what package actor has.
func (s *super) addDynamic(start Starter) (actor.AnyRef, error) {
	c := s.template(start)
	if start == nil && (len(s.spec.Children) == 0 || s.spec.Children[0].Start == nil) {
		return actor.AnyRef{}, ErrNoStart
	}
	k := &kid{Child: c}
	if k.guarded() == nil {
		return actor.AnyRef{}, ErrNotInPlace
	}
	s.live++
	if err := s.start(k); err != nil {
		if k.ref.IsZero() {
			s.live--
		}
		s.release(k)
		return actor.AnyRef{}, &StartError{c.ID, err}
	}
	ref := k.ref
	s.forgetful(k)
	s.tell(Event{Kind: Started, Child: c.ID, Ref: ref})
	return ref, nil
}

// stopDynamic ends all children at once. It takes time linear in their number.
func (s *super) stopDynamic() {
	left := 0
	limit := s.template(nil).shutdown()
	for _, ref := range s.ctx.Children() {
		switch {
		case s.ctx.EndChild(ref) == nil: // in limbo; what failed there is told of once more, and is then one of those that left
		case limit == KillAtOnce:
			ref.Kill()
			left++
		default:
			ref.Shutdown()
			left++
		}
	}
	switch limit {
	case NoLimit:
		limit = math.MaxInt64
	case KillAtOnce:
		limit = killPatience
	}
	bounded, done := s.ctx.Cleanup(limit)
	defer done()
	for left > 0 {
		m, err := s.in.Receive(bounded)
		if err != nil {
			for _, ref := range s.ctx.Children() {
				ref.Kill() // this actor's end waits for them
			}
			return
		}
		if _, ok := m.(*request); ok {
			_ = s.ctx.Fail(actor.ErrStopped)
		}
		if e, ok := m.(*childEvent); ok && e.Kind != actor.ChildStarted && s.ctx.EndChild(e.Ref) == nil && e.Kind == actor.ChildEnded {
			left--
		}
	}
}
