package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
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
	// due says that the children which wait under a token are to be started, or that one of them has failed to.
	due struct {
		emptypb.Empty
		of     *super // a message may outlive the incarnation that sent it
		token  uint64
		failed *kid
	}
	rollOutEnd struct {
		emptypb.Empty
		watch *watch
		next  *guarded
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
	log  *slog.Logger // made when there is something to log

	times   []time.Duration   // of the last restarts
	token   uint64            // the last one given out
	waiting map[uint64][]*kid // to be started, by token
	live    int               // children of a Dynamic supervisor
	rollout *watch            // of the one under way
	owed    actor.Responder   // of the request in hand
	owes    bool              // owed holds
}

// kid is one child.
type kid struct {
	Child
	ref         actor.AnyRef // zero: it is gone, or a foreign one between its end and its next start
	last        actor.AnyRef // of a foreign one: the ref that it had when it ended
	incarnation uint32       // of ref: the one that was started last, 0 if that is not known
	waiting     uint64       // the token under which it waits to be started, 0 if it does not
	restarts    int
	row         int           // restarts in a row, for the backoff
	since       time.Duration // when it was started
	verdict     Decision      // on its failure, while its incarnation ends
	decided     bool          // verdict holds
	gone        bool          // it has ended for good, or was terminated
	doomed      bool          // it was to be stopped and has not ended: its end is its last
	alone       [1]*kid       // the group that it is restarted in, where that is it
	reason      actor.Reason  // of its last end
}

func (k *kid) guarded() *guarded {
	g, _ := k.Start.(*guarded)
	return g
}

// who is the child in what is told of it: the ref that it has, or had.
func (k *kid) who() actor.AnyRef {
	if k.ref.IsZero() {
		return k.last
	}
	return k.ref
}

// behaviour is a supervisor as an actor.
func behaviour(spec Spec) actor.Behaviour[proto.Message] {
	spec = spec.withDefaults()
	shared := &spec // a roll-out changes what the next incarnation starts
	return actor.Routine(func(ctx *actor.Context, in *actor.Inbox[proto.Message]) error {
		s := &super{spec: *shared, ctx: ctx, in: in, refs: map[actor.AnyRef]*kid{}, waiting: map[uint64][]*kid{}, born: time.Now()}
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
		m, err := s.receive(s.ctx, nil)
		if err == nil {
			err = s.handle(m)
		}
		if err != nil {
			s.stopAll()
			return err
		}
	}
}

// receive is Receive, or Select with a match. Nothing here is to be interrupted or swapped. A call in hand is still owed after it.
func (s *super) receive(ctx context.Context, match func(proto.Message) bool) (m proto.Message, err error) {
	if match != nil && s.ctx.IsCall() {
		s.owed, err = s.ctx.Responder()
		s.owes = err == nil
	}
	for {
		if match == nil {
			m, err = s.in.Receive(ctx)
		} else {
			m, err = s.in.Select(ctx, match)
		}
		if err == nil {
			return m, nil
		}
		var interrupted *actor.InterruptError
		switch {
		case errors.As(err, &interrupted):
		case errors.Is(err, actor.ErrSwapped):
			s.in.Refuse(errors.New("a supervisor is changed through its children: see RollOut"))
		default:
			return nil, err
		}
	}
}

// receiveAnyway is receive under a Cleanup. If a Drain has its turn meanwhile that is answered once, and no matter.
func (s *super) receiveAnyway(clean context.Context, match func(proto.Message) bool) (proto.Message, error) {
	m, err := s.receive(clean, match)
	if errors.Is(err, actor.ErrStopped) {
		m, err = s.receive(clean, match)
	}
	return m, err
}

// handle deals with one message. An error ends the supervisor.
func (s *super) handle(m proto.Message) error {
	switch m := m.(type) {
	case *childEvent:
		return s.childEvent(m.ChildEvent)
	case *downEvent:
		if k := s.refs[m.Ref]; k != nil && k.guarded() == nil {
			return s.ended(k, m.Reason)
		}
	case *due:
		return s.due(m)
	case *rollOutEnd:
		m.over(s)
	case *request:
		s.owes = false
		v, err := m.do(s)
		s.answer(&answer{value: v}, err)
	}
	return nil
}

// answer ends the request in hand. That nobody waits for it any more is no matter.
func (s *super) answer(a *answer, err error) {
	switch {
	case s.owes && err != nil:
		_ = s.owed.Fail(err)
	case s.owes:
		_ = s.owed.Reply(a)
	case err != nil:
		_ = s.ctx.Fail(err)
	default:
		_ = s.ctx.Reply(a)
	}
	s.owes, s.owed = false, actor.Responder{}
}

// add starts a new child and takes it in.
func (s *super) add(c Child) error {
	k := &kid{Child: c}
	if err := s.open(k); err != nil {
		return err
	}
	s.kids = append(s.kids, k)
	return nil
}

// open starts a child that has no ref yet. With an error nothing is left of it, but for a start that cannot be killed: that ends when it
// returns.
func (s *super) open(k *kid) error {
	err := s.start(k)
	if err != nil {
		k.reason = actor.Reason{Kind: actor.ReasonError, Err: err}
		s.tell(Event{Kind: StartFailed, Child: k.ID, Ref: k.ref, Reason: k.reason})
		s.release(k)
		return &StartError{k.ID, err}
	}
	s.tell(Event{Kind: Started, Child: k.ID, Ref: k.ref})
	return nil
}

// start starts the child, or its next incarnation, and waits until it has. With an error it does not run, unless it could not be killed;
// what is left of it is in limbo, for release or another start.
func (s *super) start(k *kid) error {
	k.waiting, k.decided, k.gone, k.doomed, k.since = 0, false, false, false, s.now()
	started := true
	var err error
	switch g := k.guarded(); {
	case g == nil:
		err = s.startForeign(k)
	case k.ref.IsZero():
		if k.ref, started, err = g.spawn(s.ctx, k.Decide != nil); err == nil {
			k.incarnation = 1
		}
	default:
		if started, err = s.ctx.RestartChild(k.ref); err == nil {
			k.incarnation++
		}
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
			err = fmt.Errorf("its Start panicked: %v", v)
		}
	}()
	ref, err := s.callStart(k)
	if err != nil {
		return err
	}
	if other := s.refs[ref]; other != nil {
		return fmt.Errorf("its Start returned %v, which is child %q already", ref, other.ID)
	}
	if ref == s.ctx.Self() {
		return fmt.Errorf("its Start returned %v, which is the supervisor itself", ref)
	}
	if _, err := actor.Monitor(s.ctx, ref, func(d actor.Down) proto.Message { return &downEvent{Down: d} }); err != nil {
		return err
	}
	k.ref = ref
	k.incarnation++
	return nil
}

// callStart calls a foreign child's Starter. When its StartTimeout is over, what it waits for is interrupted.
func (s *super) callStart(k *kid) (actor.AnyRef, error) {
	limit := k.startTimeout()
	var mu sync.Mutex
	returned, late := false, false
	timer := time.AfterFunc(limit, func() {
		mu.Lock()
		defer mu.Unlock()
		if late = !returned; late {
			_ = s.ctx.Self().Interrupt(fmt.Errorf("%w (%v)", ErrStartTimeout, limit))
		}
	})
	defer func() {
		timer.Stop()
		mu.Lock()
		returned = true
		mu.Unlock()
		if late {
			_ = s.ctx.Sleep(0) // takes the interrupt, if nothing was waited for: it is not the next one's
		}
	}()
	return k.Start.Start(s.ctx)
}

func (s *super) awaitStart(k *kid) error {
	limit, cancel := s.ctx.WithTimeout(k.startTimeout())
	defer cancel()
	for {
		m, err := s.receive(limit, func(m proto.Message) bool {
			e, ok := m.(*childEvent)
			return ok && e.Ref == k.ref && e.Incarnation == k.incarnation
		})
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("%w (%v)", ErrStartTimeout, k.startTimeout())
		}
		if err != nil {
			return errors.Join(err, s.halt(k, KillAtOnce))
		}
		switch e := m.(*childEvent).ChildEvent; e.Kind {
		case actor.ChildStarted:
			return nil
		case actor.ChildFailed:
			_ = ignoreGone(s.ctx.EndChild(k.ref)) // its end follows
		case actor.ChildEnded:
			if e.Reason.Err != nil {
				return e.Reason.Err
			}
			return fmt.Errorf("it ended at its start: %v", e.Reason)
		}
	}
}

func (s *super) childEvent(e actor.ChildEvent) error {
	k := s.refs[e.Ref]
	if k == nil {
		if s.spec.Strategy != Dynamic {
			return nil // of one that was released since
		}
		k = &kid{Child: s.template(nil), ref: e.Ref}
	}
	if e.Kind == actor.ChildStarted || k.waiting != 0 || !s.heldFor(e) {
		return nil // it has been dealt with, if only by a sibling's restart
	}
	k.incarnation = e.Incarnation
	if e.Kind == actor.ChildFailed {
		return s.failed(k, e)
	}
	return s.ended(k, e.Reason)
}

// heldFor reports whether the child of an event is still held for what that tells: if not, the event is an old one.
func (s *super) heldFor(e actor.ChildEvent) bool {
	held, err := s.ctx.ChildHeld(e.Ref)
	return err == nil && held != nil && held.Kind == e.Kind && held.Incarnation == e.Incarnation
}

// failed decides on a child that is held with all that it has.
func (s *super) failed(k *kid, e actor.ChildEvent) error {
	if k.doomed {
		return ignoreGone(s.ctx.EndChild(k.ref))
	}
	k.verdict, k.decided = s.decide(k, e.Reason, true), true
	if k.verdict == Resume {
		k.decided = false
		s.rollout.fail(s.ctx, k.ref, e.Reason, false)
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

func (s *super) decide(k *kid, why actor.Reason, resumable bool) (d Decision) {
	if k.Decide == nil {
		return ByClass
	}
	defer func() {
		if v := recover(); v != nil {
			s.ctx.Log().Error("panic in a child's Decide", "child", k.ID, "panic", fmt.Sprint(v))
			d = ByClass
		}
	}()
	return k.Decide(Failure{k.ID, k.who(), why, k.incarnation, k.restarts, resumable})
}

// ended deals with the end of an incarnation.
func (s *super) ended(k *kid, why actor.Reason) error {
	k.reason = why
	if k.guarded() == nil {
		s.part(k)
	}
	if k.doomed {
		s.tell(Event{Kind: Stopped, Child: k.ID, Ref: k.who(), Reason: why})
		s.drop(k)
		return nil
	}
	s.tell(Event{Kind: Ended, Child: k.ID, Ref: k.who(), Reason: why})
	s.rollout.fail(s.ctx, k.who(), why, k.guarded() != nil)
	return s.follow(k)
}

// part takes the ref from a foreign child that has ended: nothing of it is left to wait for.
func (s *super) part(k *kid) {
	delete(s.refs, k.ref)
	k.last, k.ref = k.ref, actor.AnyRef{}
}

// follow decides what follows a child's end, or a start that failed.
func (s *super) follow(k *kid) error {
	d := k.verdict
	if !k.decided {
		d = s.decide(k, k.reason, false)
	}
	k.decided = false
	switch d {
	case Again, Resume:
		return s.again(k)
	case GiveUp:
		return s.giveUp(k)
	case Escalate:
		return s.escalate(k, &EscalatedError{k.ID, k.reason})
	default: // ByClass
		if k.Restart == Permanent || k.Restart == Transient && !k.reason.Normal() {
			return s.again(k)
		}
		return s.giveUp(k)
	}
}

func (s *super) escalate(k *kid, err error) error {
	s.tell(Event{Kind: Escalated, Child: k.ID, Ref: k.who(), Reason: k.reason, Err: err})
	return err
}

// giveUp lets a child go that is not restarted.
func (s *super) giveUp(k *kid) error {
	ref := k.who()
	s.drop(k)
	s.tell(Event{Kind: GivenUp, Child: k.ID, Ref: ref, Reason: k.reason})
	if k.Significant && s.autoShutdown() {
		s.tell(Event{Kind: ShutDown, Child: k.ID, Ref: ref})
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
	return !slices.ContainsFunc(s.kids, func(k *kid) bool { return k.Significant && !k.gone })
}

// drop releases a child, and gives up its place if it is temporary.
func (s *super) drop(k *kid) {
	s.release(k)
	if k.Restart == Temporary {
		s.forget(k)
	}
}

// release ends a child for good: who watches it is told. What still runs of it, although it was killed, is ended when it has come to rest.
func (s *super) release(k *kid) {
	ref, token := k.ref, k.waiting
	k.ref, k.waiting, k.gone, k.doomed, k.decided = actor.AnyRef{}, 0, true, false, false
	if ref.IsZero() {
		return
	}
	delete(s.refs, ref)
	if s.spec.Strategy == Dynamic && token != 0 {
		delete(s.waiting, token) // it was there alone
	}
	// A foreign one has ended, or is nobody's child.
	if k.guarded() != nil && errors.Is(s.ctx.EndChild(ref), actor.ErrNotHeld) {
		s.refs[ref] = &kid{Child: k.Child, ref: ref, doomed: true}
		return
	}
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
		return s.escalate(k, &RestartLimitError{k.ID, len(s.times), s.spec.Period, k.reason})
	}
	if s.now()-k.since >= k.Backoff.reset() {
		k.row = 0
	}
	k.row++
	k.restarts++
	if k.waiting != 0 { // a start that failed: all who waited with it are in the new group
		delete(s.waiting, k.waiting)
	}
	s.token++
	token := s.token
	group, err := s.group(k)
	if err != nil {
		return s.escalate(k, err)
	}
	for _, o := range group {
		o.waiting = token
	}
	delay := k.Backoff.delay(k.row, func() float64 { return spread(k.who(), k.row) })
	s.tell(Event{Kind: Restarting, Child: k.ID, Ref: k.who(), Reason: k.reason, Delay: delay})
	if delay == 0 {
		return s.startGroup(token, group)
	}
	s.waiting[token] = group
	if !k.ref.IsZero() {
		s.refs[k.ref] = k
	}
	_, err = actor.SendAfter[proto.Message](s.ctx, delay, actor.Ref[proto.Message]{AnyRef: s.ctx.Self()}, &due{of: s, token: token})
	return err
}

// due starts a group whose time has come, or goes on with one of which a child could not be started.
func (s *super) due(m *due) error {
	switch {
	case m.of != s:
		return nil // of another incarnation
	case m.failed != nil && m.failed.waiting == m.token:
		if err := s.follow(m.failed); err != nil {
			return err
		}
	}
	group := s.waiting[m.token]
	delete(s.waiting, m.token)
	return s.startGroup(m.token, group)
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
		k.alone[0] = k
		return k.alone[:], nil
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

// startGroup starts those of a group that still wait under its token. One that fails to start is another failure of it, which takes its
// turn in the mailbox, so that a child which never starts keeps nobody waiting; the others wait for what becomes of it.
func (s *super) startGroup(token uint64, group []*kid) error {
	for i, k := range group {
		if k.waiting != token {
			continue
		}
		if err := s.start(k); err != nil {
			if s.ctx.Stopping() {
				return actor.ErrStopped
			}
			s.startFailed(k, err)
			k.waiting, s.waiting[token] = token, group[i:]
			return s.ctx.Self().Send(s.ctx, &due{of: s, token: token, failed: k})
		}
		s.tell(Event{Kind: Started, Child: k.ID, Ref: k.ref})
		s.forgetful(k)
	}
	return nil
}

func (s *super) startFailed(k *kid, err error) {
	k.reason = actor.Reason{Kind: actor.ReasonError, Err: err}
	k.since = s.now()
	s.tell(Event{Kind: StartFailed, Child: k.ID, Ref: k.ref, Reason: k.reason})
	if !k.ref.IsZero() {
		s.refs[k.ref] = k
		s.rollout.fail(s.ctx, k.ref, k.reason, k.guarded() != nil)
	}
}

// forgetful drops what need not be remembered of a Dynamic supervisor's child that runs.
func (s *super) forgetful(k *kid) {
	if s.spec.Strategy == Dynamic && k.Backoff.Min == 0 && k.Decide == nil {
		delete(s.refs, k.ref)
	}
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
	k.waiting, k.decided = 0, false
	if k.ref.IsZero() {
		return nil
	}
	if limit != KillAtOnce {
		if limit == NoLimit {
			limit = math.MaxInt64
		}
		if s.atRest(k, false) || s.awaitEnd(k, limit) {
			return nil
		}
	}
	if s.atRest(k, true) || s.awaitEnd(k, killPatience) {
		return nil
	}
	return &StuckError{k.ID, k.ref}
}

// atRest asks a child to stop, or kills it; it reports whether the child has ended already.
func (s *super) atRest(k *kid, kill bool) bool {
	if k.guarded() == nil {
		if kill {
			k.ref.Kill()
		} else {
			k.ref.Shutdown()
		}
		return false
	}
	err := s.ctx.StopChild(k.ref, kill)
	if !errors.Is(err, actor.ErrHeld) {
		return err != nil // it is nobody's child any more
	}
	held, err := s.ctx.ChildHeld(k.ref)
	if err == nil && held != nil && held.Kind == actor.ChildFailed {
		return ignoreGone(s.ctx.EndChild(k.ref)) != nil // its end follows
	}
	return err != nil || held != nil
}

// awaitEnd waits for the end of a child that was asked to come to one, and reports whether it did. The supervisor may be stopping itself.
func (s *super) awaitEnd(k *kid, limit time.Duration) bool {
	bounded, done := s.ctx.Cleanup(limit)
	defer done()
	for {
		m, err := s.receiveAnyway(bounded, func(m proto.Message) bool {
			switch m := m.(type) {
			case *childEvent:
				return m.Ref == k.ref
			case *downEvent:
				return m.Ref == k.ref
			}
			return false
		})
		if err != nil {
			return false
		}
		switch m := m.(type) {
		case *downEvent:
			k.reason = m.Reason
			s.tell(Event{Kind: Stopped, Child: k.ID, Ref: k.ref, Reason: m.Reason})
			s.part(k)
			return true
		case *childEvent:
			switch {
			case !s.heldFor(m.ChildEvent): // an old one
			case m.Kind == actor.ChildEnded:
				k.reason = m.Reason
				s.tell(Event{Kind: Stopped, Child: k.ID, Ref: k.ref, Reason: m.Reason})
				return true
			case m.Kind == actor.ChildFailed:
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
			s.ctx.Log().Error("a child did not end", "child", k.ID, "err", err)
		}
		s.release(k)
	}
	s.kids = nil
}
