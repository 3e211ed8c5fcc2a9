package remote

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
)

const (
	// flowStep is how many bytes go into a mailbox before a mark follows them that tells when they are handled.
	flowStep = 32 << 10
	// flowHigh is how many bytes may wait in one mailbox before those who send there are paused.
	flowHigh = 1 << 20
	// flowLow is how many may be left when they go on.
	flowLow = flowHigh / 2
)

// flow is what one peer has sent to one actor here and that is not handled yet.
//
// Every flowStep bytes a mark goes into the mailbox behind them (actor.Inbound.Mark); its turn tells that they are handled. If too
// much is outstanding the peer is asked to pause: there the sending actors suspend, and nobody else.
type flow struct {
	s      *session
	to     uint64
	held   atomic.Int64 // bytes that are not known to be handled
	paused atomic.Bool
	gone   atomic.Bool // it is no longer in the session's list
	late   atomic.Int64
	fresh  [lanes + 1]int // bytes that are not in held yet; each lane's reader has its own, and that of datagrams

	mu      sync.Mutex
	pumping bool
	queue   []lateMessage // what waits for room in a mailbox that has its senders wait
}

// lateMessage waits for room in a mailbox whose policy is Suspend.
type lateMessage struct {
	m       proto.Message
	size    int
	back    *incoming // of a call
	until   time.Time
	confirm uint64 // of a Deliver
	from    uint64
	do      func(in *actor.Inbound) // no message, but something to be done in its turn
}

// took notes n bytes that went into the mailbox by the lane. When there are many a mark follows them.
func (l *laneIn) took(f *flow, n int) {
	f.fresh[l.n] += n
	l.fresh += n
	switch {
	case f.fresh[l.n] >= flowStep:
		l.mark(f)
	case l.fresh >= l.s.node.opts.MaxQueuedBytes/freshShare:
		l.markAll()
	}
}

// freshShare is which part of MaxQueuedBytes a lane may put into mailboxes before it is counted.
const freshShare = 16

// mark counts what a lane has put into a mailbox, and has a mark follow it.
func (l *laneIn) mark(f *flow) {
	n := f.fresh[l.n]
	f.fresh[l.n] = 0
	l.fresh = max(l.fresh-n, 0)
	f.add(int64(n))
	l.in.Mark(f.to, func() { f.handled(int64(n)) })
}

// markAll does so for all mailboxes: many receivers with little each may hold much together.
func (l *laneIn) markAll() {
	l.s.flows.Range(func(_, v any) bool {
		if f := v.(*flow); f.fresh[l.n] > 0 {
			l.mark(f)
		}
		return true
	})
	l.fresh = 0
}

func (f *flow) add(n int64) {
	f.s.intake.Add(n)
	if f.held.Add(n) >= flowHigh && f.paused.CompareAndSwap(false, true) {
		f.s.pauseChanged(f.to)
	}
}

// handled is called where the actor runs, or ends.
func (f *flow) handled(n int64) {
	f.s.outtake(n)
	if f.held.Add(-n) <= flowLow && f.paused.CompareAndSwap(true, false) {
		f.s.pauseChanged(f.to)
	}
}

// enqueue puts a message behind those that wait for room. They go in one by one, by a goroutine that lives as long as there are any.
func (f *flow) enqueue(m lateMessage) {
	f.add(int64(m.size))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, m)
	f.late.Add(1)
	if !f.pumping {
		f.pumping = true
		f.s.node.begin(f.pump)
	}
}

func (f *flow) pump() {
	f.s.hands.enter()
	defer f.s.hands.leave()
	in := f.s.node.sys.NewInbound()
	for {
		f.mu.Lock()
		if len(f.queue) == 0 {
			f.queue, f.pumping = nil, false
			f.mu.Unlock()
			return
		}
		m := f.queue[0]
		f.queue[0] = lateMessage{}
		f.queue = f.queue[1:]
		f.mu.Unlock()
		f.admit(in, m)
		f.late.Add(-1)
	}
}

// admit waits until m is in the mailbox, or cannot get there any more.
func (f *flow) admit(in *actor.Inbound, m lateMessage) {
	if m.do != nil {
		m.do(in)
		return
	}
	ctx := f.s.ctx
	if !m.until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, m.until)
		defer cancel()
	}
	err := ctx.Err() // a session that has ended puts nothing in any more: a later one may have begun
	switch {
	case err != nil:
	case m.back != nil:
		left := time.Duration(0)
		if !m.until.IsZero() {
			left = max(time.Until(m.until), 1)
		}
		var giveUp func()
		if giveUp, err = in.CallWait(ctx, f.to, m.m, left, m.back); err == nil {
			m.back.begun(giveUp)
		}
	default:
		err = in.SendWait(ctx, f.to, m.m)
	}
	if err == nil {
		in.Mark(f.to, func() { f.handled(int64(m.size)) })
	} else {
		f.handled(int64(m.size))
	}
	switch {
	case m.confirm != 0:
		if err != nil {
			f.s.count.returned.Add(1)
		}
		f.s.confirm(pair{f.to, m.from}, m.confirm, err)
	case err != nil:
		f.s.lose(f.to, m.m, err, m.back != nil)
		if m.back != nil {
			m.back.refuse(err)
		}
	}
}
