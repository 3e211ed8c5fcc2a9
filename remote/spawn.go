package remote

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// Spawner is who has actors started on other nodes: a *Node, or a *Client, with which they end.
type Spawner interface {
	origin() (*Node, *Client)
}

func (n *Node) origin() (*Node, *Client) { return n, nil }

// Spawn starts an actor with a behaviour that its node has registered by that name, made from args, which may be nil, and returns its
// ref. From an actor it suspends; from any other goroutine it blocks. If ctx ends first, what was started nevertheless is stopped.
// M is what is going to be sent; proto.Message leaves that open.
//
// The actor is watched from birth: Wait, and monitors that this node begins, tell how it ended however early that was, as long as this
// node remembers that (4,096 later ends). It is nobody's child. It ends when it is stopped, or when its node declares this one down.
// Errors: ErrNoPeer, ErrUnregistered, ErrRefused, ErrLimit, ErrTooLarge, ErrUnknownType, actor.ErrWrongType (the behaviour takes no M,
// or is not made from such args), what its maker returned, as *Error, actor.ErrNodeDown, ErrStopped, ctx's own.
func Spawn[M proto.Message](ctx context.Context, from Spawner, where Placement, name string, args proto.Message) (actor.Ref[M], error) {
	b, err := spawn(ctx, from, where, name, args, reflect.TypeFor[M](), actor.AnyRef{})
	if err != nil {
		return actor.Ref[M]{}, err
	}
	return actor.Ref[M]{AnyRef: b.ref}, nil
}

// SpawnMonitor is Spawn from an actor together with actor.Monitor: no end is missed, however early, and the Down tells the true reason.
func SpawnMonitor[M, W proto.Message](ctx *actor.Context, from Spawner, where Placement, name string, args proto.Message, adapt func(actor.Down) W) (actor.Ref[M], actor.MonitorRef, error) {
	e, err := actor.Expect(ctx, adapt)
	if err != nil {
		return actor.Ref[M]{}, actor.MonitorRef{}, err
	}
	b, err := spawn(ctx, from, where, name, args, reflect.TypeFor[M](), ctx.Self())
	if err != nil {
		e.Forget(ctx)
		return actor.Ref[M]{}, actor.MonitorRef{}, err
	}
	m := e.Born(ctx, b.ref)
	b.whenEnded(e.Down)
	return actor.Ref[M]{AnyRef: b.ref}, m, nil
}

// Spawned is what has become of a SpawnEach on one node.
type Spawned[M proto.Message] struct {
	Node string       // its name
	Ref  actor.Ref[M] // the actor there, the zero ref if there is none
	Err  error        // why not
}

// SpawnEach is Spawn on each node that where chooses from, all at once, in the order of where's choice. Errors are told for each node;
// SpawnEach itself fails if there is none.
func SpawnEach[M proto.Message](ctx context.Context, from Spawner, where Placement, name string, args proto.Message) ([]Spawned[M], error) {
	o, err := newOrder(ctx, from, where, name, args, reflect.TypeFor[M](), actor.AnyRef{})
	if err != nil {
		return nil, err
	}
	nodes := o.n.candidates(where)
	if len(nodes) == 0 {
		return nil, o.nobody()
	}
	asked := make([]*asking, len(nodes))
	for i := range nodes {
		asked[i] = o.launch(ctx, nodes[i:i+1])
		defer asked[i].leave()
	}
	list := make([]Spawned[M], len(nodes))
	for i, a := range asked {
		list[i] = Spawned[M]{Node: nodes[i].name}
		b, err := a.await(ctx)
		if list[i].Err = err; err == nil {
			list[i].Ref = actor.Ref[M]{AnyRef: b.ref}
		}
	}
	return list, nil
}

// Run starts an actor as Spawn does, waits under ctx until it has ended, and returns the value that it has set: what a function of
// RegisterFunc returns. If ctx ends first the actor is asked to stop.
// Errors: those of Spawn; *actor.ExitError if it did not end normally, its cause being an *Error with type and text; actor.ErrNoReply if
// it has set no value; actor.ErrWrongType if that is no R. Whether what ran on a node that is down had an effect is not known.
func Run[R proto.Message](ctx context.Context, from Spawner, where Placement, name string, args proto.Message) (R, error) {
	var zero R
	b, err := spawn(ctx, from, where, name, args, protoMessage, actor.AnyRef{})
	if err != nil {
		return zero, err
	}
	d, err := b.wait(ctx)
	if err != nil {
		return zero, err
	}
	r, ok := d.Value.(R)
	switch {
	case !d.Reason.Normal() || d.Value == nil && d.Reason.Kind == actor.ReasonShutdown:
		err = &actor.ExitError{Ref: d.Ref, Reason: d.Reason}
	case d.Value == nil:
		err = fmt.Errorf("%w: it has ended without a value (Context.SetValue)", actor.ErrNoReply)
	case !ok:
		err = fmt.Errorf("%w: its value is a %T", actor.ErrWrongType, d.Value)
	default:
		return r, nil
	}
	return zero, fmt.Errorf("remote: run %q on %s: %w", name, b.node, err)
}

// Child is the start of a supervisor's child that lives on another node: a supervisor.StartFunc. where chooses anew at each start, so
// that the child of a node that is down is started on another one; give it a Backoff, for while there is none. The child ends with the
// supervisor, however that ends. One that a partition has cut off goes on until its node, too, declares this one down.
func Child(from Spawner, where Placement, name string, args proto.Message) func(ctx *actor.Context) (actor.AnyRef, error) {
	c := &children{last: make(map[actor.AnyRef]*child)}
	return func(ctx *actor.Context) (actor.AnyRef, error) {
		if err := c.endLast(ctx); err != nil {
			return actor.AnyRef{}, err
		}
		b, err := spawn(ctx, from, where, name, args, protoMessage, ctx.Self())
		if err != nil {
			return actor.AnyRef{}, err
		}
		return b.ref, c.keep(ctx, b)
	}
}

// children are what a Child has started last, for each supervisor.
type children struct {
	mu   sync.Mutex
	last map[actor.AnyRef]*child
}

// child is one of them, and what ends it with the supervisor's incarnation.
type child struct {
	b    *birth
	feed *actor.Feed
}

// endLast ends what the supervisor, or an earlier incarnation of it, has left behind.
func (c *children) endLast(ctx *actor.Context) error {
	c.mu.Lock()
	for sup := range c.last {
		if !sup.Alive() {
			delete(c.last, sup)
		}
	}
	last := c.last[ctx.Self()]
	c.mu.Unlock()
	if last == nil {
		return nil
	}
	last.b.ref.Kill()
	if _, err := last.b.wait(ctx); err != nil {
		return err
	}
	return last.feed.Cancel(ctx)
}

// keep has the child end with the supervisor's incarnation.
func (c *children) keep(ctx *actor.Context, b *birth) error {
	feed, err := actor.OpenFeed(ctx, func(struct{}) proto.Message { return nil }, func(func(struct{})) (func(), error) { return b.ref.Shutdown, nil })
	if err != nil {
		b.ref.Shutdown()
		return err
	}
	c.mu.Lock()
	c.last[ctx.Self()] = &child{b, feed}
	c.mu.Unlock()
	return nil
}

// order is what is asked of one node after the other.
type order struct {
	n      *Node
	client *Client
	where  Placement
	req    *greenroomv1.SpawnRequest
}

func newOrder(ctx context.Context, from Spawner, where Placement, name string, args proto.Message, takes reflect.Type, by actor.AnyRef) (*order, error) {
	if ctx == nil {
		return nil, actor.ErrNilContext
	}
	if from == nil {
		return nil, errNoNode
	}
	n, client := from.origin()
	if n.none() {
		return nil, errNoNode
	}
	if err := checkSpawnName(name); err != nil {
		return nil, err
	}
	o := &order{n: n, client: client, where: where, req: &greenroomv1.SpawnRequest{Name: name, Takes: messageName(takes), By: by.ID()}}
	if args == nil {
		return o, nil
	}
	t, err := typeOf(args)
	if err != nil {
		return nil, err
	}
	o.req.ArgsType = t.name
	err = guarded("the arguments' marshaller", func() error {
		if size := proto.Size(args); size > n.opts.MaxMessageBytes {
			return fmt.Errorf("%w: arguments of %d bytes", ErrTooLarge, size)
		}
		o.req.Args, err = proto.Marshal(args)
		return err
	})
	return o, err
}

// spawn does what an order says.
func spawn(ctx context.Context, from Spawner, where Placement, name string, args proto.Message, takes reflect.Type, by actor.AnyRef) (*birth, error) {
	o, err := newOrder(ctx, from, where, name, args, takes, by)
	if err != nil {
		return nil, err
	}
	if o.n.ctx.Err() != nil {
		return nil, fmt.Errorf("remote: spawn %q on %v: %w", name, where, ErrStopped)
	}
	nodes := o.n.candidates(where)
	if len(nodes) == 0 {
		return nil, o.nobody()
	}
	a := o.launch(ctx, nodes)
	defer a.leave()
	return a.await(ctx)
}

func (o *order) nobody() error {
	return fmt.Errorf("remote: spawn %q on %v: %w is up", o.req.GetName(), o.where, ErrNoPeer)
}

// asking is an order on its way. It is not its caller that waits for the answer, so that an actor may be killed meanwhile without
// leaving something behind that nobody knows of.
type asking struct {
	cancel context.CancelFunc
	done   actor.Event

	mu    sync.Mutex
	b     *birth
	err   error
	taken bool
	left  bool
}

// launch has an order tried on those nodes.
func (o *order) launch(ctx context.Context, nodes []candidate) *asking {
	a := &asking{}
	var own context.Context
	if at, ok := ctx.Deadline(); ok {
		own, a.cancel = context.WithDeadline(o.n.ctx, at)
	} else {
		own, a.cancel = context.WithCancel(o.n.ctx)
	}
	if !o.n.begin(func() { a.settle(o.try(own, nodes)) }) {
		a.settle(nil, ErrStopped)
	}
	return a
}

// settle says what has come of it.
func (a *asking) settle(b *birth, err error) {
	a.mu.Lock()
	a.b, a.err = b, err
	left := a.left
	a.mu.Unlock()
	if left && b != nil {
		b.ref.Shutdown()
	}
	a.done.Set()
}

// await waits under ctx for what comes of it.
func (a *asking) await(ctx context.Context) (*birth, error) {
	if err := a.done.Wait(ctx); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.taken = true
	return a.b, a.err
}

// leave stops what was not taken.
func (a *asking) leave() {
	a.cancel()
	a.mu.Lock()
	a.left = !a.taken
	b := a.b
	left := a.left
	a.mu.Unlock()
	if left && b != nil {
		b.ref.Shutdown()
	}
}

// try asks one node after the other.
func (o *order) try(ctx context.Context, nodes []candidate) (*birth, error) {
	var all []error
	for _, c := range nodes {
		b, err := o.at(ctx, c)
		if err == nil {
			return b, nil
		}
		if o.n.ctx.Err() != nil {
			return nil, ErrStopped
		}
		all = append(all, fmt.Errorf("remote: spawn %q on %s: %w", o.req.GetName(), c.name, err))
		if ctx.Err() != nil || !mayTryAnother(err) {
			return nil, all[len(all)-1]
		}
	}
	if len(all) == 1 {
		return nil, all[0]
	}
	return nil, errors.Join(all...)
}

// mayTryAnother reports whether an error says something of a node, rather than of what was asked.
func mayTryAnother(err error) bool {
	for _, e := range []error{ErrUnregistered, ErrLimit, ErrRefused, ErrUnknownType, actor.ErrNodeDown, ErrStopped} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// at asks one node.
func (o *order) at(ctx context.Context, c candidate) (*birth, error) {
	n := o.n
	b := &birth{n: n, node: c.name, client: o.client, number: n.rci.number.Add(1) | ownNumber}
	req := &greenroomv1.SpawnRequest{
		Name: o.req.GetName(), ArgsType: o.req.GetArgsType(), Args: o.req.GetArgs(), Takes: o.req.GetTakes(), By: o.req.GetBy(), Number: b.number,
	}
	var reply *greenroomv1.SpawnReply
	var err error
	if c.far == nil {
		reply, err = actor.Call[*greenroomv1.SpawnReply](ctx, actor.Ref[*spawnAsk]{AnyRef: n.serve[spawnService]}, &spawnAsk{SpawnRequest: req, down: b.down})
	} else {
		reply, err = b.ask(ctx, c.far, req)
	}
	if err != nil {
		return nil, err
	}
	id := n.sys.NodeID()
	if c.far != nil {
		id = c.far.id
	}
	ref, err := n.sys.RefAt(id, reply.GetActor())
	if err != nil {
		return nil, err
	}
	return b, b.born(ref)
}

// ask asks another node.
func (b *birth) ask(ctx context.Context, far *incarnation, req *greenroomv1.SpawnRequest) (*greenroomv1.SpawnReply, error) {
	s, err := far.way()
	if err != nil {
		return nil, err
	}
	by, err := b.n.sys.RefAt(b.n.sys.NodeID(), req.GetBy())
	if err != nil {
		return nil, err
	}
	if err := s.expect(by, b.number, b.down); err != nil {
		return nil, err
	}
	far.spawning.Add(1)
	defer far.spawning.Add(-1)
	reply, err := actor.Call[*greenroomv1.SpawnReply](ctx, actor.Ref[*greenroomv1.SpawnRequest]{AnyRef: far.service(spawnService)}, req)
	if err != nil {
		s.forget(b.number)
		return nil, err
	}
	far.load.Store(reply.GetLoad())
	return reply, nil
}

// ownNumber marks the numbers of watches that begin with an actor's life: those of package actor are smaller.
const ownNumber = 1 << 63

// expect begins a watch of an actor that the other side is about to start.
func (s *session) expect(by actor.AnyRef, number uint64, down func(actor.Down)) error {
	s.watchMu.Lock()
	defer s.watchMu.Unlock()
	if s.ctx.Err() != nil {
		return s.downError()
	}
	if s.watches == nil {
		s.watches = make(map[uint64]*watch)
	}
	s.watches[number] = &watch{by: by, down: down}
	return nil
}

// forget ends such a watch.
func (s *session) forget(number uint64) {
	s.watchMu.Lock()
	delete(s.watches, number)
	s.watchMu.Unlock()
}

// unwanted stops an actor that was started for somebody who no longer waits for it.
func (s *session) unwanted(m *greenroomv1.SpawnReply) {
	if ref, err := s.node.sys.RefAt(s.far.id, m.GetActor()); err == nil {
		ref.Shutdown()
	}
}

// birth is an actor that this node has had started, as long as it lives and a while longer.
type birth struct {
	n      *Node
	node   string // the name of the one that it lives on
	client *Client
	number uint64

	mu   sync.Mutex
	ref  actor.AnyRef // written once, before anybody else knows of the birth
	end  *actor.Down
	then []func(actor.Down)
}

// born says who the actor is. With an error it was stopped: its node was declared down meanwhile, or the client was closed.
func (b *birth) born(ref actor.AnyRef) error {
	b.mu.Lock()
	b.ref = ref
	end := b.end
	if end != nil {
		end.Ref = ref
	}
	b.n.rci.note(b) // and what follows before down can say that it is over
	err := b.client.add(b)
	b.mu.Unlock()
	if end != nil {
		b.over()
		if err == nil && end.Reason.Kind == actor.ReasonNodeDown {
			err = fmt.Errorf("it was started, but %w", actor.ErrNodeDown)
		}
	}
	if err != nil {
		ref.Shutdown()
	}
	return err
}

// down takes the news of the end, which may come before it is known who has ended.
func (b *birth) down(d actor.Down) {
	b.mu.Lock()
	known := !b.ref.IsZero()
	if known {
		d.Ref = b.ref
	}
	first := b.end == nil
	if first {
		b.end = &d
	}
	then := b.then
	b.then = nil
	b.mu.Unlock()
	if known && first {
		b.over()
		for _, f := range then {
			f(d)
		}
	}
}

// over has the actor be forgotten, in time.
func (b *birth) over() {
	b.n.rci.bury(b.ref)
	b.client.drop(b)
}

// whenEnded calls f once the actor has ended, from any goroutine. The actor is born.
func (b *birth) whenEnded(f func(actor.Down)) {
	b.mu.Lock()
	if b.end == nil {
		b.then = append(b.then, f)
		b.mu.Unlock()
		return
	}
	d := *b.end
	b.mu.Unlock()
	f(d)
}

// wait waits under ctx for the end. If ctx ends first, or who waits is killed, the actor is asked to stop.
func (b *birth) wait(ctx context.Context) (actor.Down, error) {
	var over actor.Event
	b.whenEnded(func(actor.Down) { over.Set() })
	ended := false
	defer func() {
		if !ended {
			b.ref.Shutdown()
		}
	}()
	if err := over.Wait(ctx); err != nil {
		return actor.Down{}, err
	}
	ended = true
	b.mu.Lock()
	defer b.mu.Unlock()
	return *b.end, nil
}

// remembered bounds the ends of births that are remembered.
const remembered = 4096

// note remembers a birth.
func (r *rci) note(b *birth) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.births == nil {
		r.births = make(map[actor.AnyRef]*birth)
	}
	r.births[b.ref] = b
}

// bury remembers the end of a birth, for a while.
func (r *rci) bury(ref actor.AnyRef) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended = append(r.ended, ref); len(r.ended) > remembered {
		delete(r.births, r.ended[0])
		r.ended = r.ended[1:]
	}
}

// truly has a watch of an actor that this node has had started be told how it ended, where its node only knows that it has.
func (n *Node) truly(to actor.AnyRef, down func(actor.Down)) func(actor.Down) {
	n.rci.mu.Lock()
	b := n.rci.births[to]
	n.rci.mu.Unlock()
	if b == nil {
		return down
	}
	return func(d actor.Down) {
		if d.Reason.Kind == actor.ReasonNoActor {
			b.whenEnded(down)
			return
		}
		down(d)
	}
}
