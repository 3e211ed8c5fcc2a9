package actor_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/greenroom-go/greenroom/actor"
)

func newPool(t *testing.T, o actor.PoolOptions) *actor.Pool {
	t.Helper()
	p, err := actor.NewPool(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(bounded(t)); err != nil {
			t.Errorf("close: %v", err)
		}
		if s := p.Stats(); s.Workers+s.Queued+s.Running+s.Waiting != 0 {
			t.Errorf("a closed pool still has work: %+v", s)
		}
	})
	return p
}

// must is the result of Submit where nothing can fail.
func must[T any](t *testing.T) func(f *actor.Future[T], err error) *actor.Future[T] {
	t.Helper()
	return func(f *actor.Future[T], err error) *actor.Future[T] {
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
}

func TestPoolOptions(t *testing.T) {
	if _, err := actor.NewPool(actor.PoolOptions{Workers: -1}); err == nil {
		t.Error("a negative number of workers")
	}
	if _, err := actor.Submit[int](context.Background(), nil, nil); err == nil {
		t.Error("a nil pool and function")
	}
}

// POOL-3: a Future brings the value, the error, the panic or the Goexit of its job, and the worker lives on.
func TestPoolResults(t *testing.T) {
	p := newPool(t, actor.PoolOptions{Workers: 2})
	for _, c := range []struct {
		name string
		f    func(context.Context) (int, error)
		want func(v int, err error) bool
	}{
		{"value", func(context.Context) (int, error) { return 7, nil }, func(v int, err error) bool { return v == 7 && err == nil }},
		{"error", func(context.Context) (int, error) { return 0, errBoom }, func(_ int, err error) bool { return errors.Is(err, errBoom) }},
		{"panic", func(context.Context) (int, error) { panic(errBoom) }, func(_ int, err error) bool {
			var e *actor.PanicError
			return errors.As(err, &e) && errors.Is(e, errBoom) && e.Stack() != ""
		}},
		{"goexit", func(context.Context) (int, error) { runtime.Goexit(); return 0, nil },
			func(_ int, err error) bool { return errors.Is(err, actor.ErrGoexit) }},
	} {
		for range 3 { // a worker that a job has ended is replaced
			f := must[int](t)(actor.Submit(context.Background(), p, c.f))
			if v, err := f.Wait(bounded(t)); !c.want(v, err) || !f.Done() {
				t.Errorf("%s: %v, %v", c.name, v, err)
			}
		}
	}
	if s := p.Stats(); s.Done != 12 || s.Failed != 9 || s.Canceled != 0 {
		t.Errorf("counted %+v", s)
	}
}

// POOL-4: ten actors on one slot wait for jobs that need each other: an actor that waits holds no slot.
func TestPoolActorsWaitWithoutASlot(t *testing.T) {
	sys := newSystem(t, actor.SystemOptions{Workers: 1, StuckAfter: time.Hour})
	p := newPool(t, actor.PoolOptions{Workers: 10})
	var meet sync.WaitGroup
	meet.Add(10)
	var refs []actor.AnyRef
	for i := range 10 {
		refs = append(refs, start(sys, func(ctx *actor.Context) error {
			f, err := actor.Submit(ctx, p, func(context.Context) (int, error) {
				meet.Done()
				meet.Wait()
				return i, nil
			})
			if err != nil {
				return err
			}
			v, err := f.Wait(ctx)
			if v != i {
				return fmt.Errorf("got %d, want %d: %w", v, i, err)
			}
			return err
		}))
	}
	for _, r := range refs {
		if _, err := r.Wait(bounded(t)); err != nil {
			t.Error(err)
		}
	}
}

// full fills p with one running job for each worker and queue more; the jobs end when release is closed.
func full(t *testing.T, p *actor.Pool, workers, queue int) (release chan struct{}, futures []*actor.Future[int]) {
	t.Helper()
	release = make(chan struct{})
	up := make(chan struct{}, workers+queue)
	for range workers + queue {
		futures = append(futures, must[int](t)(actor.TrySubmit(context.Background(), p, func(context.Context) (int, error) {
			up <- struct{}{}
			<-release
			return 1, nil
		})))
	}
	for range workers {
		<-up
	}
	return release, futures
}

// POOL-1: a full pool refuses TrySubmit and has Submit wait, and a wait that is given up leaves nothing behind.
func TestPoolIsBounded(t *testing.T) {
	for _, queue := range []int{-1, 3} {
		p := newPool(t, actor.PoolOptions{Workers: 2, Queue: queue})
		release, futures := full(t, p, 2, max(queue, 0))
		if _, err := actor.TrySubmit(context.Background(), p, futuresNever); !errors.Is(err, actor.ErrFull) || !errors.Is(err, actor.ErrPoolFull) {
			t.Fatalf("queue %d: TrySubmit on a full pool: %v", queue, err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancelled := make(chan error)
		go func() { _, err := actor.Submit(ctx, p, futuresNever); cancelled <- err }()
		waiting(p, 1)
		cancel()
		if err := <-cancelled; !errors.Is(err, context.Canceled) {
			t.Fatalf("Submit whose context ends: %v", err)
		}
		admitted := make(chan error)
		go func() {
			f, err := actor.Submit(context.Background(), p, func(context.Context) (int, error) { return 5, nil })
			if err == nil {
				_, err = f.Wait(context.Background())
			}
			admitted <- err
		}()
		waiting(p, 1)
		if s := p.Stats(); s.Running != 2 || s.Workers != 2 || s.Queued != max(queue, 0) {
			t.Errorf("full: %+v", s)
		}
		close(release)
		if err := <-admitted; err != nil {
			t.Fatal(err)
		}
		for _, f := range futures {
			if _, err := f.Wait(bounded(t)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func futuresNever(context.Context) (int, error) { panic("this job must not run") }

// waiting returns once n callers of Submit wait for a place.
func waiting(p *actor.Pool, n int) {
	for p.Stats().Waiting != n {
		runtime.Gosched()
	}
}

// POOL-4: an actor that waits for a place holds no slot, and can be killed there.
func TestPoolActorWaitsForAPlace(t *testing.T) {
	sys := newSystem(t)
	p := newPool(t, actor.PoolOptions{Workers: 1, Queue: -1})
	release, _ := full(t, p, 1, 0)
	submit := func(ctx *actor.Context) error {
		f, err := actor.Submit(ctx, p, func(context.Context) (int, error) { return 1, nil })
		if err == nil {
			_, err = f.Wait(ctx)
		}
		return err
	}
	killed, ok := start(sys, submit), start(sys, submit)
	waiting(p, 2)
	killed.Kill()
	if _, err := killed.Wait(bounded(t)); !errors.Is(err, actor.ErrKilled) {
		t.Fatalf("killed while it waits for a place: %v", err)
	}
	waiting(p, 1)
	close(release)
	if _, err := ok.Wait(bounded(t)); err != nil {
		t.Fatal(err)
	}
}

// POOL-2: jobs start in the order in which they were submitted, and whoever waits longest for a place gets the first one.
func TestPoolIsFirstComeFirstServed(t *testing.T) {
	p := newPool(t, actor.PoolOptions{Workers: 1, Queue: 5})
	step := make(chan struct{})
	var order []int // by the one worker
	job := func(i int) func(context.Context) (int, error) {
		return func(context.Context) (int, error) {
			<-step
			order = append(order, i)
			return i, nil
		}
	}
	for i := range 6 {
		must[int](t)(actor.TrySubmit(t.Context(), p, job(i)))
	}
	admitted := make(chan int)
	for i := range 5 {
		go func() {
			if _, err := actor.Submit(context.Background(), p, job(6+i)); err != nil {
				t.Error(err)
			}
			admitted <- 6 + i
		}()
		waiting(p, i+1)
	}
	for i := range 5 {
		step <- struct{}{}
		if got := <-admitted; got != 6+i {
			t.Errorf("place %d went to job %d", i, got)
		}
	}
	close(step)
	if err := p.Close(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if len(order) != 11 || !slices.IsSorted(order) {
		t.Errorf("order: %v", order)
	}
}

// POOL-8: a Pool that has nothing to do has no goroutine, before it is closed too.
func TestIdlePoolHasNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, actor.PoolOptions{Workers: 3})
		for range 2 {
			release, futures := full(t, p, 3, 2)
			close(release)
			for _, f := range futures {
				if _, err := f.Wait(bounded(t)); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			if s := p.Stats(); s.Workers != 0 || s.Running != 0 {
				t.Errorf("at rest: %+v", s)
			}
		}
	})
}

// POOL-5: a job that is cancelled before its turn never runs.
func TestPoolCancelledJobNeverRuns(t *testing.T) {
	p := newPool(t, actor.PoolOptions{Workers: 1, Queue: 2})
	release, _ := full(t, p, 1, 0)
	defer close(release)
	byFuture := must[int](t)(actor.Submit(context.Background(), p, futuresNever))
	ctx, cancel := context.WithCancel(context.Background())
	byContext := must[int](t)(actor.Submit(ctx, p, futuresNever))
	byFuture.Cancel()
	cancel()
	for _, f := range []*actor.Future[int]{byFuture, byContext} {
		if _, err := f.Wait(bounded(t)); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
	if s := p.Stats(); s.Canceled != 2 || s.Queued != 0 {
		t.Errorf("counted %+v", s)
	}
	if _, err := actor.Submit(ctx, p, futuresNever); !errors.Is(err, context.Canceled) {
		t.Errorf("Submit under a context that is over: %v", err)
	}
}

// POOL-6: a job's context ends with the actor that submitted it, and does not pass for that actor's.
func TestPoolJobEndsWithItsActor(t *testing.T) {
	sys := newSystem(t)
	p := newPool(t, actor.PoolOptions{})
	ended := make(chan error, 1)
	running := make(chan struct{})
	ref := start(sys, func(ctx *actor.Context) error {
		f, err := actor.Submit(ctx, p, func(ctx context.Context) (int, error) {
			if _, inside := actor.FromContext(ctx); inside {
				return 0, errors.New("a job passes for its actor")
			}
			close(running)
			<-ctx.Done()
			ended <- ctx.Err()
			return 0, nil
		})
		if err == nil {
			_, err = f.Wait(ctx)
		}
		return err
	})
	<-running
	ref.Stop()
	if err := <-ended; !errors.Is(err, actor.ErrStopped) {
		t.Errorf("the job's context ended with %v", err)
	}
	if _, err := ref.Wait(bounded(t)); err != nil {
		t.Error(err)
	}
}

// POOL-7: a Close whose context ends drops what is queued, cancels what runs and refuses the rest; a second one waits on.
func TestPoolClose(t *testing.T) {
	p := newPool(t, actor.PoolOptions{Workers: 1, Queue: 1})
	heeds := make(chan struct{})
	running := must[int](t)(actor.Submit(context.Background(), p, func(ctx context.Context) (int, error) {
		close(heeds)
		<-ctx.Done()
		return 0, ctx.Err()
	}))
	<-heeds
	queued := must[int](t)(actor.Submit(context.Background(), p, futuresNever))
	inLine := make(chan error)
	go func() { _, err := actor.Submit(context.Background(), p, futuresNever); inLine <- err }()
	waiting(p, 1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close that may not wait: %v", err)
	}
	if err := <-inLine; !errors.Is(err, actor.ErrPoolClosed) {
		t.Errorf("in line at Close: %v", err)
	}
	if _, err := queued.Wait(bounded(t)); !errors.Is(err, actor.ErrPoolClosed) {
		t.Errorf("queued at Close: %v", err)
	}
	if _, err := running.Wait(bounded(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("running at Close: %v", err)
	}
	if err := p.Close(bounded(t)); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := actor.Submit(context.Background(), p, futuresNever); !errors.Is(err, actor.ErrPoolClosed) {
		t.Errorf("Submit after Close: %v", err)
	}
}

// POOL-7: a Close that may wait has the queue run out.
func TestPoolCloseRunsTheQueueOut(t *testing.T) {
	p := newPool(t, actor.PoolOptions{Workers: 2, Queue: 50})
	release, futures := full(t, p, 2, 50)
	closed := make(chan error)
	go func() { closed <- p.Close(context.Background()) }()
	close(release)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	for _, f := range futures {
		if v, err := f.Wait(bounded(t)); v != 1 || err != nil {
			t.Fatalf("%v, %v", v, err)
		}
	}
}

// POOL-7: a job cannot close its own pool.
func TestPoolCloseFromItsOwnJob(t *testing.T) {
	p := newPool(t, actor.PoolOptions{})
	f := must[int](t)(actor.Submit(context.Background(), p, func(ctx context.Context) (int, error) { return 0, p.Close(ctx) }))
	if _, err := f.Wait(bounded(t)); err == nil {
		t.Error("a job closed its own pool")
	}
}

// POOL-1: never more jobs at once than workers, every accepted one ends, and an idle pool has no worker.
func TestPoolHammer(t *testing.T) {
	p := newPool(t, actor.PoolOptions{Workers: 3, Queue: 5})
	var at, most, ran atomic.Int32
	var submitters sync.WaitGroup
	for i := range 8 {
		submitters.Go(func() {
			for j := range 200 {
				ctx, cancel := context.WithCancel(context.Background())
				f, err := actor.Submit(ctx, p, func(context.Context) (int, error) {
					most.Store(max(most.Load(), at.Add(1)))
					defer at.Add(-1)
					ran.Add(1)
					switch (i + j) % 5 {
					case 0:
						panic(errBoom)
					case 1:
						runtime.Goexit()
					}
					return j, nil
				})
				if err == nil && j%7 == 0 {
					cancel()
				}
				if err == nil {
					_, _ = f.Wait(context.Background())
				}
				cancel()
			}
		})
	}
	submitters.Wait()
	if most.Load() > 3 {
		t.Errorf("%d jobs at once", most.Load())
	}
	if err := p.Close(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if s := p.Stats(); s.Done != uint64(ran.Load()) || s.Done+s.Canceled != 1600 {
		t.Errorf("%d ran, counted %+v", ran.Load(), s)
	}
}

func ExamplePool() {
	pool, _ := actor.NewPool(actor.PoolOptions{Workers: 4})
	ctx := context.Background()
	var futures []*actor.Future[int]
	for i := range 3 {
		f, err := actor.Submit(ctx, pool, func(context.Context) (int, error) { return i * 10, nil })
		if err != nil {
			fmt.Println(err)
			return
		}
		futures = append(futures, f)
	}
	var got []int
	for _, f := range futures {
		v, _ := f.Wait(ctx)
		got = append(got, v)
	}
	slices.Sort(got)
	fmt.Println(got, pool.Close(ctx))
	// Output: [0 10 20] <nil>
}
