package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/puzpuzpuz/xsync/v3"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/bench/internal/harness"
	"github.com/greenroom-go/greenroom/registry"
)

// directory is r.N names, and the order in which they are looked up: shuffled, and in copies of their own, as names that come in
// messages are.
type directory struct{ names, wanted []string }

func newDirectory(n int) directory {
	d := directory{make([]string, n), make([]string, n)}
	rng := rand.New(rand.NewPCG(1, 2))
	for i, at := range rng.Perm(n) {
		d.names[i] = fmt.Sprintf("actor-%d", i)
		d.wanted[i] = fmt.Sprintf("actor-%d", at)
	}
	return d
}

// measure has find called with all names of the directory, one after the other: which is next depends on what was found, as it does
// in a program that uses what it looks up. Else the processor would look up several at once, and the figure would be how many.
// find returns the number of what it has found, 0 for nothing; its highest bit is not used.
func (d directory) measure(r *harness.Run, find func(name string) uint64) error {
	missing := 0
	err := r.PerOp(r.N, func(n int) error {
		for i := 0; i < n; {
			found := find(d.wanted[i])
			if found == 0 {
				missing++
			}
			i += 1 + int(found>>63)
		}
		return nil
	})
	if missing > 0 {
		return errors.Join(err, fmt.Errorf("%d names were not found", missing))
	}
	return err
}

// locateXsync looks up as many actors in a plain concurrent map, as who does without a registry would.
func locateXsync(ctx context.Context, r *harness.Run) error {
	d := newDirectory(r.N)
	return withSystem(ctx, func(sys *actor.System) error {
		m := xsync.NewMapOf[string, actor.Ref[*message]]()
		for _, name := range d.names {
			ref, err := actor.Spawn(sys, ignore())
			if err != nil {
				return err
			}
			m.Store(name, ref)
		}
		return d.measure(r, func(name string) uint64 {
			ref, _ := m.Load(name)
			return ref.ID()
		})
	})
}

// locate looks up actors of that type by the names that they were spawned with.
func locate(ctx context.Context, r *harness.Run) error {
	d := newDirectory(r.N)
	return withSystem(ctx, func(sys *actor.System) error {
		for _, name := range d.names {
			if _, err := actor.Spawn(sys, ignore(), actor.Options{Name: name}); err != nil {
				return err
			}
		}
		reg := registry.Of(sys)
		return d.measure(r, func(name string) uint64 {
			ref, _ := registry.Lookup[*message](reg, name)
			return ref.ID()
		})
	})
}

func ignore() actor.Behaviour[*message] {
	return actor.Handler(func(*actor.Context, *message) error { return nil })
}
