package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/greenroom-go/greenroom/actor"
)

// What a supervisor's mailbox takes. They never leave the process, so that their content need not be protobuf.
type (
	childEvent struct {
		emptypb.Empty
		actor.ChildEvent
	}
	downEvent struct {
		emptypb.Empty
		actor.Down
	}
	// due says that the children which wait under a token are to be started.
	due struct {
		emptypb.Empty
		token uint64
	}
	request struct {
		emptypb.Empty
		do func(*super) (any, error)
	}
	answer struct {
		emptypb.Empty
		value any
	}
)

// super is a running supervisor: the state of one incarnation of its actor.
type super struct {
	spec Spec
	ctx  *actor.Context
	in   *actor.Inbox[proto.Message]
	kids []*kid                // in the order of start; a Dynamic supervisor has none
	refs map[actor.AnyRef]*kid // the same by ref; of a Dynamic supervisor those of which something is to be remembered
	born time.Time
	log  *slog.Logger

	times    []time.Duration   // of the last restarts
	token    uint64            // the last one given out
	waiting  map[uint64][]*kid // for the end of a backoff, by token
	live     int               // children of a Dynamic supervisor
	rollouts []*watch
	alone    [1]*kid // a group of one that does not wait
}

// kid is one child.
type kid struct {
	Child
	ref      actor.AnyRef // zero: it has ended for good
	waiting  uint64       // the token under which it waits to be started, 0 if it does not
	restarts int
	row      int           // restarts in a row, for the backoff
	since    time.Duration // when it was started
	verdict  Decision      // on its failure, while its incarnation ends
	decided  bool          // verdict holds
	reason   actor.Reason  // of its last end
}

func (k *kid) guarded() *guarded {
	g, _ := k.Start.(*guarded)
	return g
}

// behaviour is a supervisor as an actor.
func behaviour(spec Spec) actor.Behaviour[proto.Message] {
	spec = spec.withDefaults()
	shared := &spec // a roll-out changes what the next incarnation starts
	return actor.Routine(func(ctx *actor.Context, in *actor.Inbox[proto.Message]) error {
		s := &super{spec: *shared, ctx: ctx, in: in, refs: map[actor.AnyRef]*kid{}, waiting: map[uint64][]*kid{}, born: time.Now(), log: ctx.Log()}
		return s.run()
	})
}

func (s *super) now() time.Duration { return time.Since(s.born) }

func (s *super) run() error {
	if err := actor.Guard(s.ctx, func(e actor.ChildEvent) proto.Message { return &childEvent{ChildEvent: e} }); err != nil {
		return err
	}
	if s.spec.Strategy != Dynamic {
		for _, c := range s.spec.Children {
			if err := s.add(c); err != nil {
				s.stopAll()
				return err
			}
		}
	}
	if err := s.ctx.Ready(); err != nil {
		return err
	}
	for {
		m, err := s.in.Receive(s.ctx)
		var interrupted *actor.InterruptError
		switch {
		case errors.As(err, &interrupted):
			continue // nothing here is to be interrupted
		case errors.Is(err, actor.ErrSwapped):
			s.in.Refuse(errors.New("a supervisor is changed through its children: see RollOut"))
			continue
		case err == nil:
			err = s.handle(m)
		}
		if err != nil {
			s.stopAll()
			return err
		}
	}
}

// handle deals with one message. An error ends the supervisor.
func (s *super) handle(m proto.Message) error {
	switch m := m.(type) {
	case *childEvent:
		return s.childEvent(m.ChildEvent)
	case *downEvent:
		if k := s.refs[m.Ref]; k != nil && k.guarded() == nil {
			return s.ended(k, m.Reason, uint32(k.restarts+1))
		}
	case *due:
		group := s.waiting[m.token]
		delete(s.waiting, m.token)
		return s.startGroup(m.token, group)
	case *request:
		s.answer(m)
	}
	return nil
}

// answer does what it is asked for. It takes the call out of its own hands first: it may wait for other messages meanwhile, and that
// nobody waits for the answer any more is no matter.
func (s *super) answer(m *request) {
	r, err := s.ctx.Responder()
	if err != nil {
		return // sent, not called
	}
	v, err := m.do(s)
	if err != nil {
		_ = r.Fail(err)
		return
	}
	_ = r.Reply(&answer{value: v})
}

// add starts a new child and takes it in.
func (s *super) add(c Child) error {
	k := &kid{Child: c}
	if err := s.start(k); err != nil {
		s.release(k)
		return &StartError{c.ID, err}
	}
	s.kids = append(s.kids, k)
	s.tell(Event{Kind: Started, Child: c.ID, Ref: k.ref})
	return nil
}

// start starts the child, or its next incarnation, and waits until it has. With an error it does not run; what is left of it is in
// limbo, for release or another start.
func (s *super) start(k *kid) error {
	k.waiting, k.decided, k.since = 0, false, s.now()
	started := true
	var err error
	switch g := k.guarded(); {
	case g == nil:
		err = s.startForeign(k)
	case k.ref.IsZero():
		k.ref, started, err = g.spawn(s.ctx, k.Decide != nil)
	default:
		started, err = s.ctx.RestartChild(k.ref)
	}
	if err != nil {
		return err
	}
	s.refs[k.ref] = k
	if started {
		return nil
	}
	return s.awaitStart(k)
}

// startForeign starts what is not restarted in place; a panic of its Starter is its failure.
func (s *super) startForeign(k *kid) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic in its Start: %v", v)
		}
	}()
	delete(s.refs, k.ref)
	k.ref = actor.AnyRef{}
	ref, err := k.Start.Start(s.ctx)
	if err != nil {
		return err
	}
	if _, err := actor.Monitor(s.ctx, ref, func(d actor.Down) proto.Message { return &downEvent{Down: d} }); err != nil {
		return err
	}
	k.ref = ref
	return nil
}

func (s *super) awaitStart(k *kid) error {
	limit, cancel := s.ctx.WithTimeout(k.startTimeout())
	defer cancel()
	m, err := s.in.Select(limit, func(m proto.Message) bool {
		e, ok := m.(*childEvent)
		return ok && e.Ref == k.ref
	})
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w (%v)", ErrStartTimeout, k.startTimeout())
		return errors.Join(err, s.halt(k, KillAtOnce))
	}
	if err != nil {
		return errors.Join(err, s.halt(k, KillAtOnce))
	}
	switch e := m.(*childEvent).ChildEvent; e.Kind {
	case actor.ChildEnded:
		k.reason = e.Reason
		if e.Reason.Err != nil {
			return e.Reason.Err
		}
		return fmt.Errorf("it ended at its start: %v", e.Reason)
	case actor.ChildFailed:
		return errors.Join(e.Reason.Err, s.halt(k, KillAtOnce))
	}
	return nil
}

func (s *super) childEvent(e actor.ChildEvent) error {
	k := s.refs[e.Ref]
	if k == nil {
		if s.spec.Strategy != Dynamic {
			return nil // of one that was released since
		}
		k = &kid{Child: s.template(nil), ref: e.Ref}
	}
	if k.guarded() == nil || e.Kind != actor.ChildStarted && !s.ctx.ChildHeld(e.Ref) {
		return nil // it has been dealt with
	}
	switch e.Kind {
	case actor.ChildFailed:
		return s.failed(k, e)
	case actor.ChildEnded:
		return s.ended(k, e.Reason, e.Incarnation)
	}
	return nil
}

// failed decides on a child that is held with all that it has.
func (s *super) failed(k *kid, e actor.ChildEvent) error {
	k.verdict, k.decided = s.decide(k, e.Reason, e.Incarnation, true), true
	if k.verdict == Resume {
		k.decided = false
		s.tell(Event{Kind: Resumed, Child: k.ID, Ref: k.ref, Reason: e.Reason})
		return ignoreGone(s.ctx.ResumeChild(k.ref))
	}
	s.refs[k.ref] = k // a Dynamic supervisor remembers it until then
	return ignoreGone(s.ctx.EndChild(k.ref))
}

// ignoreGone drops the errors of a child that has met its end by another way meanwhile.
func ignoreGone(err error) error {
	if errors.Is(err, actor.ErrStopped) || errors.Is(err, actor.ErrNotHeld) {
		return nil
	}
	return err
}

func (s *super) decide(k *kid, why actor.Reason, incarnation uint32, resumable bool) (d Decision) {
	if k.Decide == nil {
		return ByClass
	}
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("panic in a child's Decide", "child", k.ID, "panic", fmt.Sprint(v))
			d = ByClass
		}
	}()
	return k.Decide(Failure{k.ID, k.ref, why, incarnation, k.restarts, resumable})
}

// ended decides what follows the end of an incarnation.
func (s *super) ended(k *kid, why actor.Reason, incarnation uint32) error {
	k.reason = why
	s.tell(Event{Kind: Ended, Child: k.ID, Ref: k.ref, Reason: why})
	d := k.verdict
	if !k.decided {
		d = s.decide(k, why, incarnation, false)
	}
	k.decided = false
	again := k.Restart == Permanent || k.Restart == Transient && !why.Normal()
	switch d {
	case Again, Resume:
		again = true
	case GiveUp:
		again = false
	case Escalate:
		return &EscalatedError{k.ID, why}
	}
	for _, w := range s.rollouts {
		w.fail(k.ref, why)
	}
	if !again {
		return s.giveUp(k)
	}
	return s.again(k)
}

// giveUp lets a child go that is not restarted.
func (s *super) giveUp(k *kid) error {
	s.release(k)
	if k.Restart == Temporary {
		s.forget(k)
	}
	s.tell(Event{Kind: GivenUp, Child: k.ID, Reason: k.reason})
	if k.Significant && s.autoShutdown() {
		s.tell(Event{Kind: ShutDown, Child: k.ID})
		s.ctx.Self().Shutdown()
		return actor.ErrStopped
	}
	return nil
}

// autoShutdown reports whether the end of a significant child is the supervisor's.
func (s *super) autoShutdown() bool {
	if s.spec.AutoShutdown == AnySignificant {
		return true
	}
	if s.spec.Strategy == Dynamic {
		return s.live == 0
	}
	return !slices.ContainsFunc(s.kids, func(k *kid) bool { return k.Significant && !k.ref.IsZero() })
}

// release ends a child for good: who watches it is told. It must not run.
func (s *super) release(k *kid) {
	if k.ref.IsZero() {
		return
	}
	if k.guarded() != nil || s.spec.Strategy == Dynamic {
		_ = ignoreGone(s.ctx.EndChild(k.ref)) // a foreign one has ended, or is nobody's child
	}
	delete(s.refs, k.ref)
	k.ref, k.waiting = actor.AnyRef{}, 0
	if s.spec.Strategy == Dynamic {
		s.live--
	}
}

func (s *super) forget(k *kid) {
	s.kids = slices.DeleteFunc(s.kids, func(o *kid) bool { return o == k })
}

// again restarts a child, and with it those that its strategy says.
func (s *super) again(k *kid) error {
	if !s.allowed() {
		err := &RestartLimitError{k.ID, len(s.times), s.spec.Period, k.reason}
		s.tell(Event{Kind: Escalated, Child: k.ID, Reason: k.reason, Err: err})
		return err
	}
	if s.now()-k.since >= k.Backoff.reset() {
		k.row = 0
	}
	k.row++
	k.restarts++
	s.token++
	group, err := s.group(k)
	if err != nil {
		return err
	}
	for _, o := range group {
		o.waiting = s.token
	}
	var delay time.Duration
	if k.Backoff.Min > 0 {
		delay = k.Backoff.delay(k.row, spread(k.ref, k.row))
	}
	s.tell(Event{Kind: Restarting, Child: k.ID, Ref: k.ref, Reason: k.reason, Delay: delay})
	if delay == 0 {
		return s.startGroup(s.token, group)
	}
	s.waiting[s.token] = group
	s.refs[k.ref] = k
	_, err = actor.SendAfter[proto.Message](s.ctx, delay, actor.Ref[proto.Message]{AnyRef: s.ctx.Self()}, &due{token: s.token})
	return err
}

// group stops those that are restarted along with k, last first, and returns them all in the order of start.
func (s *super) group(k *kid) ([]*kid, error) {
	var group []*kid
	switch s.spec.Strategy {
	case OneForAll:
		group = slices.Clone(s.kids)
	case RestForOne:
		group = slices.Clone(s.kids[slices.Index(s.kids, k):])
	default:
		if k.Backoff.Min > 0 {
			return []*kid{k}, nil
		}
		s.alone[0] = k // it is started at once
		return s.alone[:], nil
	}
	for _, o := range slices.Backward(group) {
		if o == k {
			continue
		}
		if err := s.halt(o, o.shutdown()); err != nil {
			return nil, err
		}
		if o.Restart == Temporary {
			s.release(o)
			s.forget(o)
		}
	}
	return slices.DeleteFunc(group, func(o *kid) bool { return o != k && o.Restart == Temporary }), nil
}

// startGroup starts those of a group that still wait under its token. One that fails to start is another failure of it.
func (s *super) startGroup(token uint64, group []*kid) error {
	for _, k := range group {
		if k.waiting != token {
			continue
		}
		if err := s.start(k); err != nil {
			if s.ctx.Stopping() {
				return actor.ErrStopped
			}
			return s.startFailed(k, err)
		}
		s.tell(Event{Kind: Started, Child: k.ID, Ref: k.ref})
		s.forgetful(k)
	}
	return nil
}

// forgetful drops what need not be remembered of a Dynamic supervisor's child that runs.
func (s *super) forgetful(k *kid) {
	if s.spec.Strategy == Dynamic && k.Backoff.Min == 0 && k.Decide == nil {
		delete(s.refs, k.ref)
	}
}

// startFailed treats a restart that failed as the child's next failure. It goes by way of the mailbox, so that a child which never starts
// keeps nobody waiting.
func (s *super) startFailed(k *kid, err error) error {
	k.reason = actor.Reason{Kind: actor.ReasonError, Err: err}
	k.since = s.now()
	s.tell(Event{Kind: StartFailed, Child: k.ID, Ref: k.ref, Reason: k.reason})
	if k.guarded() == nil || k.ref.IsZero() {
		return s.again(k)
	}
	return s.ctx.Self().Send(s.ctx, &childEvent{ChildEvent: actor.ChildEvent{Ref: k.ref, Kind: actor.ChildEnded, Reason: k.reason, Incarnation: uint32(k.restarts + 1)}})
}

// allowed counts a restart and reports whether the intensity allows it.
func (s *super) allowed() bool {
	now := s.now()
	s.times = append(s.times, now)
	old := 0
	for old < len(s.times) && now-s.times[old] > s.spec.Period {
		old++
	}
	s.times = s.times[old:]
	return len(s.times) <= s.spec.Intensity
}

// halt has a child come to an end within limit, and kills it after that; it leaves the child in limbo.
func (s *super) halt(k *kid, limit time.Duration) error {
	k.waiting = 0
	if k.ref.IsZero() || !s.running(k) {
		return nil
	}
	if limit == KillAtOnce {
		k.ref.Kill()
		return s.awaitEnd(k, killPatience)
	}
	k.ref.Shutdown()
	if limit == NoLimit {
		limit = math.MaxInt64
	}
	err := s.awaitEnd(k, limit)
	if err == nil {
		return nil
	}
	k.ref.Kill()
	return s.awaitEnd(k, killPatience)
}

// running reports whether the child is not in limbo.
func (s *super) running(k *kid) bool {
	return k.guarded() == nil || !s.ctx.ChildHeld(k.ref)
}

// awaitEnd waits for the end of a child that was asked to come to one. The supervisor may be stopping itself.
func (s *super) awaitEnd(k *kid, limit time.Duration) error {
	bounded, done := s.ctx.Cleanup(limit)
	defer done()
	for {
		m, err := s.in.Select(bounded, func(m proto.Message) bool {
			switch m := m.(type) {
			case *childEvent:
				return m.Ref == k.ref
			case *downEvent:
				return m.Ref == k.ref
			}
			return false
		})
		if err != nil {
			return &StuckError{k.ID, k.ref}
		}
		switch m := m.(type) {
		case *downEvent:
			k.reason = m.Reason
			s.tell(Event{Kind: Stopped, Child: k.ID, Ref: k.ref, Reason: m.Reason})
			delete(s.refs, k.ref)
			k.ref = actor.AnyRef{}
			return nil
		case *childEvent:
			switch m.Kind {
			case actor.ChildEnded:
				k.reason = m.Reason
				s.tell(Event{Kind: Stopped, Child: k.ID, Ref: k.ref, Reason: m.Reason})
				return nil
			case actor.ChildFailed:
				_ = ignoreGone(s.ctx.EndChild(k.ref)) // its end follows
			}
		}
	}
}

// stopAll ends all children, the last one first.
func (s *super) stopAll() {
	if s.spec.Strategy == Dynamic {
		s.stopDynamic()
		return
	}
	for _, k := range slices.Backward(s.kids) {
		if err := s.halt(k, k.shutdown()); err != nil {
			s.log.Error("a child did not end", "child", k.ID, "err", err)
		}
		s.release(k)
	}
	s.kids = nil
}
