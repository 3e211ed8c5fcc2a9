package actor

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// turnPatience is how long a goroutine waits for its turn before it goes on without: nothing but a behaviour that blocks
// its thread outside of Block holds the worker for so long.
const turnPatience = time.Second

// seeded makes a System deterministic. One worker draws each step, by a seeded generator, among the runnable actors and the
// goroutines outside of actors that want to do something. Before it draws it sleeps for a nanosecond, and it draws only
// among what was there before that: in a testing/synctest bubble, where time moves when everybody waits, no draw then
// depends on how fast a goroutine is.
type seeded struct {
	ex      *executor
	virtual bool          // in a bubble
	worker  atomic.Uint64 // goroutine of the worker
	stage   atomic.Pointer[cell]

	mu       sync.Mutex
	rng      *rand.Rand
	runnable []wakeup
	turns    []*turn
	open     int // carriers in Block, and 1 when closed: nobody waits for a turn
	trace    []Step
	hash     uint64
}

// Step is one step of a seeded System's trace.
type Step struct {
	Hash uint64 // of this step and all before it
	What string // for a reader, such as "actor 3.1 runs"
}

// wakeup is an actor that became runnable at some time.
type wakeup struct {
	a  *cell
	at time.Duration
}

// turn is a goroutine outside of actors that wants to do something.
type turn struct {
	what  string
	id    uint64
	key   []byte
	at    time.Duration
	given chan struct{}
}

func newSeeded(ex *executor, seed uint64) *seeded {
	now := time.Now()
	return &seeded{
		ex:      ex,
		virtual: !strings.Contains(now.String(), " m="), // virtual times have no monotonic reading
		rng:     rand.New(rand.NewPCG(seed, 0x6772656e)),
		hash:    14695981039346656037,
	}
}

func (sd *seeded) push(a *cell) {
	sd.mu.Lock()
	defer sd.mu.Unlock()
	sd.runnable = append(sd.runnable, wakeup{a, sd.ex.now()})
}

// await has a goroutine outside of actors wait for its turn; on an actor's own goroutine and on the worker it does nothing.
func (sd *seeded) await(what string, id uint64, msg any) {
	if sd.inside() {
		return
	}
	t := &turn{what: what, id: id, key: keyOf(msg), at: sd.ex.now(), given: make(chan struct{})}
	sd.mu.Lock()
	if sd.open > 0 {
		sd.mu.Unlock()
		return
	}
	sd.turns = append(sd.turns, t)
	sd.mu.Unlock()
	sd.ex.wakeOne()
	patience := time.NewTimer(turnPatience)
	defer patience.Stop()
	select {
	case <-t.given:
	case <-patience.C:
		sd.mu.Lock()
		sd.turns = slices.DeleteFunc(sd.turns, func(o *turn) bool { return o == t })
		sd.mu.Unlock()
	}
}

// awaitSend is await for a message. An actor of another seeded System holds that one up meanwhile, so it lets others in there:
// one of them may be an actor of this System that sends to an actor of that one.
func (sd *seeded) awaitSend(ctx context.Context, r AnyRef, msg any) {
	wait := func() { sd.await("sends to "+r.String()+" "+show(msg), r.id, msg) }
	if c, ok := FromContext(ctx); ok && c.sys.ex.seeded != nil && c.sys.ex.seeded != sd && c.here() != nil {
		c.sys.ex.seeded.block(wait)
		return
	}
	wait()
}

// awaitTurn is await for what concerns one actor.
func (r AnyRef) awaitTurn(what string) {
	if r.node != nil && r.node.sys != nil && r.node.sys.ex.seeded != nil {
		r.node.sys.ex.seeded.await(what+" "+r.String(), r.id, nil)
	}
}

// awaitTurn is await for what concerns no actor in particular.
func (sys *System) awaitTurn(what string, msg any) {
	if sys.ex.seeded != nil {
		sys.ex.seeded.await(what, 0, msg)
	}
}

// inside reports whether the caller is the worker or runs on the carrier that the worker has resumed.
func (sd *seeded) inside() bool {
	g := uint64(getg())
	if g == sd.worker.Load() {
		return true
	}
	a := sd.stage.Load()
	if a == nil {
		return false
	}
	ctx := a.ctx.Load()
	if ctx == nil {
		return false
	}
	c := ctx.car.Load()
	return c != nil && uint64(c.g) == g
}

// block runs f in place. Nobody has to wait for a turn meanwhile: f may wait for just that goroutine.
func (sd *seeded) block(f func()) {
	sd.openDoor()
	defer func() {
		sd.mu.Lock()
		sd.open--
		sd.mu.Unlock()
	}()
	f()
}

// openDoor lets everybody in who waits, and who comes until open is counted down again.
func (sd *seeded) openDoor() {
	sd.mu.Lock()
	defer sd.mu.Unlock()
	sd.open++
	slices.SortStableFunc(sd.turns, (*turn).compare)
	for _, t := range sd.turns {
		close(t.given)
	}
	sd.turns = nil
}

func (sd *seeded) hasWork() bool {
	if at := sd.ex.timers.next.Load(); at != 0 && at <= int64(sd.ex.now()) {
		return true
	}
	sd.mu.Lock()
	defer sd.mu.Unlock()
	return len(sd.runnable)+len(sd.turns) > 0
}

// pick draws the next actor; called by the one worker.
func (sd *seeded) pick() *cell {
	sd.worker.Store(uint64(getg()))
	sd.stage.Store(nil)
	for {
		sd.settle()
		sd.ex.timers.poll(nil, sd.ex.now())
		a, again := sd.draw()
		if !again {
			sd.stage.Store(a)
			return a
		}
	}
}

// settle waits until every other goroutine of the bubble waits for something.
func (sd *seeded) settle() {
	if sd.virtual {
		time.Sleep(time.Nanosecond)
		return
	}
	runtime.Gosched()
}

// draw takes one step of those that are possible: it returns an actor to run or, with again, has let a goroutine go on.
func (sd *seeded) draw() (a *cell, again bool) {
	sd.mu.Lock()
	defer sd.mu.Unlock()
	now := sd.ex.now()
	slices.SortStableFunc(sd.runnable, func(a, b wakeup) int {
		return cmp.Or(isNew(a.at, now)-isNew(b.at, now), cmp.Compare(a.a.idx, b.a.idx))
	})
	slices.SortStableFunc(sd.turns, func(a, b *turn) int {
		return cmp.Or(isNew(a.at, now)-isNew(b.at, now), a.compare(b))
	})
	actors, turns := 0, 0
	for actors < len(sd.runnable) && sd.runnable[actors].at < now {
		actors++
	}
	for turns < len(sd.turns) && sd.turns[turns].at < now {
		turns++
	}
	if actors+turns == 0 {
		return nil, false
	}
	i := sd.rng.IntN(actors + turns)
	if i < actors {
		a = sd.runnable[i].a
		sd.runnable = slices.Delete(sd.runnable, i, i+1)
		sd.step(AnyRef{sd.ex.sys.node, a.id()}.String()+" runs", a.id(), nil)
		return a, false
	}
	i -= actors
	t := sd.turns[i]
	sd.turns = slices.Delete(sd.turns, i, i+1)
	sd.step("a goroutine: "+t.what, t.id, t.key)
	close(t.given)
	return nil, true
}

// isNew is 1 for what came at this very instant: whether it is seen now depends on the Go scheduler.
func isNew(at, now time.Duration) int {
	if at < now {
		return 0
	}
	return 1
}

func (a *cell) id() uint64 { return uint64(a.gen.Load())<<32 | uint64(a.idx) }

func (t *turn) compare(o *turn) int {
	return cmp.Or(cmp.Compare(t.id, o.id), strings.Compare(t.what, o.what), bytes.Compare(t.key, o.key))
}

// step adds one to the trace. The caller holds mu.
func (sd *seeded) step(what string, id uint64, key []byte) {
	h := fnv.New64a()
	var b [16]byte
	for i := range 8 {
		b[i], b[8+i] = byte(sd.hash>>(8*i)), byte(id>>(8*i))
	}
	_, _ = h.Write(b[:])
	_, _ = h.Write([]byte(what))
	_, _ = h.Write(key)
	sd.hash = h.Sum64()
	sd.trace = append(sd.trace, Step{sd.hash, what})
}

// taken notes that an actor begins with a message.
func (sd *seeded) taken(ctx *Context, msg any) {
	key := keyOf(msg)
	sd.mu.Lock()
	defer sd.mu.Unlock()
	sd.step(fmt.Sprintf("%v takes %s", ctx.Self(), show(msg)), ctx.id(), key)
}

// sent notes that the actor on c has sent something, and draws whether others go first now.
func (sd *seeded) sent(c *carrier, to AnyRef) {
	sd.mu.Lock()
	sd.step(fmt.Sprintf("%v sends to %v", c.ctx.Self(), to), to.id, nil)
	giveWay := sd.rng.IntN(2) == 0 && !c.dying
	sd.mu.Unlock()
	if giveWay {
		c.switchAway(waitTurn)
	}
}

// keyOf is what tells messages apart: their type and bytes.
func keyOf(msg any) (key []byte) {
	m, ok := msg.(proto.Message)
	if !ok {
		return fmt.Appendf(nil, "%T", msg)
	}
	defer func() {
		if recover() != nil { // a message that is none inside is its receiver's to fail on
			key = fmt.Appendf(nil, "%T", msg)
		}
	}()
	key = append(key, m.ProtoReflect().Descriptor().FullName()...)
	key, _ = proto.MarshalOptions{Deterministic: true}.MarshalAppend(key, m)
	return key
}

// show is a message for a reader, cut short.
func show(msg any) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("%T", msg)
		}
	}()
	if d, ok := msg.(*downMsg); ok {
		return fmt.Sprintf("the end of %v: %v", d.down.Ref, d.down.Reason.Kind)
	}
	m, ok := msg.(proto.Message)
	if !ok {
		return fmt.Sprintf("%T", msg)
	}
	return fmt.Sprintf("%T{%.80s}", msg, prototext.MarshalOptions{}.Format(m))
}

// Trace returns the steps that a seeded System has taken so far, oldest first: two runs of the same scenario under the same
// seed give the same trace, and the first difference is the step where they part. Nil without a seed.
// Any goroutine may ask. Cost: every step is kept until the System is.
func (sys *System) Trace() []Step {
	if !sys.made() || sys.ex.seeded == nil {
		return nil
	}
	sd := sys.ex.seeded
	sd.mu.Lock()
	defer sd.mu.Unlock()
	return slices.Clone(sd.trace)
}

// seededNode is a NodeID that is the same in each run, so that refs in messages are.
func seededNode(seed uint64) uint64 { return rand.New(rand.NewPCG(seed, 0x6e6f6465)).Uint64() | 1 }
