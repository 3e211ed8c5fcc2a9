package main

import (
	"context"
	"errors"

	"github.com/greenroom-go/greenroom/actor"
)

// withSystem runs work on a System with the default options, which is stopped afterwards.
func withSystem(ctx context.Context, work func(sys *actor.System) error) error {
	sys, err := actor.NewSystem()
	if err != nil {
		return err
	}
	return errors.Join(work(sys), sys.Stop(ctx))
}

// spawnAll spawns n actors, each with the behaviour that behave returns for its number.
func spawnAll(sys *actor.System, n int, behave func(i int) actor.Behaviour[*message]) ([]actor.Ref[*message], error) {
	return spawnInto(sys, newRefs(n), behave)
}

func newRefs(n int) []actor.Ref[*message] { return make([]actor.Ref[*message], n) }

func spawnInto(from actor.Spawner, refs []actor.Ref[*message], behave func(i int) actor.Behaviour[*message]) ([]actor.Ref[*message], error) {
	for i := range refs {
		ref, err := actor.Spawn(from, behave(i))
		if err != nil {
			return nil, err
		}
		refs[i] = ref
	}
	return refs, nil
}

// sendAll sends m to each.
func sendAll(ctx context.Context, refs []actor.Ref[*message], m *message) error {
	for _, ref := range refs {
		if err := ref.Send(ctx, m); err != nil {
			return err
		}
	}
	return nil
}
