package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"sync/atomic"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/bench/internal/far"
	"github.com/greenroom-go/greenroom/bench/internal/harness"
	benchv1 "github.com/greenroom-go/greenroom/proto/greenroom/bench/v1"
	"github.com/greenroom-go/greenroom/remote"
)

// The remote benches have two processes: the near side is the one that measures, the far side its child.

// payload is what they send: a message around some bytes.
type payload = benchv1.Payload

const (
	// payloadBytes is how many, where nothing else is said.
	payloadBytes = 64
	// envelopeBytes is what such a message comes to in a frame, between actors that have exchanged some: what floors send in its place.
	envelopeBytes = 72
	// largeBytes is what a large message has.
	largeBytes = 1 << 20
)

func newPayload(n int) *payload { return &payload{Body: make([]byte, n)} }

// The names of the nodes, and of the far sides.
const (
	nearName = "near"
	farName  = "far"
	nodeSide = "node"
	bareSide = "bare"
	herdSide = "herd"
)

// farSides are what the other process can be.
func farSides() map[string]far.Role {
	return map[string]far.Role{
		nodeSide: far.As(nodeFar.start), bareSide: far.As(bareFar.start), herdSide: far.As(herdFar.start),
	}
}

// nodeFar is a far side that is a node.
type nodeFar struct {
	Dir     string        // of certificates
	Network string        // Options.Network
	Down    time.Duration // Options.DownAfter
}

// place is a ref as JSON.
type place struct{ Node, ID uint64 }

// start is its Role.
func (f nodeFar) start() (far.Methods, error) {
	sys, node, err := f.node(farName)
	if err != nil {
		return nil, err
	}
	counted := newTally()
	methods := far.Methods{
		"addr":   far.Do(func(struct{}) (string, error) { return node.Addr(), nil }),
		"stats":  far.Do(func(struct{}) ([]remote.PeerStats, error) { return node.Stats(), nil }),
		"expect": far.Do(func(n int64) (struct{}, error) { counted.expect(n); return struct{}{}, nil }),
		"await":  far.Do(func(struct{}) (struct{}, error) { counted.await(); return struct{}{}, nil }),
		"spawn": far.Do(func(n int) (places []place, err error) {
			for range n {
				ref, err := actor.Spawn(sys, sink(counted))
				if err != nil {
					return nil, err
				}
				places = append(places, place{sys.NodeID(), ref.ID()})
			}
			return places, nil
		}),
	}
	maps.Copy(methods, channelMethods(sys, node))
	return methods, nil
}

// countEvery is how many messages a sink takes before it tells: the lock of the tally is not what is measured.
const countEvery = 64

// sink answers calls and counts messages. It tells at once of those that end a batch: large ones, and those whose seq says so.
func sink(counted *tally) actor.Behaviour[*payload] {
	got := int64(0)
	return actor.Handler(func(ctx *actor.Context, m *payload) error {
		if ctx.IsCall() {
			return ctx.Reply(m)
		}
		if got++; got == countEvery || m.GetSeq() != 0 {
			counted.add(got)
			got = 0
		}
		return nil
	})
}

// node starts a System and its node.
func (f nodeFar) node(name string) (*actor.System, *remote.Node, error) {
	sys, err := actor.NewSystem()
	if err != nil {
		return nil, nil, err
	}
	node, err := remote.Start(sys, remote.Options{
		Name: name, TLS: remote.DevTLS(f.Dir), Network: f.Network, DownAfter: f.Down, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	return sys, node, err
}

// withCertificates runs work with a directory that has certificates for both sides.
func withCertificates(ctx context.Context, work func(dir string) error) error {
	dir, err := os.MkdirTemp("", "greenroom-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for _, name := range []string{nearName, farName} { // DevTLS makes them when a node starts
		sys, node, err := nodeFar{Dir: dir}.node(name)
		if err != nil {
			return err
		}
		if err := errors.Join(node.Stop(ctx), sys.Stop(ctx)); err != nil {
			return err
		}
	}
	return work(dir)
}

// peers are a node here and a far side that is another, linked.
type peers struct {
	sys  *actor.System
	node *remote.Node
	far  *far.Process
}

// withPeers runs work with two nodes. At the end their ledgers have to agree, unless work has ended the far side.
func withPeers(ctx context.Context, f nodeFar, work func(p *peers) error) error {
	return withCertificates(ctx, func(dir string) (err error) {
		f.Dir = dir
		p := &peers{}
		if p.sys, p.node, err = f.node(nearName); err != nil {
			return err
		}
		if p.far, err = far.Start(ctx, nodeSide, f); err != nil {
			return err
		}
		var addr string
		if err = p.far.Call("addr", struct{}{}, &addr); err == nil {
			p.node.Connect(addr)
			if _, err = p.node.Peer(ctx, farName); err == nil {
				err = work(p)
			}
		}
		return errors.Join(err, p.node.Stop(ctx), p.sys.Stop(ctx), p.far.Close())
	})
}

// spawn has the far side spawn n sinks.
func (p *peers) spawn(n int) (refs []actor.Ref[*payload], err error) {
	var places []place
	if err := p.far.Call("spawn", n, &places); err != nil {
		return nil, err
	}
	for _, at := range places {
		ref, err := p.sys.RefAt(at.Node, at.ID)
		if err != nil {
			return nil, err
		}
		typed, ok := actor.TypedRef[*payload](ref)
		if !ok {
			return nil, fmt.Errorf("%v takes no payload", ref)
		}
		refs = append(refs, typed)
	}
	return refs, nil
}

// settle stops the near node, which waits until all has arrived, and holds its ledger against the far one's.
func (p *peers) settle(ctx context.Context) error {
	if err := p.node.Stop(ctx); err != nil {
		return err
	}
	var there []remote.PeerStats
	if err := p.far.Call("stats", struct{}{}, &there); err != nil {
		return err
	}
	here := p.node.Stats()
	if len(here) != 1 || len(there) != 1 {
		return fmt.Errorf("the ledgers know %d and %d peers", len(here), len(there))
	}
	out, in := here[0], there[0]
	if out.Sent != in.Received || out.Confirmed != out.Sent || out.Lost != 0 || in.Dead != 0 || in.Returned != 0 {
		return fmt.Errorf("the ledgers do not agree: sent %d, confirmed %d, lost %d; received %d, dead %d, returned %d",
			out.Sent, out.Confirmed, out.Lost, in.Received, in.Dead, in.Returned)
	}
	return nil
}

func (p *peers) bytesOut() int {
	total := uint64(0)
	for _, s := range p.node.Stats() {
		total += s.BytesOut
	}
	return int(total)
}

// What follows is for remote-send and remote-pairs.

func streamRows() []harness.Row {
	return []harness.Row{
		{Name: "bytes", Unit: "MB/s", Better: harness.Higher, Reach: ratio(0.4, 0.6)},
		{Name: "rate", Unit: "M/s", Better: harness.Higher},
		{Name: "wire", Unit: "B", Reach: harness.Reach{AtMost: 80}},
		{Name: "cpu-sender", Unit: "ns"},
		{Name: "cpu-receiver", Unit: "ns"},
	}
}

// pairsRows are the same; how many bytes it should come to is that of one pair.
func pairsRows() []harness.Row {
	rows := streamRows()
	rows[0].Reach, rows[1].Reach = harness.Reach{}, ratio(1, 0)
	return rows
}

// measureStream reports what work does with r.N messages, after a tenth of them: it returns how many bytes they were.
func measureStream(r *harness.Run, other *far.Process, work func(n int) (bytes int, err error)) error {
	if _, err := work(max(r.N/10, 1)); err != nil {
		return err
	}
	farBefore, err := other.CPU()
	if err != nil {
		return err
	}
	nearBefore, err := harness.CPUTime()
	if err != nil {
		return err
	}
	bytes := 0
	ns, err := r.Measure(r.N, func() (err error) {
		bytes, err = work(r.N)
		return err
	})
	if err != nil {
		return err
	}
	nearAfter, err := harness.CPUTime()
	if err != nil {
		return err
	}
	farAfter, err := other.CPU()
	if err != nil {
		return err
	}
	n := float64(r.N)
	each := float64(bytes) / n
	r.Set("bytes", each/ns*1e3)
	r.Set("rate", 1e3/ns)
	r.Set("wire", each)
	r.Set("cpu-sender", float64(nearAfter-nearBefore)/n)
	r.Set("cpu-receiver", float64(farAfter-farBefore)/n)
	return nil
}

// remoteStream has pairs of actors, the senders here and the receivers there, send r.N messages in all. A sender sends all of its share in
// one turn.
func remoteStream(pairs int, network string) harness.Func {
	return func(ctx context.Context, r *harness.Run) error {
		pairs := min(pairs, max(r.N/10, 1))
		return withPeers(ctx, nodeFar{Network: network}, func(p *peers) error {
			refs, err := p.spawn(pairs)
			if err != nil {
				return err
			}
			m, last := newPayload(payloadBytes), newPayload(payloadBytes)
			last.Seq = 1
			var each atomic.Int64
			failed := make(chan error, pairs)
			senders, err := spawnAll(p.sys, pairs, func(i int) actor.Behaviour[*message] {
				return actor.Handler(func(ctx *actor.Context, _ *message) error {
					var err error
					for n := each.Load(); n > 0 && err == nil; n-- {
						if n > 1 {
							err = refs[i].Send(ctx, m)
						} else {
							err = refs[i].Send(ctx, last)
						}
					}
					failed <- err
					return nil
				})
			})
			if err != nil {
				return err
			}
			err = measureStream(r, p.far, func(n int) (int, error) {
				before := p.bytesOut()
				share := int64(max(n/pairs, 1))
				each.Store(share)
				if err := p.far.Call("expect", share*int64(pairs), nil); err != nil {
					return 0, err
				}
				if err := sendAll(ctx, senders, &message{}); err != nil {
					return 0, err
				}
				for range pairs {
					if err := <-failed; err != nil {
						return 0, err
					}
				}
				err := p.far.Call("await", struct{}{}, nil)
				return p.bytesOut() - before, err
			})
			return errors.Join(err, p.settle(ctx))
		})
	}
}

// What follows is for remote-call.

func callRows() []harness.Row {
	return []harness.Row{{Name: "p50", Unit: "us", Reach: ratio(1/1.4, 0)}, {Name: "p99", Unit: "us"}}
}

// callTimer does one round trip after the other, as long as more says so, and returns how long each took, in microseconds.
type callTimer func(more func(i int) bool) ([]float64, error)

// reportCalls reports r.N round trips, after a tenth of them.
func reportCalls(r *harness.Run, calls callTimer) error {
	upTo := func(n int) func(int) bool { return func(i int) bool { return i < n } }
	if _, err := calls(upTo(max(r.N/10, 1))); err != nil {
		return err
	}
	times, err := calls(upTo(r.N))
	r.Set("p50", harness.Percentile(times, 50))
	r.Set("p99", harness.Percentile(times, 99))
	return err
}

// callsTo is a callTimer for calls of an actor, by a goroutine or, with its Context, an actor.
func callsTo(ctx context.Context, callee actor.Ref[*payload]) callTimer {
	m := newPayload(payloadBytes)
	return func(more func(i int) bool) (times []float64, err error) {
		for i := 0; more(i); i++ {
			start := time.Now()
			if _, err := actor.Call[*payload](ctx, callee, m); err != nil {
				return nil, err
			}
			times = append(times, micros(time.Since(start)))
		}
		return times, nil
	}
}

// remoteCall calls from a goroutine.
func remoteCall(network string) harness.Func {
	return func(ctx context.Context, r *harness.Run) error {
		return withPeers(ctx, nodeFar{Network: network}, func(p *peers) error {
			refs, err := p.spawn(1)
			if err != nil {
				return err
			}
			return errors.Join(reportCalls(r, callsTo(ctx, refs[0])), p.settle(ctx))
		})
	}
}

// remoteCallInside calls from an actor.
func remoteCallInside(network string) harness.Func {
	return func(ctx context.Context, r *harness.Run) error {
		return withPeers(ctx, nodeFar{Network: network}, func(p *peers) error {
			refs, err := p.spawn(1)
			if err != nil {
				return err
			}
			done := make(chan error, 1)
			caller, err := actor.Spawn(p.sys, actor.Handler(func(ctx *actor.Context, _ *message) error {
				done <- reportCalls(r, callsTo(ctx, refs[0]))
				return nil
			}))
			if err != nil {
				return err
			}
			if err := caller.Send(ctx, &message{}); err != nil {
				return err
			}
			return errors.Join(<-done, p.settle(ctx))
		})
	}
}

// What follows is for remote-large.

// largeRow is which of its figures a remote-large bench reports.
type largeRow int

const (
	largeRate  largeRow = iota // the bytes of large messages
	largeCalls                 // the 99th percentile of the calls beside them
)

// measureLarge has r.N large messages sent while calls runs.
func measureLarge(r *harness.Run, row largeRow, calls callTimer, send func(n int) error) error {
	if err := send(max(r.N/10, 1)); err != nil {
		return err
	}
	if _, err := calls(func(i int) bool { return i < max(r.N/10, 1) }); err != nil {
		return err
	}
	var over atomic.Bool
	var times []float64
	called := make(chan error, 1)
	go func() {
		var err error
		times, err = calls(func(i int) bool { return i == 0 || !over.Load() })
		called <- err
	}()
	ns, err := r.Measure(r.N, func() error { return send(r.N) })
	over.Store(true)
	if err := errors.Join(err, <-called); err != nil {
		return err
	}
	if row == largeRate {
		r.Set("", largeBytes/ns*1e3)
	} else {
		r.Set("", harness.Percentile(times, 99))
	}
	return nil
}

// withLarge runs work with what sends large messages to one actor and calls another.
func withLarge(ctx context.Context, network string, work func(calls callTimer, send func(n int) error) error) error {
	return withPeers(ctx, nodeFar{Network: network}, func(p *peers) error {
		refs, err := p.spawn(2)
		if err != nil {
			return err
		}
		large := newPayload(largeBytes)
		large.Seq = 1
		done := make(chan error, 1)
		sender, err := actor.Spawn(p.sys, actor.Handler(func(ctx *actor.Context, m *message) error {
			var err error
			for range m.GetValue() {
				if err = refs[0].Send(ctx, large); err != nil {
					break
				}
			}
			done <- err
			return nil //nolint:nilerr // done tells
		}))
		if err != nil {
			return err
		}
		err = work(callsTo(ctx, refs[1]), func(n int) error {
			if err := p.far.Call("expect", n, nil); err != nil {
				return err
			}
			if err := sender.Send(ctx, &message{Value: int64(n)}); err != nil {
				return err
			}
			if err := <-done; err != nil {
				return err
			}
			return p.far.Call("await", struct{}{}, nil)
		})
		return errors.Join(err, p.settle(ctx))
	})
}

func remoteLarge(row largeRow, network string) harness.Func {
	return func(ctx context.Context, r *harness.Run) error {
		return withLarge(ctx, network, func(calls callTimer, send func(n int) error) error {
			return measureLarge(r, row, calls, send)
		})
	}
}

// remoteLargeAlone is the calls of remote-large/calls without anything beside them.
func remoteLargeAlone(ctx context.Context, r *harness.Run) error {
	return withLarge(ctx, "", func(calls callTimer, _ func(n int) error) error {
		n := 5 * r.N
		if _, err := calls(func(i int) bool { return i < max(n/10, 1) }); err != nil {
			return err
		}
		times, err := calls(func(i int) bool { return i < n })
		r.Set("", harness.Percentile(times, 99))
		return err
	})
}
