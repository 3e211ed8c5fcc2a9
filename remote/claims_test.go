package remote_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	benchv1 "github.com/greenroom-go/greenroom/proto/greenroom/bench/v1"
	"github.com/greenroom-go/greenroom/registry"
	"github.com/greenroom-go/greenroom/registry/cluster"
	"github.com/greenroom-go/greenroom/remote"
	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// sees waits until the node finds that actor by the name, nobody if it is the zero ref.
func (s *berth) sees(name string, want actor.AnyRef) {
	s.t.Helper()
	var got actor.Ref[*benchv1.Number]
	var err error
	for range 500 {
		got, err = remote.Find[*benchv1.Number](s.Node, name)
		if want.IsZero() && errors.Is(err, actor.ErrNoName) || err == nil && got.ID() == want.ID() && got.Node() == want.Node() {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	s.t.Fatalf("%s finds %v, %v for %q, want %v", s.Name(), got, err, name, want)
}

// counts waits until so many are in the group, as the node sees it.
func (s *berth) counts(group string, want int) {
	s.t.Helper()
	for range 500 {
		if len(s.Group(group)) == want {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	s.t.Fatalf("%s sees %v in %q, want %d", s.Name(), s.Group(group), group, want)
}

// Without gossip, names go over the links (FIND-4).
func TestClaims(t *testing.T) {
	inBay(t, func(t *testing.T, b *bay) {
		alpha, beta := b.start("alpha"), b.start("beta", "alpha")
		beta.knows("alpha")
		first, second := alpha.squares(""), beta.squares("")
		waits := make(chan error)
		go func() {
			r, err := remote.Await[*benchv1.Number](soon(t), beta.Node, "king")
			if err == nil && r.ID() != first.ID() {
				err = fmt.Errorf("awaited %v", r)
			}
			waits <- err
		}()
		sameErr(t, alpha.Claim("king", first, nil), nil)
		sameErr(t, alpha.Claim("king", first, nil), nil)
		sameErr(t, <-waits, nil)
		beta.sees("king", first.AnyRef)
		sameErr(t, beta.Claim("king", second, nil), actor.ErrNameTaken)
		sameErr(t, beta.Release("king", second), actor.ErrNoName)
		_, err := remote.Find[*benchv1.Text](beta.Node, "king")
		sameErr(t, err, actor.ErrWrongType)
		r, err := remote.Find[*benchv1.Number](beta.Node, "king")
		if err != nil {
			t.Fatal(err)
		}
		if m, err := actor.Call[*benchv1.Number](soon(t), r, &benchv1.Number{Value: 4}); err != nil || m.GetValue() != 16 {
			t.Error(m, err)
		}

		// A node that comes later learns of what there is.
		gamma := b.start("gamma", "alpha", "beta")
		gamma.sees("king", first.AnyRef)

		// Release, and the actor's end.
		sameErr(t, alpha.Release("king", first), nil)
		beta.sees("king", actor.AnyRef{})
		sameErr(t, alpha.Release("king", first), actor.ErrNoName)
		sameErr(t, beta.Claim("king", second, nil), nil)
		alpha.sees("king", second.AnyRef)
		beta.finish(second.AnyRef)
		alpha.sees("king", actor.AnyRef{})
		gamma.sees("king", actor.AnyRef{})

		// The node's end.
		third := gamma.squares("")
		sameErr(t, gamma.Claim("king", third, nil), nil)
		alpha.sees("king", third.AnyRef)
		b.net.Kill(bayAddr("gamma"))
		alpha.sees("king", actor.AnyRef{})

		for _, c := range []struct{ err, want error }{
			{beta.Claim("king", second, nil), actor.ErrStopped}, {beta.Claim("king", nil, nil), actor.ErrNoActor},
			{beta.Claim("king", r, nil), actor.ErrOtherSystem}, {alpha.Claim("", first, nil), actor.ErrBadName},
			{beta.Release("king", r), actor.ErrOtherSystem},
		} {
			sameErr(t, c.err, c.want)
		}
		_, err = remote.Find[*benchv1.Number](beta.Node, "")
		sameErr(t, err, actor.ErrBadName)
		_, err = remote.Await[*benchv1.Number](soon(t), beta.Node, "")
		sameErr(t, err, actor.ErrBadName)
	})
}

// Of two claims made out of hearing the older one stays, and who made the other is told (FIND-4).
func TestClaimIsLost(t *testing.T) {
	inBay(t, func(t *testing.T, b *bay) {
		alpha, beta := b.start("alpha"), b.start("beta", "alpha")
		alpha.knows("beta")
		beta.knows("alpha")
		b.net.Partition(bayAddr("alpha"), bayAddr("beta"))
		alpha.loses("beta")
		beta.loses("alpha")
		one, two := alpha.squares(""), beta.squares("")
		lost := make(chan actor.AnyRef, 1)
		sameErr(t, alpha.Claim("king", one, func(actor.AnyRef) { t.Error("alpha lost its claim") }), nil)
		sameErr(t, beta.Claim("king", two, func(by actor.AnyRef) { lost <- by; panic("a user's mistake") }), nil)
		b.net.Heal(bayAddr("alpha"), bayAddr("beta"))
		if by := <-lost; by.ID() != one.ID() || by.Node() != alpha.sys.NodeID() {
			t.Errorf("lost to %v", by)
		}
		beta.sees("king", one.AnyRef)
		sameErr(t, beta.Release("king", two), actor.ErrNoName)
		sameErr(t, beta.Claim("king", two, nil), actor.ErrNameTaken)
		alpha.finish(one.AnyRef)
		beta.sees("king", actor.AnyRef{})
		sameErr(t, beta.Claim("king", two, nil), nil)
		alpha.sees("king", two.AnyRef)
	})
}

// TestGroupsAcrossNodes holds what its name says (FIND-5).
func TestGroupsAcrossNodes(t *testing.T) {
	inBay(t, func(t *testing.T, b *bay) {
		alpha, beta, gamma := b.start("alpha"), b.start("beta", "alpha"), b.start("gamma", "alpha", "beta")
		gamma.knows("alpha", "beta")
		got := make(chan string, 100)
		worker := func(s *berth) actor.Ref[*benchv1.Number] {
			return actor.MustSpawn(s.sys, actor.Handler(func(*actor.Context, *benchv1.Number) error { got <- s.Name(); return nil }))
		}
		a1, a2, b1, g1 := worker(alpha), worker(alpha), worker(beta), worker(gamma)
		for _, err := range []error{
			alpha.JoinGroup("workers", a1), alpha.JoinGroup("workers", a1), alpha.JoinGroup("workers", a2),
			beta.JoinGroup("workers", b1), gamma.JoinGroup("workers", g1),
		} {
			sameErr(t, err, nil)
		}
		for _, s := range []*berth{alpha, beta, gamma} {
			s.counts("workers", 4)
		}
		if n, err := beta.Group("workers").Send(soon(t), &benchv1.Number{}); n != 4 || err != nil {
			t.Error(n, err)
		}
		var all []string
		for range 4 {
			all = append(all, <-got)
		}
		if slices.Sort(all); !slices.Equal(all, []string{"alpha", "alpha", "beta", "gamma"}) {
			t.Errorf("%v got it", all)
		}
		sameErr(t, alpha.LeaveGroup("workers", a1), nil)
		sameErr(t, alpha.LeaveGroup("workers", a1), registry.ErrNotMember)
		beta.counts("workers", 3)
		alpha.finish(a2.AnyRef)
		beta.counts("workers", 2)
		b.net.Kill(bayAddr("gamma"))
		beta.counts("workers", 1)
		if n := len(beta.Group("nobody's")); n != 0 {
			t.Errorf("%d are in it", n)
		}
		gamma.stop()
		sameErr(t, gamma.JoinGroup("workers", g1), remote.ErrStopped)
		if gamma.Group("workers") != nil {
			t.Error("a node that has stopped sees a group")
		}
	})
}

// Who watches is told what is, and then each change.
func TestWatchClusterNames(t *testing.T) {
	inBay(t, func(t *testing.T, b *bay) {
		alpha, beta := b.start("alpha"), b.start("beta", "alpha")
		beta.knows("alpha")
		events := make(chan string, 100)
		ping := func(format string, args ...any) *benchv1.Ping {
			events <- fmt.Sprintf(format, args...)
			return &benchv1.Ping{}
		}
		watcher := actor.MustSpawn(beta.sys, actor.Handler(func(*actor.Context, *benchv1.Ping) error { return nil }), actor.Options{OnStart: func(ctx *actor.Context) error {
			_, err := remote.WatchName(ctx, beta.Node, "king", func(e remote.NameEvent) *benchv1.Ping {
				return ping("%s %s %d", e.Name, e.Node, e.Ref.ID()&0xffffffff>>31)
			})
			_, err2 := remote.WatchGroup(ctx, beta.Node, "workers", func(e remote.GroupEvent) *benchv1.Ping {
				return ping("%s %t %d +%d -%d", e.Group, e.Members != nil, len(e.Members), len(e.Joined), len(e.Left))
			})
			_, err3 := remote.WatchName(ctx, beta.Node, "", func(remote.NameEvent) *benchv1.Ping { return nil })
			if !errors.Is(err3, actor.ErrBadName) {
				t.Error(err3)
			}
			return errors.Join(err, err2)
		}})
		next := func(want string) {
			t.Helper()
			if got := <-events; got != want {
				t.Errorf("told %q, want %q", got, want)
			}
		}
		next("king  0")
		next("workers true 0 +0 -0")
		a := alpha.squares("")
		sameErr(t, alpha.Claim("king", a, nil), nil)
		next("king alpha 0")
		sameErr(t, alpha.JoinGroup("workers", a), nil)
		next("workers false 0 +1 -0")
		alpha.finish(a.AnyRef)
		seen := []string{<-events, <-events}
		if slices.Sort(seen); !slices.Equal(seen, []string{"king  0", "workers false 0 +0 -1"}) {
			t.Errorf("told %q", seen)
		}
		beta.finish(watcher.AnyRef)
	})
}

// A node publishes thousands of names, and one that was slow to listen gets them all.
func TestManyClaims(t *testing.T) {
	inBay(t, func(t *testing.T, b *bay) {
		alpha, beta := b.start("alpha"), b.start("beta", "alpha")
		beta.knows("alpha")
		a := alpha.squares("")
		b.net.Partition(bayAddr("alpha"), bayAddr("beta"))
		for i := range 8192 {
			sameErr(t, alpha.Claim(fmt.Sprint("name ", i), a, nil), nil)
			if i%100 == 0 {
				synctest.Wait()
			}
		}
		sameErr(t, alpha.Claim("one more", a, nil), remote.ErrLimit)
		sameErr(t, alpha.JoinGroup("one more", a), remote.ErrLimit)
		b.net.Heal(bayAddr("alpha"), bayAddr("beta"))
		for i := range 8192 {
			beta.sees(fmt.Sprint("name ", i), a.AnyRef)
		}
		alpha.finish(a.AnyRef)
		beta.sees("name 1", actor.AnyRef{})
		beta.sees("name 8191", actor.AnyRef{})
	})
}

// A node without the role publishes nothing to those who do not grant it.
func TestClaimsNeedTheRole(t *testing.T) {
	inBay(t, func(t *testing.T, b *bay) {
		alpha := b.start("alpha")
		beta := b.startWith(remote.Options{Name: "beta"}, link.MayFiles, "alpha")
		beta.knows("alpha")
		sameErr(t, beta.Claim("king", beta.squares(""), nil), nil)
		a := alpha.squares("")
		sameErr(t, alpha.Claim("king", a, nil), nil)
		<-time.After(time.Second)
		alpha.sees("king", a.AnyRef)
	})
}

// A fixed list is a membership: its nodes connect, and names go over the links.
func TestStaticMembership(t *testing.T) {
	inBay(t, func(t *testing.T, b *bay) {
		list := func() cluster.Membership {
			m, err := cluster.NewStaticMembership(cluster.Member{Name: "alpha", Addr: "alpha:1"}, cluster.Member{Name: "beta", Addr: "beta:1"}, cluster.Member{Name: "gamma", Addr: "gamma:1"})
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		nodes := map[string]*berth{}
		for _, name := range []string{"gamma", "alpha", "beta"} {
			nodes[name] = b.startWith(remote.Options{Name: name, Membership: list()}, link.AllRoles)
		}
		alpha, beta, gamma := nodes["alpha"], nodes["beta"], nodes["gamma"]
		alpha.knows("beta", "gamma")
		beta.knows("alpha", "gamma")
		if n := len(alpha.Members()); n != 3 {
			t.Errorf("%d members", n)
		}
		a := alpha.squares("")
		sameErr(t, alpha.Claim("king", a, nil), nil)
		gamma.sees("king", a.AnyRef)
		b.net.Kill(bayAddr("beta"))
		alpha.loses("beta")
		again := b.startWith(remote.Options{Name: "beta", Membership: list()}, link.AllRoles)
		alpha.knows("beta")
		again.sees("king", a.AnyRef)
	})
}

// finder is a Discovery whose answer changes.
type finder struct{ found chan []string }

func (f *finder) Seeds(ctx context.Context) ([]string, error) {
	select {
	case list := <-f.found:
		return list, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestDiscovery(t *testing.T) {
	inBay(t, func(t *testing.T, b *bay) {
		b.start("beta")
		f := &finder{make(chan []string)}
		alpha := b.startWith(remote.Options{Name: "alpha", Discovery: f}, link.AllRoles)
		f.found <- nil
		f.found <- []string{"alpha:1", "no address", "nobody:1"}
		f.found <- []string{"beta:1"}
		alpha.knows("beta")
		if got := alpha.Members(); len(got) != 2 || got[0].Name != "alpha" || got[1].Name != "beta" || got[1].Addr != "beta:1" {
			t.Errorf("members %v", got)
		}
		b.net.Kill(bayAddr("beta"))
		alpha.loses("beta")
		b.start("gamma")
		f.found <- []string{"gamma:1"} // it is alone, and asks again
		alpha.knows("gamma")
	})
}

func TestMembershipOptions(t *testing.T) {
	inBay(t, func(t *testing.T, b *bay) {
		list, err := cluster.NewStaticMembership()
		if err != nil {
			t.Fatal(err)
		}
		sys, err := actor.NewSystem()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = sys.Stop(context.Background()) }()
		for name, o := range map[string]remote.Options{
			"gossip without an address": {Gossip: remote.GossipOptions{SyncInterval: time.Second}},
			"gossip and a membership":   {Gossip: remote.GossipOptions{Listen: "127.0.0.1:0"}, Membership: list},
			"gossip without a secret":   {Gossip: remote.GossipOptions{Listen: "127.0.0.1:0"}},
			"nowhere to connect to":     {Membership: list, Advertise: "0.0.0.0:7"},
		} {
			o.Name = "alpha"
			n, err := remote.Start(sys, remote.Over(o, "alpha:1", b.net.Node("alpha:1", link.Identity{Name: "alpha"})))
			if err == nil || n != nil {
				t.Errorf("%s: %v", name, err)
			}
			t.Log(err)
		}
	})
}
