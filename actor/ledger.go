package actor

import (
	"fmt"
	"runtime"
	"time"
)

// Ledger accounts for every message that was ever accepted by a mailbox, and for replies. Each ends in exactly one class. What the
// System itself puts into a mailbox counts like any other: the Downs of monitors and links, what a Timer sends, a Drain. Such a
// message is handled also when it finds its actor ended, or has become pointless; only what a Timer sends can be a dead letter.
type Ledger struct {
	Sent     uint64                // accepted
	Handled  uint64                // a behaviour has dealt with it; for a reply: its caller got it
	Dead     uint64                // dead-lettered, the sum of ByReason
	ByReason map[DeadReason]uint64 // why
	Dropped  uint64                // by the overflow policy of a mailbox
	Queued   uint64                // still in a mailbox or stash, or in the hands of a behaviour that waits
	Returned uint64                // refused with an error, never accepted: not part of the sum
	Exact    bool                  // the System was at rest: the classes must add up
}

// Balanced reports whether Sent = Handled + Dead + Dropped + Queued.
func (l Ledger) Balanced() bool { return l.Sent == l.Handled+l.Dead+l.Dropped+l.Queued }

// String is one line for a log or a terminal.
func (l Ledger) String() string {
	state := "balanced"
	switch {
	case !l.Exact:
		state = "in motion"
	case !l.Balanced():
		state = "NOT BALANCED"
	}
	return fmt.Sprintf("sent %d = handled %d + dead %d + dropped %d + queued %d (%s); returned %d",
		l.Sent, l.Handled, l.Dead, l.Dropped, l.Queued, state, l.Returned)
}

func (sys *System) count() tally {
	var t tally
	sys.outside.load(&t)
	sys.retired.load(&t)
	for _, s := range sys.ex.all() {
		s.pub.load(&t)
	}
	sys.ex.reserved.pub.load(&t)
	return t
}

// Ledger reads the accounts. At rest (see Quiesce) they are exact: what is queued is counted in the mailboxes, everything
// else where it happened. While actors run the counters are a moment old, Queued is the difference, and Exact is false.
// Cost: linear in the number of actors ever alive at once.
func (sys *System) Ledger() Ledger {
	var l Ledger
	if !sys.made() {
		return l
	}
	for try := range 1100 {
		before := sys.ex.moving.Load()
		l = sys.readLedger()
		after := sys.ex.moving.Load()
		switch {
		case uint32(before) == 0 && uint32(after) == 0:
			if !l.Exact || after == before {
				return l
			}
		case try < 100:
			runtime.Gosched() // a goroutine is in the middle of a send, which takes a moment only
		case !sys.ex.atRest() && !sys.ex.closed.Load():
			return l // others go on, too
		default:
			time.Sleep(100 * time.Microsecond) // unless the machine has better things to do
		}
	}
	l.Exact = false // others keep sending
	return l
}

func (sys *System) readLedger() Ledger {
	ex := sys.ex
	ex.toBed()
	ex.mu.Lock()
	defer ex.mu.Unlock()
	exact := ex.isQuiet() || ex.closed.Load()
	t := sys.count()
	l := Ledger{Sent: t.sent, Handled: t.handled, Dropped: t.dropped, Returned: t.returned, ByReason: map[DeadReason]uint64{}, Exact: exact}
	for i, n := range t.dead {
		if n > 0 {
			l.ByReason[DeadReason(i)] = n
			l.Dead += n
		}
	}
	if !exact {
		if ended := l.Handled + l.Dead + l.Dropped; l.Sent > ended {
			l.Queued = l.Sent - ended
		}
		return l
	}
	sys.table.each(func(a *cell) { l.Queued += uint64(a.held()) })
	return l
}

// held counts the messages of an actor at rest that are neither handled nor dead.
func (a *cell) held() int {
	if a.gen.Load() == 0 {
		return 0
	}
	n := 0
	if cold := a.cold.Load(); cold != nil {
		if cold.queue != nil {
			n = cold.queue.Len()
		}
		n += len(cold.stash)
		if cold.skipped != nil {
			n += len(*cold.skipped)
		}
	}
	if a.flags.Load()&flagQueue == 0 {
		n += a.box.Len()
	}
	if ctx := a.ctx.Load(); ctx != nil && ctx.asleep && ctx.car.Load().busy {
		n++
	}
	return n
}
