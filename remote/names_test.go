package remote_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	benchv1 "github.com/greenroom-go/greenroom/proto/greenroom/bench/v1"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/registry"
	"github.com/greenroom-go/greenroom/remote"
	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/link/simlink"
)

// bay is a simulated network with nodes that look for each other. It lives in a bubble.
type bay struct {
	t   *testing.T
	net *simlink.Network
}

// berth is one of its nodes.
type berth struct {
	*remote.Node
	t   *testing.T
	sys *actor.System
}

// inBay runs f in a bubble.
func inBay(t *testing.T, f func(t *testing.T, b *bay)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		net := simlink.New(1)
		f(t, &bay{t, net})
	})
}

func bayAddr(name string) string { return name + ":1" }

// start starts a node that is kept linked to peers. It is stopped when the test ends.
func (b *bay) start(name string, peers ...string) *berth {
	return b.startWith(remote.Options{Name: name}, link.AllRoles, peers...)
}

func (b *bay) startWith(o remote.Options, roles remote.Roles, peers ...string) *berth {
	b.t.Helper()
	for _, p := range peers {
		o.Peers = append(o.Peers, bayAddr(p))
	}
	o.Logger = slog.New(slog.DiscardHandler)
	sys := actortest.New(b.t)
	tr := b.net.Node(bayAddr(o.Name), link.Identity{Name: o.Name, Roles: roles})
	n, err := remote.Start(sys, remote.Over(o, bayAddr(o.Name), tr))
	if err != nil {
		b.t.Fatal(err)
	}
	s := &berth{n, b.t, sys}
	b.t.Cleanup(s.stop)
	return s
}

func (s *berth) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_ = s.Stop(ctx) // peers that were cut off have not confirmed all
}

// knows waits until the peers are up.
func (s *berth) knows(peers ...string) {
	s.t.Helper()
	for _, p := range peers {
		if _, err := s.Peer(soon(s.t), p); err != nil {
			s.t.Fatal(err)
		}
	}
}

// loses waits until the peer is down.
func (s *berth) loses(peer string) {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for s.status(peer) == remote.PeerUp {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s is still up", peer)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func (s *berth) status(peer string) remote.PeerStatus {
	for _, p := range s.Peers() {
		if p.Name == peer {
			return p.Status
		}
	}
	return remote.PeerDown
}

// squares spawns an actor that squares numbers, by that name if it is not empty.
func (s *berth) squares(name string) actor.Ref[*benchv1.Number] {
	return actor.MustSpawn(s.sys, actor.Handler(func(ctx *actor.Context, m *benchv1.Number) error {
		if !ctx.IsCall() {
			return nil
		}
		return ctx.Reply(&benchv1.Number{Value: m.GetValue() * m.GetValue()})
	}), actor.Options{Name: name})
}

// texts spawns an actor that takes texts.
func (s *berth) texts(name string) actor.Ref[*benchv1.Text] {
	return actor.MustSpawn(s.sys, actor.Handler(func(*actor.Context, *benchv1.Text) error { return nil }), actor.Options{Name: name})
}

// finish ends an actor.
func (s *berth) finish(r actor.AnyRef) {
	s.t.Helper()
	r.Kill()
	var exit *actor.ExitError
	if _, err := r.Wait(soon(s.t)); err != nil && !errors.As(err, &exit) {
		s.t.Errorf("the end of %v: %v", r, err)
	}
}

// soon is a context for a wait that must end by itself.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// located is a Locate that is under way.
type located struct {
	t    *testing.T
	done chan struct{}
	ref  actor.Ref[*benchv1.Number]
	err  error
}

func (s *berth) locating(ctx context.Context, name string, at ...string) *located {
	l := &located{t: s.t, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		l.ref, l.err = remote.Locate[*benchv1.Number](ctx, s.Node, name, at...)
	}()
	return l
}

// waits checks that nobody was found yet.
func (l *located) waits() {
	l.t.Helper()
	synctest.Wait()
	select {
	case <-l.done:
		l.t.Fatalf("located %v, %v", l.ref, l.err)
	default:
	}
}

// finds waits for the actor, and checks that it answers.
func (l *located) finds(id uint64) {
	l.t.Helper()
	<-l.done
	if l.err != nil || l.ref.ID() != id {
		l.t.Fatalf("located %v, %v, want %d", l.ref, l.err, id)
	}
	if r, err := actor.Call[*benchv1.Number](soon(l.t), l.ref, &benchv1.Number{Value: 7}); err != nil || r.GetValue() != 49 {
		l.t.Fatalf("%v answers %v, %v", l.ref, r, err)
	}
}

func (l *located) fails(want error) {
	l.t.Helper()
	<-l.done
	sameErr(l.t, l.err, want)
}

func sameErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%v, want %v", err, want)
	}
}

// standing checks how many queries wait for a name.
func (s *berth) standing(name string, want int) {
	s.t.Helper()
	for range 100 {
		synctest.Wait()
		if s.sys.Names().Watchers(name) == want {
			return
		}
		<-time.After(20 * time.Millisecond) // what is on its way arrives
	}
	s.t.Errorf("%d queries for %q stand at %s, want %d", s.sys.Names().Watchers(name), name, s.Name(), want)
}

// TestLookupAtAPeer holds what its name says (FIND-1).
func TestLookupAtAPeer(t *testing.T) {
	inBay(t, func(t *testing.T, b *bay) {
		alpha, beta := b.start("alpha"), b.start("beta", "alpha")
		beta.knows("alpha")
		squares := alpha.squares("squares")
		lookup := func(peer, name string) (actor.Ref[*benchv1.Number], error) {
			return remote.Lookup[*benchv1.Number](soon(t), beta.Node, peer, name)
		}
		r, err := lookup("alpha", "squares")
		if err != nil || r.ID() != squares.ID() || !r.Remote() {
			t.Fatal(r, err)
		}
		if m, err := actor.Call[*benchv1.Number](soon(t), r, &benchv1.Number{Value: 3}); err != nil || m.GetValue() != 9 {
			t.Error(m, err)
		}
		sameErr(t, registry.Of(alpha.sys).Alias("powers", "squares"), nil)
		if r, err := lookup("alpha", "powers"); err != nil || r.ID() != squares.ID() {
			t.Error("by alias:", r, err)
		}
		for _, c := range []struct {
			peer, name string
			want       error
		}{
			{"alpha", "nobody", actor.ErrNoName}, {"gamma", "squares", remote.ErrNoPeer}, {"alpha", "", actor.ErrBadName},
			{"alpha", strings.Repeat("x", 256), actor.ErrBadName}, {"beta", "squares", actor.ErrNoName},
		} {
			_, err := lookup(c.peer, c.name)
			sameErr(t, err, c.want)
		}
		_, err = remote.Lookup[*benchv1.Text](soon(t), beta.Node, "alpha", "squares")
		sameErr(t, err, actor.ErrWrongType)
		if whoever, err := remote.Lookup[proto.Message](soon(t), beta.Node, "alpha", "squares"); err != nil || whoever.ID() != squares.ID() {
			t.Error("of any type:", whoever, err)
		}
		alpha.finish(squares.AnyRef)
		_, err = lookup("alpha", "squares")
		sameErr(t, err, actor.ErrNoName)
		if own, err := remote.Lookup[*benchv1.Number](soon(t), alpha.Node, "alpha", "squares"); !errors.Is(err, actor.ErrNoName) {
			t.Error("at home:", own, err)
		}
	})
}

// A service's messages are an interface, which another node knows by its Go name.
func TestTakes(t *testing.T) {
	for want, got := range map[string]string{
		"greenroom.bench.v1.Number":                                    actor.MessageName[*benchv1.Number](),
		"google.golang.org/protobuf/reflect/protoreflect.ProtoMessage": actor.MessageName[proto.Message](),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestLocateElsewhere holds what its name says (FIND-2).
func TestLocateElsewhere(t *testing.T) {
	inBay(t, func(t *testing.T, b *bay) {
		alpha, beta, gamma := b.start("alpha"), b.start("beta", "alpha"), b.start("gamma", "alpha", "beta")
		gamma.knows("alpha", "beta")
		early := alpha.squares("early")
		gamma.locating(soon(t), "early").finds(early.ID())

		l := gamma.locating(soon(t), "late")
		l.waits()
		alpha.standing("late", 1)
		beta.standing("late", 1)
		late := beta.squares("late")
		l.finds(late.ID())
		alpha.standing("late", 0)
		beta.standing("late", 0)
		gamma.standing("late", 0)

		// An alias that comes to stand for somebody.
		l = gamma.locating(soon(t), "alias")
		l.waits()
		sameErr(t, registry.Of(alpha.sys).Alias("alias", "named"), nil)
		l.waits()
		named := alpha.squares("named")
		l.finds(named.ID())

		// This node's own come first, and may come late.
		own := gamma.squares("late")
		l = gamma.locating(soon(t), "late")
		l.finds(own.ID())
		l = gamma.locating(soon(t), "mine")
		l.waits()
		mine := gamma.squares("mine")
		l.finds(mine.ID())
		alpha.standing("mine", 0)
	})
}

// Peers that come up later are asked, too, and so are those that come back (FIND-2).
func TestLocateAtPeersToCome(t *testing.T) {
	inBay(t, func(t *testing.T, b *bay) {
		alpha := b.start("alpha")
		l := alpha.locating(soon(t), "squares")
		pinned := alpha.locating(soon(t), "squares", "gamma")
		l.waits()
		beta := b.start("beta", "alpha")
		alpha.knows("beta")
		beta.standing("squares", 1)
		squares := beta.squares("squares")
		l.finds(squares.ID())
		pinned.waits()
		gamma := b.start("gamma", "alpha")
		other := gamma.squares("squares")
		pinned.finds(other.ID())
		if n := pinned.ref.Node(); n != gamma.sys.NodeID() {
			t.Errorf("found on %x", n)
		}
		beta.standing("squares", 0)

		// Locally only: nobody else is asked.
		ctx, cancel := context.WithCancel(t.Context())
		l = alpha.locating(ctx, "squares", "alpha")
		l.waits()
		cancel()
		l.fails(context.Canceled)
		_, err := remote.Locate[*benchv1.Number](t.Context(), alpha.Node, "squares", "not a name")
		if err == nil {
			t.Error("a node of no name was asked")
		}
	})
}

// TestLocateIsGivenUp holds what its name says (FIND-3).
func TestLocateIsGivenUp(t *testing.T) {
	inBay(t, func(t *testing.T, b *bay) {
		alpha, beta := b.start("alpha"), b.start("beta", "alpha")
		beta.knows("alpha")
		ctx, cancel := context.WithCancel(t.Context())
		l := beta.locating(ctx, "x")
		alpha.standing("x", 1)
		cancel()
		l.fails(context.Canceled)
		alpha.standing("x", 0)

		// An actor's query ends with the actor.
		asks := actor.MustSpawn(beta.sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*benchv1.Ping]) error {
			_, err := remote.Locate[*benchv1.Number](ctx, beta.Node, "x")
			return err
		}))
		alpha.standing("x", 1)
		beta.finish(asks.AnyRef)
		alpha.standing("x", 0)

		// A node that stops, and one that dies, take theirs along.
		l = beta.locating(t.Context(), "x")
		alpha.standing("x", 1)
		sameErr(t, beta.Stop(soon(t)), nil)
		l.fails(remote.ErrStopped)
		alpha.standing("x", 0)
		gamma := b.start("gamma", "alpha")
		gamma.knows("alpha")
		l = gamma.locating(t.Context(), "x")
		alpha.standing("x", 1)
		b.net.Kill(bayAddr("gamma"))
		alpha.loses("gamma")
		alpha.standing("x", 0)
		sameErr(t, gamma.Stop(soon(t)), nil)
		l.fails(remote.ErrStopped)
	})
}

// What one peer answers ends nothing: neither that it has nobody, nor that it goes while it is asked (FIND-2).
func TestLocateOutlivesPeers(t *testing.T) {
	inBay(t, func(t *testing.T, b *bay) {
		alpha, beta, gamma := b.start("alpha"), b.start("beta", "alpha"), b.start("gamma", "alpha")
		alpha.knows("beta", "gamma")
		l := alpha.locating(soon(t), "x")
		gone := alpha.locating(soon(t), "y", "beta")
		beta.standing("x", 1)
		gamma.standing("x", 1)
		b.net.Kill(bayAddr("beta"))
		beta.stop()
		alpha.loses("beta")
		l.waits()
		gone.waits()
		b.net.Cut(bayAddr("alpha"), bayAddr("gamma")) // the answer comes by the next link
		x := gamma.squares("x")
		l.finds(x.ID())

		again := b.start("beta", "alpha")
		y := again.squares("y")
		gone.finds(y.ID())
	})
}

// An answer that is on its way when the link dies is not lost, and neither is a question (FIND-2).
func TestLocateOverACutLink(t *testing.T) {
	inBay(t, func(t *testing.T, b *bay) {
		alpha, beta := b.start("alpha"), b.start("beta", "alpha")
		beta.knows("alpha")
		for i := range 20 {
			name := fmt.Sprint("x", i)
			b.net.Partition(bayAddr("alpha"), bayAddr("beta"))
			l := beta.locating(soon(t), name)
			l.waits()
			b.net.Cut(bayAddr("alpha"), bayAddr("beta"))
			b.net.Heal(bayAddr("alpha"), bayAddr("beta"))
			if i%2 == 0 {
				alpha.standing(name, 1)
			}
			b.net.Partition(bayAddr("alpha"), bayAddr("beta"))
			x := alpha.squares(name)
			l.waits()
			b.net.Cut(bayAddr("alpha"), bayAddr("beta"))
			b.net.Heal(bayAddr("alpha"), bayAddr("beta"))
			l.finds(x.ID())
			alpha.standing(name, 0)
		}
	})
}

func TestLocateWrongType(t *testing.T) {
	inBay(t, func(t *testing.T, b *bay) {
		alpha, beta, gamma := b.start("alpha"), b.start("beta", "alpha"), b.start("gamma", "alpha")
		alpha.knows("beta", "gamma")
		text := beta.texts("x")
		l := alpha.locating(soon(t), "x")
		l.waits()
		beta.standing("x", 1) // it is asked again, for somebody else
		gamma.standing("x", 1)
		beta.finish(text.AnyRef)
		x := beta.squares("x")
		l.finds(x.ID())

		gamma.texts("y")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		l = alpha.locating(ctx, "y")
		l.fails(context.DeadlineExceeded)
		if !strings.Contains(l.err.Error(), "gamma") {
			t.Errorf("%v does not tell of gamma", l.err)
		}
		alpha.locating(soon(t), "y", "gamma").fails(actor.ErrWrongType)
		alpha.locating(soon(t), "y", "gamma", "beta").waits()
		beta.squares("y")
		alpha.texts("z")
		alpha.locating(soon(t), "z").fails(actor.ErrWrongType)
		alpha.locating(soon(t), "").fails(actor.ErrBadName)
	})
}

// A peer without the role may neither ask nor be told; policies for types of messages are not asked about the services.
func TestLocateNeedsTheRole(t *testing.T) {
	inBay(t, func(t *testing.T, b *bay) {
		alpha := b.startWith(remote.Options{Name: "alpha", Policy: remote.Policy{Accept: func(_, m string) bool { return m == "greenroom.bench.v1.Number" }}}, link.AllRoles)
		beta := b.startWith(remote.Options{Name: "beta"}, link.MayFiles, "alpha")
		gamma := b.start("gamma", "alpha")
		beta.knows("alpha")
		gamma.knows("alpha")
		x := alpha.squares("x")
		_, err := remote.Lookup[*benchv1.Number](soon(t), beta.Node, "alpha", "x")
		sameErr(t, err, remote.ErrRefused)
		beta.locating(soon(t), "x", "alpha").fails(remote.ErrRefused)
		gamma.locating(soon(t), "x").finds(x.ID())
	})
}

// TestLocateLimit holds what its name says (FIND-3).
func TestLocateLimit(t *testing.T) {
	inBay(t, func(t *testing.T, b *bay) {
		alpha, beta := b.start("alpha"), b.start("beta", "alpha")
		beta.knows("alpha")
		ctx, cancel := context.WithCancel(t.Context())
		var over sync.WaitGroup
		const most = 4096
		for range most {
			over.Go(func() { _, _ = remote.Locate[*benchv1.Number](ctx, beta.Node, "x") })
		}
		alpha.standing("x", most)
		beta.locating(soon(t), "x").fails(remote.ErrLimit)

		// Here nobody relies on it.
		info, err := beta.Peer(ctx, "alpha")
		if err != nil {
			t.Fatal(err)
		}
		service, err := beta.sys.RefAt(info.Incarnation, 2)
		if err != nil {
			t.Fatal(err)
		}
		to := actor.Ref[*greenroomv1.NameQuery]{AnyRef: service}
		_, err = actor.Call[*greenroomv1.NameHolder](soon(t), to, &greenroomv1.NameQuery{Name: "x", Wait: true})
		sameErr(t, err, remote.ErrLimit)
		_, err = actor.Call[*greenroomv1.NameHolder](soon(t), to, &greenroomv1.NameQuery{Wait: true})
		sameErr(t, err, actor.ErrBadName)
		_, err = actor.Call[*greenroomv1.NameHolder](soon(t), actor.Ref[*benchv1.Ping]{AnyRef: service}, &benchv1.Ping{})
		sameErr(t, err, actor.ErrWrongType)
		cancel()
		over.Wait()
		alpha.standing("x", 0)
		x := alpha.squares("x")
		beta.locating(soon(t), "x").finds(x.ID())
	})
}

// Whoever watches peers is told of a restart, also if it was not noticed that the peer went down.
func TestRestartIsTold(t *testing.T) {
	inBay(t, func(t *testing.T, b *bay) {
		alpha, beta := b.start("alpha"), b.start("beta", "alpha")
		alpha.knows("beta")
		events := make(chan remote.PeerEvent, 10)
		actor.MustSpawn(alpha.sys, actor.Handler(func(*actor.Context, *benchv1.Ping) error { return nil }), actor.Options{OnStart: func(ctx *actor.Context) error {
			_, err := remote.WatchPeers(ctx, alpha.Node, func(e remote.PeerEvent) *benchv1.Ping { events <- e; return &benchv1.Ping{} })
			return err
		}})
		first := <-events
		b.net.Kill(bayAddr("beta"))
		again := b.start("beta", "alpha")
		down, up := <-events, <-events
		if down.Status != remote.PeerDown || down.Peer.Incarnation != first.Peer.Incarnation || up.Status != remote.PeerUp || up.Peer.Incarnation != again.sys.NodeID() {
			t.Errorf("told %+v, then %+v, then %+v", first, down, up)
		}
		beta.stop()
	})
}
