// Package conditions says how bad a simulated network is, and draws what becomes of each packet. It knows nothing of what packets carry:
// simlink, simnet and udpproxy do.
package conditions

import (
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"
)

// Conditions are those of one direction between two addresses. The zero value is a perfect network.
type Conditions struct {
	// Latency is how long a packet travels.
	Latency time.Duration
	// Jitter is what is added to Latency at most. Packets still arrive in order, but for Reorder.
	Jitter time.Duration
	// Loss is the share of packets that are lost, 0 to 1.
	Loss float64
	// Duplicate is the share of packets that arrive twice.
	Duplicate float64
	// Reorder is the share of packets that are held back by ReorderBy, so that others overtake them.
	Reorder float64
	// ReorderBy is how long. Zero means as long as Latency, and 10 ms.
	ReorderBy time.Duration
	// BytesPerSecond is how much fits through. Zero: any amount.
	BytesPerSecond int
	// QueueBytes bounds what waits where BytesPerSecond are exceeded; what comes on top is lost. Zero means 128 KiB.
	QueueBytes int
}

const (
	defaultQueue = 128 << 10
	minRTO       = 200 * time.Millisecond
	maxAttempts  = 12 // the last one comes minutes later: every idle timeout is over by then
)

// Path draws what becomes of the packets of one direction, from a generator of its own.
// Any goroutine may use it.
type Path struct {
	mu      sync.Mutex
	random  *rand.Rand
	c       Conditions
	blocked bool
	free    time.Time // when what was sent so far has left
	last    time.Time // when the last one that kept its place arrives
}

// NewPath is a perfect path; seed and the two names rule all that it draws.
func NewPath(seed uint64, from, to string) *Path {
	h := fnv.New64a()
	_, _ = h.Write([]byte(from + "\x00" + to))
	return &Path{random: rand.New(rand.NewPCG(seed, h.Sum64()))} //nolint:gosec // runs are to be repeatable
}

// Set changes the conditions for what is sent from now on.
func (p *Path) Set(c Conditions) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.c = c
}

// Block has nothing get through, or lets it through again.
func (p *Path) Block(blocked bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blocked = blocked
}

// Blocked reports whether nothing gets through.
func (p *Path) Blocked() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.blocked
}

// Free is when the path can take another packet without queueing it; the past if it can now.
func (p *Path) Free() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.free
}

// Send sends a packet of n bytes at now. It says when it arrives; not at all if it is lost, twice if it is duplicated. What arrives
// while the path is blocked is the caller's to drop.
func (p *Path) Send(now time.Time, n int) []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.draw()
	sent, ok := p.queue(now, n)
	if !ok || p.blocked || d.lost {
		return nil
	}
	arrivals := []time.Time{p.arrive(sent, d)}
	if d.twice {
		arrivals = append(arrivals, arrivals[0].Add(d.jitter))
	}
	return arrivals
}

// SendReliably sends a packet that is sent again until it gets through, and says when it does. It is never lost for lack of room, and
// Block is the caller's to respect.
func (p *Path) SendReliably(now time.Time, n int) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	rto := max(minRTO, 2*(p.c.Latency+p.c.Jitter))
	var late time.Duration
	for range maxAttempts {
		d := p.draw()
		sent := p.leave(now, n)
		switch {
		case d.lost:
			late, rto = late+rto, 2*rto
		case late > 0: // whatever is sent after it goes ahead
			return sent.Add(late + p.c.Latency + d.jitter)
		default:
			return p.arrive(sent, d)
		}
	}
	return now.Add(late)
}

// fate is what was drawn for a packet.
type fate struct {
	lost, twice, held bool
	jitter            time.Duration
}

// draw draws the same number of times whatever the conditions, so that changing one of them changes nothing else.
func (p *Path) draw() fate {
	lost, twice, held, jitter := p.random.Float64(), p.random.Float64(), p.random.Float64(), p.random.Float64()
	return fate{
		lost:   lost < p.c.Loss,
		twice:  twice < p.c.Duplicate,
		held:   held < p.c.Reorder,
		jitter: time.Duration(jitter * float64(p.c.Jitter)),
	}
}

// queue is leave, if there is room for n bytes.
func (p *Path) queue(now time.Time, n int) (time.Time, bool) {
	if p.c.BytesPerSecond > 0 {
		limit := p.c.QueueBytes
		if limit == 0 {
			limit = defaultQueue
		}
		if wait := p.free.Sub(now); wait > p.takes(limit) {
			return now, false
		}
	}
	return p.leave(now, n), true
}

// leave is when n bytes have left.
func (p *Path) leave(now time.Time, n int) time.Time {
	if p.c.BytesPerSecond <= 0 {
		return now
	}
	if p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(p.takes(n))
	return p.free
}

func (p *Path) takes(n int) time.Duration {
	return time.Duration(float64(n) / float64(p.c.BytesPerSecond) * float64(time.Second))
}

func (p *Path) arrive(sent time.Time, d fate) time.Time {
	at := sent.Add(p.c.Latency + d.jitter)
	if d.held {
		by := p.c.ReorderBy
		if by == 0 {
			by = p.c.Latency + 10*time.Millisecond
		}
		return at.Add(by)
	}
	if at.Before(p.last) {
		at = p.last
	}
	p.last = at
	return at
}
