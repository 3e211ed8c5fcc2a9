package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/greenroom-go/greenroom/actor"
)

// EventKind says what an Event tells.
type EventKind uint8

// The kinds of events.
const (
	Started     EventKind = iota // a child has started, or its next incarnation
	StartFailed                  // its next incarnation has not
	Ended                        // it has ended by itself
	Resumed                      // a failed message was passed over
	Restarting                   // it will be started again, after Delay
	Stopped                      // the supervisor has stopped it
	GivenUp                      // it is not started again
	Escalated                    // the supervisor gives up
	ShutDown                     // the supervisor stops because of its significant children
)

// String names the kind in lower case.
func (k EventKind) String() string {
	return nameOf(k, "started", "start_failed", "ended", "resumed", "restarting", "stopped", "given_up", "escalated", "shut_down")
}

// Event is what Spec.Observe is told.
type Event struct {
	Kind       EventKind     // what has happened
	Supervisor actor.AnyRef  // to whose child
	Child      string        // its ID
	Ref        actor.AnyRef  // its ref, if it has one
	Reason     actor.Reason  // of its end
	Delay      time.Duration // of Restarting
	Err        error         // of Escalated
}

// tell shows an event to who observes, and logs what went wrong.
func (s *super) tell(e Event) {
	switch e.Kind {
	case Restarting:
		s.say(slog.LevelWarn, "child restarts", e)
	case StartFailed:
		s.say(slog.LevelWarn, "child does not start", e)
	case Escalated:
		s.say(slog.LevelError, "supervisor gives up", e)
	default: // only whoever observes is told
	}
	if s.spec.Observe == nil {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			s.ctx.Log().Error("panic in Observe", "panic", fmt.Sprint(v))
		}
	}()
	e.Supervisor = s.ctx.Self()
	s.spec.Observe(e)
}

// say logs an event, where somebody listens.
func (s *super) say(level slog.Level, what string, e Event) {
	if s.log == nil {
		s.log = s.ctx.Log()
	}
	if s.log.Enabled(context.Background(), level) {
		//nolint:sloglint // a constant of tell
		s.log.Log(context.Background(), level, what, "child", e.Child, "ref", e.Ref.String(), "reason", e.Reason.String(), "delay", e.Delay, "err", e.Err)
	}
}

// RestartLimitError is why a supervisor ended whose children failed more often than its intensity allows.
type RestartLimitError struct {
	Child    string        // the ID of the one that failed last
	Restarts int           // how many there would have been
	Window   time.Duration // in which time
	Last     actor.Reason  // why it failed
}

// Error names the child, the number and the last reason.
func (e *RestartLimitError) Error() string {
	return fmt.Sprintf("supervisor: child %q: restart %d within %v is one too many: %v", e.Child, e.Restarts, e.Window, e.Last)
}

// Unwrap returns the last failure's error.
func (e *RestartLimitError) Unwrap() error { return e.Last.Err }

// EscalatedError is why a supervisor ended whose child's Decide answered Escalate.
type EscalatedError struct {
	Child  string       // its ID
	Reason actor.Reason // why it failed
}

// Error names the child and why it failed.
func (e *EscalatedError) Error() string {
	return fmt.Sprintf("supervisor: the failure of child %q was escalated: %v", e.Child, e.Reason)
}

// Unwrap returns the failure's error.
func (e *EscalatedError) Unwrap() error { return e.Reason.Err }

// StartError is why a supervisor, or one child, could not be started. What had been started before it was stopped again.
type StartError struct {
	Child string // the ID of the child that did not start
	Err   error  // why
}

// Error names the child and the cause.
func (e *StartError) Error() string {
	return fmt.Sprintf("supervisor: start child %q: %v", e.Child, e.Err)
}

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

// StuckError is why a supervisor ended whose child did not end although it was killed: its code neither waits nor returns.
type StuckError struct {
	Child string       // its ID
	Ref   actor.AnyRef // the child
}

// Error names the child.
func (e *StuckError) Error() string {
	return fmt.Sprintf("supervisor: child %q (%v) was killed and has not ended: its code neither waits nor returns", e.Child, e.Ref)
}

var (
	// ErrStartTimeout means that a child was killed, or the wait of a StartFunc interrupted, because its start took longer than its
	// StartTimeout.
	ErrStartTimeout = errors.New("supervisor: the start took too long")
	// ErrNoChild means that the supervisor has no child of that ID.
	ErrNoChild = errors.New("supervisor: no such child")
	// ErrRunning answers Restart and Delete of a child that runs, or is about to.
	ErrRunning = errors.New("supervisor: the child is running")
	// ErrExists answers Add with the ID of a child that there is already.
	ErrExists = errors.New("supervisor: there is a child of that ID already")
	// ErrNoStart answers Spawn without a Starter where the template has none.
	ErrNoStart = errors.New("supervisor: neither the template nor the call says how to start the child")
	// ErrDynamic answers what a Dynamic supervisor's children, which have no IDs, cannot be asked, and Spawn where it is none.
	ErrDynamic = errors.New("supervisor: children of a dynamic supervisor are started by Spawn and named by their refs, others by Add and by their IDs")
	// ErrNotInPlace answers Spawn with a Starter other than Actor, Func and Tree.
	ErrNotInPlace = errors.New("supervisor: a dynamic supervisor takes what Actor, Func and Tree return")
	// ErrInTurn answers what is asked of a supervisor by its own code: Observe, Decide, a StartFunc. It would wait for itself.
	ErrInTurn = errors.New("supervisor: called from the supervisor's own turn, in Observe, Decide or a StartFunc: it would wait for itself")
	// ErrRollingOut answers RollOut while another one of the same supervisor is under way.
	ErrRollingOut = errors.New("supervisor: another roll-out of this supervisor is under way")
)
