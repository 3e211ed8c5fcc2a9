package actor

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
)

// Inbox is a routine's view of its mailbox. Only the routine's own goroutine may use it.
type Inbox[M proto.Message] struct {
	ctx  *Context
	more *inboxMore[M] // what only Select and Categorize need

	offered bool // a swap was, see Swapped
	told    bool // that a Drain has had its turn
}

// inboxMore is what few inboxes need.
type inboxMore[M proto.Message] struct {
	skipped []envelope // passed over by Select, oldest first
	cats    []*func(M) any
}

// owner is whose inbox it is; nil for one that no routine was given.
func (in *Inbox[M]) owner() *Context {
	if in == nil {
		return nil
	}
	return in.ctx
}

func (in *Inbox[M]) extra() *inboxMore[M] {
	if in.more == nil {
		in.more = new(inboxMore[M])
	}
	return in.more
}

// All yields the messages in order, waiting for each, and ends when the actor is asked to stop. An interrupt ends it too;
// Receive tells which.
func (in *Inbox[M]) All() iter.Seq[M] {
	return func(yield func(M) bool) {
		for {
			m, err := in.Receive(in.owner())
			if err != nil || !yield(m) {
				return
			}
		}
	}
}

// Receive returns the oldest message, waiting for one under ctx, which is the actor's Context or derives from it.
// It holds no slot while it waits. Errors: ErrStopped, an interrupt, or ctx's own, as context.DeadlineExceeded.
func (in *Inbox[M]) Receive(ctx context.Context) (M, error) {
	return in.receive(ctx, nil)
}

// Poll returns the oldest message if there is one.
func (in *Inbox[M]) Poll() (m M, ok bool) {
	c := in.owner().here()
	if c == nil || c.glance {
		return m, false
	}
	c.release(in.ctx)
	if m, ok = in.ready(c, nil, true, false); !ok {
		in.noteDrained(c)
	}
	return m, ok
}

// Select returns the oldest message that match accepts, waiting for one under ctx. The others keep their order and are
// there for a later Receive or Select. match only looks: it may wait, but neither receive, stash nor answer. It is asked
// once about each message. Cost: linear in what is passed over, however often messages arrive meanwhile.
func (in *Inbox[M]) Select(ctx context.Context, match func(M) bool) (M, error) {
	if match == nil {
		var zero M
		return zero, errors.New("actor: Select needs a function that says which message to take")
	}
	return in.receive(ctx, match)
}

func (in *Inbox[M]) receive(ctx context.Context, match func(M) bool) (m M, err error) {
	c := in.owner().here()
	if c == nil {
		return m, in.owner().own()
	}
	if c.glance {
		return m, errGlance
	}
	c.release(in.ctx) // before anything else: a deadline of the call that was in hand is over
	if own, ok := ctx.(*Context); !ok || own != in.ctx || own.cleaning {
		return in.receiveUnder(ctx, match)
	}
	a := in.ctx.cell
	for first := true; ; first = false {
		if ctl := a.ctl.Load(); ctl != 0 {
			if err := in.ctx.interrupted(ctl, false); err != nil {
				return m, err
			}
			if in.Swapped() {
				return m, ErrSwapped
			}
		}
		if m, ok := in.ready(c, match, first, false); ok {
			c.slot.spend()
			return m, nil
		}
		if err := in.drained(c, false); err != nil {
			return m, err
		}
		c.slot.tally.waits++
		c.slot.left--
		c.switchAway(waitMail)
	}
}

// receiveUnder is receive under a derived context.
func (in *Inbox[M]) receiveUnder(ctx context.Context, match func(M) bool) (m M, err error) {
	w, err := enterAs(ctx, in.ctx)
	defer w.leave()
	if err != nil {
		return m, err
	}
	shields := w.limit != nil && w.limit.shields
	for first := true; ; first = false {
		if in.ctx.cell.ctl.Load() != 0 {
			if err := w.check(); err != nil {
				return m, err
			}
			if in.Swapped() {
				return m, ErrSwapped
			}
		}
		if m, ok := in.ready(w.c, match, first, shields); ok {
			w.c.slot.spend()
			return m, nil
		}
		if err := in.drained(w.c, shields); err != nil {
			return m, err
		}
		if err := w.sleep(waitMail); err != nil {
			return m, err
		}
	}
}

// errGlance answers functions that are to look at one message and try to take another.
var errGlance = errors.New("actor: a function that looks at a message for Select, Monitor or TrapExit must not receive another")

// takeUnstashed reports whether the next message was stashed before a Drain had its turn.
func (ctx *Context) takeUnstashed() bool {
	cold := ctx.cell.cold.Load()
	if cold.unstashed == 0 {
		return false
	}
	cold.unstashed--
	return true
}

// drained answers ErrStopped where a Drain has had its turn and what came before it was received. The first answer ends every loop over
// the inbox; after it, waits under a Cleanup go on, as after a request to stop.
func (in *Inbox[M]) drained(c *carrier, shielded bool) error {
	if !in.noteDrained(c) || in.beyond(shielded) {
		return nil
	}
	in.told = true
	return ErrStopped
}

// noteDrained reports whether a Drain has had its turn. When nothing that was passed over or stashed is left the actor is asked to stop:
// until then its other waits go on.
func (in *Inbox[M]) noteDrained(c *carrier) bool {
	ctx := in.ctx
	ctl := ctx.cell.ctl.Load()
	if ctl&ctlDrained == 0 {
		return false
	}
	ctx.stopping = true
	if ctl&ctlStop == 0 && in.Pending() == 0 && len(ctx.cell.cold.Load().stash) == 0 {
		ctx.Self().askStop(c.slot, ctlStop, Reason{})
	}
	return true
}

// beyond reports whether an actor that knows of a Drain may receive what came after it: while it cleans up.
func (in *Inbox[M]) beyond(shielded bool) bool {
	return in.told && (shielded || in.ctx.shieldedUntil() != 0)
}

// ready takes the oldest matching message without waiting. first is set for the first look of a search: a later one has
// passed over all that is skipped itself.
func (in *Inbox[M]) ready(c *carrier, match func(M) bool, first, shielded bool) (m M, ok bool) {
	if first && in.more != nil && len(in.more.skipped) > 0 {
		if m, ok = in.readySkipped(c, match); ok {
			return m, true
		}
	}
	gen := in.ctx.gen
	a := in.ctx.cell
	for {
		if a.ctl.Load()&ctlDrained != 0 && !in.ctx.takeUnstashed() && !in.beyond(shielded) {
			return m, false
		}
		env, ok := a.pop(c.slot)
		if !ok {
			return m, false
		}
		if m, ok = in.open(c, env, gen, match); ok {
			return m, true
		}
	}
}

// open takes env in hand if it is a message that match accepts; else it is skipped or refused.
func (in *Inbox[M]) open(c *carrier, env envelope, gen uint32, match func(M) bool) (m M, ok bool) {
	if match == nil {
		if !c.take(in.ctx, env, gen) {
			return m, false
		}
		if m, ok = c.env.msg.(M); !ok {
			c.refuse(in.ctx, DeadWrongType, nil)
		}
		return m, ok
	}
	c.env, c.busy = env, true // in hand while user code looks at it, which may panic or be killed
	if ad, isAdapter := env.msg.(adapter); isAdapter && env.gen() == gen {
		if !c.adapt(in.ctx, ad) {
			return m, false
		}
		env.msg = c.env.msg
	}
	m, ok = env.msg.(M)
	wanted := !ok || env.gen() != gen || look(c, match, m)
	c.env, c.busy = envelope{}, false
	if !wanted {
		in.skip(env)
		var zero M
		return zero, false
	}
	if !c.take(in.ctx, env, gen) {
		return m, false
	}
	if !ok {
		c.refuse(in.ctx, DeadWrongType, nil)
	}
	return m, ok
}

// look asks match, a function of the user's, about a message.
func look[M proto.Message](c *carrier, match func(M) bool, m M) bool {
	c.glance = true
	wanted := match(m)
	c.glance = false
	return wanted
}

func (in *Inbox[M]) skip(env envelope) {
	more := in.extra()
	more.skipped = append(more.skipped, env)
	in.ctx.setHeld(&more.skipped)
}

// takeSkipped takes the i-th message out. Those before it move, which the search for it has passed anyway: the oldest costs nothing.
func (more *inboxMore[M]) takeSkipped(i int) {
	copy(more.skipped[1:i+1], more.skipped[:i])
	more.skipped[0] = envelope{}
	if more.skipped = more.skipped[1:]; len(more.skipped) == 0 {
		more.skipped = nil
	}
}

func (in *Inbox[M]) readySkipped(c *carrier, match func(M) bool) (m M, ok bool) {
	gen := in.ctx.gen
	more := in.more
	for i := 0; i < len(more.skipped); {
		env := more.skipped[i]
		m, ok = env.msg.(M)
		if match != nil && ok && !look(c, match, m) {
			i++
			continue
		}
		more.takeSkipped(i)
		in.ctx.setHeld(&more.skipped)
		env = env.unstamped()
		if c.take(in.ctx, env, gen) {
			return m, true
		}
	}
	var zero M
	return zero, false
}

// Categorize adds a function that sorts messages for ReceiveCategory: it returns a comparable category, or nil for none. The
// function that was added last is asked first. The returned function takes it out again.
func (in *Inbox[M]) Categorize(f func(M) any) (remove func()) {
	if f == nil || in == nil {
		return func() {}
	}
	more := in.extra()
	more.cats = append(more.cats, &f)
	return func() {
		rest := slices.Clone(more.cats) // Category may be looking at the list
		more.cats = slices.DeleteFunc(rest, func(g *func(M) any) bool { return g == &f })
	}
}

// Category is what the functions added by Categorize make of m: the first answer that is not nil.
func (in *Inbox[M]) Category(m M) any {
	if in == nil || in.more == nil {
		return nil
	}
	cats := in.more.cats
	for i := len(cats) - 1; i >= 0; i-- { //nolint:modernize // slices.Backward takes half as long again, for each message that Select looks at
		if cat := (*cats[i])(m); cat != nil {
			return cat
		}
	}
	return nil
}

// ReceiveCategory returns the oldest message of that category (nil: of none), waiting for one under ctx. The others keep
// their order. A category that cannot be compared, as a slice, is refused.
func (in *Inbox[M]) ReceiveCategory(ctx context.Context, category any) (M, error) {
	if category != nil && !reflect.ValueOf(category).Comparable() {
		var zero M
		return zero, fmt.Errorf("actor: a category must be comparable, and this %T is not", category)
	}
	return in.Select(ctx, func(m M) bool { return in.Category(m) == category })
}

// Pending is how many messages Select has passed over.
func (in *Inbox[M]) Pending() int {
	if in == nil || in.more == nil {
		return 0
	}
	return len(in.more.skipped)
}

// Stash puts the message in hand aside; Unstash brings what was stashed back, oldest first, before what is in the mailbox.
// A stashed call stays unanswered until then; one that was answered comes back as a plain message. ErrNoMessage: none is in hand.
func (ctx *Context) Stash() error {
	c := ctx.here()
	if c == nil {
		return ctx.own()
	}
	if !c.busy || c.glance {
		return ErrNoMessage
	}
	env := c.env
	if !ctx.answers {
		env = env.answered()
	}
	mu := ctx.sys.locks.of(ctx.cell.idx)
	mu.Lock()
	cold := ctx.cell.coldOf()
	cold.stash = append(cold.stash, env)
	mu.Unlock()
	c.busy = false
	ctx.answers = false
	if ctx.scoped {
		ctx.endMessage()
	}
	c.env = envelope{}
	return nil
}

// Unstash puts all stashed messages back into the mailbox, in front of what is there, oldest first.
func (ctx *Context) Unstash() error {
	c := ctx.here()
	if c == nil {
		return ctx.own()
	}
	a := ctx.cell
	cold := a.cold.Load()
	if cold == nil {
		return nil
	}
	mu := ctx.sys.locks.of(a.idx)
	mu.Lock()
	stash := cold.stash
	cold.stash = nil
	cold.unstashed += len(stash)
	mu.Unlock()
	for i := len(stash) - 1; i >= 0; i-- {
		stash[i] = stash[i].unstamped()
		if a.flags.Load()&flagQueue != 0 {
			cold.queue.Unpop(stash[i])
		} else {
			a.box.Unpop(&c.slot.cache, stash[i])
		}
	}
	return nil
}

// ErrNoMessage answers Stash where no message is in hand.
var ErrNoMessage = errors.New("actor: no message in hand")

// ReceiveTimeout is Receive that gives up after d with context.DeadlineExceeded. d <= 0 polls.
func (in *Inbox[M]) ReceiveTimeout(d time.Duration) (m M, err error) {
	if d <= 0 {
		if err := in.owner().own(); err != nil {
			return m, err
		}
		m, ok := in.Poll()
		if !ok {
			err = context.DeadlineExceeded
			if stop := in.ctx.Err(); stop != nil {
				err = stop
			}
		}
		return m, err
	}
	l, cancel := in.owner().WithTimeout(d)
	defer cancel()
	return in.Receive(l)
}
