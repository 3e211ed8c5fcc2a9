package actor_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/mailbox"
)

// folded is an actor that folds the numbers it gets into one, and has that as its value when it is drained.
func folded(sys *actor.System, from int64, f func(total, n int64) int64) actor.Ref[*num] {
	return actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
		total := from
		for m := range in.All() {
			total = f(total, m.Value)
		}
		return ctx.SetValue(total)
	}))
}

// What is sent to a channel goes to everybody who has subscribed.
func ExampleChannel() {
	ctx := context.Background()
	sys, err := actor.NewSystem()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = sys.Close() }()
	sum := folded(sys, 0, func(total, n int64) int64 { return total + n })
	product := folded(sys, 1, func(total, n int64) int64 { return total * n })

	numbers, err := actor.NewChannel[*num](sys)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _ = numbers.Subscribe(ctx, sum)
	_, _ = numbers.Subscribe(ctx, product)
	for i := range int64(5) {
		_ = numbers.Send(ctx, &num{Value: i + 1})
	}

	_, _ = sum.Drain(), product.Drain()
	fmt.Println(sum.Wait(ctx))
	fmt.Println(product.Wait(ctx))
	fmt.Println("left:", len(numbers.Subscribers())) // who has ended is no subscriber
	// Output:
	// 15 <nil>
	// 120 <nil>
	// left: 0
}

// Deliver holds the first message back until there is somebody to hear it: here, until both runners stand at the start.
func ExampleChannel_Deliver() {
	ctx := context.Background()
	sys, err := actor.NewSystem()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = sys.Close() }()
	start, err := actor.NewChannel[*text](sys, actor.ChannelOptions[*text]{Name: "start"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*text]) error {
			self, _ := actor.TypedRef[*text](ctx.Self())
			if _, err := start.Subscribe(ctx, self); err != nil {
				return err
			}
			_, err := in.Receive(ctx)
			return err
		}))
	}
	fmt.Println(start.Deliver(ctx, &text{Value: "go!"}, 2))
	// Output:
	// 2 <nil>
}

// A transform changes what is sent, or drops it. The message may be in other hands too: make a new one.
func ExampleChannelOptions() {
	ctx := context.Background()
	sys, err := actor.NewSystem()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = sys.Close() }()
	chat, err := actor.NewChannel(sys, actor.ChannelOptions[*text]{
		Name: "chat",
		Transform: func(m *text) (*text, bool) {
			if m.Value == strings.ToUpper(m.Value) {
				return nil, false // no shouting
			}
			return &text{Value: "> " + m.Value}, true
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	screen := actor.MustSpawn(sys, actor.Handler(func(_ *actor.Context, m *text) error {
		fmt.Println(m.Value)
		return nil
	}))
	_, _ = chat.Subscribe(ctx, screen)
	for _, line := range []string{"hello", "IS ANYBODY THERE?", "bye"} {
		n, err := chat.Deliver(ctx, &text{Value: line}, 0)
		_ = sys.Quiesce(ctx) // so that the lines come out in this order
		fmt.Println(n, err)
	}
	// Output:
	// > hello
	// 1 <nil>
	// 0 <nil>
	// > bye
	// 1 <nil>
}

// A channel that retains hands what was sent last to those who come later.
func ExampleChannelOptions_retain() {
	ctx := context.Background()
	sys, err := actor.NewSystem()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = sys.Close() }()
	weather, err := actor.NewChannel(sys, actor.ChannelOptions[*text]{Retain: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = weather.Send(ctx, &text{Value: "rain"})
	_ = weather.Send(ctx, &text{Value: "sun"})

	late := actor.MustSpawn(sys, actor.Handler(func(_ *actor.Context, m *text) error {
		fmt.Println("the weather is", m.Value)
		return nil
	}))
	_, _ = weather.Subscribe(ctx, late)
	_ = sys.Quiesce(ctx)
	// Output:
	// the weather is sun
}

// Channels subscribe to channels; the count is that of the actors reached, through all of them.
func ExampleChannel_SubscribeChannel() {
	ctx := context.Background()
	sys, err := actor.NewSystem()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = sys.Close() }()
	channel := func(name string) *actor.Channel[*text] {
		ch, err := actor.NewChannel(sys, actor.ChannelOptions[*text]{Name: name})
		if err != nil {
			panic(err)
		}
		return ch
	}
	news, sports, local := channel("news"), channel("sports"), channel("local")
	_, _ = news.SubscribeChannel(ctx, sports)
	_, _ = news.SubscribeChannel(ctx, local)
	for _, ch := range []*actor.Channel[*text]{news, sports, sports, local} {
		reader := actor.MustSpawn(sys, actor.Handler(func(*actor.Context, *text) error { return nil }))
		_, _ = ch.Subscribe(ctx, reader)
	}
	fmt.Println(sports.Deliver(ctx, &text{Value: "1:0"}, 0))
	fmt.Println(news.Deliver(ctx, &text{Value: "an election"}, 0))

	_, err = local.SubscribeChannel(ctx, news)
	fmt.Println(err)
	// Output:
	// 2 <nil>
	// 4 <nil>
	// actor: channel cycle: local -> news -> local
}

// A subscriber that takes another type of message subscribes with a function that makes its type of the channel's.
func ExampleSubscribeAs() {
	ctx := context.Background()
	sys, err := actor.NewSystem()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = sys.Close() }()
	words, err := actor.NewChannel[*text](sys)
	if err != nil {
		fmt.Println(err)
		return
	}
	letters := folded(sys, 0, func(total, n int64) int64 { return total + n })
	_, _ = actor.SubscribeAs(ctx, words, letters, func(m *text) *num {
		if m.Value == "" {
			return nil // not for this subscriber
		}
		return &num{Value: int64(len(m.Value))}
	})
	for _, w := range []string{"green", "", "room"} {
		fmt.Println(words.Deliver(ctx, &text{Value: w}, 0))
	}
	_ = letters.Drain()
	fmt.Println(letters.Wait(ctx))
	// Output:
	// 1 <nil>
	// 0 <nil>
	// 1 <nil>
	// 9 <nil>
}

// What happens to a message for a subscriber whose mailbox is full is said where it subscribes. The others never wait for it.
func ExampleSubscribeOptions() {
	ctx := context.Background()
	sys, err := actor.NewSystem()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = sys.Close() }()
	ticks, err := actor.NewChannel[*num](sys)
	if err != nil {
		fmt.Println(err)
		return
	}
	busy := func(o mailbox.Overflow) actor.Ref[*num] { // takes one message and then no more
		return actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*num]) error {
			_, err := ctx.Suspend(ctx)
			return err
		}), actor.Options{Mailbox: actor.Mailbox{Capacity: 1, Overflow: o}})
	}
	patchy, _ := ticks.Subscribe(ctx, busy(mailbox.Reject), actor.SubscribeOptions{Slow: actor.SlowDrop})
	gone, _ := ticks.Subscribe(ctx, busy(mailbox.Reject), actor.SubscribeOptions{Slow: actor.SlowCut})
	for i := range int64(3) {
		n, err := ticks.Deliver(ctx, &num{Value: i}, 0)
		fmt.Println(n, err)
	}
	fmt.Println("dropped:", patchy.Dropped(), patchy.Err())
	fmt.Println("cut off:", gone.Err())
	// Output:
	// 2 <nil>
	// 0 <nil>
	// 0 <nil>
	// dropped: 2 <nil>
	// cut off: actor: the mailbox is full
}
