package actor_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
)

type text = wrapperspb.StringValue

// patience bounds every wait for an event that must come.
const patience = 10 * time.Second

// eachProcs runs f at GOMAXPROCS 2 and 4, each time with a System of its own whose ledger must add up when it has stopped.
func eachProcs(t *testing.T, f func(t *testing.T, sys *actor.System), o ...actor.SystemOptions) {
	t.Helper()
	for _, procs := range []int{2, 4} {
		t.Run(fmt.Sprintf("procs=%d", procs), func(t *testing.T) {
			was := runtime.GOMAXPROCS(procs)
			t.Cleanup(func() { runtime.GOMAXPROCS(was) })
			f(t, newSystem(t, o...))
		})
	}
}

// inBubble runs f with a System under virtual time.
func inBubble(t *testing.T, f func(t *testing.T, sys *actor.System)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newSystem(t)) })
}

// await returns what ch brings.
func await[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("an event did not come")
		panic("unreachable")
	}
}

// patient is a context for a wait that must end by itself.
func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// settle waits until nothing runs and checks that the ledger adds up.
func settle(t *testing.T, sys *actor.System) actor.Ledger {
	t.Helper()
	var l actor.Ledger
	for range 100 { // what moves now and then, a routee that is replaced, may begin again between the two
		if err := sys.Quiesce(patient(t)); err != nil {
			t.Fatalf("quiesce: %v", err)
		}
		if l = sys.Ledger(); l.Exact {
			break
		}
	}
	if !l.Exact || !l.Balanced() {
		t.Fatalf("ledger: %v", l)
	}
	return l
}

// outcome waits for ref's end and returns its value and reason.
func outcome(t *testing.T, ref actor.AnyRef) (any, actor.Reason) {
	t.Helper()
	v, err := ref.Wait(patient(t))
	var exit *actor.ExitError
	switch {
	case err == nil:
		return v, actor.Reason{}
	case !errors.As(err, &exit):
		t.Fatalf("wait for %v: %v", ref, err)
	}
	return v, exit.Reason
}

func wantKind(t *testing.T, ref actor.AnyRef, want actor.ReasonKind) actor.Reason {
	t.Helper()
	_, why := outcome(t, ref)
	if why.Kind != want {
		t.Fatalf("%v ended with %v, want %v", ref, why, want)
	}
	return why
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: %v, want %v", what, err, want)
	}
}

func tell(t *testing.T, ref actor.Ref[*num], values ...int64) {
	t.Helper()
	for _, v := range values {
		if err := ref.Send(context.Background(), &num{Value: v}); err != nil {
			t.Fatalf("send %d to %v: %v", v, ref, err)
		}
	}
}

// collector is an actor's account of what it saw, read from outside.
type collector[T any] struct {
	mu   sync.Mutex
	list []T
}

func (c *collector[T]) add(v T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, v)
}

func (c *collector[T]) all() []T {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]T(nil), c.list...)
}

// deaths collects the System's dead letters.
func deaths(t *testing.T, sys *actor.System) *collector[actor.DeadLetter] {
	c := new(collector[actor.DeadLetter])
	t.Cleanup(sys.SubscribeDeadLetters(c.add))
	return c
}

// sleeper is a handler that does what its message's number says, or sleeps for an hour.
func idler() actor.Behaviour[*num] {
	return actor.Handler(func(*actor.Context, *num) error { return nil })
}

// hold is a routine that never returns by itself.
func hold() actor.Behaviour[*num] {
	return actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
		for range in.All() {
		}
		return nil
	})
}

func asNum(actor.Down) *num { return &num{Value: -1} }

func containsAll(s string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}
