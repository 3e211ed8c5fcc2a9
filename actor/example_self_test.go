package actor_test

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
)

// An actor gives its own address, with its message type, to a child that is to report to it.
func ExampleSelf() {
	sys, _ := actor.NewSystem()
	boss := actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*wrapperspb.StringValue]) error {
		self, err := actor.Self[*wrapperspb.StringValue](ctx)
		if err != nil {
			return err
		}
		_, err = actor.Spawn(ctx, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*wrapperspb.StringValue]) error {
			return self.Send(ctx, wrapperspb.String("done"))
		}))
		if err != nil {
			return err
		}
		report, err := in.Receive(ctx)
		if err != nil {
			return err
		}
		return ctx.SetValue(report.Value)
	})
	v, err := actor.MustSpawn(sys, boss).Wait(context.Background())
	fmt.Println(v, err)
	fmt.Println(sys.Stop(context.Background()))
	// Output:
	// done <nil>
	// <nil>
}
