package registry_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	"github.com/greenroom-go/greenroom/registry"
)

// wantMembers checks who is in a group.
func wantMembers(t *testing.T, reg *registry.Registry, name string, want ...actor.AnyRef) {
	t.Helper()
	got := reg.Members(name)
	missing := map[actor.AnyRef]bool{}
	for _, r := range want {
		missing[r] = true
	}
	for r := range got.All() {
		if !missing[r] {
			t.Errorf("%v is in %s, or twice", r, name)
		}
		delete(missing, r)
	}
	if got.Len() != len(want) || len(missing) > 0 {
		t.Errorf("%s has %d members and lacks %v", name, got.Len(), missing)
	}
}

// GROUP-1: a member is in a group once, until it leaves or ends; a group is there while somebody is in it.
func TestGroups(t *testing.T) {
	sys := actortest.New(t)
	reg := registry.Of(sys)
	a, b, c := idler(sys), idler(sys), idler(sys)
	for _, r := range []actor.Ref[*num]{a, b, c, a} {
		wantErr(t, "join", reg.Join("g", r), nil)
	}
	wantErr(t, "join another", reg.Join("h", a), nil)
	wantMembers(t, reg, "g", a.AnyRef, b.AnyRef, c.AnyRef)
	wantErr(t, "leave", reg.Leave("g", b), nil)
	wantErr(t, "leave twice", reg.Leave("g", b), registry.ErrNotMember)
	wantErr(t, "leave what is not there", reg.Leave("i", b), registry.ErrNotMember)
	wantMembers(t, reg, "g", a.AnyRef, c.AnyRef)
	end(t, a.AnyRef)
	wantMembers(t, reg, "g", c.AnyRef)
	wantMembers(t, reg, "h")
	wantErr(t, "join again", reg.Join("g", b), nil)
	end(t, c.AnyRef)
	wantMembers(t, reg, "g", b.AnyRef)
}

// GROUP-2: Members is a snapshot that nothing changes, however large the group.
func TestMembersDoNotChange(t *testing.T) {
	sys := actortest.New(t)
	reg := registry.Of(sys)
	rng := rand.New(rand.NewPCG(1, 2))
	var refs []actor.AnyRef
	for range 1000 {
		refs = append(refs, idler(sys).AnyRef)
	}
	in := map[actor.AnyRef]bool{}
	type snapshot struct {
		m    registry.Members
		want map[actor.AnyRef]bool
	}
	var taken []snapshot
	for range 5000 {
		r := refs[rng.IntN(len(refs))]
		if in[r] {
			wantErr(t, "leave", reg.Leave("g", r), nil)
			delete(in, r)
		} else {
			wantErr(t, "join", reg.Join("g", r), nil)
			in[r] = true
		}
		if rng.IntN(50) == 0 {
			want := map[actor.AnyRef]bool{}
			for r := range in {
				want[r] = true
			}
			taken = append(taken, snapshot{reg.Members("g"), want})
		}
	}
	for i, s := range taken {
		seen := map[actor.AnyRef]bool{}
		for r := range s.m.All() {
			seen[r] = true
		}
		if s.m.Len() != len(s.want) || !maps.Equal(seen, s.want) {
			t.Fatalf("snapshot %d has %d members and should have %d", i, s.m.Len(), len(s.want))
		}
	}
	var none registry.Members
	for range none.All() {
		t.Error("somebody is in the zero value")
	}
	last := taken[len(taken)-1].m
	if !none.At(0).IsZero() || !last.At(-1).IsZero() || !last.At(last.Len()).IsZero() || last.At(last.Len()-1).IsZero() {
		t.Error("At")
	}
}

// GROUP-2: to read a group that has not changed takes no lock and no memory; to read a large one that has takes little.
func TestMembersCost(t *testing.T) {
	sys := actortest.New(t)
	reg := registry.Of(sys)
	const n = 30_000
	for range n {
		wantErr(t, "join", reg.Join("g", idler(sys)), nil)
	}
	if allocs := testing.AllocsPerRun(100, func() { reg.Members("g") }); allocs != 0 {
		t.Errorf("%v allocations to read what has not changed", allocs)
	}
	one := idler(sys)
	if allocs := testing.AllocsPerRun(100, func() {
		_ = reg.Join("g", one)
		if reg.Members("g").Len() != n+1 {
			t.Error("join")
		}
		_ = reg.Leave("g", one)
		if reg.Members("g").Len() != n {
			t.Error("leave")
		}
	}); allocs > 24 {
		t.Errorf("%v allocations a round", allocs)
	}
}

// GROUP-3: who watches a group is told first who is in it and then of each change, once and in order.
func TestWatchGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := actortest.New(t)
		reg := registry.Of(sys)
		a, b := idler(sys), idler(sys)
		wantErr(t, "join", reg.Join("g", a), nil)
		events, watcher := watchGroups(t, sys, reg, "g", "empty")
		wantErr(t, "join", reg.Join("g", b), nil)
		wantErr(t, "join", reg.Join("g", b), nil)
		wantErr(t, "leave", reg.Leave("g", a), nil)
		end(t, b.AnyRef)
		wantErr(t, "join", reg.Join("g", a), nil)
		quiesce(t, sys)
		var got []string
		for _, e := range events.take() {
			got = append(got, fmt.Sprintf("%s %v %v %d", e.Group, e.Change, e.Ref, e.Members.Len()))
		}
		want := []string{
			"g present actor none 1", "empty present actor none 0",
			fmt.Sprintf("g joined %v 0", b), fmt.Sprintf("g left %v 0", a), fmt.Sprintf("g left %v 0", b), fmt.Sprintf("g joined %v 0", a),
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("events are %q, want %q", got, want)
		}
		end(t, watcher.AnyRef)
		end(t, a.AnyRef)
		wantMembers(t, reg, "g")
	})
}

// GROUP-3: a member has left, and those who watch the group know, before its Down is delivered to them.
func TestMemberLeavesBeforeItsDown(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System, reg *registry.Registry) {
		for range 200 {
			a := idler(sys)
			wantErr(t, "join", reg.Join("g", a), nil)
			ready := make(chan struct{})
			watcher := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
				value := func(v int64) *num { return &num{Value: v} }
				_, err := actor.Monitor(ctx, a.AnyRef, func(actor.Down) *num { return value(100) })
				if err == nil {
					_, err = registry.WatchGroup(ctx, reg, "g", func(e registry.GroupEvent) *num { return value(int64(e.Change)) })
				}
				close(ready)
				for _, want := range []int64{int64(registry.Present), int64(registry.Left), 100} {
					m, failed := in.Receive(ctx)
					if err = errors.Join(err, failed); err == nil && m.Value != want {
						err = fmt.Errorf("got %d, want %d", m.Value, want)
					}
				}
				return err
			}))
			<-ready
			a.Kill()
			if _, err := watcher.Wait(patient(t)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// GROUP-1: groups that many join, leave, read and watch at once, and whose members are killed, have nobody in them who has ended.
func TestGroupsUnderFire(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System, reg *registry.Registry) {
		events, _ := watchGroups(t, sys, reg, "a", "b")
		names := []string{"a", "b", "c"}
		var all sync.WaitGroup
		for i := range 6 {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			all.Go(func() {
				for range 200 {
					r := idler(sys)
					for range rng.IntN(6) {
						name := names[rng.IntN(len(names))]
						if err := reg.Join(name, r); err != nil {
							t.Error(err)
						}
						if rng.IntN(2) == 0 {
							if err := reg.Leave(name, r); err != nil {
								t.Error(err)
							}
						}
					}
					both := make(chan struct{})
					go func() {
						defer close(both)
						_ = reg.Join("c", r)
						_ = reg.Leave("c", r)
						_ = reg.Join("c", r)
					}()
					end(t, r.AnyRef)
					<-both
					for _, name := range names {
						for m := range reg.Members(name).All() {
							if m == r.AnyRef {
								t.Errorf("%v has ended and is in %s", r, name)
							}
						}
					}
				}
			})
		}
		all.Wait()
		quiesce(t, sys)
		in := map[string]bool{}
		for _, e := range events.take() {
			who := fmt.Sprint(e.Group, e.Ref)
			if e.Change != registry.Present && in[who] == (e.Change == registry.Joined) {
				t.Fatalf("%v %v %s out of turn", e.Ref, e.Change, e.Group)
			}
			in[who] = e.Change == registry.Joined
		}
		for who, still := range in {
			if still {
				t.Errorf("%s was last seen to join", who)
			}
		}
		for _, name := range names {
			wantMembers(t, reg, name)
		}
	})
}

// GROUP-4: Send reaches every member, passes over those that have ended, and says who did not take the message.
func TestSendToMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := actortest.New(t)
		reg := registry.Of(sys)
		one := actortest.NewProbe[*num](t, sys)
		gone := idler(sys)
		gate := make(chan struct{})
		full := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, _ *num) error {
			return ctx.Block(func() { <-gate })
		}), actor.Options{Mailbox: actor.Mailbox{Capacity: 1}})
		for _, r := range []actor.AnyRef{one.Ref().AnyRef, gone.AnyRef, full.AnyRef} {
			wantErr(t, "join", reg.Join("g", r), nil)
		}
		wantErr(t, "send", full.Send(t.Context(), new(num)), nil)
		synctest.Wait()
		wantErr(t, "send", full.Send(t.Context(), new(num)), nil)
		members := reg.Members("g")
		end(t, gone.AnyRef)
		sent, err := members.Send(t.Context(), &num{Value: 3})
		if sent != 1 {
			t.Errorf("%d were sent to", sent)
		}
		wantErr(t, "send to all", err, actor.ErrFull)
		one.Expect(&num{Value: 3})
		close(gate)
		if sent, err := reg.Members("nobody").Send(t.Context(), new(num)); sent != 0 || err != nil {
			t.Errorf("sent to %d of nobody, %v", sent, err)
		}
	})
}
