// Command barrier has workers on several nodes start at the same moment: they subscribe to a channel, and what is sent by it waits until
// all of them stand at the start.
//
//	go run ./examples/barrier -name starter -listen 127.0.0.1:7001 -workers 2
//	go run ./examples/barrier -name anna -peer 127.0.0.1:7001
//	go run ./examples/barrier -name bob -peer 127.0.0.1:7001
package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	pb "github.com/greenroom-go/greenroom/examples/barrier/barrierv1"
	"github.com/greenroom-go/greenroom/examples/internal/demo"
	"github.com/greenroom-go/greenroom/remote"
)

const (
	// name is what the channel is published under.
	name = "start"
	// maxBelow bounds the memory of a worker.
	maxBelow = 100_000_000
)

var (
	workers  int
	below    int64
	patience time.Duration
)

func main() {
	demo.Example{
		Name:  "barrier",
		About: "without -peer the starter, which waits for the workers, with -peer a worker",
		Flags: func(flags *flag.FlagSet) {
			flags.IntVar(&workers, "workers", 2, "the starter waits for so many workers")
			flags.Int64Var(&below, "below", 1_000_000, "the workers count the primes below this")
			flags.DurationVar(&patience, "patience", time.Minute, "how long the starter waits for a result")
		},
		Check: func(demo.Options) error {
			if workers < 1 || below < 0 || below > maxBelow {
				return fmt.Errorf("-workers is %d and -below %d: there must be a worker, and a limit from 0 to %d", workers, below, maxBelow)
			}
			return nil
		},
		Run: func(ctx context.Context, n *remote.Node, o demo.Options) error {
			if o.Peer == "" {
				return demo.Actor(ctx, n, start)
			}
			return demo.Actor(ctx, n, work)
		},
	}.Main()
}

// start is the starter: an actor that takes the results.
func start(ctx *actor.Context, n *remote.Node, results *actor.Inbox[*pb.Result]) error {
	ch, err := actor.NewChannel[*pb.Start](n.System())
	if err != nil {
		return err
	}
	if err := remote.Publish(n, name, ch); err != nil {
		return err
	}
	fmt.Println("waiting for", workers, "workers")
	started, err := ch.Deliver(ctx, &pb.Start{Below: below, Results: ctx.Self().Proto()}, workers) // the barrier
	if err != nil {
		return err
	}
	began := time.Now()
	fmt.Println("started:", started)
	for place := 1; place <= started; place++ {
		r, err := results.ReceiveTimeout(patience)
		if err != nil {
			return fmt.Errorf("result %d of %d: %w", place, started, err)
		}
		fmt.Printf("%d. %s: %d primes below %d, after %v\n", place, r.GetWorker(), r.GetPrimes(), below, time.Since(began).Round(time.Millisecond))
	}
	return nil
}

// work is a worker: an actor that takes the start.
func work(ctx *actor.Context, n *remote.Node, starts *actor.Inbox[*pb.Start]) error {
	self, err := actor.Self[*pb.Start](ctx)
	if err != nil {
		return err
	}
	for {
		fmt.Println("looking for the starter")
		ch, err := remote.OpenChannel[*pb.Start](ctx, n, name, "") // wherever it is, and from when on
		if err != nil {
			return err
		}
		sub, err := ch.Subscribe(ctx, self)
		if err != nil {
			fmt.Println("the starter has gone:", err)
			continue
		}
		fmt.Println("ready, at", ch.Home())
		for sub.Err() == nil {
			m, err := starts.ReceiveTimeout(time.Second)
			if err == nil {
				return answer(ctx, n, m)
			}
			if ctx.Stopping() {
				return err
			}
		}
		fmt.Println("the starter has gone:", sub.Err())
	}
}

// answer does the work, and sends the result to the actor whose ref has come with the message.
func answer(ctx *actor.Context, n *remote.Node, m *pb.Start) error {
	if m.GetBelow() < 0 || m.GetBelow() > maxBelow {
		return fmt.Errorf("the starter wants the primes below %d: a worker goes up to %d", m.GetBelow(), maxBelow)
	}
	results, err := actor.TypedRefFromProto[*pb.Result](ctx.System(), m.GetResults())
	if err != nil {
		return err
	}
	r := &pb.Result{Worker: n.Name(), Primes: primes(m.GetBelow())}
	fmt.Println("primes:", r.GetPrimes())
	return results.Send(ctx, r) // the node does not stop before it has arrived
}

// primes counts the primes below n.
func primes(n int64) (count int64) {
	composite := make([]bool, n)
	for i := int64(2); i < n; i++ {
		if composite[i] {
			continue
		}
		count++
		for j := i * i; j < n; j += i {
			composite[j] = true
		}
	}
	return count
}
