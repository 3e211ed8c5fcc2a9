package remote

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// ErrTooLarge means that a message is larger than the peer, or this node, takes: see Options.MaxMessageBytes. It was not sent.
var ErrTooLarge = errors.New("remote: the message is too large")

// ErrUnknownType means that the peer, or this program, does not know a type of message, or knows another one by its name: link the same
// schemas into both. The message was not sent, or is a dead letter there.
var ErrUnknownType = errors.New("remote: this type of message is not known on both sides")

// ErrRefused means that the peer's policy does not let this node do that: its certificate lacks the role.
var ErrRefused = errors.New("remote: refused by the peer's policy")

// ErrNoPeer means that no node of that name is known, or that none fits.
var ErrNoPeer = errors.New("remote: no such peer")

// ErrStopped answers uses of a Node that has stopped.
var ErrStopped = errors.New("remote: the node has stopped")

// Error is an error that came from another node: what is known of it there. It is, as errors.Is has it, what the original is of the
// errors of packages actor, registry, context and this one.
type Error struct {
	Node  string // the name of the node that it came from
	Type  string // the Go type of the original
	Text  string // its text
	Stack string // of a panic: where it came from

	is []error
}

// Error is the original's text.
func (e *Error) Error() string {
	if e == nil {
		return "remote: a nil *Error"
	}
	return e.Text
}

// Is reports whether the original is target.
func (e *Error) Is(target error) bool { return e != nil && slices.Contains(e.is, target) }

// known are the errors that keep their identity between nodes. Their places are part of the protocol: new ones come last.
var known = []error{
	actor.ErrStopped, actor.ErrFull, actor.ErrNoActor, actor.ErrNilMessage, actor.ErrWrongType, actor.ErrNoReply, actor.ErrKilled,
	actor.ErrGoexit, context.Canceled, context.DeadlineExceeded, actor.ErrNodeDown, actor.ErrCallerGone, actor.ErrNotSuspended,
	actor.ErrNoBehaviour, ErrTooLarge, ErrUnknownType, ErrRefused, ErrNoPeer, ErrStopped, ErrUnregistered, actor.ErrNoName, actor.ErrNameTaken, actor.ErrBadName,
	os.ErrNotExist, os.ErrExist, os.ErrPermission, ErrLimit,
	actor.ErrSwapPending, actor.ErrChannelClosed, actor.ErrNotSubscribed, ErrNoChannel,
}

// failureOf describes err to another node. err may be a user's, whose methods may panic.
func failureOf(err error) (f *greenroomv1.Failure) {
	f = &greenroomv1.Failure{Cause: true, Type: fmt.Sprintf("%T", err)}
	defer func() {
		if v := recover(); v != nil {
			f = &greenroomv1.Failure{Cause: true, Type: fmt.Sprintf("%T", err), Text: "an error that cannot be printed"}
		}
	}()
	switch e := err.(type) { //nolint:errorlint // one that is wrapped is told as what wraps it, and keeps its identity by is
	case *actor.ExitError:
		f = reasonFailure(e.Reason)
		f.Who, f.Unhandled = e.Ref.Proto(), e.Unhandled
		if f.GetReason() == 0 {
			f.Reason = uint32(actor.ReasonNormal) + 1
		}
		return f
	case *actor.DeadlockError:
		for _, r := range e.Path {
			f.Path = append(f.Path, r.Proto())
		}
	case *actor.PanicError:
		f.Stack = e.Stack()
	case *Error:
		f.Type, f.Stack = e.Type, e.Stack
	}
	f.Text = clip(err.Error(), maxErrorText)
	f.Stack = clip(f.GetStack(), maxErrorText)
	for i, target := range known {
		if errors.Is(err, target) {
			f.Is = append(f.Is, uint32(i)+1)
		}
	}
	return f
}

// maxErrorText bounds what is told of an error, in bytes.
const maxErrorText = 16 << 10

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + " ..."
	}
	return s
}

// reasonFailure describes how an actor ended.
func reasonFailure(why actor.Reason) *greenroomv1.Failure {
	f := &greenroomv1.Failure{}
	if why.Err != nil {
		f = failureOf(why.Err)
		if f.GetWho() != nil { // the end of another actor, which this one passes on: told as an error
			f = &greenroomv1.Failure{Cause: true, Type: fmt.Sprintf("%T", why.Err), Text: clip(why.Err.Error(), maxErrorText), Is: f.GetIs()}
		}
	}
	f.Reason = uint32(why.Kind) + 1
	return f
}

// errorFrom is the error that f describes.
func (n *Node) errorFrom(f *greenroomv1.Failure, from string) error {
	switch {
	case f.GetReason() > 0:
		return &actor.ExitError{Ref: n.refFrom(f.GetWho()), Reason: n.reasonFrom(f, from), Unhandled: f.GetUnhandled()}
	case len(f.GetPath()) > 0:
		e := &actor.DeadlockError{}
		for _, r := range f.GetPath() {
			e.Path = append(e.Path, n.refFrom(r))
		}
		return e
	}
	return causeFrom(f, from)
}

func causeFrom(f *greenroomv1.Failure, from string) *Error {
	e := &Error{Node: from, Type: f.GetType(), Text: f.GetText(), Stack: f.GetStack()}
	for _, i := range f.GetIs() {
		if i > 0 && int(i) <= len(known) {
			e.is = append(e.is, known[i-1])
		}
	}
	return e
}

// reasonFrom is how an actor ended, as f describes it.
func (n *Node) reasonFrom(f *greenroomv1.Failure, from string) actor.Reason {
	why := actor.Reason{Kind: actor.ReasonError}
	if kind := f.GetReason(); kind > 0 && kind <= uint32(actor.ReasonNodeDown)+1 {
		why.Kind = actor.ReasonKind(kind - 1)
	}
	if f.GetCause() {
		why.Err = causeFrom(f, from)
	}
	return why
}

func (n *Node) refFrom(m *greenroomv1.Ref) actor.AnyRef {
	r, err := n.sys.RefFromProto(m)
	if err != nil {
		return actor.AnyRef{}
	}
	return r
}

// marshalFailure is what an envelope carries of err.
func marshalFailure(f *greenroomv1.Failure) []byte {
	b, err := proto.Marshal(f)
	if err != nil { // a text that is not UTF-8
		b, _ = proto.Marshal(&greenroomv1.Failure{Cause: true, Reason: f.GetReason(), Type: "error", Text: "an error whose text is not UTF-8", Is: f.GetIs()})
	}
	if b == nil {
		b = []byte{}
	}
	return b
}

// guarded runs f, which may panic on what a user or a peer has made, and returns that as an error.
func guarded(what string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked(what, v)
		}
	}()
	return f()
}

// panicError is a panic of what a user or a peer has made.
type panicError struct{ text string }

func (e *panicError) Error() string { return e.text }

func panicked(what string, v any) error {
	return &panicError{fmt.Sprintf("remote: %s panicked: %v\n%s", what, v, debug.Stack())}
}

// ErrUnregistered means that no behaviour of that name is registered on the peer.
var ErrUnregistered = errors.New("remote: no behaviour of that name is registered")
