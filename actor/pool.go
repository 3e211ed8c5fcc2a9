package actor

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
)

// ErrPoolClosed answers Submit on a Pool that is closing, and the Futures of what it did not run any more.
var ErrPoolClosed = errors.New("actor: the pool is closed")

// ErrPoolFull answers TrySubmit on a Pool whose workers are busy and whose queue is full. errors.Is finds ErrFull in it.
var ErrPoolFull error = poolFullError{}

type poolFullError struct{}

func (poolFullError) Error() string        { return "actor: the pool's queue is full" }
func (poolFullError) Is(target error) bool { return target == ErrFull }

// PoolOptions configure a Pool.
type PoolOptions struct {
	// Workers is how many jobs run at once, at most 65,536. 0 means 16.
	Workers int
	// Queue is how many more jobs may wait for a worker, at most 2^30. 0 means 1,024; negative means none.
	Queue int
}

const (
	maxPoolWorkers = 1 << 16
	maxPoolQueue   = 1 << 30
)

func (o PoolOptions) withDefaults() (PoolOptions, error) {
	if o.Workers < 0 || o.Workers > maxPoolWorkers {
		return o, fmt.Errorf("actor: a pool of %d workers: use 0 for 16, or up to %d", o.Workers, maxPoolWorkers)
	}
	if o.Queue > maxPoolQueue {
		return o, fmt.Errorf("actor: a pool with a queue of %d: use at most %d", o.Queue, maxPoolQueue)
	}
	if o.Workers == 0 {
		o.Workers = 16
	}
	if o.Queue == 0 {
		o.Queue = 1024
	}
	o.Queue = max(o.Queue, 0)
	return o, nil
}

// Pool runs blocking calls on a bounded number of goroutines, first come, first served: files, databases, libraries that know
// nothing of actors. It belongs to no System; actors of any may share it with plain goroutines.
//
// A worker starts when a job comes and ends when the queue is empty: an idle Pool has no goroutine. Make one with NewPool and
// end it with Close, which waits for its goroutines. Any goroutine may use it. The zero value runs nothing: it answers with an error.
// Cost: a goroutine per burst of jobs; a job allocates its Future and a context.
type Pool struct {
	opts PoolOptions
	room turnstile // of the workers and the queue together

	mu       sync.Mutex
	queue    list.List // of *job
	running  map[*job]struct{}
	active   int // goroutines
	closing  bool
	done     uint64
	failed   uint64
	canceled uint64
	ended    latch // closing, and the last goroutine goes
}

// NewPool makes a Pool; no goroutine starts yet. The error says which option is wrong.
func NewPool(o PoolOptions) (*Pool, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Pool{opts: o, room: turnstile{free: o.Workers + o.Queue}, running: make(map[*job]struct{})}, nil
}

var errNoPool = errors.New("actor: this Pool is nil or zero: make one with NewPool")

// made reports whether NewPool has made p.
func (p *Pool) made() bool { return p != nil && p.running != nil }

// job is one call on its way through a Pool.
type job struct {
	latch
	ctx    context.Context
	cancel context.CancelFunc
	f      func(context.Context) error
	after  func()      // called when the job is over, or nil
	sys    *System     // of the actor that submitted it, or nil
	who    AnyRef      // that actor
	stop   func() bool // ends the watch over a queued job's context
	at     *list.Element
	err    error
}

// jobContext is the context of a job: that of the submitter without its actor, since a job runs on a goroutine of its own.
type jobContext struct {
	context.Context
	pool *Pool
}

type poolKey struct{ p *Pool }

func (c jobContext) Value(key any) any {
	switch k := key.(type) {
	case contextKey:
		return nil
	case poolKey:
		if k.p == c.pool {
			return true
		}
	}
	return c.Context.Value(key)
}

// Future is the result of a job, once it is there. Any goroutine may use it, any number of times. The zero value is that of no job.
type Future[T any] struct {
	pool  *Pool
	job   *job
	value T
}

// Submit has f run on p and returns at once, unless the queue is full: then it waits under ctx for a place, an actor without
// holding a slot, any other goroutine by blocking. f's context ends with ctx, or when Cancel or Close ends the job; what f waits
// for under it blocks f's goroutine, whoever submitted it. A job whose context ends before its turn never runs.
//
// When ctx is the Context of an actor the job is cancelled when that actor is asked to stop; from context.WithoutCancel it
// outlives it. A job must not wait for another job of the same Pool: with all workers doing so none is left to run them.
// Errors: ErrPoolClosed, or ctx's own; then f does not run.
func Submit[T any](ctx context.Context, p *Pool, f func(ctx context.Context) (T, error)) (*Future[T], error) {
	return submit(ctx, p, f, true, nil)
}

// TrySubmit is Submit that never waits: ErrPoolFull if no place is free.
func TrySubmit[T any](ctx context.Context, p *Pool, f func(ctx context.Context) (T, error)) (*Future[T], error) {
	return submit(ctx, p, f, false, nil)
}

// submit takes a place and hands the job over; after is called when the job is over, unless submit returns an error.
func submit[T any](ctx context.Context, p *Pool, f func(context.Context) (T, error), wait bool, after func()) (*Future[T], error) {
	switch {
	case isNil(ctx):
		return nil, ErrNilContext
	case !p.made():
		return nil, errNoPool
	case f == nil:
		return nil, errors.New("actor: Submit needs a function")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := p.enter(ctx, wait); err != nil {
		return nil, err
	}
	j := &job{after: after}
	fut := &Future[T]{pool: p, job: j}
	j.f = func(ctx context.Context) error {
		v, err := f(ctx)
		fut.value = v
		return err
	}
	j.ctx, j.cancel = context.WithCancel(ctx)
	if c, ok := FromContext(ctx); ok && c.here() != nil {
		j.sys, j.who = c.sys, c.Self()
	}
	if err := p.add(j); err != nil {
		j.cancel()
		p.room.give()
		return nil, err
	}
	return fut, nil
}

func (p *Pool) enter(ctx context.Context, wait bool) error {
	if wait {
		return p.room.take(ctx)
	}
	return p.room.tryTake(ErrPoolFull)
}

// add gives the job to a new worker, or to the queue if there are enough.
func (p *Pool) add(j *job) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return ErrPoolClosed
	}
	if j.sys != nil {
		j.sys.ex.nBlocked.Add(1) // the System is not at rest while it will be told of a result
	}
	if p.active < p.opts.Workers {
		p.active++
		p.running[j] = struct{}{}
		go p.work(j)
		return nil
	}
	j.at = p.queue.PushBack(j)
	j.stop = context.AfterFunc(j.ctx, func() { p.drop(j, j.ctx.Err()) })
	return nil
}

// work is a worker's goroutine. When a job ends it by runtime.Goexit another takes over.
func (p *Pool) work(j *job) {
	defer func() {
		if j == nil {
			return
		}
		if next := p.next(); next != nil {
			go p.work(next)
		}
	}()
	for j != nil {
		p.run(j)
		j = p.next()
	}
}

// next takes the oldest job out of the queue; nil means that the worker should go.
func (p *Pool) next() *job {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.queue.Front(); e != nil {
		j := p.queue.Remove(e).(*job)
		j.at = nil
		p.running[j] = struct{}{}
		return j
	}
	p.active--
	if p.active == 0 && p.closing {
		p.ended.open()
	}
	return nil
}

func (p *Pool) run(j *job) {
	if err := j.ctx.Err(); err != nil {
		p.finish(j, err, &p.canceled)
		return
	}
	err := fmt.Errorf("actor: pool: %w", ErrGoexit)
	defer func() { p.finish(j, err, &p.done) }()
	err = protect(func() error { return j.f(jobContext{j.ctx, p}) })
}

// drop ends a job that still waits for a worker.
func (p *Pool) drop(j *job, why error) {
	p.mu.Lock()
	queued := j.at != nil
	if queued {
		p.queue.Remove(j.at)
		j.at = nil
	}
	p.mu.Unlock()
	if queued {
		p.finish(j, why, &p.canceled)
	}
}

// finish publishes a job's outcome and counts it.
func (p *Pool) finish(j *job, err error, count *uint64) {
	j.who.awaitTurn("ends a job of")
	p.mu.Lock()
	delete(p.running, j)
	*count++
	if err != nil && count == &p.done {
		p.failed++
	}
	p.mu.Unlock()
	if j.stop != nil {
		j.stop()
	}
	j.cancel()
	j.err = err
	p.room.give()
	if j.after != nil {
		j.after()
	}
	j.open()
	if j.sys != nil {
		j.sys.ex.unblocked()
	}
}

var errNoJob = errors.New("actor: this Future is nil or zero: Submit makes one")

func (f *Future[T]) made() bool { return f != nil && f.job != nil }

// Wait waits under ctx for the job to end and returns its result: f's own, *PanicError if f panicked, an error that wraps
// ErrGoexit if it called runtime.Goexit, and the job's context's error or ErrPoolClosed if it never ran. An actor holds no slot
// while it waits; any other goroutine blocks. If ctx ends first, Wait returns its error and the job goes on.
func (f *Future[T]) Wait(ctx context.Context) (T, error) {
	err := errNoJob
	if f.made() {
		err = f.job.wait(ctx)
	}
	if err != nil {
		var zero T
		return zero, err
	}
	return f.value, f.job.err
}

// Done reports whether the job is over, so that Wait returns at once.
func (f *Future[T]) Done() bool { return f.made() && f.job.isOpen() }

// Cancel ends the job's context: a job that has not started never runs, a running one ends when it heeds its context.
func (f *Future[T]) Cancel() {
	if !f.made() {
		return
	}
	f.job.cancel()
	f.pool.drop(f.job, context.Canceled)
}

// Close refuses new jobs and waits under ctx until all others have run and the last goroutine goes. If ctx ends first, what
// waits in the queue is not run, the contexts of what runs are cancelled, and Close returns ctx's error without waiting longer;
// it may be called again to wait on. Not for a job of the same Pool, which would wait for itself.
func (p *Pool) Close(ctx context.Context) error {
	switch {
	case !p.made():
		return errNoPool
	case isNil(ctx):
		return ErrNilContext
	case ctx.Value(poolKey{p}) != nil:
		return errors.New("actor: Close of a pool from one of its jobs would wait for itself")
	}
	p.mu.Lock()
	p.closing = true
	if p.active == 0 {
		p.ended.open()
	}
	p.mu.Unlock()
	p.room.close(ErrPoolClosed)
	err := p.ended.wait(ctx)
	if err != nil {
		p.abandon()
	}
	return err
}

// abandon drops what is queued and cancels what runs.
func (p *Pool) abandon() {
	p.mu.Lock()
	var queued, running []*job
	for e := p.queue.Front(); e != nil; e = e.Next() {
		queued = append(queued, e.Value.(*job))
	}
	for j := range p.running {
		running = append(running, j)
	}
	p.mu.Unlock()
	for _, j := range queued {
		p.drop(j, ErrPoolClosed)
	}
	for _, j := range running {
		j.cancel()
	}
}

// PoolStats are the counters of a Pool at one moment.
type PoolStats struct {
	Waiting  int    // callers of Submit that wait for a place in the queue
	Queued   int    // jobs that wait for a worker
	Running  int    // jobs that run
	Workers  int    // goroutines
	Done     uint64 // jobs that have run, the failed ones included
	Failed   uint64 // jobs that returned an error, panicked or called runtime.Goexit
	Canceled uint64 // jobs that never ran
}

// Stats reads the counters.
func (p *Pool) Stats() PoolStats {
	if !p.made() {
		return PoolStats{}
	}
	waiting := p.room.waiting()
	p.mu.Lock()
	defer p.mu.Unlock()
	return PoolStats{
		Waiting: waiting, Queued: p.queue.Len(), Running: len(p.running), Workers: p.active,
		Done: p.done, Failed: p.failed, Canceled: p.canceled,
	}
}
