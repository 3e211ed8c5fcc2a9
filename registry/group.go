package registry

import (
	"container/list"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/greenroom-go/greenroom/actor"
)

// ErrNotMember answers a Leave of somebody who is not in the group.
var ErrNotMember = errors.New("registry: not a member of the group")

// group is one group while it has members or watchers.
type group struct {
	reg  *Registry
	name string
	snap atomic.Pointer[Members] // nil after a change, until somebody asks

	mu       sync.Mutex
	gone     bool // out of the registry: whoever still finds it asks again
	place    map[actor.AnyRef]int
	chunks   []*chunk
	age      uint64 // counts the snapshots: older chunks are shared
	watchers list.List
}

// group returns the group of that name with its lock held, making it if there is none.
func (reg *Registry) group(name string) *group {
	for {
		g, _ := reg.groups.LoadOrCompute(name, func() *group {
			return &group{reg: reg, name: name, place: make(map[actor.AnyRef]int)}
		})
		g.mu.Lock()
		if !g.gone {
			return g
		}
		g.mu.Unlock()
	}
}

// release unlocks the group, and drops it if nobody is in it or watches it.
func (g *group) release() {
	if len(g.place) == 0 && g.watchers.Len() == 0 && !g.gone {
		g.gone = true
		g.reg.groups.Delete(g.name)
	}
	g.mu.Unlock()
}

// Join puts a living actor of this System into a group, where it stays, restarts included, until Leave or its final end; that it is in
// it already is no error. A group comes into being with its first member and goes with its last. Cost: O(1).
// Errors: actor.ErrBadName, actor.ErrNoActor (a zero ref), actor.ErrStopped (it has ended), actor.ErrOtherSystem.
func (reg *Registry) Join(name string, who Addressed) error {
	r := address(who)
	if err := reg.checkMember(name, r); err != nil {
		return wrap("join", name, err)
	}
	reg.sys.AwaitTurn(r, "joins ", name)
	g := reg.group(name)
	defer g.release()
	if _, in := g.place[r]; in {
		return nil
	}
	if err := actor.AtEnd(r, g); err != nil {
		return wrap("join", name, err)
	}
	g.add(r)
	return nil
}

// Leave takes an actor out of a group. Errors: ErrNotMember, actor.ErrBadName, actor.ErrNoActor, actor.ErrOtherSystem.
// Cost: O(1) in the size of the group, linear in the number of groups that the actor is in.
func (reg *Registry) Leave(name string, who Addressed) error {
	r := address(who)
	if err := reg.checkMember(name, r); err != nil {
		return wrap("leave", name, err)
	}
	reg.sys.AwaitTurn(r, "leaves ", name)
	g := reg.group(name)
	defer g.release()
	if !g.remove(r) {
		return wrap("leave", name, ErrNotMember)
	}
	actor.NotAtEnd(r, g)
	return nil
}

func (reg *Registry) checkMember(name string, r actor.AnyRef) error {
	switch {
	case reg.check() != nil:
		return ErrNoRegistry
	case r.IsZero():
		return actor.ErrNoActor
	case r.Node() != reg.sys.NodeID():
		return actor.ErrOtherSystem
	}
	return actor.CheckName(name)
}

// Members returns who is in a group, nobody if there is no such group. Cost: a few loads if nothing has changed since it was asked
// last; else it copies a pointer for each 256 members, and the next change as many of them.
func (reg *Registry) Members(name string) Members {
	if reg.check() != nil {
		return Members{}
	}
	g, ok := reg.groups.Load(name)
	if !ok {
		return Members{}
	}
	if m := g.snap.Load(); m != nil {
		return *m
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.members()
}

// members is who is in it. The caller holds mu.
func (g *group) members() Members {
	if m := g.snap.Load(); m != nil {
		return *m
	}
	m := &Members{slices.Clone(g.chunks), len(g.place)}
	g.age++
	g.snap.Store(m)
	return *m
}

// own returns a chunk that no snapshot shares. The caller holds mu.
func (g *group) own(i int) *chunk {
	if c := g.chunks[i]; c.age != g.age {
		g.chunks[i] = &chunk{slices.Clone(c.refs), g.age}
	}
	return g.chunks[i]
}

func (g *group) add(r actor.AnyRef) {
	at := len(g.place)
	if at%chunkRefs == 0 {
		g.chunks = append(g.chunks, &chunk{age: g.age})
	}
	c := g.own(at / chunkRefs)
	c.refs = append(c.refs, r)
	g.place[r] = at
	g.changed(GroupEvent{Group: g.name, Change: Joined, Ref: r})
}

// remove takes r out, if it is in, and puts the last member in its place.
func (g *group) remove(r actor.AnyRef) bool {
	at, in := g.place[r]
	if !in {
		return false
	}
	delete(g.place, r)
	last := len(g.chunks) - 1
	end := g.own(last)
	moved := end.refs[len(end.refs)-1]
	end.refs = end.refs[:len(end.refs)-1]
	if moved != r {
		g.own(at / chunkRefs).refs[at%chunkRefs] = moved
		g.place[moved] = at
	}
	if len(end.refs) == 0 {
		g.chunks = slices.Delete(g.chunks, last, last+1)
	}
	g.changed(GroupEvent{Group: g.name, Change: Left, Ref: r})
	return true
}

func (g *group) changed(e GroupEvent) {
	g.snap.Store(nil)
	for w := g.watchers.Front(); w != nil; w = w.Next() {
		w.Value.(func(GroupEvent))(e)
	}
}

// Ended takes out a member that has ended: see actor.AtEnd.
func (g *group) Ended(r actor.AnyRef) {
	g.mu.Lock()
	defer g.release()
	g.remove(r)
}

// watch posts who is in the group and then each change, until stop is called.
func (reg *Registry) watch(name string, post func(GroupEvent)) (stop func()) {
	g := reg.group(name)
	defer g.release()
	e := g.watchers.PushBack(post)
	post(GroupEvent{Group: name, Change: Present, Members: g.members()})
	return func() {
		g.mu.Lock()
		defer g.release()
		g.watchers.Remove(e)
	}
}
