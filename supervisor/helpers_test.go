package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/supervisor"
)

type num = wrapperspb.Int64Value

// The ways in which a child comes to an end, as messages to it.
const (
	endNormal = -1 - iota
	endShutdown
	endError
	endPanic
	endGoexit
	endKilled
)

var ends = map[int64]string{endNormal: "normal", endShutdown: "shutdown", endError: "error", endPanic: "panic", endGoexit: "goexit", endKilled: "killed"}

// abnormal reports whether a transient child is restarted after that end.
func abnormal(end int64) bool { return end != endNormal && end != endShutdown }

// worker answers with how many messages this incarnation has handled, and comes to an end as it is told.
func worker(ctx *actor.Context, handled *int64, m *num) error {
	switch m.Value {
	case endNormal:
		ctx.Stop()
		return nil
	case endShutdown:
		ctx.Self().Shutdown()
		return nil
	case endError:
		return errors.New("an error")
	case endPanic:
		panic("a panic")
	case endGoexit:
		runtime.Goexit()
	case endKilled:
		ctx.Self().Kill()
		return ctx.Sleep(time.Hour)
	}
	*handled++
	_ = ctx.Reply(&num{Value: *handled})
	return nil
}

// starts counts how often each child was started.
type starts struct {
	mu sync.Mutex
	n  map[string]int
}

func (s *starts) of(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n[id]
}

// child is a worker whose starts are counted.
func (s *starts) child(id string, class supervisor.Restart) supervisor.Child {
	return supervisor.Child{ID: id, Restart: class, Start: supervisor.Actor(actor.StatefulFrom(func(*actor.Context) (*int64, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.n == nil {
			s.n = map[string]int{}
		}
		s.n[id]++
		return new(int64), nil
	}, worker))}
}

func start(t *testing.T, sys *actor.System, spec supervisor.Spec) supervisor.Supervisor {
	t.Helper()
	sup, err := supervisor.Start(t.Context(), sys, spec)
	if err != nil {
		t.Fatal(err)
	}
	return sup
}

func lookup(t *testing.T, sup supervisor.Supervisor, id string) actor.Ref[*num] {
	t.Helper()
	ref, err := supervisor.Ref[*num](t.Context(), sup, id)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// settle waits until nothing runs any more.
func settle(t *testing.T, sys *actor.System) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := sys.Quiesce(ctx); err != nil {
		t.Fatal(err)
	}
}

// transcript is what a supervisor's Observe is told, a line an event.
type transcript struct {
	mu    sync.Mutex
	lines []string
	names map[actor.AnyRef]string // of a Dynamic supervisor's children
}

func (tr *transcript) note(format string, args ...any) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.lines = append(tr.lines, fmt.Sprintf(format, args...))
}

func (tr *transcript) observe(e supervisor.Event) {
	tr.mu.Lock()
	name := e.Child
	if n, ok := tr.names[e.Ref]; ok {
		name = n
	}
	tr.mu.Unlock()
	line := fmt.Sprintf("  %v %s", e.Kind, name)
	switch e.Kind {
	case supervisor.Ended, supervisor.Stopped, supervisor.GivenUp, supervisor.StartFailed:
		line += ": " + e.Reason.Kind.String()
	case supervisor.Escalated:
		line += ": " + e.Err.Error()
	}
	tr.note("%s", strings.TrimRight(line, " "))
}

func (tr *transcript) text() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return strings.Join(tr.lines, "\n") + "\n"
}
