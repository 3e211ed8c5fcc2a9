package actor_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/greenroom-go/greenroom/actor"
)

// A lock that its holder did not give back is given back when the holder ends.
func ExampleMutex() {
	sys, err := actor.NewSystem()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = sys.Close() }()
	var m actor.Mutex
	careless := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*num]) error {
		return m.Lock(ctx)
	}))
	_, _ = careless.Wait(context.Background())
	careful := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*num]) error {
		if err := m.Lock(ctx); err != nil {
			return err
		}
		defer func() { fmt.Println("unlock:", m.Unlock(ctx)) }()
		fmt.Println("locked again:", m.Lock(ctx) != nil)
		return nil
	}))
	_, _ = careful.Wait(context.Background())
	// Output:
	// locked again: true
	// unlock: <nil>
}

// Wait returns with the lock held, also when nobody signalled in time.
func ExampleCond() {
	sys, err := actor.NewSystem()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = sys.Close() }()
	var c actor.Cond
	waiter := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*num]) error {
		if err := c.Lock(ctx); err != nil {
			return err
		}
		soon, cancel := ctx.WithTimeout(time.Millisecond)
		defer cancel()
		err := c.Wait(soon)
		fmt.Println("timed out:", errors.Is(err, context.DeadlineExceeded))
		fmt.Println("unlock:", c.Unlock(ctx))
		return nil
	}))
	_, _ = waiter.Wait(context.Background())
	// Output:
	// timed out: true
	// unlock: <nil>
}

// An Event starts many at once, actors and goroutines alike.
func ExampleEvent() {
	sys, err := actor.NewSystem()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = sys.Close() }()
	var start actor.Event
	runner := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*num]) error {
		if err := start.Wait(ctx); err != nil {
			return err
		}
		return ctx.SetValue("off")
	}))
	start.Set()
	fmt.Println(start.Wait(context.Background()))
	fmt.Println(runner.Wait(context.Background()))
	// Output:
	// <nil>
	// off <nil>
}

// A Semaphore bounds how many do something at a time, actors and goroutines together.
func ExampleSemaphore() {
	_, err := actor.NewSemaphore(0)
	fmt.Println(err)
	permits, err := actor.NewSemaphore(1)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	fmt.Println(permits.Acquire(ctx))
	fmt.Println(permits.TryAcquire(ctx))
	fmt.Println(permits.Release(ctx))
	// Output:
	// actor: a semaphore of 0 permits: it needs at least 1
	// <nil>
	// false <nil>
	// <nil>
}
