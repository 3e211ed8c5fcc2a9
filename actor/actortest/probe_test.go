package actortest

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	benchv1 "github.com/greenroom-go/greenroom/proto/greenroom/bench/v1"
)

// Each expectation is met by what it names and by nothing else.
func TestExpectations(t *testing.T) {
	sent := func(p *Probe[*number], values ...int64) {
		for _, v := range values {
			_ = p.Ref().Send(p.t.Context(), num(v))
		}
	}
	for _, c := range []struct {
		name string
		f    func(p *Probe[*number])
		want []string // none: nothing to complain about
	}{
		{"equal", func(p *Probe[*number]) { sent(p, 1, 2); p.Expect(num(1)); p.Expect(num(2)) }, nil},
		{"other", func(p *Probe[*number]) { sent(p, 2); p.Expect(num(1)) }, []string{"-want +got", "int64(1)", "int64(2)"}},
		{"none came", func(p *Probe[*number]) { sent(p, 7); p.Expect(num(7)); p.Expect(num(1)) },
			[]string{"value:1", "got nothing for 5s", "value:7"}},
		{"nothing at all", func(p *Probe[*number]) { p.ExpectAny() }, []string{"any message", "before that it got nothing"}},
		{"much before", func(p *Probe[*number]) {
			for range 12 {
				sent(p, 7)
				p.ExpectAny()
			}
			p.ExpectAny()
		}, []string{"2 others"}},
		{"func", func(p *Probe[*number]) {
			sent(p, 4)
			p.ExpectFunc("an even number", func(m *number) bool { return m.Value%2 == 0 })
		}, nil},
		{"func says no", func(p *Probe[*number]) {
			sent(p, 3)
			p.ExpectFunc("an even number", func(m *number) bool { return m.Value%2 == 0 })
		}, []string{"expected an even number", "value:3"}},
		{"silence", func(p *Probe[*number]) { p.ExpectNone(time.Hour) }, nil},
		{"no silence", func(p *Probe[*number]) { sent(p, 3); p.ExpectNone(time.Hour) }, []string{"expected nothing for 1h0m0s", "value:3"}},
		{"reply to nothing", func(p *Probe[*number]) { p.Reply(num(1)) }, []string{"expect a message first"}},
		{"reply to a send", func(p *Probe[*number]) { sent(p, 3); p.ExpectAny(); p.Reply(num(1)) }, []string{"sent, not called"}},
		{"fail a send", func(p *Probe[*number]) { sent(p, 3); p.ExpectAny(); p.Fail(actor.ErrFull) }, []string{"sent, not called"}},
		{"patience", func(p *Probe[*number]) { p.Patience = time.Minute; p.ExpectAny() }, []string{"nothing for 1m0s"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				said := try(func(fake testing.TB) {
					fake.(*fakeTB).TB = t // for its context
					c.f(NewProbe[*number](fake, New(fake)))
				})
				if (said == "") != (c.want == nil) {
					t.Errorf("it said %q", said)
				}
				for _, want := range c.want {
					if !strings.Contains(said, want) {
						t.Errorf("it said %q, want %q in it", said, want)
					}
				}
			})
		})
	}
}

func TestExpectType(t *testing.T) {
	for _, c := range []struct {
		m    proto.Message
		want string
	}{
		{&benchv1.Ping{}, ""},
		{num(1), "expected a *benchv1.Ping and got *benchv1.Number{value:1}"},
	} {
		said := try(func(fake testing.TB) {
			p := NewProbe[proto.Message](fake, New(fake))
			_ = p.Ref().Send(t.Context(), c.m)
			ExpectType[*benchv1.Ping](p)
		})
		said = strings.ReplaceAll(said, "  ", " ") // which protobuf strews in
		if (said == "") != (c.want == "") || !strings.Contains(said, c.want) {
			t.Errorf("for %v it said %q, want %q", c.m, said, c.want)
		}
	}
}

func TestProbeAnswers(t *testing.T) {
	Explore(t, 10, func(t *testing.T, sys *actor.System) {
		p := NewProbe[*number](t, sys, actor.Options{Name: "probe"})
		if r, ok := sys.Lookup("probe"); !ok || r != p.Ref().AnyRef {
			t.Error("the probe's options are lost")
		}
		outcome := make(chan error, 2)
		for range 2 {
			caller := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*number]) error {
				_, err := actor.Call[*number](ctx, p.Ref(), num(1))
				outcome <- err
				return nil
			}))
			p.Expect(num(1))
			if !caller.Alive() {
				t.Error("the caller did not wait")
			}
			if len(p.Received()) == 1 {
				p.Reply(num(2))
			} else {
				p.Fail(actor.ErrFull)
			}
		}
		if first, second := <-outcome, <-outcome; first != nil || !errors.Is(second, actor.ErrFull) {
			t.Errorf("the calls ended with %v and %v", first, second)
		}
	})
}

func TestExpectDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := New(t)
		end := func(f func(ctx *actor.Context) error) actor.AnyRef {
			return actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*number]) error { return f(ctx) })).AnyRef
		}
		if d := ExpectDown(t, end(func(ctx *actor.Context) error { return ctx.SetValue(5) }), Patience); d.Value != 5 || !d.Reason.Normal() {
			t.Errorf("a normal end: %v", d)
		}
		if d := ExpectDown(t, end(func(*actor.Context) error { panic("no") }), Patience); d.Reason.Kind != actor.ReasonPanic {
			t.Errorf("a panic: %v", d)
		}
		if d := ExpectDown(t, end(func(*actor.Context) error { return actor.ErrFull }), Patience); !errors.Is(d.Reason.Err, actor.ErrFull) {
			t.Errorf("an error: %v", d)
		}
		alive := end(func(ctx *actor.Context) error { return ctx.Sleep(time.Hour) })
		if said := try(func(fake testing.TB) { ExpectDown(fake, alive, time.Minute) }); !strings.Contains(said, "has not ended after 1m0s") {
			t.Errorf("one that does not end: %q", said)
		}
	})
}
