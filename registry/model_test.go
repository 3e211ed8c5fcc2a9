package registry_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	"github.com/greenroom-go/greenroom/registry"
)

// model is what a Registry should hold, in plain maps, and what those who watch should have been told.
type model struct {
	names   map[string]actor.AnyRef
	aliases map[string]string
	groups  map[string]map[actor.AnyRef]bool
	told    map[string][]actor.AnyRef
}

// holder is who has a name or alias.
func (m *model) holder(name string) actor.AnyRef {
	if target, ok := m.aliases[name]; ok {
		name = target
	}
	return m.names[name]
}

// change makes a change and notes whom that gives another holder.
func (m *model) change(all []string, f func()) {
	before := map[string]actor.AnyRef{}
	for _, name := range all {
		before[name] = m.holder(name)
	}
	f()
	for _, name := range all {
		if now := m.holder(name); now != before[name] {
			m.told[name] = append(m.told[name], now)
		}
	}
}

func (m *model) taken(name string) bool {
	_, named := m.names[name]
	_, alias := m.aliases[name]
	return named || alias
}

func (m *model) register(name string, r actor.AnyRef, alive bool) error {
	switch {
	case m.names[name] == r && alive:
		return nil
	case m.taken(name):
		return actor.ErrNameTaken
	case !alive:
		return actor.ErrStopped
	}
	m.names[name] = r
	return nil
}

func (m *model) alias(alias, name string) error {
	_, chain := m.aliases[name]
	if _, named := m.names[alias]; named {
		return actor.ErrNameTaken
	}
	if chain || alias == name || slices.Contains(slices.Collect(maps.Values(m.aliases)), alias) {
		return actor.ErrAlias
	}
	m.aliases[alias] = name
	return nil
}

func (m *model) end(r actor.AnyRef) {
	maps.DeleteFunc(m.names, func(_ string, h actor.AnyRef) bool { return h == r })
	for _, members := range m.groups {
		delete(members, r)
	}
}

// NAME-1, NAME-3, NAME-4, NAME-7, GROUP-1: whatever is done in whatever order, names, aliases and groups are what plain maps say, and those who
// watch are told what the maps say.
func TestRegistryIsLikeMaps(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { likeMaps(t, rand.New(rand.NewPCG(seed, 7))) })
		})
	}
}

func likeMaps(t *testing.T, rng *rand.Rand) {
	t.Helper()
	sys := actortest.New(t)
	reg := registry.Of(sys)
	m := &model{map[string]actor.AnyRef{}, map[string]string{}, map[string]map[actor.AnyRef]bool{"g": {}, "h": {}}, map[string][]actor.AnyRef{}}
	names := []string{"a", "b", "c", "d", "e"}
	events, _ := watchNames(t, sys, reg, names...)
	for _, name := range names {
		m.told[name] = []actor.AnyRef{{}}
	}
	refs := []actor.AnyRef{idler(sys).AnyRef, idler(sys).AnyRef}
	for step := range 400 {
		name, other := names[rng.IntN(len(names))], names[rng.IntN(len(names))]
		group := []string{"g", "h"}[rng.IntN(2)]
		r := refs[rng.IntN(len(refs))]
		if i := rng.IntN(8); len(refs) > i {
			r = refs[len(refs)-1-i]
		}
		var did string
		var got, want error
		switch rng.IntN(9) {
		case 0, 1:
			did, got = fmt.Sprintf("register %s %v", name, r), reg.Register(name, r)
			m.change(names, func() { want = m.register(name, r, r.Alive()) })
		case 2:
			did, got = fmt.Sprintf("unregister %s %v", name, r), reg.Unregister(name, r)
			if m.names[name] != r {
				want = actor.ErrNoName
				break
			}
			m.change(names, func() { delete(m.names, name) })
		case 3:
			did, got = fmt.Sprintf("alias %s %s", name, other), reg.Alias(name, other)
			m.change(names, func() { want = m.alias(name, other) })
		case 4:
			did, got = fmt.Sprintf("unalias %s", name), reg.Unalias(name)
			if _, ok := m.aliases[name]; !ok {
				want = actor.ErrNoName
			}
			m.change(names, func() { delete(m.aliases, name) })
		case 5:
			var a actor.Ref[*num]
			a, got = actor.Spawn(sys, actor.Handler(func(*actor.Context, *num) error { return nil }), actor.Options{Name: name})
			did = fmt.Sprintf("spawn %s", name)
			if m.taken(name) {
				want = actor.ErrNameTaken
				break
			}
			refs = append(refs, a.AnyRef)
			m.change(names, func() { m.names[name] = a.AnyRef })
		case 6:
			did = fmt.Sprintf("end %v", r)
			end(t, r)
			m.change(names, func() { m.end(r) })
		case 7:
			did, got = fmt.Sprintf("join %s %v", group, r), reg.Join(group, r)
			if want = actor.ErrStopped; r.Alive() {
				want = nil
				m.groups[group][r] = true
			}
		case 8:
			did, got = fmt.Sprintf("leave %s %v", group, r), reg.Leave(group, r)
			if !m.groups[group][r] {
				want = registry.ErrNotMember
			}
			delete(m.groups[group], r)
		}
		wantErr(t, fmt.Sprintf("step %d, %s", step, did), got, want)
		for _, name := range names {
			wantHolder(t, reg, name, m.holder(name))
		}
		for group, members := range m.groups {
			wantMembers(t, reg, group, slices.Collect(maps.Keys(members))...)
		}
		if t.Failed() {
			t.Fatalf("after step %d, %s", step, did)
		}
	}
	quiesce(t, sys)
	told := map[string][]actor.AnyRef{}
	for _, e := range events.take() {
		told[e.Name] = append(told[e.Name], e.Ref)
	}
	for _, name := range names {
		if !slices.Equal(told[name], m.told[name]) {
			t.Errorf("%s was told to be %v, want %v", name, told[name], m.told[name])
		}
	}
}
