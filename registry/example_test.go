package registry_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	benchv1 "github.com/greenroom-go/greenroom/proto/greenroom/bench/v1"
	"github.com/greenroom-go/greenroom/registry"
)

func square(ctx *actor.Context, m *benchv1.Number) error {
	return ctx.Reply(&benchv1.Number{Value: m.Value * m.Value})
}

func mustSystem() *actor.System {
	sys, err := actor.NewSystem()
	if err != nil {
		panic(err)
	}
	return sys
}

// Those who need an actor know its name.
func Example() {
	ctx := context.Background()
	sys := mustSystem()
	reg := registry.Of(sys)

	ref := actor.MustSpawn(sys, actor.Handler(square))
	fmt.Println("register:", reg.Register("squares", ref))

	found, err := registry.Lookup[*benchv1.Number](reg, "squares")
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := actor.Call[*benchv1.Number](ctx, found, &benchv1.Number{Value: 7})
	fmt.Println(r.GetValue(), err)

	_, err = registry.Lookup[*benchv1.Text](reg, "squares")
	fmt.Println("for texts:", err)

	ref.Stop()
	_, _ = ref.Wait(ctx)
	_, err = registry.Lookup[*benchv1.Number](reg, "squares")
	fmt.Println("after its end:", err)
	fmt.Println(sys.Stop(ctx))
	// Output:
	// register: <nil>
	// 49 <nil>
	// for texts: actor: wrong type
	// after its end: actor: nobody has that name
	// <nil>
}

// A name given at Spawn is one of the same table.
func ExampleRegistry_Register() {
	ctx := context.Background()
	sys := mustSystem()
	reg := registry.Of(sys)

	ref := actor.MustSpawn(sys, actor.Handler(square), actor.Options{Name: "squares"})
	r, ok := reg.Lookup("squares")
	fmt.Println(r == ref.AnyRef, ok)

	other := actor.MustSpawn(sys, actor.Handler(square))
	err := reg.Register("squares", other)
	fmt.Println(errors.Is(err, actor.ErrNameTaken), err)
	fmt.Println(reg.Register("powers", ref), "one actor may have several names")

	fmt.Println(reg.Unregister("squares", ref))
	fmt.Println(reg.Register("squares", other))
	fmt.Println(sys.Stop(ctx))
	// Output:
	// true true
	// true registry: register "squares": actor: the name is taken
	// <nil> one actor may have several names
	// <nil>
	// <nil>
	// <nil>
}

// An alias stands for a name, whoever has that.
func ExampleRegistry_Alias() {
	ctx := context.Background()
	sys := mustSystem()
	reg := registry.Of(sys)

	blue := actor.MustSpawn(sys, actor.Handler(square), actor.Options{Name: "blue"})
	green := actor.MustSpawn(sys, actor.Handler(square), actor.Options{Name: "green"})
	_ = reg.Alias("live", "blue")
	r, _ := reg.Lookup("live")
	fmt.Println("blue is live:", r == blue.AnyRef)
	_ = reg.Alias("live", "green")
	r, _ = reg.Lookup("live")
	fmt.Println("green is live:", r == green.AnyRef)
	fmt.Println(reg.Alias("current", "live"))
	fmt.Println(sys.Stop(ctx))
	// Output:
	// blue is live: true
	// green is live: true
	// registry: alias "current": actor: an alias stands for a name, not for an alias
	// <nil>
}

// Locate waits for an actor that is not there yet.
func ExampleLocate() {
	ctx := context.Background()
	sys := mustSystem()
	reg := registry.Of(sys)

	client := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*benchv1.Ping]) error {
		squares, err := registry.Locate[*benchv1.Number](ctx, reg, "squares") // the actor waits, and holds no slot
		if err != nil {
			return err
		}
		r, err := actor.Call[*benchv1.Number](ctx, squares, &benchv1.Number{Value: 9})
		if err != nil {
			return err
		}
		return ctx.SetValue(r.Value)
	}))
	actor.MustSpawn(sys, actor.Handler(square), actor.Options{Name: "squares"})
	fmt.Println(client.Wait(ctx))

	short, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	_, err := reg.Locate(short, "cubes") // a goroutine blocks
	fmt.Println(err)
	fmt.Println(sys.Stop(ctx))
	// Output:
	// 81 <nil>
	// registry: locate "cubes": context deadline exceeded
	// <nil>
}

// A group is a set of actors; those that end leave it.
func ExampleRegistry_Join() {
	ctx := context.Background()
	sys := mustSystem()
	reg := registry.Of(sys)

	got := make(chan int64)
	worker := actor.Handler(func(_ *actor.Context, m *benchv1.Number) error {
		got <- m.Value
		return nil
	})
	one, two := actor.MustSpawn(sys, worker), actor.MustSpawn(sys, worker)
	fmt.Println(reg.Join("workers", one), reg.Join("workers", two))
	sent, err := reg.Members("workers").Send(ctx, &benchv1.Number{Value: 5})
	fmt.Println(sent, err, <-got, <-got)

	one.Stop()
	_, _ = one.Wait(ctx)
	for r := range reg.Members("workers").All() {
		fmt.Println("left is two:", r == two.AnyRef)
	}
	fmt.Println(reg.Leave("workers", two), reg.Members("workers").Len())
	fmt.Println(sys.Stop(ctx))
	// Output:
	// <nil> <nil>
	// 2 <nil> 5 5
	// left is two: true
	// <nil> 0
	// <nil>
}

// An actor may be told who has a name, now and later.
func ExampleWatchName() {
	ctx := context.Background()
	sys := mustSystem()
	reg := registry.Of(sys)

	said := make(chan string, 8)
	actor.MustSpawn(sys, actor.Handler(func(_ *actor.Context, m *wrapperspb.StringValue) error {
		said <- m.Value
		return nil
	}), actor.Options{OnStart: func(ctx *actor.Context) error {
		_, err := registry.WatchName(ctx, reg, "squares", func(e registry.NameEvent) *wrapperspb.StringValue {
			if e.Ref.IsZero() {
				return &wrapperspb.StringValue{Value: "nobody is called " + e.Name}
			}
			return &wrapperspb.StringValue{Value: "somebody is called " + e.Name}
		})
		return err
	}})
	fmt.Println(<-said)
	ref := actor.MustSpawn(sys, actor.Handler(square), actor.Options{Name: "squares"})
	fmt.Println(<-said)
	ref.Stop()
	fmt.Println(<-said)
	fmt.Println(sys.Stop(ctx))
	// Output:
	// nobody is called squares
	// somebody is called squares
	// nobody is called squares
	// <nil>
}

// An actor may be told who is in a group, now and later.
func ExampleWatchGroup() {
	ctx := context.Background()
	sys := mustSystem()
	reg := registry.Of(sys)

	worker := actor.Handler(square)
	one, two := actor.MustSpawn(sys, worker), actor.MustSpawn(sys, worker)
	_ = reg.Join("workers", one)

	said := make(chan string, 8)
	actor.MustSpawn(sys, actor.Handler(func(_ *actor.Context, m *wrapperspb.StringValue) error {
		said <- m.Value
		return nil
	}), actor.Options{OnStart: func(ctx *actor.Context) error {
		_, err := registry.WatchGroup(ctx, reg, "workers", func(e registry.GroupEvent) *wrapperspb.StringValue {
			if e.Change == registry.Present {
				return &wrapperspb.StringValue{Value: fmt.Sprintf("%s: %d present", e.Group, e.Members.Len())}
			}
			return &wrapperspb.StringValue{Value: fmt.Sprintf("%s: %v %s", e.Group, e.Change, e.Ref)}
		})
		return err
	}})
	fmt.Println(<-said)
	_ = reg.Join("workers", two)
	fmt.Println(<-said == fmt.Sprintf("workers: joined %v", two))
	one.Kill()
	fmt.Println(<-said == fmt.Sprintf("workers: left %v", one))
	fmt.Println(sys.Stop(ctx))
	// Output:
	// workers: 1 present
	// true
	// true
	// <nil>
}
