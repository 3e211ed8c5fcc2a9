package actor

import (
	"errors"
	"fmt"
	"strings"
)

// ReasonKind says in which way an actor ended.
type ReasonKind uint8

// The ways in which an actor ends.
const (
	ReasonNormal   ReasonKind = iota // its behaviour returned nil, or it stopped itself or was stopped by Stop
	ReasonShutdown                   // its parent, supervisor or System stopped it
	ReasonError                      // its behaviour returned an error, or an actor that it is linked to ended abnormally
	ReasonPanic                      // its behaviour panicked
	ReasonKilled                     // Kill
	ReasonNoActor                    // it had ended, or never lived, when it was asked about
	ReasonNodeDown                   // its node is down, as far as is known here; it may live on there
	reasonKinds
)

// String names the kind in lower case, as metrics do.
func (k ReasonKind) String() string {
	names := [reasonKinds]string{"normal", "shutdown", "error", "panic", "killed", "no_actor", "node_down"}
	if k < reasonKinds {
		return names[k]
	}
	return "unknown"
}

// Reason is why an actor ended. The zero value is a normal end.
type Reason struct {
	Kind ReasonKind // in which way
	Err  error      // nil for a normal end; a *PanicError for a panic
}

// Normal reports whether the end was an orderly one: normal or shutdown.
func (r Reason) Normal() bool { return r.Kind <= ReasonShutdown }

// String renders the reason for logs: the kind, then what the error says beyond it.
func (r Reason) String() string {
	kind := r.Kind.String()
	if r.Err == nil {
		return kind
	}
	text := strings.TrimPrefix(textOf(r.Err), "actor: ")
	if text == kind {
		return kind
	}
	return kind + ": " + strings.TrimPrefix(text, kind+": ")
}

// textOf is v's text, also where v is an error of a user's whose methods panic: nobody may come to harm who only reports it.
func textOf(v any) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("a %T that cannot be printed", v)
		}
	}()
	if err, ok := v.(error); ok {
		return err.Error()
	}
	return fmt.Sprint(v)
}

// ExitError is how a failed actor looks to those who depend on it: its callers, those who Wait for it, those linked to it.
type ExitError struct {
	Ref    AnyRef // who ended
	Reason Reason // why
	// Unhandled says, to a caller, that its message was still in the mailbox of Ref: whatever the reason, that message is not at fault,
	// nothing was done for it, and asking another actor, or the next incarnation, is safe. An error that a callee passes on may hold
	// an ExitError of somebody else: compare Ref.
	Unhandled bool
}

// Error names the actor and why it ended.
func (e *ExitError) Error() string {
	if e == nil {
		return "actor: a nil *ExitError"
	}
	return e.Ref.String() + " ended: " + e.Reason.String()
}

// Unwrap returns what the actor ended with.
func (e *ExitError) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.Reason.Err
}

// Is makes errors.Is(err, ErrStopped) true: an actor that ended has stopped.
func (e *ExitError) Is(target error) bool { return target == ErrStopped }

// ErrKilled is the reason of an actor that Kill ended, and what its deferred functions get when they try to wait.
var ErrKilled = errors.New("actor: killed")

// ErrGoexit is the reason of an actor whose behaviour called runtime.Goexit, as t.Fatal does.
var ErrGoexit = errors.New("actor: the behaviour called runtime.Goexit")
