package supervisor_test

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/supervisor"
)

// An account that panics when it is overdrawn is restarted: it has the same ref and starts with an empty balance.
func Example() {
	type account struct{ balance int64 }
	deposit := actor.Stateful(func(ctx *actor.Context, a *account, m *wrapperspb.Int64Value) error {
		if a.balance += m.Value; a.balance < 0 {
			panic("overdrawn")
		}
		return ctx.Reply(wrapperspb.Int64(a.balance))
	})
	ctx := context.Background()
	sys, err := actor.NewSystem()
	if err != nil {
		panic(err)
	}
	sup, err := supervisor.Start(ctx, sys, supervisor.Spec{
		Strategy:  supervisor.OneForOne,
		Intensity: 3,
		Children:  []supervisor.Child{{ID: "account", Start: supervisor.Actor(deposit)}},
	})
	if err != nil {
		panic(err)
	}
	account1, err := supervisor.Ref[*wrapperspb.Int64Value](ctx, sup, "account")
	if err != nil {
		panic(err)
	}
	for _, amount := range []int64{100, -500, 7} {
		balance, err := actor.Call[*wrapperspb.Int64Value](ctx, account1, wrapperspb.Int64(amount))
		fmt.Println(amount, "->", balance.GetValue(), err != nil)
	}
	children, err := sup.Children(ctx)
	fmt.Println(children[0].ID, children[0].Status, "restarts:", children[0].Restarts, err)
	fmt.Println(sup.Stop(ctx), sys.Stop(ctx))
	// Output:
	// 100 -> 100 false
	// -500 -> 0 true
	// 7 -> 7 false
	// account running restarts: 1 <nil>
	// <nil> <nil>
}
