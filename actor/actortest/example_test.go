package actortest_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	benchv1 "github.com/greenroom-go/greenroom/proto/greenroom/bench/v1"
)

var ctx = context.Background()

// printer is a test that prints what it has to complain about, so that an example can show it.
type printer struct {
	testing.TB
	cleanups []func()
}

func (p *printer) end() {
	for _, f := range p.cleanups {
		f()
	}
}
func (p *printer) Helper()                           {}
func (p *printer) Cleanup(f func())                  { p.cleanups = append(p.cleanups, f) }
func (p *printer) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (p *printer) Fatalf(format string, args ...any) {
	p.Errorf(format, args...)
	runtime.Goexit()
}

// doubler sends twice what it gets to next.
func doubler(next actor.Ref[*benchv1.Number]) actor.Behaviour[*benchv1.Number] {
	return actor.Handler(func(ctx *actor.Context, m *benchv1.Number) error {
		return next.Send(ctx, &benchv1.Number{Value: 2 * m.Value})
	})
}

// A probe takes the place of whoever the actor under test sends to.
func ExampleNewProbe() {
	t := new(printer) // in a test it is what the test was given
	defer t.end()

	sys := actortest.New(t)
	probe := actortest.NewProbe[*benchv1.Number](t, sys)
	d := actor.MustSpawn(sys, doubler(probe.Ref()))

	_ = d.Send(ctx, &benchv1.Number{Value: 21})
	fmt.Println(probe.Expect(&benchv1.Number{Value: 42}).Value)

	_ = d.Send(ctx, &benchv1.Number{Value: 3})
	probe.ExpectFunc("a positive number", func(m *benchv1.Number) bool { return m.Value > 0 })
	fmt.Println(len(probe.Received()), "messages")

	d.Stop()
	fmt.Println("ended:", actortest.ExpectDown(t, d.AnyRef, actortest.Patience).Reason)
	// Output:
	// 42
	// 2 messages
	// ended: normal
}

// A probe can be called; it answers when the test says so.
func ExampleProbe_Reply() {
	t := new(printer) // in a test it is what the test was given
	defer t.end()

	sys := actortest.New(t)
	bank := actortest.NewProbe[*benchv1.Counter](t, sys)
	client := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*benchv1.Ping]) error {
		total, err := actor.Call[*benchv1.Total](ctx, bank.Ref(), &benchv1.Counter{
			Command: &benchv1.Counter_Read{Read: &benchv1.Read{}},
		})
		if err != nil {
			return err
		}
		return ctx.SetValue(total.Value)
	}))

	bank.ExpectFunc("a read", func(m *benchv1.Counter) bool { return m.GetRead() != nil })
	bank.Reply(&benchv1.Total{Value: 100})
	fmt.Println("the client has", actortest.ExpectDown(t, client.AnyRef, actortest.Patience).Value)
	// Output:
	// the client has 100
}

// Two runs under one seed take the same steps, or the first that differs is named.
func ExampleReplay() {
	TestTwoAddersAgain := func(t *testing.T) {
		actortest.Replay(t, 17, twoAdders)
	}
	_ = TestTwoAddersAgain
	// Output:
}
