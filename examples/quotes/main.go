// Command quotes is a typed service on one node and its client on another. The schema is quotesv1/quotes.proto, the service is in
// service.go; docs/SERVICES.md says how one comes to the other.
//
//	go run ./examples/quotes -name exchange -listen 127.0.0.1:7001
//	go run ./examples/quotes -name trader -peer 127.0.0.1:7001
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/examples/internal/demo"
	pb "github.com/greenroom-go/greenroom/examples/quotes/quotesv1"
	"github.com/greenroom-go/greenroom/remote"
	"github.com/greenroom-go/greenroom/supervisor"
)

// name is what the service is known by.
const name = "quotes"

var (
	every time.Duration
	spoil int64
)

func main() {
	demo.Example{
		Name:  "quotes",
		About: "without -peer a service that knows prices, with -peer a client that sets them and watches one",
		Flags: func(flags *flag.FlagSet) {
			flags.DurationVar(&every, "every", time.Second, "the client's `pause` between two prices")
			flags.Int64Var(&spoil, "spoil", 0, "the client's price number `n` makes the service panic; 0 for none")
		},
		Check: func(demo.Options) error {
			if every <= 0 {
				return fmt.Errorf("-every is %v: it must be positive", every)
			}
			return nil
		},
		Run: func(ctx context.Context, n *remote.Node, o demo.Options) error {
			if o.Peer == "" {
				return serve(ctx, n)
			}
			return trade(ctx, n)
		},
	}.Main()
}

// serve runs the service under a supervisor, as if nobody but this process used it.
func serve(ctx context.Context, n *remote.Node) error {
	started := 0
	behaviour := pb.QuotesBehaviour(func(*actor.Context) (pb.QuotesServer, error) {
		started++ // by one incarnation after the other
		fmt.Println("the service starts, time", started)
		return newQuotes(n.Name()), nil
	})
	sup, err := supervisor.Start(ctx, n.System(), supervisor.Spec{Intensity: 5, Children: []supervisor.Child{
		{ID: name, Start: supervisor.Actor(behaviour, actor.Options{Name: name, Mailbox: pb.QuotesService.Mailbox})},
	}})
	if err != nil {
		return err
	}
	_, err = sup.Ref().Wait(ctx)
	return err
}

// trade is the client: it begins anew whenever the service, or its node, has ended.
func trade(ctx context.Context, n *remote.Node) error {
	for ctx.Err() == nil {
		ref, err := remote.Locate[pb.QuotesMessage](ctx, n, name) // wherever it is, and from when on
		if err != nil {
			return err
		}
		if err := session(ctx, pb.QuotesRef{Ref: ref}); errors.Is(err, actor.ErrStopped) || errors.Is(err, actor.ErrNodeDown) {
			fmt.Println("the service has gone:", err)
		} else if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// session uses every rpc of the service until one fails. The ref is used as that of an actor of this process would be.
func session(ctx context.Context, quotes pb.QuotesRef) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the streams that are left

	load, err := quotes.Load(ctx)
	if err != nil {
		return err
	}
	for symbol, cents := range map[string]int64{"tea": 300, "milk": 120, "sugar": 95} {
		if err := load.Send(ctx, &pb.LoadRequest{Symbol: symbol, Cents: cents}); err != nil {
			break // CloseAndReceive says why
		}
	}
	loaded, err := load.CloseAndReceive(ctx)
	if err != nil {
		return err
	}
	fmt.Println("prices loaded:", loaded.GetPrices())

	last, err := quotes.Last(ctx, &pb.LastRequest{Symbol: "milk"})
	if err != nil {
		return err
	}
	fmt.Printf("milk is at %d, says %s\n", last.GetCents(), last.GetNode())
	if _, err := quotes.Last(ctx, &pb.LastRequest{Symbol: "gold"}); err != nil {
		fmt.Println("gold:", err) // the service's error, with its text
	}
	if err := convert(ctx, quotes); err != nil {
		return err
	}

	go tick(ctx, quotes)
	for price, err := range quotes.Watch(ctx, &pb.WatchRequest{Symbol: "tea"}) {
		if err != nil {
			return err // how the service ended, or that its node is down
		}
		fmt.Println("tea is at", price.GetCents())
	}
	return nil
}

// convert sends amounts and gets what they are worth, one by one: a stream each way.
func convert(ctx context.Context, quotes pb.QuotesRef) error {
	both, err := quotes.Convert(ctx)
	if err != nil {
		return err
	}
	defer both.Cancel()
	for amount := int64(1); amount <= 3; amount++ {
		if err := both.Send(ctx, &pb.ConvertRequest{Symbol: "sugar", Amount: amount}); err != nil {
			break // Receive says why
		}
		worth, err := both.Receive(ctx)
		if err != nil {
			return err
		}
		fmt.Printf("%d sugar is worth %d\n", amount, worth.GetCents())
	}
	return both.CloseSend(ctx)
}

// tick sets a price again and again.
func tick(ctx context.Context, quotes pb.QuotesRef) {
	clock := time.NewTicker(every)
	defer clock.Stop()
	for i := int64(1); ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-clock.C:
		}
		price := 300 + i
		if i == spoil {
			price, spoil = -1, 0 // once
		}
		if err := quotes.Tick(ctx, &pb.TickRequest{Symbol: "tea", Cents: price}); err != nil {
			return // the stream ends for the same reason
		}
	}
}
