package registry_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	"github.com/greenroom-go/greenroom/registry"
)

// NAME-9: names that are empty, too long or no valid text are refused wherever one is given.
func TestBadNames(t *testing.T) {
	sys := actortest.New(t)
	reg := registry.Of(sys)
	r := idler(sys)
	for _, name := range []string{"", "\xff", "a\xc3", strings.Repeat("x", actor.MaxNameBytes+1), strings.Repeat("x", 1<<20)} {
		_, located := reg.Locate(patient(t), name)
		for what, err := range map[string]error{
			"register": reg.Register(name, r), "unregister": reg.Unregister(name, r), "alias": reg.Alias(name, "x"), "alias of": reg.Alias("x", name),
			"unalias": reg.Unalias(name), "locate": located, "join": reg.Join(name, r), "leave": reg.Leave(name, r),
		} {
			wantErr(t, what, err, actor.ErrBadName)
			if err != nil && len(err.Error()) > 400 {
				t.Errorf("%s: the error has %d bytes", what, len(err.Error()))
			}
		}
		if name != "" { // which means none
			_, err := actor.Spawn(sys, actor.Handler(func(*actor.Context, *num) error { return nil }), actor.Options{Name: name})
			wantErr(t, "spawn", err, actor.ErrBadName)
		}
		if _, ok := reg.Lookup(name); ok {
			t.Error("somebody has that name")
		}
		_, err := registry.Lookup[*num](reg, name)
		wantErr(t, "lookup", err, actor.ErrNoName)
		if n := reg.Members(name).Len(); n != 0 {
			t.Errorf("%d members", n)
		}
	}
	for _, name := range []string{" ", "\x00", "ä/ö.%", strings.Repeat("x", actor.MaxNameBytes)} {
		wantErr(t, "register", reg.Register(name, r), nil)
		wantErr(t, "join", reg.Join(name, r), nil)
		wantHolder(t, reg, name, r.AnyRef)
	}
}

// NAME-9: refs that are zero, dead, dying or of another System are not named and join nothing.
func TestBadRefs(t *testing.T) {
	sys, other := actortest.New(t), actortest.New(t)
	reg := registry.Of(sys)
	dead := idler(sys)
	end(t, dead.AnyRef)
	for _, c := range []struct {
		name string
		who  registry.Addressed
		want error
	}{
		{"nil", nil, actor.ErrNoActor},
		{"zero", actor.AnyRef{}, actor.ErrNoActor},
		{"zero typed", actor.Ref[*num]{}, actor.ErrNoActor},
		{"dead", dead, actor.ErrStopped},
		{"foreign", idler(other), actor.ErrOtherSystem},
	} {
		wantErr(t, "register "+c.name, reg.Register("x", c.who), c.want)
		wantErr(t, "join "+c.name, reg.Join("x", c.who), c.want)
		unregistered, left := c.want, c.want
		if c.name == "dead" {
			unregistered, left = actor.ErrNoName, registry.ErrNotMember
		}
		wantErr(t, "unregister "+c.name, reg.Unregister("x", c.who), unregistered)
		wantErr(t, "leave "+c.name, reg.Leave("x", c.who), left)
	}
	wantHolder(t, reg, "x", actor.AnyRef{})
	if n := reg.Members("x").Len(); n != 0 {
		t.Errorf("%d members", n)
	}
}

// NAME-9: an actor whose children still end keeps the names that it has and gets no more.
func TestDyingActorGetsNoName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := actortest.New(t)
		reg := registry.Of(sys)
		gate := make(chan struct{})
		parent := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			actor.MustSpawn(ctx, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*num]) error {
				return ctx.Block(func() { <-gate })
			}))
			_, err := in.Receive(ctx)
			return err
		}), actor.Options{Name: "parent"})
		synctest.Wait()
		wantErr(t, "join", reg.Join("family", parent), nil)
		parent.Stop()
		synctest.Wait()
		wantErr(t, "register", reg.Register("more", parent), actor.ErrStopped)
		wantErr(t, "join", reg.Join("more", parent), actor.ErrStopped)
		wantHolder(t, reg, "parent", parent.AnyRef)
		wantMembers(t, reg, "family", parent.AnyRef)
		close(gate)
		_, _ = parent.Wait(t.Context())
		wantHolder(t, reg, "parent", actor.AnyRef{})
		wantMembers(t, reg, "family")
	})
}

// NAME-9: a Registry that Of has not made finds nothing and answers all else with an error.
func TestZeroRegistry(t *testing.T) {
	sys := actortest.New(t)
	r := idler(sys)
	for _, reg := range []*registry.Registry{nil, {}, registry.Of(nil), registry.Of(new(actor.System))} {
		_, located := reg.Locate(patient(t), "x")
		_, typed := registry.Lookup[*num](reg, "x")
		_, typedLater := registry.Locate[*num](patient(t), reg, "x")
		watched := make(chan error, 2)
		do(sys, func(ctx *actor.Context) error {
			_, err := registry.WatchName(ctx, reg, "x", func(registry.NameEvent) *ping { return nil })
			watched <- err
			_, err = registry.WatchGroup(ctx, reg, "x", func(registry.GroupEvent) *ping { return nil })
			watched <- err
			return nil
		})
		for what, err := range map[string]error{
			"register": reg.Register("x", r), "unregister": reg.Unregister("x", r), "alias": reg.Alias("x", "y"), "unalias": reg.Unalias("x"),
			"locate": located, "lookup": typed, "typed locate": typedLater, "join": reg.Join("x", r), "leave": reg.Leave("x", r),
			"watch": <-watched, "watch group": <-watched,
		} {
			wantErr(t, what, err, registry.ErrNoRegistry)
		}
		if _, ok := reg.Lookup("x"); ok || reg.Members("x").Len() != 0 {
			t.Error("it found somebody")
		}
	}
}

// NAME-9: contexts that are nil or belong to somebody else, and missing functions, are refused.
func TestBadContexts(t *testing.T) {
	sys := actortest.New(t)
	reg := registry.Of(sys)
	var none *actor.Context
	_, err := reg.Locate(nil, "x") //nolint:staticcheck // what happens is the question
	if err == nil {
		t.Error("located under nil")
	}
	_, err = reg.Locate(none, "x")
	if err == nil {
		t.Error("located under a nil *Context")
	}
	name := func(registry.NameEvent) *ping { return new(ping) }
	if _, err = registry.WatchName(none, reg, "x", name); err == nil {
		t.Error("watched under nil")
	}
	leaked := make(chan *actor.Context, 1)
	r := do(sys, func(ctx *actor.Context) error {
		leaked <- ctx
		if _, err := registry.WatchName[*ping](ctx, reg, "x", nil); err == nil {
			t.Error("watched without a function")
		}
		if _, err := registry.WatchGroup[*ping](ctx, reg, "x", nil); err == nil {
			t.Error("watched a group without a function")
		}
		if _, err := registry.WatchName(ctx, reg, "", name); !errors.Is(err, actor.ErrBadName) {
			t.Errorf("watched nothing: %v", err)
		}
		if _, err := registry.WatchGroup(ctx, reg, "", func(registry.GroupEvent) *ping { return nil }); !errors.Is(err, actor.ErrBadName) {
			t.Errorf("watched no group: %v", err)
		}
		var inBlock error
		err := ctx.Block(func() { _, inBlock = reg.Locate(ctx, "x") })
		if !errors.Is(inBlock, actor.ErrInBlock) {
			t.Errorf("located in Block: %v", inBlock)
		}
		return err
	})
	ctx := <-leaked
	if _, err := r.Wait(patient(t)); err != nil {
		t.Error(err)
	}
	_, err = registry.WatchName(ctx, reg, "x", name)
	wantErr(t, "watch for one that has ended", err, actor.ErrEnded)
	_, err = reg.Locate(ctx, "x")
	wantErr(t, "locate for one that has ended", err, actor.ErrEnded)
	done, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = reg.Locate(done, "x")
	wantErr(t, "locate under a context that is done", err, context.Canceled)
	if n := sys.Names().Watchers("x"); n != 0 {
		t.Errorf("%d watch", n)
	}
}
