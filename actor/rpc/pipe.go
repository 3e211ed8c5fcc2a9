package rpc

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// Window is how many items the writer of a stream may be ahead of its reader.
const Window = 32

// pipe is one direction of a stream: the state of the actor that its items pass through. Items wait in the mailbox, not here,
// so that those that nobody reads become dead letters.
type pipe struct {
	reader actor.Responder // whom the next item goes to
	reads  bool            // there is one
	apart  bool            // it is on another node
	writer actor.Responder // who waits for room
	writes bool
	sent   uint64 // by the writer, as it says
	pulled uint64 // by the reader
	failed error  // what a reader on another node is still to be told
}

// finish ends a stream from the service's side; it never leaves the process. In the mailbox it comes behind the items.
type finish struct {
	*greenroomv1.StreamEnd
	last proto.Message // one more item, if not nil
	err  error         // what the reader gets instead
}

// failure is how a pipe fails its reader's pull with an error of the service's: as such, and not as one of the pull's own.
type failure struct{ err error }

func (f *failure) Error() string { return f.err.Error() }

// openPipe starts a pipe as a child of the actor. It ends with the caller's node, if that is another one.
func openPipe(ctx *actor.Context) (actor.Ref[proto.Message], error) {
	life := ctx.CallerLife()
	return actor.Spawn(ctx, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[proto.Message]) error {
		if life != nil {
			defer context.AfterFunc(life, ctx.Self().Stop)()
		}
		return runPipe(ctx, in)
	}), actor.Options{Daemon: true})
}

func runPipe(ctx *actor.Context, in *actor.Inbox[proto.Message]) error {
	var p pipe
	for {
		m, err := in.Select(ctx, p.takes)
		if err != nil {
			return err
		}
		if over := p.handle(ctx, m); over {
			return nil
		}
	}
}

// takes says which message is due: items and the end only when the reader waits for them.
func (p *pipe) takes(m proto.Message) bool {
	switch m.(type) {
	case *greenroomv1.StreamPull, *greenroomv1.StreamCredit, *greenroomv1.StreamCancel:
		return true
	}
	return p.reads
}

// handle deals with one message and reports whether the stream is over. Whoever gave up its wait has ended the stream.
func (p *pipe) handle(ctx *actor.Context, m proto.Message) (over bool) {
	var err error
	switch m := m.(type) {
	case *greenroomv1.StreamCancel:
		return true
	case *greenroomv1.StreamPull:
		if p.failed != nil {
			_ = ctx.Fail(p.failed)
			return true
		}
		p.apart = m.Apart
		p.reader, err = ctx.Responder()
		p.reads = err == nil
	case *greenroomv1.StreamCredit:
		p.sent = m.Sent
		if m.Now {
			_ = ctx.Reply(p.room()) // a writer who gave up may ask again
			return false
		}
		p.writer, err = ctx.Responder()
		p.writes = err == nil
	case *greenroomv1.StreamEnd:
		_ = p.reader.Reply(m) // nobody is left to be told of an error
		return true
	case *finish:
		return p.finish(m)
	default:
		p.reads = false
		p.pulled++
		err = p.reader.Reply(m)
	}
	if p.writes && p.sent-p.pulled <= Window/2 {
		p.writes = false
		_ = p.writer.Reply(p.room())
	}
	return err != nil
}

func (p *pipe) room() *greenroomv1.StreamRoom { return &greenroomv1.StreamRoom{Pulled: p.pulled} }

// finish ends the stream and reports whether it is over: a reader on another node has to come back for the error.
func (p *pipe) finish(f *finish) (over bool) {
	switch {
	case f.err == nil:
		_ = p.reader.Reply(f.last)
	case p.apart:
		p.failed, p.reads = f.err, false
		return p.reader.Reply(&greenroomv1.StreamEnd{Failed: true}) != nil
	default:
		_ = p.reader.Fail(&failure{f.err})
	}
	return true
}
