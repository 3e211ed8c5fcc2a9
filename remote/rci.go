package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// maxSpawnName bounds the names of registered behaviours, in bytes.
const maxSpawnName = 255

// defaultMaxRunning is RegisterOptions.MaxRunning where that is 0.
const defaultMaxRunning = 1024

// Origin says who asks for an actor.
type Origin struct {
	Node        string // the name of the node that asks: this one's if it is asked by itself
	Incarnation uint64 // which life of it
	Name        string // what it asks for
}

// RegisterOptions say who may start a registered behaviour, how often, and how. The zero value: whoever has the role spawn, 1,024 at once.
type RegisterOptions struct {
	// MaxRunning bounds how many of it run at once, whoever started them. 0 means 1,024. One more is refused with ErrLimit.
	MaxRunning int
	// Allow reports whether that peer may start it. Nil: Options.Policy.Spawn decides alone; with both, both have to.
	Allow func(peer string) bool
	// Outlive has actors go on when the node that had them started is declared down. Else they are asked to stop then, with
	// ReasonShutdown.
	Outlive bool
	// Actor are the options that the actors are spawned with. For a generated service that has a mailbox in its schema: its
	// Service.Mailbox.
	Actor actor.Options
}

func (o RegisterOptions) withDefaults() (RegisterOptions, error) {
	if o.MaxRunning < 0 {
		return o, fmt.Errorf("remote: MaxRunning is %d: use 0 for %d, or a positive number", o.MaxRunning, defaultMaxRunning)
	}
	o.MaxRunning = cmp.Or(o.MaxRunning, defaultMaxRunning)
	return o, nil
}

// rci is what a node has registered, what it runs for others, and what others run for it.
type rci struct {
	number atomic.Uint64 // of births
	turn   atomic.Uint64 // of Any

	mu        sync.Mutex
	functions map[string]*function
	running   map[string]int // by the peer that started them
	tasks     map[*session]map[*task]struct{}
	births    map[actor.AnyRef]*birth
	ended     []actor.AnyRef // births whose end is remembered, oldest first
}

// function is a registered behaviour.
type function struct {
	name    string
	takes   reflect.Type // the type of its actors' messages
	o       RegisterOptions
	start   func(from Origin, args proto.Message, down func(actor.Down)) (actor.AnyRef, error)
	running int // guarded by rci.mu
}

// Register lets peers start actors here by name: build makes the behaviour of each from the arguments that its asker has sent, which are
// nil if there are none. build runs in an actor of its own; it should only make a value, and leave what takes time to the behaviour. Its
// error goes to who asked, with type and text, and so does its panic.
//
// Peers need the role spawn, and Policy.Spawn and RegisterOptions.Allow have to agree. The actors are children of nobody: they end by
// themselves, when they are stopped, or when the node that had them started is declared down (RegisterOptions.Outlive).
// Errors: actor.ErrNameTaken if the name is registered, actor.ErrBadName if it is none of 1 to 255 bytes of UTF-8, ErrStopped.
func Register[A, M proto.Message](n *Node, name string, build func(from Origin, args A) (actor.Behaviour[M], error), o ...RegisterOptions) error {
	opts, err := oneOf(o)
	switch {
	case err != nil:
		return err
	case build == nil:
		return fmt.Errorf("remote: register %q: %w", name, actor.ErrNilBehaviour)
	case n == nil:
		return errNoNode
	}
	f := &function{name: name, takes: reflect.TypeFor[M](), o: opts}
	f.start = func(from Origin, args proto.Message, down func(actor.Down)) (actor.AnyRef, error) {
		a, ok := args.(A)
		if !ok && args != nil {
			return actor.AnyRef{}, fmt.Errorf("%w: it is made from a %v, not from a %T", actor.ErrWrongType, reflect.TypeFor[A](), args)
		}
		b, err := build(from, a)
		if err != nil {
			return actor.AnyRef{}, err
		}
		ref, err := actor.SpawnWatched(n.sys, b, down, opts.Actor)
		return ref.AnyRef, err
	}
	return n.register(f)
}

// RegisterFunc lets peers Run f here: as an actor that takes no messages and ends with what f returns.
// Errors: those of Register.
func RegisterFunc[A, R proto.Message](n *Node, name string, f func(ctx *actor.Context, args A) (R, error), o ...RegisterOptions) error {
	if f == nil {
		return fmt.Errorf("remote: register %q: %w", name, actor.ErrNilBehaviour)
	}
	return Register(n, name, func(_ Origin, args A) (actor.Behaviour[proto.Message], error) {
		return actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[proto.Message]) error {
			r, err := f(ctx, args)
			if err != nil {
				return err
			}
			return ctx.SetValue(r)
		}), nil
	}, o...)
}

func oneOf(o []RegisterOptions) (RegisterOptions, error) {
	switch len(o) {
	case 0:
		return RegisterOptions{}.withDefaults()
	case 1:
		return o[0].withDefaults()
	}
	return RegisterOptions{}, errors.New("remote: more than one RegisterOptions")
}

func checkSpawnName(name string) error {
	if name == "" || len(name) > maxSpawnName || !utf8.ValidString(name) {
		return fmt.Errorf("remote: the name %.300q of a behaviour: %w: 1 to %d bytes of UTF-8", name, actor.ErrBadName, maxSpawnName)
	}
	return nil
}

func (n *Node) register(f *function) error {
	if n.none() {
		return errNoNode
	}
	if err := checkSpawnName(f.name); err != nil {
		return err
	}
	if n.ctx.Err() != nil {
		return ErrStopped
	}
	n.rci.mu.Lock()
	defer n.rci.mu.Unlock()
	if n.rci.functions[f.name] != nil {
		return fmt.Errorf("remote: register %q: %w", f.name, actor.ErrNameTaken)
	}
	if n.rci.functions == nil {
		n.rci.functions = make(map[string]*function)
	}
	n.rci.functions[f.name] = f
	return nil
}

// Unregister ends a registration: nobody starts that behaviour any more. What runs goes on. ErrUnregistered: there is none.
func (n *Node) Unregister(name string) error {
	if n.none() {
		return errNoNode
	}
	n.rci.mu.Lock()
	defer n.rci.mu.Unlock()
	if n.rci.functions[name] == nil {
		return fmt.Errorf("remote: unregister %q: %w", name, ErrUnregistered)
	}
	delete(n.rci.functions, name)
	return nil
}

// spawnAsk is a SpawnRequest, and who asks.
type spawnAsk struct {
	*greenroomv1.SpawnRequest
	s    *session         // nil: this node
	down func(actor.Down) // of this node
}

// asked gives a request to a service what the service has to know of the peer.
func (s *session) asked(m proto.Message) proto.Message {
	if q, ok := m.(*greenroomv1.SpawnRequest); ok {
		return &spawnAsk{SpawnRequest: q, s: s}
	}
	return m
}

func (n *Node) startRCI() error {
	return errors.Join(
		startService(n, spawnService, "spawn", actor.Handler(n.serveSpawn)),
		startService(n, swapService, "swap", actor.Handler(n.serveSwap)),
	)
}

// task is an actor that was started for somebody.
type task struct {
	n    *Node
	fn   *function
	ask  *spawnAsk
	peer string // "" for this node

	started  bool // of the actor that starts it
	ref      actor.AnyRef
	unwanted bool // its asker is down; with what follows guarded by rci.mu
	over     bool
}

// serveSpawn has what is asked for started by an actor of its own: what the user has registered must not hold up a service.
func (n *Node) serveSpawn(ctx *actor.Context, q *spawnAsk) error {
	t, err := n.admit(q)
	if err != nil {
		return ignoreGone(ctx.Fail(err))
	}
	maker, err := actor.Spawn(n.sys, actor.Handler(t.begin), actor.Options{Daemon: true, OnExit: t.unlessStarted})
	if err == nil {
		err = actor.Forward(ctx, maker, q)
	}
	if err != nil {
		maker.Kill()
		t.release()
		return ignoreGone(ctx.Fail(err))
	}
	_ = maker.Drain() // not Stop in begin: a request whose asker gives up before its turn is not handled. It may have ended
	return nil
}

// ignoreGone is err, unless it says that a reply was not wanted any more.
func ignoreGone(err error) error {
	if errors.Is(err, actor.ErrCallerGone) || errors.Is(err, actor.ErrNoCall) {
		return nil
	}
	return err
}

// admit counts in what is asked for, if there is room.
func (n *Node) admit(q *spawnAsk) (*task, error) {
	t := &task{n: n, ask: q}
	if q.s != nil {
		t.peer = q.s.far.name()
	}
	r := &n.rci
	r.mu.Lock()
	defer r.mu.Unlock()
	t.fn = r.functions[q.GetName()]
	switch {
	case t.fn == nil:
		return nil, fmt.Errorf("%w: %.300q", ErrUnregistered, q.GetName())
	case t.fn.running >= t.fn.o.MaxRunning:
		return nil, fmt.Errorf("%w: %d of %q run already (RegisterOptions.MaxRunning)", ErrLimit, t.fn.running, t.fn.name)
	case q.s != nil && r.running[t.peer] >= n.opts.MaxSpawned:
		return nil, fmt.Errorf("%w: %d actors that %s started run already (Options.MaxSpawned)", ErrLimit, r.running[t.peer], t.peer)
	case q.s != nil && q.s.ctx.Err() != nil:
		return nil, actor.ErrNodeDown
	}
	t.fn.running++
	n.tasks.Add(1)
	if q.s == nil {
		return t, nil
	}
	if r.running == nil {
		r.running, r.tasks = make(map[string]int), make(map[*session]map[*task]struct{})
	}
	r.running[t.peer]++
	if r.tasks[q.s] == nil {
		r.tasks[q.s] = make(map[*task]struct{})
	}
	r.tasks[q.s][t] = struct{}{}
	return t, nil
}

// release counts the task out.
func (t *task) release() {
	r := &t.n.rci
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.over {
		return
	}
	t.over = true
	t.fn.running--
	t.n.tasks.Add(-1)
	s := t.ask.s
	if s == nil {
		return
	}
	if r.running[t.peer]--; r.running[t.peer] <= 0 {
		delete(r.running, t.peer)
	}
	if delete(r.tasks[s], t); len(r.tasks[s]) == 0 {
		delete(r.tasks, s)
	}
}

// unlessStarted is for an actor that ends before it has started the task.
func (t *task) unlessStarted(*actor.Context, actor.Reason) {
	if !t.started {
		t.drop()
	}
}

// drop counts out a task that was not started.
func (t *task) drop() {
	t.unwatch()
	t.release()
}

// begin starts the task, in an actor that does nothing else.
func (t *task) begin(ctx *actor.Context, _ *spawnAsk) error {
	ref, err := t.start()
	if err != nil {
		return ignoreGone(ctx.Fail(err))
	}
	if err := ctx.Reply(&greenroomv1.SpawnReply{Actor: ref.ID(), Load: t.n.load()}); err != nil {
		ref.Shutdown() // nobody knows of it
		return ignoreGone(err)
	}
	return nil
}

// start makes the behaviour and spawns it. The asker's watch begins before it does.
func (t *task) start() (ref actor.AnyRef, err error) {
	defer func() {
		if !t.started { // runtime.Goexit included
			t.drop() // before its asker asks again
		}
	}()
	args, err := t.arguments()
	if err == nil {
		err = t.fn.suits(t.ask.GetTakes())
	}
	if err != nil {
		return ref, err
	}
	if err := t.expect(); err != nil {
		return ref, err
	}
	err = guarded(fmt.Sprintf("what makes %q", t.fn.name), func() error {
		from, err := t.permitted()
		if err != nil {
			return err
		}
		ref, err = t.fn.start(from, args, t.ended)
		return err
	})
	if err != nil {
		return ref, err
	}
	t.started = true
	t.n.rci.mu.Lock()
	t.ref = ref
	unwanted := t.unwanted
	t.n.rci.mu.Unlock()
	t.watches(ref)
	_ = actor.AtEnd(ref, t) // one that has ended already is counted out by ended
	if unwanted {
		ref.Shutdown()
	}
	return ref, nil
}

// permitted asks those who decide what a peer may start.
func (t *task) permitted() (Origin, error) {
	if t.ask.s == nil {
		return Origin{t.n.name, t.n.sys.NodeID(), t.fn.name}, nil
	}
	from := Origin{t.peer, t.ask.s.far.id, t.fn.name}
	policy := &t.n.opts.Policy
	if policy.Spawn != nil && !policy.Spawn(t.peer, t.fn.name) || t.fn.o.Allow != nil && !t.fn.o.Allow(t.peer) {
		return from, fmt.Errorf("%w: %s may not start %q here", ErrRefused, t.peer, t.fn.name)
	}
	if kind := t.ask.GetArgsType(); kind != "" && policy.Accept != nil && !policy.Accept(t.peer, kind) {
		return from, fmt.Errorf("%w: no %s is taken from %s", ErrRefused, kind, t.peer)
	}
	return from, nil
}

// arguments reads the arguments, nil if there are none.
func (t *task) arguments() (proto.Message, error) {
	kind := t.ask.GetArgsType()
	if kind == "" {
		return nil, nil
	}
	known, err := typeNamed(protoreflect.FullName(kind))
	if err != nil {
		return nil, fmt.Errorf("%w: the arguments, %.300q", ErrUnknownType, kind)
	}
	m := known.mt.New().Interface()
	if err := unmarshal.Unmarshal(t.ask.GetArgs(), m); err != nil {
		return nil, fmt.Errorf("%w: the arguments, %s: %w", ErrUnknownType, kind, err)
	}
	return m, nil
}

// key names the asker's watch.
func (t *task) key() watchKey { return watchKey{t.ask.GetBy(), t.ask.GetNumber()} }

// expect begins the asker's watch of an actor that is not there yet.
func (t *task) expect() error {
	s := t.ask.s
	if s == nil {
		return nil
	}
	s.watchMu.Lock()
	defer s.watchMu.Unlock()
	if s.watched == nil {
		s.watched = make(map[watchKey]uint64)
	}
	if _, twice := s.watched[t.key()]; twice || len(s.watched) >= maxWatches {
		return fmt.Errorf("%w: watch %d is taken, or one of more than %d", ErrLimit, t.ask.GetNumber(), maxWatches)
	}
	s.watched[t.key()] = 0
	return nil
}

// watches says whom the asker watches, if that has not ended already.
func (t *task) watches(ref actor.AnyRef) {
	s := t.ask.s
	if s == nil {
		return
	}
	s.watchMu.Lock()
	defer s.watchMu.Unlock()
	if _, still := s.watched[t.key()]; still {
		s.watched[t.key()] = ref.ID()
	}
}

// unwatch ends the asker's watch, and reports whether there was one.
func (t *task) unwatch() bool {
	s := t.ask.s
	if s == nil {
		return false
	}
	s.watchMu.Lock()
	defer s.watchMu.Unlock()
	_, was := s.watched[t.key()]
	delete(s.watched, t.key())
	return was
}

// Ended implements actor.EndHook: who is told of the end finds room for another one.
func (t *task) Ended(actor.AnyRef) { t.release() }

// ended takes note of the actor's end and tells the asker, where the actor ended.
func (t *task) ended(d actor.Down) {
	t.release()
	level := slog.LevelDebug
	if !d.Reason.Normal() {
		level = slog.LevelInfo
	}
	t.n.log.Log(context.Background(), level, "an actor that was started by name has ended", "behaviour", t.fn.name, "by", cmp.Or(t.peer, t.n.name), "actor", d.Ref.String(), "reason", d.Reason.String())
	switch {
	case t.ask.s == nil:
		t.ask.down(d)
	case t.unwatch():
		t.ask.s.tellDown(pair{d.Ref.ID(), t.ask.GetBy()}, t.ask.GetNumber(), d)
	}
}

// orphans asks to stop what was started for a peer that is down.
func (n *Node) orphans(s *session) {
	var stop []actor.AnyRef
	n.rci.mu.Lock()
	for t := range n.rci.tasks[s] {
		if t.fn.o.Outlive {
			continue
		}
		if t.unwanted = true; !t.ref.IsZero() {
			stop = append(stop, t.ref)
		}
	}
	n.rci.mu.Unlock()
	for _, ref := range stop {
		ref.Shutdown()
	}
}

var protoMessage = reflect.TypeFor[proto.Message]()

// untyped and interfaceMark are names of types of messages, or begin them, that are no full names.
const (
	untyped       = ""
	interfaceMark = "go:"
)

// messageName names a type of messages for other nodes: by its full name, or, for the interface of a service's requests, by its Go name.
// Empty: any message.
func messageName(t reflect.Type) (name string) {
	switch {
	case t == protoMessage || t == dynamic:
		return untyped
	case t.Kind() == reflect.Interface:
		return interfaceMark + t.PkgPath() + "." + t.Name()
	}
	defer func() {
		if recover() != nil {
			name = untyped // a type that is made by hand
		}
	}()
	m, ok := reflect.TypeAssert[proto.Message](reflect.Zero(t))
	if !ok {
		return untyped
	}
	return string(m.ProtoReflect().Descriptor().FullName())
}

// suits tells why those who send what name names cannot be served.
func (f *function) suits(name string) error {
	mine := messageName(f.takes)
	if name == untyped || mine == untyped || name == mine {
		return nil
	}
	if f.takes.Kind() == reflect.Interface {
		if t, err := typeNamed(protoreflect.FullName(name)); err == nil && reflect.TypeOf(t.mt.Zero().Interface()).Implements(f.takes) {
			return nil
		}
	}
	return fmt.Errorf("%w: %q takes %v, and its asker wants to send %.300q", actor.ErrWrongType, f.name, f.takes, name)
}
