package actor

import (
	"bytes"
	"cmp"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
)

// seeded makes a System deterministic: one worker draws the next actor among the runnable ones by a seeded generator. What
// comes from other goroutines is let in only when no actor is runnable, in an order that does not depend on theirs. In a
// testing/synctest bubble time is virtual too.
type seeded struct {
	ex       *executor
	mu       sync.Mutex
	rng      *rand.Rand
	runnable []*cell
	outside  []letter // sends from other goroutines
	trace    []uint64
	hash     uint64
}

// letter is a send that waits to be let in.
type letter struct {
	a   *cell
	env envelope
	g   uintptr
	key []byte
}

func newSeeded(ex *executor, seed uint64) *seeded {
	return &seeded{ex: ex, rng: rand.New(rand.NewPCG(seed, 0x6772656e)), hash: 14695981039346656037}
}

func (sd *seeded) push(a *cell) {
	sd.mu.Lock()
	defer sd.mu.Unlock()
	sd.runnable = append(sd.runnable, a)
}

func (sd *seeded) admit(a *cell, env envelope) error {
	key := []byte(nil)
	if m, ok := env.msg.(proto.Message); ok {
		key, _ = proto.MarshalOptions{Deterministic: true}.Marshal(m)
		key = append([]byte(m.ProtoReflect().Descriptor().FullName()), key...)
	}
	sd.mu.Lock()
	sd.outside = append(sd.outside, letter{a, env, getg(), key})
	sd.mu.Unlock()
	sd.ex.sys.outside.sent.Add(1)
	sd.ex.wakeOne()
	return nil
}

func (sd *seeded) hasWork() bool {
	sd.mu.Lock()
	defer sd.mu.Unlock()
	return len(sd.runnable)+len(sd.outside) > 0
}

// pick draws the next actor; called by the one worker.
func (sd *seeded) pick() *cell {
	sd.mu.Lock()
	defer sd.mu.Unlock()
	if len(sd.runnable) == 0 && len(sd.outside) > 0 {
		sd.mu.Unlock()
		time.Sleep(1) // in a bubble: until every other goroutine waits for something
		sd.letIn()
		sd.mu.Lock()
	}
	n := len(sd.runnable)
	if n == 0 {
		return nil
	}
	slices.SortStableFunc(sd.runnable, func(a, b *cell) int { return cmp.Compare(a.idx, b.idx) })
	i := sd.rng.IntN(n)
	a := sd.runnable[i]
	sd.runnable = slices.Delete(sd.runnable, i, i+1)
	sd.step(uint64(a.idx)<<32 | uint64(a.gen.Load()))
	return a
}

// step adds one to the trace.
func (sd *seeded) step(v uint64) {
	h := fnv.New64a()
	var b [16]byte
	for i := range 8 {
		b[i], b[8+i] = byte(sd.hash>>(8*i)), byte(v>>(8*i))
	}
	_, _ = h.Write(b[:])
	sd.hash = h.Sum64()
	sd.trace = append(sd.trace, sd.hash)
}

// letIn delivers what other goroutines have sent: by receiver, then by the first message of each goroutine; one goroutine's
// messages keep their order.
func (sd *seeded) letIn() {
	sd.mu.Lock()
	letters := sd.outside
	sd.outside = nil
	sd.mu.Unlock()
	first := map[uintptr]letter{}
	for _, l := range letters {
		if _, ok := first[l.g]; !ok {
			first[l.g] = l
		}
	}
	slices.SortStableFunc(letters, func(a, b letter) int {
		if a.g == b.g {
			return 0
		}
		x, y := first[a.g], first[b.g]
		return cmp.Or(cmp.Compare(x.a.idx, y.a.idx), bytes.Compare(x.key, y.key), cmp.Compare(x.g, y.g))
	})
	s := sd.ex.all()[0]
	sys := sd.ex.sys
	for _, l := range letters {
		to := AnyRef{sys.node, uint64(l.env.gen())<<32 | uint64(l.a.idx)}
		if l.a.gen.Load() != l.env.gen() {
			sys.deadLetter(s, to, l.env, DeadStopped, nil)
			continue
		}
		s.tally.sent-- // counted when it was sent
		if sys.postEnvelope(s, l.a, l.env) != nil {
			s.tally.sent++
			sys.deadLetter(s, to, l.env, DeadStopped, nil)
		}
	}
}

// Trace returns a hash for each step that a seeded System has taken so far: two runs of the same scenario under the same seed
// give the same trace, and the first difference is the step where they part. Nil without a seed.
func (sys *System) Trace() []uint64 {
	sd := sys.ex.seeded
	if sd == nil {
		return nil
	}
	sd.mu.Lock()
	defer sd.mu.Unlock()
	return slices.Clone(sd.trace)
}
