package supervisor

import (
	"errors"
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
	if start != nil {
		if err := c.check(s.spec, nil); err != nil {
			return actor.AnyRef{}, err
		}
	}
	s.live++
	if err := s.open(k); err != nil {
		if k.incarnation == 0 {
			s.live-- // it never was
		}
		return actor.AnyRef{}, err
	}
	ref := k.ref
	s.forgetful(k)
	return ref, nil
}

// stopDynamic ends all children at once. It takes time linear in their number.
func (s *super) stopDynamic() {
	left := 0
	limit := s.template(nil).shutdown()
	for _, ref := range s.ctx.Children() {
		if s.endDynamic(ref, limit == KillAtOnce) {
			left++
		}
	}
	switch limit {
	case NoLimit:
		limit = math.MaxInt64
	case KillAtOnce:
		limit = killPatience
	default: // it is a time
	}
	bounded, done := s.ctx.Cleanup(limit)
	defer done()
	for left > 0 {
		m, err := s.receiveAnyway(bounded, nil)
		if err != nil {
			for _, ref := range s.ctx.Children() {
				ref.Kill() // this actor's end waits for them
			}
			return
		}
		switch m := m.(type) {
		case *request:
			_ = s.ctx.Fail(actor.ErrStopped)
		case *childEvent:
			if m.Kind != actor.ChildStarted && s.heldFor(m.ChildEvent) && s.ctx.EndChild(m.Ref) == nil && m.Kind == actor.ChildEnded {
				left--
				s.tell(Event{Kind: Stopped, Child: s.template(nil).ID, Ref: m.Ref, Reason: m.Reason})
			}
		}
	}
}

// endDynamic has one child come to its end; it reports whether ChildEnded will tell.
func (s *super) endDynamic(ref actor.AnyRef, kill bool) bool {
	for {
		err := s.ctx.StopChild(ref, kill)
		if err == nil || !errors.Is(err, actor.ErrHeld) {
			return err == nil
		}
		if held, err := s.ctx.ChildHeld(ref); err == nil && held != nil {
			return s.ctx.EndChild(ref) == nil && held.Kind == actor.ChildFailed
		}
	}
}
