package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/supervisor"
)

// greeter answers with a greeting, and fails when it is told so.
func greeter(word string) actor.Behaviour[*wrapperspb.StringValue] {
	return actor.Handler(func(ctx *actor.Context, m *wrapperspb.StringValue) error {
		if m.Value == "fail" {
			return errors.New("it was told to fail")
		}
		return ctx.Reply(wrapperspb.String(word + ", " + m.Value))
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A tree: what the inner supervisor cannot mend is a failure of the inner supervisor, which the outer one restarts.
func ExampleTree() {
	ctx := context.Background()
	sys := must(actor.NewSystem())
	ended := make(chan string, 10)
	observe := func(e supervisor.Event) {
		if e.Kind == supervisor.Ended || e.Kind == supervisor.Escalated {
			ended <- fmt.Sprint(e.Kind, " ", e.Child)
		}
	}
	inner := supervisor.Spec{Strategy: supervisor.OneForAll, Observe: observe, Children: []supervisor.Child{
		{ID: "greeter", Start: supervisor.Actor(greeter("hello"))},
		{ID: "log", Start: supervisor.Actor(greeter("noted"))},
	}}
	top := must(supervisor.Start(ctx, sys, supervisor.Spec{Observe: observe, Children: []supervisor.Child{
		{ID: "inner", Start: supervisor.Tree(inner)},
	}}))
	for range 2 { // one more than is allowed
		below := must(top.Tree(ctx, "inner"))
		ref := must(supervisor.Ref[*wrapperspb.StringValue](ctx, below, "greeter"))
		_, _ = actor.Call[*wrapperspb.StringValue](ctx, ref, wrapperspb.String("fail"))
		fmt.Println(<-ended)
	}
	fmt.Println(<-ended)
	fmt.Println(<-ended)
	below := must(top.Tree(ctx, "inner"))
	ref := must(supervisor.Ref[*wrapperspb.StringValue](ctx, below, "greeter"))
	fmt.Println(must(actor.Call[*wrapperspb.StringValue](ctx, ref, wrapperspb.String("again"))).Value)
	fmt.Println(sys.Stop(ctx))
	// Output:
	// ended greeter
	// ended greeter
	// escalated greeter
	// ended inner
	// hello, again
	// <nil>
}

// A dynamic supervisor has a child for each client, say: they come and go.
func ExampleSupervisor_Spawn() {
	ctx := context.Background()
	sys := must(actor.NewSystem())
	sup := must(supervisor.Start(ctx, sys, supervisor.Spec{Strategy: supervisor.Dynamic, Children: []supervisor.Child{
		{Start: supervisor.Actor(greeter("hello")), Restart: supervisor.Temporary},
	}}))
	first := must(sup.Spawn(ctx, nil))
	for range 999 {
		must(sup.Spawn(ctx, nil))
	}
	special := must(sup.Spawn(ctx, supervisor.Actor(greeter("welcome"))))
	ref, _ := actor.TypedRef[*wrapperspb.StringValue](special)
	fmt.Println(must(actor.Call[*wrapperspb.StringValue](ctx, ref, wrapperspb.String("you"))).Value)
	fmt.Println(sup.TerminateRef(ctx, first), first.Alive())
	fmt.Println(must(sup.Count(ctx)).Active)
	fmt.Println(sys.Stop(ctx))
	// Output:
	// welcome, you
	// <nil> false
	// 1000
	// <nil>
}

// A plain function is restarted like an actor. Its context ends when it is to stop.
func ExampleFunc() {
	ctx := context.Background()
	sys := must(actor.NewSystem())
	runs := make(chan int, 1)
	n := 0
	sup := must(supervisor.Start(ctx, sys, supervisor.Spec{Children: []supervisor.Child{
		{ID: "server", Start: supervisor.Func(func(ctx context.Context) error {
			n++
			runs <- n
			if n == 1 {
				return errors.New("address in use")
			}
			<-ctx.Done()
			return ctx.Err()
		})},
	}}))
	fmt.Println("run", <-runs)
	fmt.Println("run", <-runs)
	fmt.Println(sup.Stop(ctx), sys.Stop(ctx))
	// Output:
	// run 1
	// run 2
	// <nil> <nil>
}

// A backoff makes restarts rarer while they do not help.
func ExampleBackoff() {
	ctx := context.Background()
	sys := must(actor.NewSystem())
	delays := make(chan time.Duration, 1)
	sup := must(supervisor.Start(ctx, sys, supervisor.Spec{
		Intensity: 10,
		Children: []supervisor.Child{{
			ID: "a", Start: supervisor.Actor(greeter("hello")),
			Backoff: supervisor.Backoff{Min: time.Millisecond, Max: 5 * time.Millisecond, Reset: time.Hour},
		}},
		Observe: func(e supervisor.Event) {
			if e.Kind == supervisor.Restarting {
				delays <- e.Delay
			}
		},
	}))
	ref := must(supervisor.Ref[*wrapperspb.StringValue](ctx, sup, "a"))
	for range 4 {
		_ = ref.Send(ctx, wrapperspb.String("fail"))
		fmt.Println(<-delays)
	}
	fmt.Println(sys.Stop(ctx))
	// Output:
	// 1ms
	// 2ms
	// 4ms
	// 5ms
	// <nil>
}

// A new behaviour goes to one child first. This one answers wrongly, so that the check has it taken back.
func ExampleRollOut() {
	ctx := context.Background()
	sys := must(actor.NewSystem())
	var children []supervisor.Child
	for _, id := range []string{"a", "b", "c"} {
		children = append(children, supervisor.Child{ID: id, Start: supervisor.Actor(greeter("hello"))})
	}
	sup := must(supervisor.Start(ctx, sys, supervisor.Spec{Children: children}))
	greeting := func(ref actor.AnyRef) string {
		typed, _ := actor.TypedRef[*wrapperspb.StringValue](ref)
		return must(actor.Call[*wrapperspb.StringValue](ctx, typed, wrapperspb.String("you"))).Value
	}
	polite := supervisor.RollOutOptions{
		Settle: time.Millisecond,
		Check: func(_ context.Context, swapped []actor.AnyRef) error {
			for _, ref := range swapped {
				if g := greeting(ref); g == "oi, you" {
					return fmt.Errorf("%q is impolite", g)
				}
			}
			return nil
		},
		Progress: func(done, total int) { fmt.Println(done, "of", total) },
	}
	err := supervisor.RollOut(ctx, sup, supervisor.Actor(greeter("oi")), polite)
	fmt.Println(err)
	err = supervisor.RollOut(ctx, sup, supervisor.Actor(greeter("good day")), polite)
	fmt.Println(greeting(must(sup.Lookup(ctx, "c"))), err)
	fmt.Println(sys.Stop(ctx))
	// Output:
	// supervisor: rolled back, 1 had been swapped: "oi, you" is impolite
	// 1 of 3
	// 2 of 3
	// 3 of 3
	// good day, you <nil>
	// <nil>
}
