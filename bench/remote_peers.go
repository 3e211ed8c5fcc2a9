package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/bench/internal/far"
	"github.com/greenroom-go/greenroom/bench/internal/harness"
)

// What follows is for remote-monitor.

// downAfter is after how long of silence a peer is declared down where its end is measured: the default, or a second to be short.
func downAfter(r *harness.Run) time.Duration {
	if r.Short {
		return time.Second
	}
	return 5 * time.Second
}

// remoteMonitor has an actor monitor r.N actors of another process, which is killed, and reports how much later than the limit the last
// Down came.
func remoteMonitor(ctx context.Context, r *harness.Run) error {
	limit := downAfter(r)
	return withPeers(ctx, nodeFar{Down: limit}, func(p *peers) error {
		refs, err := p.spawn(r.N)
		if err != nil {
			return err
		}
		index := make(map[actor.AnyRef]int32, r.N)
		for i, ref := range refs {
			index[ref.Any()] = int32(i)
		}
		downs, seen, wrong := make(chan error, 1), 0, error(nil)
		times := make([]uint8, r.N)
		down := func(d actor.Down) *message { //nolint:unparam // nil: there is no message to be made of it
			i, known := index[d.Ref]
			switch {
			case !known:
				wrong = fmt.Errorf("a Down of %v, which nobody monitors", d.Ref)
			case d.Reason.Kind != actor.ReasonNodeDown:
				wrong = fmt.Errorf("%v has ended as %v", d.Ref, d.Reason)
			case times[i] > 0:
				wrong = fmt.Errorf("two Downs of %v", d.Ref)
			default:
				times[i]++
				seen++
			}
			if seen == r.N || wrong != nil {
				select {
				case downs <- wrong:
				default:
				}
			}
			return nil
		}
		watched := make(chan error, 1)
		watcher, err := actor.Spawn(p.sys, actor.Handler(func(ctx *actor.Context, m *message) error {
			if ctx.IsCall() {
				return ctx.Reply(&message{Value: int64(seen)})
			}
			for _, ref := range refs {
				if _, err := actor.Monitor(ctx, ref.Any(), down); err != nil {
					watched <- err
					return nil //nolint:nilerr // watched tells
				}
			}
			_, err := actor.Call[*payload](ctx, refs[len(refs)-1], newPayload(1)) // behind the last one
			watched <- err
			return nil
		}))
		if err != nil {
			return err
		}
		if err := watcher.Send(ctx, &message{}); err != nil {
			return err
		}
		if err := <-watched; err != nil {
			return err
		}
		start := time.Now()
		p.far.Kill()
		select {
		case err = <-downs:
		case <-ctx.Done():
			err = ctx.Err()
		}
		took := time.Since(start)
		if err != nil {
			return err
		}
		if _, err := actor.Call[*message](ctx, watcher, &message{}); err != nil { // behind what came twice
			return err
		}
		select {
		case err := <-downs:
			return err
		default:
		}
		r.Set("", max(float64(took-limit)/float64(time.Millisecond), 0))
		return nil
	})
}

// bareMonitor is its floor: a bare connection that is kept alive as often as nodes tell of themselves.
func bareMonitor(ctx context.Context, r *harness.Run) error {
	limit := downAfter(r)
	return withBare(ctx, bareFar{Idle: limit, KeepAlive: limit / 5}, func(p *barePeer) error {
		conn, err := p.dial(ctx, 0)
		if err != nil {
			return err
		}
		start := time.Now()
		p.far.Kill()
		select {
		case <-conn.Context().Done():
		case <-ctx.Done():
			return ctx.Err()
		}
		r.Set("", max(float64(time.Since(start)-limit)/float64(time.Millisecond), 0))
		return nil
	})
}

// What follows is for remote-idle.

func idleRows() []harness.Row {
	return []harness.Row{
		{Name: "rss", Unit: "KB", Reach: ratio(1/1.3, 0)},
		{Name: "heap", Unit: "KB", Reach: ratio(1/1.3, 0)},
		{Name: "cpu", Unit: "%", Reach: harness.Reach{AtMost: 2}},
	}
}

// herdFar is a far side that is many nodes.
type herdFar struct {
	Dir string // of certificates
	N   int    // how many
}

// start is its Role.
func (f herdFar) start() (far.Methods, error) {
	addrs := make([]string, f.N)
	for i := range addrs {
		_, node, err := nodeFar{Dir: f.Dir}.node(fmt.Sprintf("herd-%d", i))
		if err != nil {
			return nil, err
		}
		addrs[i] = node.Addr()
	}
	return far.Methods{"addrs": far.Do(func(struct{}) ([]string, error) { return addrs, nil })}, nil
}

// weighIdle reports what connect adds for each of r.N peers, and the processor time that is used while nothing happens.
func weighIdle(r *harness.Run, connect func() error) error {
	debug.FreeOSMemory()
	before, err := takeFootprint()
	if err != nil {
		return err
	}
	if err := connect(); err != nil {
		return err
	}
	time.Sleep(time.Second) // what a handshake leaves behind is dropped
	debug.FreeOSMemory()
	after, err := takeFootprint()
	if err != nil {
		return err
	}
	cpuBefore, err := harness.CPUTime()
	if err != nil {
		return err
	}
	start, quiet := time.Now(), 10*time.Second
	if r.Short {
		quiet = 2 * time.Second
	}
	time.Sleep(quiet)
	cpuAfter, err := harness.CPUTime()
	if err != nil {
		return err
	}
	n := float64(r.N)
	r.Set("rss", max(after.rss-before.rss, 0)/n/1e3)
	r.Set("heap", max(after.heap-before.heap, 0)/n/1e3)
	r.Set("cpu", 100*float64(cpuAfter-cpuBefore)/float64(time.Since(start)))
	return nil
}

// remoteIdle is a node with r.N peers that have nothing to say to each other.
func remoteIdle(ctx context.Context, r *harness.Run) error {
	return withCertificates(ctx, func(dir string) error {
		other, err := far.Start(ctx, herdSide, herdFar{Dir: dir, N: r.N})
		if err != nil {
			return err
		}
		var addrs []string
		if err := other.Call("addrs", struct{}{}, &addrs); err != nil {
			return err
		}
		sys, node, err := nodeFar{Dir: dir}.node(nearName)
		if err != nil {
			return errors.Join(err, other.Close())
		}
		err = weighIdle(r, func() error {
			for _, addr := range addrs {
				node.Connect(addr)
			}
			for i := range addrs {
				if _, err := node.Peer(ctx, fmt.Sprintf("herd-%d", i)); err != nil {
					return err
				}
			}
			return nil
		})
		return errors.Join(err, node.Stop(ctx), sys.Stop(ctx), other.Close())
	})
}

// bareIdle is its floor: as many bare connections, some for each peer, with packets as often as nodes send them.
func bareIdle(each int) harness.Func {
	return func(ctx context.Context, r *harness.Run) error {
		return withBare(ctx, bareFar{Listeners: r.N, Idle: 10 * time.Second, KeepAlive: time.Second}, func(p *barePeer) error {
			var conns []*quic.Conn
			err := weighIdle(r, func() error {
				for i := range r.N {
					for range each {
						conn, err := p.dial(ctx, i)
						if err != nil {
							return err
						}
						conns = append(conns, conn)
					}
				}
				return nil
			})
			for _, conn := range conns {
				if err == nil {
					err = context.Cause(conn.Context())
				}
			}
			return err
		})
	}
}
