package registry_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	benchv1 "github.com/greenroom-go/greenroom/proto/greenroom/bench/v1"
	"github.com/greenroom-go/greenroom/registry"
)

type (
	num  = benchv1.Number
	ping = benchv1.Ping
)

// patience bounds every wait for an event that must come.
const patience = 10 * time.Second

// eachProcs runs f at GOMAXPROCS 2 and 4, each time with a System of its own whose ledger must add up when it has stopped.
func eachProcs(t *testing.T, f func(t *testing.T, sys *actor.System, reg *registry.Registry)) {
	t.Helper()
	for _, procs := range []int{2, 4} {
		t.Run(fmt.Sprintf("procs=%d", procs), func(t *testing.T) {
			was := runtime.GOMAXPROCS(procs)
			t.Cleanup(func() { runtime.GOMAXPROCS(was) })
			sys := actortest.New(t)
			f(t, sys, registry.Of(sys))
		})
	}
}

// patient is a context for a wait that must end by itself.
func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// idler is an actor that takes numbers and does nothing.
func idler(from actor.Spawner, o ...actor.Options) actor.Ref[*num] {
	return actor.MustSpawn(from, actor.Handler(func(*actor.Context, *num) error { return nil }), o...)
}

// do runs f in an actor of its own, which ends with it, and returns its ref.
func do(sys *actor.System, f func(ctx *actor.Context) error) actor.Ref[*ping] {
	return actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*ping]) error { return f(ctx) }))
}

// end kills an actor and waits for its end.
func end(t *testing.T, r actor.AnyRef) {
	t.Helper()
	r.Kill()
	var exit *actor.ExitError
	if _, err := r.Wait(patient(t)); err != nil && !errors.As(err, &exit) {
		t.Errorf("wait for the end of %v: %v", r, err)
	}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// wantHolder checks who has a name, the zero ref for nobody.
func wantHolder(t *testing.T, reg *registry.Registry, name string, want actor.AnyRef) {
	t.Helper()
	if r, ok := reg.Lookup(name); r != want || ok == want.IsZero() {
		t.Errorf("%q belongs to %v (%v), want %v", name, r, ok, want)
	}
}

// list is what an actor saw, read from outside.
type list[E any] struct {
	mu  sync.Mutex
	all []E
}

func (l *list[E]) add(e E) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, e)
}

func (l *list[E]) take() []E {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]E(nil), l.all...)
}

// watching spawns an actor that watches each of names by means of watch, and keeps the events.
func watching[E any](t *testing.T, sys *actor.System, names []string, watch func(ctx *actor.Context, name string, adapt func(E) *num) error) (*list[E], actor.Ref[*num]) {
	t.Helper()
	events := new(list[E])
	started := make(chan error, 1)
	r := idler(sys, actor.Options{OnStart: func(ctx *actor.Context) (err error) {
		defer func() { started <- err }()
		for _, name := range names {
			if err = watch(ctx, name, func(e E) *num { events.add(e); return new(num) }); err != nil {
				return err
			}
		}
		return nil
	}})
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	return events, r
}

func watchNames(t *testing.T, sys *actor.System, reg *registry.Registry, names ...string) (*list[registry.NameEvent], actor.Ref[*num]) {
	t.Helper()
	return watching(t, sys, names, func(ctx *actor.Context, name string, adapt func(registry.NameEvent) *num) error {
		_, err := registry.WatchName(ctx, reg, name, adapt)
		return err
	})
}

func watchGroups(t *testing.T, sys *actor.System, reg *registry.Registry, groups ...string) (*list[registry.GroupEvent], actor.Ref[*num]) {
	t.Helper()
	return watching(t, sys, groups, func(ctx *actor.Context, name string, adapt func(registry.GroupEvent) *num) error {
		_, err := registry.WatchGroup(ctx, reg, name, adapt)
		return err
	})
}

func quiesce(t *testing.T, sys *actor.System) {
	t.Helper()
	if err := sys.Quiesce(patient(t)); err != nil {
		t.Fatal(err)
	}
}
