package actor_test

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// A ref travels in a message of the user's own, in a field of type greenroom.v1.Ref.
func ExampleTypedRefFromProto() {
	sys, _ := actor.NewSystem()
	twice := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *wrapperspb.Int64Value) error {
		return ctx.Reply(wrapperspb.Int64(2 * m.Value))
	}))
	bytes, _ := proto.Marshal(twice.Proto())

	var field greenroomv1.Ref
	if err := proto.Unmarshal(bytes, &field); err != nil {
		fmt.Println(err)
		return
	}
	ref, err := actor.TypedRefFromProto[*wrapperspb.Int64Value](sys, &field)
	if err != nil {
		fmt.Println(err)
		return
	}
	reply, err := actor.Call[*wrapperspb.Int64Value](context.Background(), ref, wrapperspb.Int64(21))
	fmt.Println(reply.GetValue(), err)
	fmt.Println(sys.Stop(context.Background()))
	// Output:
	// 42 <nil>
	// <nil>
}
