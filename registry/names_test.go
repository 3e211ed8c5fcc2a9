package registry_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	"github.com/greenroom-go/greenroom/registry"
)

// NAME-1: the names of Spawn and those of Register are the same, and each belongs to one living actor.
func TestOneTableOfNames(t *testing.T) {
	sys := actortest.New(t)
	reg := registry.Of(sys)
	if registry.Of(sys) != reg {
		t.Error("a second registry")
	}
	a, b := idler(sys, actor.Options{Name: "a"}), idler(sys)
	wantHolder(t, reg, "a", a.AnyRef)
	wantErr(t, "register a taken name", reg.Register("a", b), actor.ErrNameTaken)
	wantErr(t, "register", reg.Register("b", b), nil)
	if r, ok := sys.Lookup("b"); !ok || r != b.AnyRef {
		t.Errorf("the System finds %v, %v", r, ok)
	}
	_, err := actor.Spawn(sys, actor.Handler(func(*actor.Context, *num) error { return nil }), actor.Options{Name: "b"})
	wantErr(t, "spawn with a taken name", err, actor.ErrNameTaken)
	end(t, b.AnyRef)
	c := idler(sys, actor.Options{Name: "b"})
	wantHolder(t, reg, "b", c.AnyRef)
}

// NAME-2: whoever is told of an end finds the names free, in whatever way it is told.
func TestNameIsFreeBeforeTheDown(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System, reg *registry.Registry) {
		for range 200 {
			a := idler(sys, actor.Options{Name: "a"})
			wantErr(t, "register", reg.Register("b", a), nil)
			wantErr(t, "join", reg.Join("g", a), nil)
			look := func() error {
				for _, name := range []string{"a", "b"} {
					if r, ok := reg.Lookup(name); ok {
						return fmt.Errorf("%s still belongs to %v", name, r)
					}
				}
				if n := reg.Members("g").Len(); n != 0 {
					return fmt.Errorf("the group has still %d members", n)
				}
				return nil
			}
			watching := make(chan struct{})
			watcher := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*ping]) error {
				_, err := actor.Monitor(ctx, a.AnyRef, func(actor.Down) *ping { return new(ping) })
				close(watching)
				if err == nil {
					_, err = in.Receive(ctx)
				}
				if err == nil {
					err = look()
				}
				return err
			}))
			<-watching
			a.Kill()
			_, _ = a.Wait(patient(t)) // asks again and again for an end that is under way
			wantErr(t, "after Wait", look(), nil)
			if _, err := watcher.Wait(patient(t)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// NAME-3: an actor has any number of names, and keeps them until its final end or Unregister.
func TestManyNames(t *testing.T) {
	sys := actortest.New(t)
	reg := registry.Of(sys)
	a, b := idler(sys, actor.Options{Name: "first"}), idler(sys)
	name := func(i int) string { return fmt.Sprintf("name %d", i) }
	const n = 1000
	for i := range n {
		wantErr(t, "register", reg.Register(name(i), a), nil)
		wantErr(t, "register again", reg.Register(name(i), a), nil)
	}
	for i := range n / 2 {
		wantErr(t, "unregister", reg.Unregister(name(i), a), nil)
		wantErr(t, "register with another", reg.Register(name(i), b), nil)
		wantErr(t, "unregister what another has", reg.Unregister(name(i), a), actor.ErrNoName)
	}
	wantErr(t, "unregister the name of Spawn", reg.Unregister("first", a), nil)
	end(t, a.AnyRef)
	wantHolder(t, reg, "first", actor.AnyRef{})
	for i := range n {
		want := actor.AnyRef{}
		if i < n/2 {
			want = b.AnyRef
		}
		wantHolder(t, reg, name(i), want)
	}
}

// NAME-3, GROUP-1: names and groups stay with an actor over its restarts, and go at its final end.
func TestNamesStayOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := actortest.New(t)
		reg := registry.Of(sys)
		events, _ := watchNames(t, sys, reg, "spawned", "registered")
		changes, _ := watchGroups(t, sys, reg, "g")
		var child actor.Ref[*num]
		actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*ping]) error {
			ended := 0
			err := actor.Guard(ctx, func(e actor.ChildEvent) *ping {
				if e.Kind == actor.ChildEnded {
					ended++
				}
				return new(ping)
			})
			if err != nil {
				return err
			}
			child, _, err = actor.SpawnGuarded(ctx, actor.Handler(func(*actor.Context, *num) error { return errors.New("again") }),
				actor.Options{Name: "spawned"})
			if err == nil {
				err = errors.Join(reg.Register("registered", child), reg.Join("g", child))
			}
			for err == nil && ended < 3 {
				err = child.Send(ctx, new(num))
				if _, failed := in.Receive(ctx); err == nil {
					err = failed
				}
				for _, name := range []string{"spawned", "registered"} {
					wantHolder(t, reg, name, child.AnyRef)
				}
				wantMembers(t, reg, "g", child.AnyRef)
				wantErr(t, "register while it waits for its restart", reg.Register("more", child), nil)
				if err == nil && ended < 3 {
					_, err = ctx.RestartChild(child.AnyRef)
				}
			}
			return errors.Join(err, ctx.EndChild(child.AnyRef))
		}))
		synctest.Wait()
		for _, name := range []string{"spawned", "registered", "more"} {
			wantHolder(t, reg, name, actor.AnyRef{})
		}
		wantMembers(t, reg, "g")
		if got := len(events.take()); got != 6 {
			t.Errorf("%d events of two names: %v", got, events.take())
		}
		if got := len(changes.take()); got != 3 {
			t.Errorf("%d events of a group: %v", got, changes.take())
		}
	})
}

// NAME-3: an actor that takes and gives up a name again and again does not grow.
func TestNamesComeAndGo(t *testing.T) {
	sys := actortest.New(t)
	reg := registry.Of(sys)
	a := idler(sys)
	round := func() {
		_ = reg.Register("now and then", a)
		_ = reg.Unregister("now and then", a)
	}
	for range 100 {
		round()
	}
	if allocs := testing.AllocsPerRun(2000, round); allocs > 20 {
		t.Errorf("%v allocations a round", allocs)
	}
	wantErr(t, "register", reg.Register("now and then", a), nil)
	end(t, a.AnyRef)
	wantHolder(t, reg, "now and then", actor.AnyRef{})
}

// NAME-4: an alias stands for a name whoever has it, for those who look up, locate and watch, and there are no chains.
func TestAliases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := actortest.New(t)
		reg := registry.Of(sys)
		events, _ := watchNames(t, sys, reg, "alias")
		a, b := idler(sys), idler(sys, actor.Options{Name: "b"})
		wantErr(t, "alias of nobody", reg.Alias("alias", "a"), nil)
		wantHolder(t, reg, "alias", actor.AnyRef{})
		located := do(sys, func(ctx *actor.Context) error {
			r, err := reg.Locate(ctx, "alias")
			if err == nil {
				err = ctx.SetValue(r)
			}
			return err
		})
		synctest.Wait()
		wantErr(t, "register", reg.Register("a", a), nil)
		wantHolder(t, reg, "alias", a.AnyRef)
		if v, err := located.Wait(patient(t)); v != a.AnyRef || err != nil {
			t.Errorf("located %v, %v", v, err)
		}

		wantErr(t, "same again", reg.Alias("alias", "a"), nil)
		wantErr(t, "another name", reg.Alias("alias", "b"), nil)
		wantHolder(t, reg, "alias", b.AnyRef)
		wantErr(t, "alias of an alias", reg.Alias("second", "alias"), actor.ErrAlias)
		wantErr(t, "cycle", reg.Alias("b", "alias"), actor.ErrNameTaken)
		wantErr(t, "alias of itself", reg.Alias("self", "self"), actor.ErrAlias)
		wantErr(t, "move to itself", reg.Alias("alias", "alias"), actor.ErrAlias)
		wantErr(t, "alias of a name that is taken", reg.Alias("a", "b"), actor.ErrNameTaken)
		wantErr(t, "register an alias", reg.Register("alias", a), actor.ErrNameTaken)
		wantErr(t, "unregister an alias", reg.Unregister("alias", b), actor.ErrNoName)
		wantErr(t, "unalias a name", reg.Unalias("a"), actor.ErrNoName)
		end(t, b.AnyRef)
		wantHolder(t, reg, "alias", actor.AnyRef{})
		wantErr(t, "cycle by way of a free name", reg.Alias("b", "alias"), actor.ErrAlias)
		wantErr(t, "chain by way of a free name", reg.Alias("b", "a"), actor.ErrAlias)
		wantErr(t, "back", reg.Alias("alias", "a"), nil)
		wantErr(t, "now it is no name of an alias", reg.Alias("b", "a"), nil)
		wantErr(t, "unalias", reg.Unalias("alias"), nil)
		wantErr(t, "unalias twice", reg.Unalias("alias"), actor.ErrNoName)
		wantErr(t, "register what was an alias", reg.Register("alias", a), nil)
		quiesce(t, sys)
		var got []actor.AnyRef
		for _, e := range events.take() {
			if e.Name != "alias" {
				t.Errorf("an event for %q", e.Name)
			}
			got = append(got, e.Ref)
		}
		want := []actor.AnyRef{{}, a.AnyRef, b.AnyRef, {}, a.AnyRef, {}, a.AnyRef}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the alias was watched to be %v, want %v", got, want)
		}
	})
}

// NAME-1: names that are taken, freed, watched and waited for by many at once, of actors that are killed, belong to one of them at a
// time, are given up before the end is told, and those who watch see each of them come and go.
func TestNamesUnderFire(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System, reg *registry.Registry) {
		names := []string{"a", "b", "c"}
		events, _ := watchNames(t, sys, reg, append(names, "alias")...)
		var holders [3]atomic.Pointer[actor.AnyRef]
		var all sync.WaitGroup
		for i := range 6 {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			all.Go(func() {
				for range 300 {
					k := rng.IntN(len(names))
					var o actor.Options
					if rng.IntN(3) == 0 {
						o.Name = names[k]
					}
					a, err := actor.Spawn(sys, actor.Handler(func(*actor.Context, *num) error { return nil }), o)
					if err == nil && o.Name == "" {
						err = reg.Register(names[k], a)
					}
					if err == nil {
						if before := holders[k].Swap(&a.AnyRef); before != nil {
							if _, err := before.Wait(patient(t)); errors.Is(err, context.DeadlineExceeded) {
								t.Errorf("%s belongs to %v while %v, which had it, lives", names[k], a, before)
							}
						}
						if rng.IntN(2) == 0 {
							holders[k].CompareAndSwap(&a.AnyRef, nil)
							if err := reg.Unregister(names[k], a); err != nil {
								t.Errorf("unregister %s of %v: %v", names[k], a, err)
							}
						}
					}
					if !a.IsZero() {
						end(t, a.AnyRef)
						if r, _ := reg.Lookup(names[k]); r == a.AnyRef {
							t.Errorf("%s belongs to %v, which has ended", names[k], r)
						}
					}
				}
			})
		}
		stop := make(chan struct{})
		var others sync.WaitGroup
		for i := range 3 {
			others.Go(func() {
				for j := 0; ; j++ {
					select {
					case <-stop:
						return
					default:
					}
					_ = reg.Alias("alias", names[(i+j)%len(names)])
					_, _ = registry.Lookup[*num](reg, "alias")
					if j%3 == 0 {
						_ = reg.Unalias("alias")
					}
				}
			})
		}
		all.Wait()
		close(stop)
		others.Wait()
		_ = reg.Unalias("alias")
		quiesce(t, sys)
		holder := map[string]actor.AnyRef{}
		for _, e := range events.take() {
			if e.Name != "alias" && !e.Ref.IsZero() && !holder[e.Name].IsZero() {
				t.Fatalf("%s went from %v to %v and was not free between", e.Name, holder[e.Name], e.Ref)
			}
			holder[e.Name] = e.Ref
		}
		for name, r := range holder {
			if !r.IsZero() {
				t.Errorf("%s was last seen to belong to %v", name, r)
			}
		}
	})
}

// NAME-7: who watches a name is told first who has it and then of each change, once and in order, and of nothing after Cancel.
func TestWatchName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := actortest.New(t)
		reg := registry.Of(sys)
		a, b := idler(sys, actor.Options{Name: "x"}), idler(sys)
		events, watcher := watchNames(t, sys, reg, "x", "x")
		wantErr(t, "unregister", reg.Unregister("x", a), nil)
		wantErr(t, "register", reg.Register("x", b), nil)
		end(t, b.AnyRef)
		wantErr(t, "register", reg.Register("x", a), nil)
		quiesce(t, sys)
		count := map[actor.AnyRef]int{}
		for _, e := range events.take() {
			count[e.Ref]++
		}
		if count[a.AnyRef] != 4 || count[b.AnyRef] != 2 || count[actor.AnyRef{}] != 4 {
			t.Errorf("two who watch saw %v", count)
		}
		if n := sys.Names().Watchers("x"); n != 2 {
			t.Errorf("%d watch", n)
		}
		end(t, watcher.AnyRef)
		if n := sys.Names().Watchers("x"); n != 0 {
			t.Errorf("%d watch after the watcher's end", n)
		}
	})
}

// NAME-7: an event that is queued already does not arrive after Cancel.
func TestCancelFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := actortest.New(t)
		reg := registry.Of(sys)
		events := new(list[registry.NameEvent])
		var sub *actor.Feed
		gate := make(chan struct{})
		r := do(sys, func(ctx *actor.Context) (err error) {
			sub, err = registry.WatchName(ctx, reg, "x", func(e registry.NameEvent) *ping { events.add(e); return new(ping) })
			if err != nil {
				return err
			}
			if err := ctx.Block(func() { <-gate }); err != nil {
				return err
			}
			if err := sub.Cancel(ctx); err != nil {
				return err
			}
			if n := sys.Names().Watchers("x"); n != 0 {
				t.Errorf("%d watch", n)
			}
			idler(sys, actor.Options{Name: "x"})
			return sub.Cancel(ctx)
		})
		synctest.Wait()
		a := idler(sys, actor.Options{Name: "x"})
		end(t, a.AnyRef)
		close(gate)
		if _, err := r.Wait(patient(t)); err != nil {
			t.Error(err)
		}
		if got := events.take(); len(got) != 0 {
			t.Errorf("%v arrived", got)
		}
		other := do(sys, func(ctx *actor.Context) error {
			if err := sub.Cancel(ctx); err == nil {
				t.Error("somebody else cancelled it")
			}
			return (*actor.Feed)(nil).Cancel(ctx)
		})
		if _, err := other.Wait(patient(t)); err != nil {
			t.Error(err)
		}
	})
}

// NAME-8: a typed lookup finds only an actor that takes that type of message.
func TestTypedLookup(t *testing.T) {
	sys := actortest.New(t)
	reg := registry.Of(sys)
	handler := idler(sys, actor.Options{Name: "handler"})
	stateful := actor.MustSpawn(sys, actor.Stateful(func(*actor.Context, *int, *num) error { return nil }))
	routine := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
		_, err := in.Receive(ctx)
		return err
	}), actor.Options{Name: "routine"})
	wantErr(t, "register", reg.Register("stateful", stateful), nil)
	wantErr(t, "alias", reg.Alias("alias", "stateful"), nil)
	for name, want := range map[string]actor.Ref[*num]{"handler": handler, "stateful": stateful, "routine": routine, "alias": stateful} {
		if r, err := registry.Lookup[*num](reg, name); r != want || err != nil {
			t.Errorf("%s is %v, %v", name, r, err)
		}
		_, err := registry.Lookup[*ping](reg, name)
		wantErr(t, "lookup of "+name+" for another type", err, actor.ErrWrongType)
		_, err = registry.Locate[*ping](patient(t), reg, name)
		wantErr(t, "locate "+name+" for another type", err, actor.ErrWrongType)
	}
	_, err := registry.Lookup[*num](reg, "nobody")
	wantErr(t, "lookup of nobody", err, actor.ErrNoName)
	if allocs := testing.AllocsPerRun(100, func() { _, _ = registry.Lookup[*num](reg, "alias") }); allocs != 0 {
		t.Errorf("a lookup allocates %v times", allocs)
	}
}
