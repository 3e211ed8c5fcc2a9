package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/registry"
	"github.com/greenroom-go/greenroom/registry/cluster"
)

// Claim gives a living actor of this node a name that the whole cluster knows; that it has it already is no error. It keeps it, restarts
// included, until Release, its final end, or that of the node.
//
// Each node decides by what it knows. Two nodes that do not hear each other may both give one name away; when they do, the older claim
// stays (by Lamport time, then by the order of the nodes' names), the other is withdrawn, and lost, unless it is nil, is called with who has
// the name now, in a goroutine of its own, which Stop waits for: from there, stop the node by go n.Stop(ctx). WatchName tells an actor the same
// as a message.
// Errors: actor.ErrNameTaken (another actor has it), actor.ErrBadName, actor.ErrNoActor (a zero ref), actor.ErrOtherSystem (it is of another
// node, which alone can claim for it), actor.ErrStopped (it has ended), ErrLimit (a node publishes 8,192 names and memberships), ErrStopped.
func (n *Node) Claim(name string, who registry.Addressed, lost func(by actor.AnyRef)) error {
	if n.none() {
		return errNoNode
	}
	p := &posting{n: n, what: published{name: name}, lost: lost}
	return naming("claim", name, p.publish(who, func() error { return n.naming.names.Claim(name, p.a, p.lose) }))
}

// Release withdraws a claim of an actor of this node. Errors: actor.ErrNoName (that actor does not have it), actor.ErrNoActor,
// actor.ErrOtherSystem, ErrStopped.
func (n *Node) Release(name string, who registry.Addressed) error {
	if n.none() {
		return errNoNode
	}
	p, err := n.published(who, published{name: name})
	if err == nil {
		err = n.naming.names.Release(name, p.a)
	}
	return naming("release", name, err)
}

// JoinGroup puts a living actor of this node into a group that spans the cluster, where it stays, restarts included, until LeaveGroup, its
// final end, or that of the node; that it is in it already is no error. Errors: those of Claim, but for a name that is taken.
func (n *Node) JoinGroup(group string, who registry.Addressed) error {
	if n.none() {
		return errNoNode
	}
	p := &posting{n: n, what: published{name: group, group: true}}
	return naming("join the group", group, p.publish(who, func() error { return n.naming.names.Enter(group, p.a) }))
}

// LeaveGroup takes an actor of this node out of a group. Errors: registry.ErrNotMember, actor.ErrNoActor, actor.ErrOtherSystem, ErrStopped.
func (n *Node) LeaveGroup(group string, who registry.Addressed) error {
	if n.none() {
		return errNoNode
	}
	p, err := n.published(who, published{name: group, group: true})
	if err == nil {
		err = n.naming.names.Exit(group, p.a)
	}
	if errors.Is(err, actor.ErrNoName) || errors.Is(err, cluster.ErrNotMine) {
		err = registry.ErrNotMember
	}
	return naming("leave the group", group, err)
}

// Group is who is in a group, on all nodes, in the order of their names; of a node that is down there is nobody. Nobody is in a group that
// there is not.
func (n *Node) Group(group string) Refs {
	if n.none() || n.naming.check() != nil {
		return nil
	}
	var all Refs
	for _, e := range n.naming.names.Group(group) {
		if r := n.refOf(e); !r.IsZero() && !n.isDown(r) {
			all = append(all, r)
		}
	}
	return all
}

// Refs are actors, of any nodes.
type Refs []actor.AnyRef

// Send sends m to each of them and returns how many of those sends were accepted. They share the message and must not change it. Whoever has
// ended is passed over, and so is whoever's node is down; the error joins all others. Who takes other messages than m's type gets a
// dead letter.
func (all Refs) Send(ctx context.Context, m proto.Message) (sent int, err error) {
	var errs []error
	for _, r := range all {
		switch err := r.Send(ctx, m); {
		case err == nil:
			sent++
		case errors.Is(err, actor.ErrStopped), errors.Is(err, actor.ErrNodeDown):
		default:
			errs = append(errs, fmt.Errorf("remote: send to %v: %w", r, err))
		}
	}
	return sent, errors.Join(errs...)
}

// Find returns who has a name in the cluster, as this node knows it; it asks nobody. With proto.Message for M it is whoever has the name.
// Errors: actor.ErrNoName (nobody), actor.ErrWrongType (who has it takes other messages), actor.ErrNodeDown (its node is down, and it will
// lose the name), ErrStopped.
func Find[M proto.Message](n *Node, name string) (actor.Ref[M], error) {
	r, err := n.find(name, wantOf[M]())
	return actor.Ref[M]{AnyRef: r}, naming("find", name, err)
}

// Await is Find that waits, under ctx, until somebody has the name. An actor suspends, holding no slot; any other goroutine blocks.
// Errors: actor.ErrWrongType, ctx's own, ErrStopped, actor.ErrBadName; and for an actor those of actor.Event.Wait.
func Await[M proto.Message](ctx context.Context, n *Node, name string) (actor.Ref[M], error) {
	r, err := n.awaitName(ctx, name, wantOf[M]())
	return actor.Ref[M]{AnyRef: r}, naming("await", name, err)
}

// NameEvent tells who has a name in the cluster.
type NameEvent struct {
	Name string       // which
	Node string       // the name of the node that has claimed it, "" for none
	Ref  actor.AnyRef // who has it from now on; zero for nobody
}

// WatchName has the calling actor told who has a name in the cluster: first who has it now, even if that is nobody, and then each change, in
// order, until the subscription is cancelled or the actor's incarnation ends. adapt makes each event a message of the actor's own type, in
// its turn. Errors: actor.ErrBadName, ErrStopped, and those of actor.OpenFeed.
func WatchName[M proto.Message](ctx *actor.Context, n *Node, name string, adapt func(NameEvent) M) (*actor.Feed, error) {
	feed, err := actor.OpenFeed(ctx, adapt, func(post func(NameEvent)) (func(), error) {
		if n.none() {
			return nil, errNoNode
		}
		if err := n.naming.check(); err != nil {
			return nil, err
		}
		return n.naming.names.Watch(name, func(e cluster.NameEvent) {
			post(NameEvent{Name: name, Node: e.Entry.Node, Ref: n.refOf(e.Entry)})
		})
	})
	return feed, naming("watch", name, err)
}

// GroupEvent tells of a group.
type GroupEvent struct {
	Group   string // which
	Members Refs   // the first event: who is in it, not nil; nil with all later ones
	Joined  Refs   // who is in it from now on
	Left    Refs   // who no longer is: they left, ended, or their node is down
}

// WatchGroup has the calling actor told of a group: first who is in it, even if that is nobody, and then of those who join or leave, in order.
// In all else it is WatchName.
func WatchGroup[M proto.Message](ctx *actor.Context, n *Node, group string, adapt func(GroupEvent) M) (*actor.Feed, error) {
	feed, err := actor.OpenFeed(ctx, adapt, func(post func(GroupEvent)) (func(), error) {
		if n.none() {
			return nil, errNoNode
		}
		if err := n.naming.check(); err != nil {
			return nil, err
		}
		return n.naming.names.WatchGroup(group, func(e cluster.GroupEvent) {
			post(GroupEvent{Group: group, Members: n.refsOf(e.Members), Joined: n.refsOf(e.Joined), Left: n.refsOf(e.Left)})
		})
	})
	return feed, naming("watch the group", group, err)
}

// clusterNames is how a node publishes and finds names that the whole cluster knows.
type clusterNames struct {
	n      *Node
	names  cluster.Names
	direct *carrier // what carries them over links, if nothing else does

	mu  sync.Mutex
	own map[published]*posting
}

// published names one thing that an actor of this node publishes.
type published struct {
	name  string
	group bool // it is a membership, else a claim
	who   actor.AnyRef
}

// posting is one such thing, and what withdraws it at the actor's end.
type posting struct {
	n     *Node
	what  published
	a     cluster.Actor
	lost  func(actor.AnyRef)
	ended atomic.Bool
}

func (c *clusterNames) check() error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.n.stopped {
		return ErrStopped
	}
	return nil
}

// actorOf checks that who is an actor of this node.
func (n *Node) actorOf(who registry.Addressed) (r actor.AnyRef, err error) {
	if who != nil {
		r = who.Any()
	}
	switch err := n.naming.check(); {
	case err != nil:
		return r, err
	case r.IsZero():
		return r, actor.ErrNoActor
	case r.Node() != n.sys.NodeID():
		return r, actor.ErrOtherSystem
	}
	return n.sys.RefAt(r.Node(), r.ID()) // it may be another System's of this process
}

// publish has do publish it for who.
func (p *posting) publish(who registry.Addressed, do func() error) (err error) {
	if p.what.who, err = p.n.actorOf(who); err != nil {
		return err
	}
	r := p.what.who
	takes, ok := r.Takes()
	if !ok {
		return actor.ErrStopped
	}
	if p.a = (cluster.Actor{ID: r.ID(), Type: takes, Node: r.Node()}); len(takes) > cluster.MaxNameBytes {
		p.a.Type = "" // it will be taken at its word
	}
	if err := actor.AtEnd(r, p); err != nil {
		return err
	}
	if err := do(); err != nil {
		actor.NotAtEnd(r, p)
		return err
	}
	c := p.n.naming
	c.mu.Lock()
	old := c.own[p.what]
	c.own[p.what] = p
	c.mu.Unlock()
	if old != nil {
		actor.NotAtEnd(r, old) // which would do the same
	}
	if p.ended.Load() {
		p.Ended(r) // it may have come too early; to withdraw twice does no harm
		return actor.ErrStopped
	}
	return nil
}

// published finds what who has published, which is to be withdrawn now.
func (n *Node) published(who registry.Addressed, what published) (p *posting, err error) {
	if what.who, err = n.actorOf(who); err != nil {
		return nil, err
	}
	if p = n.naming.forget(what); p == nil {
		return nil, actor.ErrNoName
	}
	actor.NotAtEnd(what.who, p)
	return p, nil
}

// forget returns what is known of something published, and knows nothing of it any more.
func (c *clusterNames) forget(what published) *posting {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.own[what]
	delete(c.own, what)
	return p
}

// Ended implements actor.EndHook.
func (p *posting) Ended(actor.AnyRef) {
	p.ended.Store(true)
	c := p.n.naming
	c.forget(p.what)
	if p.what.group {
		_ = c.names.Exit(p.what.name, p.a) // or it has left
	} else {
		_ = c.names.Release(p.what.name, p.a) // or it has lost it
	}
}

// lose is told who has the name now.
func (p *posting) lose(e cluster.Entry) {
	n := p.n
	if n.naming.forget(p.what) != nil {
		actor.NotAtEnd(p.what.who, p)
	}
	n.log.Warn("a name is lost to an older claim of another node", "name", p.what.name, "actor", p.what.who.String(), "node", e.Node)
	if p.lost == nil {
		return
	}
	by := n.refOf(e)
	n.begin(func() {
		if err := guarded("what is told of the loss of a name", func() error { p.lost(by); return nil }); err != nil {
			n.log.Error("a name was lost", "name", p.what.name, "error", err.Error())
		}
	})
}

func (n *Node) find(name string, want wanted) (actor.AnyRef, error) {
	if n.none() {
		return actor.AnyRef{}, errNoNode
	}
	if err := cmp.Or(n.naming.check(), actor.CheckName(name)); err != nil {
		return actor.AnyRef{}, err
	}
	e, ok := n.naming.names.Lookup(name)
	r := n.refOf(e)
	switch {
	case !ok || r.IsZero():
		return actor.AnyRef{}, actor.ErrNoName
	case n.isDown(r):
		return actor.AnyRef{}, fmt.Errorf("it is on %s: %w", e.Node, actor.ErrNodeDown)
	}
	if err := want.fits(e.Type); err != nil {
		return actor.AnyRef{}, err
	}
	return r, nil
}

func (n *Node) awaitName(ctx context.Context, name string, want wanted) (actor.AnyRef, error) {
	if n.none() {
		return actor.AnyRef{}, errNoNode
	}
	if ctx == nil {
		return actor.AnyRef{}, actor.ErrNilContext
	}
	if err := n.naming.check(); err != nil {
		return actor.AnyRef{}, err
	}
	var mu sync.Mutex
	var holder cluster.Entry
	news := new(actor.Event)
	stop, err := n.naming.names.Watch(name, func(e cluster.NameEvent) {
		mu.Lock()
		holder = e.Entry
		mu.Unlock()
		if !e.Entry.IsZero() {
			news.Set()
		}
	})
	if err != nil {
		return actor.AnyRef{}, err
	}
	defer stop()
	defer context.AfterFunc(n.ctx, news.Set)()
	for {
		if err := news.Wait(ctx); err != nil {
			return actor.AnyRef{}, err
		}
		news.Clear()
		mu.Lock()
		e := holder
		mu.Unlock()
		if r := n.refOf(e); !r.IsZero() {
			return r, want.fits(e.Type)
		}
		if n.ctx.Err() != nil {
			return actor.AnyRef{}, ErrStopped
		}
	}
}

// refOf is the ref of who is published, zero for nobody.
func (n *Node) refOf(e cluster.Entry) actor.AnyRef {
	if e.IsZero() || n.naming.direct != nil && e.Actor.Node != e.Incarnation {
		return actor.AnyRef{} // a node speaks for its own actors only
	}
	r, err := n.sys.RefAt(e.Actor.Node, e.ID)
	if err != nil {
		return actor.AnyRef{}
	}
	return r
}

// refsOf keeps the difference between nobody and nothing.
func (n *Node) refsOf(list []cluster.Entry) Refs {
	if list == nil {
		return nil
	}
	refs := Refs{}
	for _, e := range list {
		if r := n.refOf(e); !r.IsZero() {
			refs = append(refs, r)
		}
	}
	return refs
}

// isDown reports whether r's node was linked and is down.
func (n *Node) isDown(r actor.AnyRef) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	far := n.fars[r.Node()]
	if far == nil {
		return false
	}
	far.mu.Lock()
	defer far.mu.Unlock()
	p := far.peer
	return far.gone != nil || p != nil && p.now == far && !p.up && !p.since.IsZero()
}

// naming says what was being done to what, and adds the error of package actor or of this one that an error of package cluster is.
func naming(what, name string, err error) error {
	if err == nil {
		return nil
	}
	for ours, theirs := range map[error]error{
		actor.ErrNameTaken: cluster.ErrNameTaken, actor.ErrBadName: cluster.ErrBadName, actor.ErrNoName: cluster.ErrNotMine, ErrLimit: cluster.ErrTooMany,
	} {
		if errors.Is(err, theirs) {
			err = fmt.Errorf("%w: %w", ours, err)
		}
	}
	return fmt.Errorf("remote: %s %.80q: %w", what, name, err)
}
