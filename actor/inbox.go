package actor

import (
	"context"
	"errors"
	"iter"
	"time"

	"google.golang.org/protobuf/proto"
)

// Inbox is a routine's view of its mailbox. Only the routine's own goroutine may use it.
type Inbox[M proto.Message] struct {
	ctx  *Context
	more *inboxMore[M] // what only Select and Categorize need

	offered bool // a swap was, see Swapped
}

// inboxMore is what few inboxes need.
type inboxMore[M proto.Message] struct {
	skipped []envelope // passed over by Select, oldest first
	cats    []func(M) any
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
			m, err := in.Receive(in.ctx)
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
	c := in.ctx.here()
	if c == nil {
		return m, false
	}
	c.release(in.ctx)
	return in.ready(c, nil)
}

// Select returns the oldest message that match accepts, waiting for one under ctx. The others keep their order and are
// there for a later Receive or Select. Cost: linear in what is passed over.
func (in *Inbox[M]) Select(ctx context.Context, match func(M) bool) (M, error) {
	if match == nil {
		var zero M
		return zero, errors.New("actor: Select needs a function that says which message to take")
	}
	return in.receive(ctx, match)
}

func (in *Inbox[M]) receive(ctx context.Context, match func(M) bool) (m M, err error) {
	c := in.ctx.here()
	if c == nil {
		return m, in.ctx.own()
	}
	c.release(in.ctx) // before anything else: a deadline of the call that was in hand is over
	if own, ok := ctx.(*Context); !ok || own != in.ctx || own.cleaning {
		return in.receiveUnder(ctx, match)
	}
	a := in.ctx.cell
	for {
		if ctl := a.ctl.Load(); ctl != 0 {
			if err := in.ctx.interrupted(ctl, false); err != nil {
				return m, err
			}
			if in.Swapped() {
				return m, ErrSwapped
			}
		}
		if m, ok := in.ready(c, match); ok {
			c.slot.spend()
			return m, nil
		}
		c.slot.tally.waits++
		c.slot.left--
		c.switchAway(waitMail)
	}
}

// receiveUnder is receive under a derived context.
func (in *Inbox[M]) receiveUnder(ctx context.Context, match func(M) bool) (m M, err error) {
	w, err := enterAs(in.ctx, ctx)
	defer w.leave()
	if err != nil {
		return m, err
	}
	for {
		if in.ctx.cell.ctl.Load() != 0 {
			if err := w.check(); err != nil {
				return m, err
			}
			if in.Swapped() {
				return m, ErrSwapped
			}
		}
		if m, ok := in.ready(w.c, match); ok {
			w.c.slot.spend()
			return m, nil
		}
		if err := w.sleep(waitMail); err != nil {
			return m, err
		}
	}
}

// ready takes the oldest matching message without waiting.
func (in *Inbox[M]) ready(c *carrier, match func(M) bool) (m M, ok bool) {
	if in.more != nil && len(in.more.skipped) > 0 {
		if m, ok = in.readySkipped(c, match); ok {
			return m, true
		}
	}
	gen := in.ctx.gen
	for {
		env, ok := in.ctx.cell.pop(c.slot)
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
	if ad, isAdapter := env.msg.(adapter); isAdapter && env.gen() == gen {
		if env.msg = ad.message(in.ctx); env.msg == nil {
			c.slot.tally.handled++
			return m, false
		}
	}
	if m, ok = env.msg.(M); ok && env.gen() == gen {
		c.env, c.busy = env, true // in hand while match looks at it: it may panic
		wanted := match(m)
		c.env, c.busy = envelope{}, false
		if !wanted {
			in.skip(env)
			var zero M
			return zero, false
		}
	}
	if !c.take(in.ctx, env, gen) {
		return m, false
	}
	if !ok {
		c.refuse(in.ctx, DeadWrongType, nil)
	}
	return m, ok
}

func (in *Inbox[M]) skip(env envelope) {
	more := in.extra()
	more.skipped = append(more.skipped, env)
	in.ctx.setHeld(&more.skipped)
}

func (in *Inbox[M]) readySkipped(c *carrier, match func(M) bool) (m M, ok bool) {
	gen := in.ctx.gen
	more := in.more
	for i := 0; i < len(more.skipped); {
		env := more.skipped[i]
		m, ok = env.msg.(M)
		if match != nil && ok && !match(m) {
			i++
			continue
		}
		more.skipped = append(more.skipped[:i], more.skipped[i+1:]...)
		if len(more.skipped) == 0 {
			more.skipped = nil
		}
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
	if f == nil {
		return func() {}
	}
	more := in.extra()
	more.cats = append(more.cats, f)
	at := len(more.cats) - 1
	return func() { more.cats[at] = nil }
}

// Category is what the functions added by Categorize make of m: the first answer that is not nil.
func (in *Inbox[M]) Category(m M) any {
	if in.more == nil {
		return nil
	}
	cats := in.more.cats
	for i := len(cats) - 1; i >= 0; i-- {
		if cats[i] == nil {
			continue
		}
		if cat := cats[i](m); cat != nil {
			return cat
		}
	}
	return nil
}

// ReceiveCategory returns the oldest message of that category (nil: of none), waiting for one under ctx. The others keep
// their order.
func (in *Inbox[M]) ReceiveCategory(ctx context.Context, category any) (M, error) {
	return in.Select(ctx, func(m M) bool { return in.Category(m) == category })
}

// Pending is how many messages Select has passed over.
func (in *Inbox[M]) Pending() int {
	if in.more == nil {
		return 0
	}
	return len(in.more.skipped)
}

// Stash puts the message in hand aside; Unstash brings what was stashed back, oldest first, before what is in the mailbox.
// A stashed call stays unanswered until then. ErrNoMessage: none is in hand.
func (ctx *Context) Stash() error {
	c := ctx.here()
	if c == nil {
		return ctx.own()
	}
	if !c.busy {
		return ErrNoMessage
	}
	mu := ctx.sys.locks.of(ctx.cell.idx)
	mu.Lock()
	cold := ctx.cell.coldOf()
	cold.stash = append(cold.stash, c.env)
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
		if err := in.ctx.own(); err != nil {
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
	l, cancel := in.ctx.WithTimeout(d)
	defer cancel()
	return in.Receive(l)
}
