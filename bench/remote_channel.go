package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/bench/internal/far"
	"github.com/greenroom-go/greenroom/bench/internal/harness"
	"github.com/greenroom-go/greenroom/remote"
)

// channelName is what the channel of remote-channel is published as.
const channelName = "news"

func channelRows() []harness.Row {
	return []harness.Row{
		{Name: "delivery", Unit: "ns", Reach: harness.Reach{AtMost: 200}}, // 5 M a second
		{Name: "wire", Unit: "msgs", Reach: harness.Reach{AtMost: 1}},
	}
}

// audience is half of the subscribers: actors that count.
type audience struct{ handled atomic.Int64 }

func (a *audience) behaviour() actor.Behaviour[*payload] {
	return actor.Handler(func(*actor.Context, *payload) error {
		a.handled.Add(1)
		return nil
	})
}

// channelMethods are what a far side does for remote-channel.
func channelMethods(sys *actor.System, node *remote.Node) far.Methods {
	var a audience
	return far.Methods{
		"subscribe": far.Do(func(n int) (none struct{}, err error) {
			ch, err := remote.OpenChannel[*payload](context.Background(), node, channelName, nearName)
			for i := 0; i < n && err == nil; i++ {
				var ref actor.Ref[*payload]
				if ref, err = actor.Spawn(sys, a.behaviour()); err == nil {
					_, err = ch.Subscribe(context.Background(), ref)
				}
			}
			return none, err
		}),
		"handled": far.Do(func(struct{}) (int64, error) { // when nothing is left to handle
			err := sys.Quiesce(context.Background())
			return a.handled.Load(), err
		}),
	}
}

// remoteChannel has each message go to 100,000 subscribers, half of them on the channel's own node and half on another, r.N deliveries in all.
func remoteChannel(ctx context.Context, r *harness.Run) error {
	return withPeers(ctx, nodeFar{}, func(p *peers) error {
		var here audience
		half := min(50_000, r.N/20)
		ch, err := actor.NewChannel[*payload](p.sys)
		if err != nil {
			return err
		}
		if err := remote.Publish(p.node, channelName, ch); err != nil {
			return err
		}
		if err := p.far.Call("subscribe", half, nil); err != nil {
			return err
		}
		for range half {
			ref, err := actor.Spawn(p.sys, here.behaviour())
			if err != nil {
				return err
			}
			if _, err := ch.Subscribe(ctx, ref); err != nil {
				return err
			}
		}
		m := newPayload(payloadBytes)
		if _, err := ch.Deliver(ctx, m, 2*half); err != nil { // all are there
			return err
		}
		sends := max(r.N/(2*half), 1)
		messages := p.sent()
		ns, err := r.Measure(sends*2*half, func() error {
			for range sends - 1 {
				if err := ch.Send(ctx, m); err != nil {
					return err
				}
			}
			if _, err := ch.Deliver(ctx, m, 0); err != nil { // behind all others
				return err
			}
			if err := p.sys.Quiesce(ctx); err != nil {
				return err
			}
			return p.far.Call("handled", struct{}{}, new(int64))
		})
		if err != nil {
			return err
		}
		r.Set("delivery", ns)
		r.Set("wire", float64(p.sent()-messages)/float64(sends))
		var there int64
		if err := p.far.Call("handled", struct{}{}, &there); err != nil {
			return err
		}
		if want := int64(half * (sends + 1)); here.handled.Load() != want || there != want {
			err = fmt.Errorf("%d and %d messages were handled, and %d each were published", here.handled.Load(), there, want)
		}
		return errors.Join(err, p.settle(ctx))
	})
}

// localChannel is its floor: all subscribers are on the channel's own node.
func localChannel(ctx context.Context, r *harness.Run) error {
	sys, err := actor.NewSystem()
	if err != nil {
		return err
	}
	var here audience
	all := min(100_000, r.N/10)
	ch, err := actor.NewChannel[*payload](sys)
	for i := 0; i < all && err == nil; i++ {
		var ref actor.Ref[*payload]
		if ref, err = actor.Spawn(sys, here.behaviour()); err == nil {
			_, err = ch.Subscribe(ctx, ref)
		}
	}
	if err != nil {
		return errors.Join(err, sys.Stop(ctx))
	}
	m := newPayload(payloadBytes)
	sends := max(r.N/all, 1)
	ns, err := r.Measure(sends*all, func() error {
		for range sends {
			if err := ch.Send(ctx, m); err != nil {
				return err
			}
		}
		return sys.Quiesce(ctx)
	})
	r.Set("delivery", ns)
	r.Set("wire", 0)
	return errors.Join(err, sys.Stop(ctx))
}

// sent is how many messages the near node has sent.
func (p *peers) sent() (n uint64) {
	for _, s := range p.node.Stats() {
		n += s.Sent
	}
	return n
}
