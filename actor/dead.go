package actor

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
)

// DeadReason says why a message became a dead letter.
type DeadReason uint8

// Why messages become dead letters.
const (
	DeadStopped     DeadReason = iota // its receiver ended before its turn came
	DeadWrongType                     // its receiver takes another type of message
	DeadPanic                         // handling it made its receiver panic, or ranking a timer's the mailbox; it is not tried again
	DeadFailed                        // handling it ended its receiver with an error, Goexit or a kill
	DeadExpired                       // a call whose caller gave up before its turn came
	DeadLateReply                     // a reply whose caller no longer waited
	DeadOverflow                      // pushed out of a bounded mailbox by a newer one (DropOldest), or dropped there (DropNewest, SlowDrop, SlowCut)
	DeadNodeDown                      // its receiver's node was declared dead before it confirmed the message, which may have arrived
	DeadUnknownType                   // another node sent a type of message that this one does not know, or that does not decode
	DeadRefused                       // another node sent it, and has not the role that it takes
	deadReasons
)

// String names the reason as metrics do.
func (r DeadReason) String() string {
	names := [deadReasons]string{"stopped", "wrong_type", "panic", "failed", "expired", "late_reply", "overflow", "node_down", "unknown_type", "refused"}
	if r < deadReasons {
		return names[r]
	}
	return "unknown"
}

// DeadLetter is a message that nobody handled.
//
// It does not know its sender: an envelope has no room for that, and to make some would cost every message.
type DeadLetter struct {
	To      AnyRef        // whom it was meant for; zero for a late reply
	Name    string        // To's; "" if it has none, or had ended before
	Message proto.Message // nil for what never became one
	Call    bool          // it was a call, which has failed, and no Send
	Reason  DeadReason    // why
	Err     error         // the panic or error that it caused, if any
	Time    time.Time     // when it became a dead letter
}

// deadLetters is a bounded memory of the last dead letters and those who watch them.
type deadLetters struct {
	watched atomic.Bool
	mu      sync.Mutex
	last    []DeadLetter
	at      int
	keep    int
	subs    []*subscription // oldest first; replaced, never changed
}

type subscription struct{ f func(DeadLetter) }

// SubscribeDeadLetters calls f for every message that is dead-lettered from now on, in the goroutine where it happens: f
// must be quick and must not wait; it may send. Several subscribers are called in the order in which they subscribed.
// A panic in f is logged. runtime.Goexit in it, as of t.FailNow, ends that goroutine, an actor's with the actor, once everything
// else is done that was to be done, and it ends the subscription. The returned function ends it too. A nil f subscribes nobody.
func (sys *System) SubscribeDeadLetters(f func(DeadLetter)) (cancel func()) {
	if !sys.made() || f == nil {
		return func() {}
	}
	d := &sys.dead
	sub := &subscription{f}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.subs = append(slices.Clip(d.subs), sub)
	d.watched.Store(true)
	return func() { d.unsubscribe(sub) }
}

func (d *deadLetters) unsubscribe(sub *subscription) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.subs = slices.DeleteFunc(slices.Clone(d.subs), func(s *subscription) bool { return s == sub })
	d.watched.Store(len(d.subs) > 0)
}

// DeadLetters returns the last dead letters, oldest first: at most SystemOptions.DeadLetters of them. What it returns can be
// sent again by hand.
func (sys *System) DeadLetters() []DeadLetter {
	if !sys.made() {
		return nil
	}
	d := &sys.dead
	d.mu.Lock()
	defer d.mu.Unlock()
	return append(append([]DeadLetter(nil), d.last[d.at:]...), d.last[:d.at]...)
}

// deadLetter counts env as dead, fails its call, and shows it to whoever watches. s is the caller's slot or nil.
func (sys *System) deadLetter(s *slot, to AnyRef, env envelope, why DeadReason, cause error) {
	if s != nil && s.ex.sys == sys {
		if why == DeadOverflow {
			s.tally.dropped++
		} else {
			s.tally.dead[why]++
		}
	} else if why == DeadOverflow {
		sys.outside.dropped.Add(1)
	} else {
		sys.outside.dead[why].Add(1)
	}
	if env.call != nil {
		env.call.fail(s, env.seq(), sys.callError(to, why, cause))
	}
	m, _ := env.msg.(proto.Message)
	sys.dead.add(sys, DeadLetter{To: to, Name: to.name(), Message: m, Call: env.call != nil, Reason: why, Err: cause, Time: time.Now()})
}

// callError is what the caller of a dead-lettered call gets.
func (sys *System) callError(to AnyRef, why DeadReason, cause error) error {
	_, ended := cause.(*ExitError) //nolint:errorlint // ours, bare; one within is another actor's
	switch {
	case why == DeadWrongType:
		return ErrWrongType
	case why == DeadOverflow:
		return ErrFull
	case ended:
		return cause
	}
	return &ExitError{Ref: to, Reason: Reason{Kind: ReasonNoActor, Err: cause}}
}

func (d *deadLetters) add(sys *System, l DeadLetter) {
	d.mu.Lock()
	if len(d.last) < d.keep {
		d.last = append(d.last, l)
	} else if d.keep > 0 {
		d.last[d.at] = l
		d.at = (d.at + 1) % d.keep
	}
	subs := d.subs
	d.mu.Unlock()
	d.show(sys, subs, l)
}

// show shows l to subs. One that calls Goexit takes this goroutine along: then a deferred call shows l to those behind it.
func (d *deadLetters) show(sys *System, subs []*subscription, l DeadLetter) {
	if len(subs) == 0 {
		return
	}
	shown := 0
	defer func() {
		if shown < len(subs) {
			d.unsubscribe(subs[shown])
			d.show(sys, subs[shown+1:], l)
		}
	}()
	for _, sub := range subs {
		sys.guard("dead letter subscriber", func() { sub.f(l) })
		shown++
	}
}
