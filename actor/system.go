package actor

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// SystemOptions configure a System. The zero value is good for a program; tests take actortest.
type SystemOptions struct {
	// Name tells the System from others in the same program: its metrics carry it as the label "system". Empty means the
	// NodeID in hexadecimal.
	Name string
	// Workers is how many actors run at once. 0 means GOMAXPROCS; more than 4,096 are refused.
	Workers int
	// MaxSpare bounds the extra slots that the watchdog may start for behaviours that hold theirs. 0 means 256; more than 65,536
	// are refused.
	MaxSpare int
	// StuckAfter is how long a behaviour may hold its slot before the watchdog starts a spare one. 0 means 20 ms.
	StuckAfter time.Duration
	// Grace is how long Stop waits for actors to end before it kills them, when its context has no deadline. 0 means 10 s.
	Grace time.Duration
	// DeadLetters is how many dead letters are kept for DeadLetters. 0 means 1,024, negative none.
	DeadLetters int
	// Logger gets what the System has to say. Nil means nothing is logged.
	Logger *slog.Logger
	// Seed, if not 0, makes the System deterministic inside a testing/synctest bubble, and slow: one worker draws what
	// runs next. See package actortest.
	Seed uint64
}

// What SystemOptions may ask for at most: each worker is a goroutine and a slot that all others look at.
const (
	maxWorkers = 4096
	maxSpare   = 1 << 16
)

func (o SystemOptions) withDefaults() (SystemOptions, error) {
	if o.Workers < 0 || o.MaxSpare < 0 || o.StuckAfter < 0 || o.Grace < 0 {
		return o, fmt.Errorf("actor: system options must not be negative: workers %d, spare slots %d, stuck after %v, grace %v", o.Workers, o.MaxSpare, o.StuckAfter, o.Grace)
	}
	if o.Workers > maxWorkers || o.MaxSpare > maxSpare {
		return o, fmt.Errorf("actor: system options: %d workers and %d spare slots: the most are %d and %d", o.Workers, o.MaxSpare, maxWorkers, maxSpare)
	}
	if !utf8.ValidString(o.Name) {
		return o, fmt.Errorf("actor: the system's name %q is not valid UTF-8, which its metrics need", o.Name)
	}
	o.Workers = cmp.Or(o.Workers, runtime.GOMAXPROCS(0))
	o.MaxSpare = cmp.Or(o.MaxSpare, 256)
	o.StuckAfter = cmp.Or(o.StuckAfter, 20*time.Millisecond)
	o.Grace = cmp.Or(o.Grace, 10*time.Second)
	o.DeadLetters = max(cmp.Or(o.DeadLetters, 1024), 0)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// System is a world of actors: an executor, their cells and names, and a ledger of every message. Several may live in one
// process; refs of one work in all. Make one with NewSystem and end it with Stop or Close.
type System struct {
	opts       SystemOptions
	log        *slog.Logger
	node       *node
	ex         *executor
	table      table
	locks      lockTable
	names      *Names
	parts      sync.Map // of System.Part
	nextID     atomic.Uint64
	behaviours sync.Map  // of registered, by name and version
	outside    published // what goroutines outside of actors do
	retired    published // what slots did that are gone
	dead       deadLetters
	metrics    metrics
	channels   channelSet
	abroad     atomic.Pointer[Abroad]
	nodes      sync.Map // of other nodes, by id: *node

	stopping atomic.Bool
	shutting sync.Once
	closed   atomic.Bool
	living   atomic.Int64
	users    atomic.Int64 // living, not daemon
	lifeMu   sync.Mutex
	changed  chan struct{} // closed and replaced when living or users reaches 0
	hooks    exitHooks
}

var errNoSystem = errors.New("actor: no System: make one with NewSystem")

// made reports whether NewSystem has made the System.
func (sys *System) made() bool { return sys != nil && sys.ex != nil }

// NewSystem starts a System. The error says which option is wrong.
func NewSystem(o ...SystemOptions) (*System, error) {
	var opts SystemOptions
	switch len(o) {
	case 0:
	case 1:
		opts = o[0]
	default:
		return nil, errors.New("actor: more than one SystemOptions")
	}
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails: package crypto/rand
	sys := &System{
		opts:    opts,
		log:     opts.Logger,
		changed: make(chan struct{}),
		dead:    deadLetters{keep: opts.DeadLetters},
	}
	sys.table.locks = &sys.locks
	sys.names = newNames(sys)
	sys.node = &node{id: binary.LittleEndian.Uint64(id[:]), sys: sys, home: sys}
	if opts.Seed != 0 {
		sys.node.id = seededNode(opts.Seed)
	}
	sys.metrics.name = cmp.Or(opts.Name, fmt.Sprintf("%016x", sys.node.id))
	sys.ex = newExecutor(sys, opts)
	return sys, nil
}

// Name is what SystemOptions called the System, or else its NodeID in hexadecimal.
func (sys *System) Name() string {
	if !sys.made() {
		return ""
	}
	return sys.metrics.name
}

// Logger is what SystemOptions.Logger was, one that logs nothing if that was nil.
func (sys *System) Logger() *slog.Logger {
	if !sys.made() {
		return slog.New(slog.DiscardHandler)
	}
	return sys.log
}

// NodeID is the random number of this incarnation of the System, as refs carry it. Under a seed it is drawn from that.
func (sys *System) NodeID() uint64 {
	if !sys.made() {
		return 0
	}
	return sys.node.id
}

func (sys *System) born(flags uint32) {
	sys.living.Add(1)
	if flags&flagDaemon == 0 {
		sys.users.Add(1)
	}
}

func (sys *System) ended(flags uint32) {
	last := false
	if flags&flagDaemon == 0 {
		last = sys.users.Add(-1) == 0
	}
	if sys.living.Add(-1) == 0 || last {
		sys.tellChanged()
	}
}

// tellChanged has those look who wait for the number of actors.
func (sys *System) tellChanged() {
	sys.lifeMu.Lock()
	close(sys.changed)
	sys.changed = make(chan struct{})
	sys.lifeMu.Unlock()
}

// SetDaemon makes the calling actor a daemon, which System.Join does not wait for, or a usual actor again; Options.Daemon says
// what it is at first. It stays so if its guardian restarts it. A child is what its own Options say, whatever its parent is;
// but the child of a Scope is a daemon if the Scope's actor is one when the child starts.
// Errors: ErrForeignGoroutine, ErrEnded, ErrInBlock; one for an actor with Options.System, which is a daemon always.
func (ctx *Context) SetDaemon(daemon bool) error {
	if ctx.here() == nil {
		return ctx.own()
	}
	sys, a := ctx.sys, ctx.cell
	switch flags := a.flags.Load(); {
	case daemon == (flags&flagDaemon != 0):
	case daemon:
		a.flags.Or(flagDaemon)
		if sys.users.Add(-1) == 0 {
			sys.tellChanged()
		}
	case flags&flagSystem != 0:
		return errors.New("actor: an actor with Options.System is a daemon always")
	default:
		a.flags.And(^flagDaemon)
		sys.users.Add(1)
	}
	return nil
}

// awaitZero waits until n is 0.
func (sys *System) awaitZero(ctx context.Context, n *atomic.Int64) error {
	for {
		sys.lifeMu.Lock()
		changed := sys.changed
		sys.lifeMu.Unlock()
		if n.Load() == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Join waits until no actor is left but daemons. The System stays usable; ctx bounds the wait.
func (sys *System) Join(ctx context.Context) error {
	if err := sys.mayAwait(ctx, "Join"); err != nil {
		return err
	}
	return sys.awaitZero(ctx, &sys.users)
}

// mayAwait tells why the caller cannot wait for the System's actors: it is one of them.
func (sys *System) mayAwait(ctx context.Context, what string) error {
	switch {
	case !sys.made():
		return errNoSystem
	case isNil(ctx):
		return ErrNilContext
	}
	if c, ok := FromContext(ctx); ok && c.sys == sys || sys.runsHere() {
		return fmt.Errorf("actor: %s from an actor of the same System would wait for itself: call it from a goroutine, or in Offload", what)
	}
	return nil
}

// runsHere reports whether the calling goroutine is that of one of the System's actors. Cost: linear in the number of actors
// ever alive at once.
func (sys *System) runsHere() bool {
	g, found := getg(), false
	sys.table.each(func(a *cell) {
		if ctx := a.ctx.Load(); ctx != nil && !found {
			c := ctx.car.Load()
			found = c != nil && c.g == g && c.ctx == ctx
		}
	})
	return found
}

// Quiesce waits until no actor runs, is runnable or is in Block or Offload. Timers and waits may be pending.
func (sys *System) Quiesce(ctx context.Context) error {
	if err := sys.mayAwait(ctx, "Quiesce"); err != nil {
		return err
	}
	ex := sys.ex
	ex.toBed()
	ex.mu.Lock()
	if ex.closed.Load() || ex.isQuiet() {
		ex.mu.Unlock()
		return nil
	}
	ch := make(chan struct{})
	ex.quiet = append(ex.quiet, ch)
	ex.awaited.Store(true)
	ex.mu.Unlock()
	ex.toBed()
	ex.checkQuiet()
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		ex.mu.Lock()
		ex.quiet = slices.DeleteFunc(ex.quiet, func(q chan struct{}) bool { return q == ch })
		ex.mu.Unlock()
		return ctx.Err()
	}
}

// StopError says how many actors Stop could not end: code that neither waits nor returns cannot be killed.
type StopError struct {
	Left int // how many
}

// Error names the number.
func (e *StopError) Error() string {
	if e == nil {
		return "actor: a nil *StopError"
	}
	return fmt.Sprintf("actor: %d actors did not end: their code neither waits nor returns", e.Left)
}

// lastMoment is what is given to those who should have been done already.
const lastMoment = time.Second

// Stop ends the System: it runs the exit hooks, asks every actor to stop, waits for the grace, kills who is left, and closes the
// executor. The grace is ctx's deadline, or SystemOptions.Grace if it has none. All that is over when Stop returns, also for one
// that comes second: it waits for the first, as long as its own grace allows.
//
// It returns nil when all actors ended, however they did, and all hooks did what they had to. Else the error is or wraps a
// *StopError, for actors that did not end, with which the executor's goroutines stay; or what was amiss with hooks: a *PanicError,
// ErrGoexit, or ctx's error for one that did not return in time. From an actor of the System, and from a hook, it is refused.
func (sys *System) Stop(ctx context.Context) error {
	if err := sys.mayAwait(ctx, "Stop"); err != nil {
		return err
	}
	if sys.hooks.calls(ctx, sys) {
		return errors.New("actor: Stop from an exit hook would wait for itself: it is on its way")
	}
	grace := ctx
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		grace, cancel = context.WithTimeout(ctx, sys.opts.Grace)
		defer cancel()
	}
	hooked := sys.hooks.run(grace, sys)
	sys.stopping.Store(true)
	sys.names.close()
	sys.askAll(func(r AnyRef) { r.Shutdown() })
	err := sys.awaitZero(grace, &sys.living)
	if err == nil {
		sys.shut()
	} else {
		err = sys.kill()
	}
	if hooked == nil {
		return err
	}
	return errors.Join(hooked, err)
}

// Close kills all actors, waits a moment for them to end (a second), and closes the executor: Stop without grace and hooks.
// From an actor of the System it is refused.
func (sys *System) Close() error {
	if err := sys.mayAwait(context.Background(), "Close"); err != nil {
		return err
	}
	sys.hooks.discard()
	return sys.kill()
}

func (sys *System) kill() error {
	sys.stopping.Store(true)
	sys.names.close()
	sys.askAll(func(r AnyRef) { r.Kill() })
	ctx, cancel := context.WithTimeout(context.Background(), lastMoment)
	defer cancel()
	if sys.awaitZero(ctx, &sys.living) != nil {
		return &StopError{int(sys.living.Load())}
	}
	sys.shut()
	return nil
}

// shut closes the executor. Whoever calls it finds that done.
func (sys *System) shut() {
	sys.shutting.Do(func() {
		sys.closed.Store(true)
		sys.channels.close()
		sys.ex.close()
	})
}

// askAll calls f for every living actor without a parent: parents pass it on.
func (sys *System) askAll(f func(AnyRef)) {
	sys.table.each(func(a *cell) {
		mu := sys.locks.of(a.idx)
		mu.Lock()
		gen := a.gen.Load()
		root := gen != 0 && a.parent == 0 // a cell that is being filled has no generation yet, and its family is not to be looked at
		mu.Unlock()
		if root {
			f(AnyRef{sys.node, uint64(gen)<<32 | uint64(a.idx)})
		}
	})
}
