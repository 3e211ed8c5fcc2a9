package remote_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote"
	"github.com/greenroom-go/greenroom/remote/internal/conditions"
)

var errBad = errors.New("a bad thing")

// victim does what it is told: ends, in one of the ways there are, or answers.
func victim(m *member, o ...actor.Options) actor.Ref[*text] {
	return actor.MustSpawn(m.sys, actor.Handler(func(ctx *actor.Context, t *text) error {
		switch t.GetValue() {
		case "stop":
			if err := ctx.SetValue(wrapperspb.String("its value")); err != nil {
				return err
			}
			ctx.Stop()
		case "fail":
			return fmt.Errorf("failing: %w", actor.ErrBadName)
		case "panic":
			panic(errBad)
		default:
			if ctx.IsCall() {
				return ctx.Reply(wrapperspb.String("re: " + t.GetValue()))
			}
		}
		return nil
	}), o...)
}

// downs notes what a watcher is told.
type downs struct {
	ch  chan actor.Down
	ref actor.Ref[*text]
	mu  sync.Mutex
	mon []actor.MonitorRef
}

// watcher starts an actor that monitors each of the targets, and notes Downs and the texts that come, in their order.
func watcher(m *member, targets ...actor.AnyRef) *downs {
	m.w.Helper()
	d := &downs{ch: make(chan actor.Down, 1000)}
	ready := make(chan error, 1)
	d.ref = actor.MustSpawn(m.sys, actor.Handler(func(ctx *actor.Context, t *text) error {
		if t.GetValue() == "watch" {
			var err error
			for _, target := range targets {
				mon, e := actor.Monitor(ctx, target, func(x actor.Down) *text {
					d.ch <- x
					return wrapperspb.String("down")
				})
				d.mu.Lock()
				d.mon = append(d.mon, mon)
				d.mu.Unlock()
				err = errors.Join(err, e)
			}
			ready <- err
		}
		if t.GetValue() == "demonitor" {
			ready <- ctx.Demonitor(d.mon[0])
		}
		return nil
	}))
	d.tell(m.w, "watch")
	holds(m.w, await(m.w, ready))
	return d
}

func (d *downs) tell(t testing.TB, what string) {
	t.Helper()
	holds(t, d.ref.Send(context.Background(), wrapperspb.String(what)))
}

// one returns the Down that comes, and checks that no other does.
func (d *downs) one(t testing.TB) actor.Down {
	t.Helper()
	x := await(t, d.ch)
	pass(2 * downAfter)
	if n := len(d.ch); n > 0 {
		t.Errorf("%d Downs more than one", n)
	}
	return x
}

// TestMonitors watches actors of another node, by Monitor and by Wait, that end in every way there is (REM-6).
func TestMonitors(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(w *world, a, b *member, r actor.Ref[*text])
		kind actor.ReasonKind
		err  error
	}{
		"normal":   {tells("stop"), actor.ReasonNormal, nil},
		"error":    {tells("fail"), actor.ReasonError, actor.ErrBadName},
		"panic":    {tells("panic"), actor.ReasonPanic, nil},
		"kill":     {func(_ *world, _, _ *member, r actor.Ref[*text]) { r.Kill() }, actor.ReasonKilled, actor.ErrKilled},
		"shutdown": {func(_ *world, _, _ *member, r actor.Ref[*text]) { r.Shutdown() }, actor.ReasonShutdown, nil},
		"crash":    {func(_ *world, _, b *member, _ actor.Ref[*text]) { b.crash() }, actor.ReasonNodeDown, actor.ErrNodeDown},
		"leave":    {func(_ *world, _, b *member, _ actor.Ref[*text]) { b.leave() }, actor.ReasonNodeDown, actor.ErrNodeDown},
		"part":     {func(w *world, _, _ *member, _ actor.Ref[*text]) { w.net.Partition("a:1", "b:1") }, actor.ReasonNodeDown, actor.ErrNodeDown},
		"close":    {func(w *world, a, _ *member, _ actor.Ref[*text]) { holds(w, a.ClosePeer("b")) }, actor.ReasonNodeDown, actor.ErrNodeDown},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 1, func(w *world) {
				a, b := w.pair()
				r := at(a, victim(b))
				d := watcher(a, r.Any())
				waited := make(chan error, 2)
				go func() {
					_, err := r.Any().Wait(w.patient())
					waited <- err
				}()
				inActor := runs(a, func(ctx *actor.Context) error {
					_, err := r.Any().Wait(ctx)
					waited <- err
					return nil
				})
				pass(time.Second)
				c.end(w, a, b, r)
				got := d.one(w)
				if got.Reason.Kind != c.kind || got.Ref != r.Any() {
					w.Errorf("Down %v, want %v of %v", got, c.kind, r)
				}
				if c.err != nil {
					wants(w, "the reason", got.Reason.Err, c.err)
				}
				holds(w, await(w, inActor))
				for range 2 {
					if err := await(w, waited); (err == nil) != got.Reason.Normal() || c.err != nil && !errors.Is(err, c.err) {
						w.Errorf("Wait: %v", err)
					}
				}
				if name == "normal" {
					if v, ok := got.Value.(*text); !ok || v.GetValue() != "its value" {
						w.Errorf("the value is %v", got.Value)
					}
				}
			})
		})
	}
}

func tells(what string) func(w *world, a, b *member, r actor.Ref[*text]) {
	return func(w *world, _, _ *member, r actor.Ref[*text]) {
		w.Helper()
		holds(w, r.Send(context.Background(), wrapperspb.String(what)))
	}
}

// TestMonitorsOfTheDead watches actors that are gone: the answer comes at once. A watch that was taken back brings nothing (REM-7).
func TestMonitorsOfTheDead(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair()
		dead, alive := victim(b), victim(b)
		dead.Kill()
		_, _ = dead.Any().Wait(w.patient())
		began := time.Now()
		d := watcher(a, at(a, dead).Any())
		got := await(w, d.ch)
		between(w, "Down", began, 0, time.Second)
		if got.Reason.Kind != actor.ReasonNoActor {
			w.Errorf("Down %v", got)
		}
		if _, err := at(a, dead).Any().Wait(w.patient()); err == nil {
			w.Error("Wait for the dead: nil")
		}
		e := watcher(a, at(a, alive).Any())
		e.tell(w, "demonitor")
		pass(time.Second)
		alive.Stop()
		pass(2 * downAfter)
		w.net.Kill("b:1")
		pass(2 * downAfter)
		if n := len(e.ch); n != 0 {
			w.Errorf("%d Downs after Demonitor", n)
		}
	})
}

// TestDownsAreMany has thousands of monitors be told once each, while links are cut (REM-6).
func TestDownsAreMany(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.net.SetAll(conditions.Conditions{Latency: 10 * time.Millisecond, Loss: 0.02})
		a, b := w.pair()
		var refs []actor.AnyRef
		var here []actor.Ref[*text]
		for range 500 {
			r := victim(b)
			here = append(here, r)
			refs = append(refs, at(a, r).Any())
		}
		d := watcher(a, slices.Concat(refs, refs)...)
		pass(2 * time.Second)
		for i, r := range here {
			if i%50 == 0 {
				w.net.Cut("a:1", "b:1")
				pass(30 * time.Millisecond)
			}
			if i%3 > 0 {
				r.Kill()
			}
		}
		pass(3 * time.Second) // a cut in the middle of a handshake costs the time of a dial
		b.crash()
		told := map[actor.AnyRef]int{}
		kinds := map[actor.ReasonKind]int{}
		for range 1000 {
			x := await(w, d.ch)
			told[x.Ref]++
			kinds[x.Reason.Kind]++
		}
		pass(2 * downAfter)
		if len(d.ch) > 0 || len(told) != 500 || kinds[actor.ReasonKilled] != 2*333 || kinds[actor.ReasonNodeDown] != 2*167 {
			w.Errorf("%d Downs too many; of %d actors; %v", len(d.ch), len(told), kinds)
		}
	})
}

// TestDownComesBehind has an actor send much to its watcher and end: its Down comes last, also where the watcher's mailbox has no room,
// and across links (REM-8).
func TestDownComesBehind(t *testing.T) {
	for _, box := range []actor.Mailbox{{}, bounded(4, suspend)} {
		t.Run(strconv.Itoa(box.Capacity), func(t *testing.T) {
			inWorld(t, 1, func(w *world) {
				w.net.SetAll(conditions.Conditions{Latency: 5 * time.Millisecond, Loss: 0.02})
				a, b := w.pair()
				var got []string
				done := make(chan struct{})
				start := make(chan actor.AnyRef, 1)
				ref := actor.MustSpawn(a.sys, actor.Handler(func(ctx *actor.Context, t *text) error {
					if t.GetValue() == "watch" {
						_, err := actor.Monitor(ctx, <-start, func(actor.Down) *text { return wrapperspb.String("down") })
						return err
					}
					_ = ctx.Sleep(time.Millisecond)
					if got = append(got, t.GetValue()); t.GetValue() == "down" {
						close(done)
					}
					return nil
				}), actor.Options{Mailbox: box})
				there := at(b, ref)
				sender := actor.MustSpawn(b.sys, actor.Handler(func(ctx *actor.Context, _ *text) error {
					for i := range 300 {
						if err := there.Send(ctx, wrapperspb.String(strconv.Itoa(i))); err != nil {
							return err
						}
					}
					return errBad
				}))
				start <- at(a, sender).Any()
				holds(w, ref.Send(w.patient(), wrapperspb.String("watch")))
				pass(time.Second)
				holds(w, sender.Send(w.patient(), wrapperspb.String("go")))
				for range 5 {
					pass(15 * time.Millisecond)
					w.net.Cut("a:1", "b:1")
				}
				await(w, done)
				for i, s := range got[:len(got)-1] {
					if s != strconv.Itoa(i) {
						w.Fatalf("%q comes as number %d", s, i)
					}
				}
				if len(got) != 301 {
					w.Errorf("the Down came after %d messages", len(got)-1)
				}
			})
		})
	}
}

// linked starts an actor that links to another and, if it traps, notes the ends.
func linked(m *member, to actor.AnyRef, trap bool) (ref actor.Ref[*text], told chan actor.Down) {
	m.w.Helper()
	told = make(chan actor.Down, 10)
	ready := make(chan error, 1)
	ref = actor.MustSpawn(m.sys, actor.Handler(func(ctx *actor.Context, t *text) error {
		switch t.GetValue() {
		case "link":
			var err error
			if trap {
				err = actor.TrapExit(ctx, func(d actor.Down) *text {
					told <- d
					return nil
				})
			}
			ready <- errors.Join(err, ctx.Link(to))
		case "unlink":
			ready <- ctx.Unlink(to)
		case "fail":
			return errBad
		}
		return nil
	}))
	holds(m.w, ref.Send(context.Background(), wrapperspb.String("link")))
	holds(m.w, await(m.w, ready))
	return ref, told
}

// TestLinks links actors of two nodes: the end of one is the other's, or a message to it, in both directions (REM-9).
func TestLinks(t *testing.T) {
	for _, back := range []bool{false, true} {
		for _, trap := range []bool{false, true} {
			for _, how := range []string{"fail", "stop", "crash", "part"} {
				if back && (how == "crash" || trap) {
					continue
				}
				t.Run(fmt.Sprintf("back=%t trap=%t %s", back, trap, how), func(t *testing.T) {
					inWorld(t, 1, func(w *world) { tryLink(w, back, trap, how) })
				})
			}
		}
	}
}

// tryLink has an actor of a link to one of b, and one of the two end: a's, if back.
func tryLink(w *world, back, trap bool, how string) {
	a, b := w.pair()
	there := victim(b)
	here, told := linked(a, at(a, there).Any(), trap)
	pass(time.Second)
	dies, lives := there, here
	if back {
		dies, lives = here, there
	}
	switch how {
	case "crash":
		b.crash()
	case "part":
		w.net.Partition("a:1", "b:1")
	case "stop":
		dies.Stop()
	default:
		holds(w, dies.Send(w.patient(), wrapperspb.String("fail")))
	}
	pass(2 * downAfter)
	ends := how != "stop" && !trap
	if lives.Any().Alive() == ends {
		w.Errorf("alive: %t", !ends)
	}
	if ends {
		_, err := lives.Any().Wait(w.patient())
		var exit *actor.ExitError
		if !errors.As(err, &exit) || exit.Reason.Kind != actor.ReasonError {
			w.Errorf("it ended with %v", err)
		}
	}
	if n := len(told); trap && n != 1 {
		w.Errorf("told %d times", n)
	}
}

// TestUnlink unlinks, and links to who is gone (REM-9).
func TestUnlink(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair()
		there := victim(b)
		here, _ := linked(a, at(a, there).Any(), false)
		holds(w, here.Send(w.patient(), wrapperspb.String("unlink")))
		pass(time.Second)
		there.Kill()
		pass(time.Second)
		if !here.Any().Alive() {
			w.Error("it ended with one that it is no longer linked to")
		}
		late, _ := linked(a, at(a, there).Any(), false)
		pass(time.Second)
		if late.Any().Alive() {
			w.Error("linking to the dead does nothing")
		}
	})
}

// TestSignals ends, drains, interrupts and resumes actors of another node (REM-10).
func TestSignals(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair()
		for what, do := range map[string]struct {
			f    func(r actor.AnyRef)
			kind actor.ReasonKind
		}{
			"stop":     {actor.AnyRef.Stop, actor.ReasonNormal},
			"shutdown": {actor.AnyRef.Shutdown, actor.ReasonShutdown},
			"kill":     {actor.AnyRef.Kill, actor.ReasonKilled},
			"drain":    {func(r actor.AnyRef) { holds(w, r.Drain()) }, actor.ReasonNormal},
		} {
			v := victim(b)
			d := watcher(a, at(a, v).Any())
			pass(time.Second)
			do.f(at(a, v).Any())
			if got := await(w, d.ch); got.Reason.Kind != do.kind {
				w.Errorf("%s: %v", what, got.Reason)
			}
		}
		type outcome struct {
			v   any
			err error
		}
		got := make(chan outcome, 1)
		waits := actor.MustSpawn(b.sys, actor.Handler(func(ctx *actor.Context, _ *text) error {
			v, err := ctx.Suspend(ctx)
			got <- outcome{v, err}
			return nil
		}))
		there := at(a, waits)
		try := func(end func() error) outcome {
			holds(w, there.Send(w.patient(), wrapperspb.String("wait")))
			pass(time.Second)
			holds(w, end())
			return await(w, got)
		}
		if o := try(func() error { return there.Any().Interrupt(actor.ErrBadName) }); !errors.Is(o.err, actor.ErrBadName) {
			w.Errorf("interrupt: %v", o)
		}
		if o := try(func() error { return there.Any().Resume(wrapperspb.String("go on")) }); o.err != nil || o.v.(*text).GetValue() != "go on" {
			w.Errorf("resume: %v", o)
		}
		if o := try(func() error { return there.Any().Resume(nil) }); o.err != nil || o.v != nil {
			w.Errorf("resume with nothing: %v", o)
		}
		wants(w, "resume with no message", there.Any().Resume(7), actor.ErrWrongType)
	})
}

// TestDrainComesBehind drains an actor whose mailbox has no room for what was sent before: all that is handled first (REM-10).
func TestDrainComesBehind(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair()
		s := newSink(b, 50, true, actor.Options{Mailbox: bounded(2, suspend)})
		to := at(a, s.ref)
		holds(w, await(w, runs(a, func(ctx *actor.Context) error {
			for i := range 50 {
				if err := to.Send(ctx, parcel(0, i, 10)); err != nil {
					return err
				}
			}
			return to.Any().Drain()
		})))
		await(w, s.done)
		s.check(w)
		if _, err := to.Any().Wait(w.patient()); err != nil {
			w.Error(err)
		}
	})
}

// TestRefusedWatch watches as a node that may not send: it is told so (REM-7).
func TestRefusedWatch(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		b := w.node("b", func(o *remote.Options) {
			o.Policy.Grant = func(string, remote.Roles) remote.Roles { return remote.MayFiles }
		})
		a := w.node("a", peers("b:1"))
		a.meets(b)
		v := victim(b)
		d := watcher(a, at(a, v).Any())
		wants(w, "the reason", await(w, d.ch).Reason.Err, remote.ErrRefused)
		wants(w, "send", at(a, v).Send(w.patient(), wrapperspb.String("x")), remote.ErrRefused)
	})
}

// TestGrantThatPanics: a policy that panics grants nothing, and harms nobody else (REM-27).
func TestGrantThatPanics(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		b := w.node("b", func(o *remote.Options) {
			o.Policy.Grant = func(peer string, roles remote.Roles) remote.Roles {
				if peer == "a" {
					panic("who is that?")
				}
				return roles
			}
		})
		a, c := w.node("a", peers("b:1")), w.node("c", peers("b:1"))
		a.meets(b)
		c.meets(b)
		v := victim(b)
		wants(w, "send", at(a, v).Send(w.patient(), wrapperspb.String("x")), remote.ErrRefused)
		if s, err := ask(w.patient(), at(c, v), "x"); s != "re: x" || err != nil {
			w.Errorf("another peer: %q, %v", s, err)
		}
	})
}
