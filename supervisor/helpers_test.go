package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	"github.com/greenroom-go/greenroom/supervisor"
)

type (
	text = wrapperspb.StringValue
	num  = wrapperspb.Int64Value
)

var errBroken = errors.New("broken")

// exits are the ways in which a worker ends, as workers are told, but for the last two, which come from outside.
var exits = []string{"normal", "shutdown", "error", "panic", "goexit", "killed", "stopped"}

// obey does what a worker is told.
func obey(ctx *actor.Context, what string) error {
	switch what {
	case "normal":
		ctx.Stop()
	case "shutdown":
		ctx.Self().Shutdown()
	case "error":
		return errBroken
	case "panic":
		panic("boom")
	case "goexit":
		runtime.Goexit()
	}
	return nil
}

// worker counts what it is told, answers calls with the count, and ends as it is told.
func worker() actor.Behaviour[*text] {
	return actor.Stateful(func(ctx *actor.Context, n *int64, m *text) error {
		*n++
		if ctx.IsCall() {
			if err := ctx.Reply(wrapperspb.Int64(*n)); err != nil {
				return err
			}
		}
		return obey(ctx, m.Value)
	})
}

// end has a child come to one of the exits.
func end(ctx context.Context, ref actor.AnyRef, how string) {
	switch how {
	case "killed":
		ref.Kill()
	case "stopped":
		ref.Stop()
	default:
		_ = ref.Send(ctx, wrapperspb.String(how))
	}
}

// told is how many messages a worker's present incarnation has got, this one included.
func told(t *testing.T, ref actor.AnyRef) int64 {
	t.Helper()
	n, err := actor.Call[*num](t.Context(), actor.Ref[*text]{AnyRef: ref}, wrapperspb.String("hello"))
	if err != nil {
		t.Errorf("call of %v: %v", ref, err)
	}
	return n.GetValue()
}

func start(t *testing.T, from actor.Spawner, spec supervisor.Spec) supervisor.Supervisor {
	t.Helper()
	sup, err := supervisor.Start(t.Context(), from, spec)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	return sup
}

func lookup(t *testing.T, sup supervisor.Supervisor, id string) actor.AnyRef {
	t.Helper()
	ref, err := sup.Lookup(t.Context(), id)
	if err != nil {
		t.Fatalf("look %q up: %v", id, err)
	}
	return ref
}

// settled waits until nothing runs.
func settled(t *testing.T, sys *actor.System) {
	t.Helper()
	if err := sys.Quiesce(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// bubble runs f with a System in virtual time.
func bubble(t *testing.T, f func(t *testing.T, sys *actor.System)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, actortest.New(t)) })
}

// pass lets virtual time pass.
func pass(d time.Duration) { <-time.After(d) }

// trace keeps what Observe is told.
type trace struct {
	mu     sync.Mutex
	events []supervisor.Event
}

func (tr *trace) observe(e supervisor.Event) {
	tr.mu.Lock()
	tr.events = append(tr.events, e)
	tr.mu.Unlock()
}

// take returns, and forgets, what was observed as "kind child".
func (tr *trace) take() []string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var all []string
	for _, e := range tr.events {
		all = append(all, fmt.Sprintf("%v %s", e.Kind, e.Child))
	}
	tr.events = nil
	return all
}

func (tr *trace) count(kind supervisor.EventKind) (n int) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, e := range tr.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// few is n, or less where time is short.
func few(n int) int {
	if testing.Short() || raceEnabled {
		return max(1, n/20)
	}
	return n
}

func child(id string, class supervisor.Restart) supervisor.Child {
	return supervisor.Child{ID: id, Start: supervisor.Actor(worker()), Restart: class}
}

func ended(t *testing.T, ref actor.AnyRef) actor.Reason {
	t.Helper()
	return actortest.ExpectDown(t, ref, time.Hour).Reason
}

func statuses(t *testing.T, sup supervisor.Supervisor) map[string]supervisor.Status {
	t.Helper()
	infos, err := sup.Children(t.Context())
	if err != nil {
		t.Fatalf("children: %v", err)
	}
	all := map[string]supervisor.Status{}
	for _, i := range infos {
		all[i.ID] = i.Status
	}
	return all
}
