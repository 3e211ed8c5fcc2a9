package actortest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/greenroom-go/greenroom/actor"
)

// Patience is how long a Probe waits for a message before an expectation fails, unless Probe.Patience says otherwise.
const Patience = 5 * time.Second

// Probe is an actor that keeps what it gets, so that a test can say what it expects. Expectations look at the messages in
// the order they came, each at the one after the last; one that is not met ends the test and prints what came instead.
//
// Make one with NewProbe. Expectations are for the goroutine of the test alone; Ref and Received are for anybody. A call
// waits until Reply or Fail answers it.
type Probe[M proto.Message] struct {
	// Patience is how long an expectation waits. NewProbe sets it to the constant of that name.
	Patience time.Duration

	t    testing.TB
	ref  actor.Ref[M]
	last *received[M] // what the last expectation returned

	mu    sync.Mutex
	got   []received[M]
	next  int           // the first that no expectation has looked at
	extra chan struct{} // closed and replaced when a message comes
}

type received[M proto.Message] struct {
	msg   M
	call  bool
	reply actor.Responder
}

// NewProbe starts a probe in sys. At most one actor.Options may be given; a probe is always a daemon.
func NewProbe[M proto.Message](t testing.TB, sys *actor.System, o ...actor.Options) *Probe[M] {
	t.Helper()
	p := &Probe[M]{Patience: Patience, t: t, extra: make(chan struct{})}
	for i := range o {
		o[i].Daemon = true
	}
	if len(o) == 0 {
		o = []actor.Options{{Daemon: true}}
	}
	ref, err := actor.Spawn(sys, actor.Handler(p.receive), o...)
	if err != nil {
		t.Fatalf("actortest: start a probe: %v", err)
	}
	p.ref = ref
	return p
}

// receive is the probe's behaviour.
func (p *Probe[M]) receive(ctx *actor.Context, m M) error {
	r := received[M]{msg: m, call: ctx.IsCall()}
	if r.call {
		var err error
		if r.reply, err = ctx.Responder(); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, r)
	close(p.extra)
	p.extra = make(chan struct{})
	return nil
}

// Ref is the probe's address.
func (p *Probe[M]) Ref() actor.Ref[M] { return p.ref }

// Received lists everything that the probe has got so far, looked at or not, oldest first.
func (p *Probe[M]) Received() []M {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]M, len(p.got))
	for i, r := range p.got {
		all[i] = r.msg
	}
	return all
}

// Expect waits for the next message, which must be equal to want, and returns it.
func (p *Probe[M]) Expect(want M) M {
	p.t.Helper()
	m := p.wait(show(want))
	if diff := cmp.Diff(proto.Message(want), proto.Message(m), protocmp.Transform()); diff != "" {
		p.t.Fatalf("actortest: the probe got another message than expected (-want +got):\n%s", diff)
	}
	return m
}

// ExpectFunc waits for the next message, which ok must accept, and returns it. what says what is expected, for the error.
func (p *Probe[M]) ExpectFunc(what string, ok func(M) bool) M {
	p.t.Helper()
	m := p.wait(what)
	if !ok(m) {
		p.t.Fatalf("actortest: the probe expected %s and got %s", what, show(m))
	}
	return m
}

// ExpectAny waits for the next message, whatever it is, and returns it.
func (p *Probe[M]) ExpectAny() M {
	p.t.Helper()
	return p.wait("any message")
}

// ExpectType waits for the next message of a probe whose messages are of several types; it must be a T.
func ExpectType[T, M proto.Message](p *Probe[M]) T {
	p.t.Helper()
	var want T
	m := p.wait(fmt.Sprintf("a %T", want))
	got, ok := proto.Message(m).(T)
	if !ok {
		p.t.Fatalf("actortest: the probe expected a %T and got %s", want, show(m))
	}
	return got
}

// ExpectNone holds that no message comes for so long. In a bubble of testing/synctest that costs no time.
func (p *Probe[M]) ExpectNone(during time.Duration) {
	p.t.Helper()
	if r := p.take(during); r != nil {
		p.t.Fatalf("actortest: the probe expected nothing for %v and got %s", during, show(r.msg))
	}
}

// Reply answers the call that the last expectation returned. It ends the test if that was no call, or is answered already.
func (p *Probe[M]) Reply(m proto.Message) {
	p.t.Helper()
	if err := p.called().Reply(m); err != nil {
		p.t.Fatalf("actortest: reply %s: %v", show(m), err)
	}
}

// Fail answers the call that the last expectation returned with an error.
func (p *Probe[M]) Fail(why error) {
	p.t.Helper()
	if err := p.called().Fail(why); err != nil {
		p.t.Fatalf("actortest: fail a call with %v: %v", why, err)
	}
}

func (p *Probe[M]) called() actor.Responder {
	p.t.Helper()
	switch {
	case p.last == nil:
		p.t.Fatalf("actortest: nothing to reply to: expect a message first")
	case !p.last.call:
		p.t.Fatalf("actortest: nothing to reply to: %s was sent, not called", show(p.last.msg))
	}
	return p.last.reply
}

// wait returns the next message, or ends the test if none comes.
func (p *Probe[M]) wait(what string) M {
	p.t.Helper()
	if r := p.take(p.Patience); r != nil {
		p.last = r
		return r.msg
	}
	p.t.Fatalf("actortest: the probe expected %s and got nothing for %v; before that it got %s", what, p.Patience, showAll(p.Received()))
	panic("unreachable: Fatalf does not return")
}

// take returns the next message, nil if none comes in time.
func (p *Probe[M]) take(within time.Duration) *received[M] {
	late := time.NewTimer(within)
	defer late.Stop()
	for {
		p.mu.Lock()
		if p.next < len(p.got) {
			r := p.got[p.next]
			p.next++
			p.mu.Unlock()
			return &r
		}
		extra := p.extra
		p.mu.Unlock()
		select {
		case <-extra:
		case <-late.C:
			return nil
		}
	}
}

// ExpectDown waits for the end of an actor, which must come in that time or have come already, and tells how it was. An
// orderly end, normal or shutdown, is the zero Reason.
func ExpectDown(t testing.TB, ref actor.AnyRef, within time.Duration) actor.Down {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	down := actor.Down{Ref: ref}
	var err error
	down.Value, err = ref.Wait(ctx)
	var exit *actor.ExitError
	switch {
	case errors.As(err, &exit):
		down.Reason = exit.Reason
	case errors.Is(err, context.DeadlineExceeded):
		t.Fatalf("actortest: %v has not ended after %v", ref, within)
	case err != nil:
		t.Fatalf("actortest: the end of %v: %v", ref, err)
	}
	return down
}

// show renders a message for an error.
func show(m proto.Message) string {
	if m == nil {
		return "nil"
	}
	return strings.TrimSpace(fmt.Sprintf("%T{%v}", m, m))
}

func showAll[M proto.Message](all []M) string {
	if len(all) == 0 {
		return "nothing"
	}
	const most = 10
	var list []string
	if len(all) > most {
		list = append(list, fmt.Sprintf("%d others", len(all)-most))
		all = all[len(all)-most:]
	}
	for m := range slices.Values(all) {
		list = append(list, show(m))
	}
	return strings.Join(list, ", ")
}
