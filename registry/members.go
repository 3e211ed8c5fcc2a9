package registry

import (
	"context"
	"errors"
	"iter"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
)

// chunkRefs is how many members a chunk has room for. A change of a group of n copies one chunk and n/chunkRefs pointers at most.
const chunkRefs = 256

// chunk holds up to chunkRefs members. Once a snapshot shares it, its group changes a copy.
type chunk struct {
	refs []actor.AnyRef
	age  uint64 // of the group when it was made, for the group
}

// Members are who was in a group at one moment. They do not change; ends and leaves after that moment are not in them.
//
// Shape: chunks that are shared with the group until it changes them. The zero value is nobody. Copying is free; any goroutine may
// read. The order is no promise, but the same joins and leaves give the same one.
type Members struct {
	chunks []*chunk
	n      int
}

// Len is how many there are.
func (m Members) Len() int { return m.n }

// At returns one of them, the zero ref unless 0 <= i < Len: with a random i, or one that goes round, it picks somebody.
func (m Members) At(i int) actor.AnyRef {
	if i < 0 || i >= m.n {
		return actor.AnyRef{}
	}
	return m.chunks[i/chunkRefs].refs[i%chunkRefs]
}

// All is all of them.
func (m Members) All() iter.Seq[actor.AnyRef] {
	return func(yield func(actor.AnyRef) bool) {
		for i := range m.n {
			if !yield(m.At(i)) {
				return
			}
		}
	}
}

// Send sends m to each of them and returns how many mailboxes took it. They share the message and must not change it. Whoever has
// ended meanwhile is passed over; the error joins all others, as actor.ErrFull. Who takes other messages than m's type gets a
// dead letter.
func (m Members) Send(ctx context.Context, msg proto.Message) (sent int, err error) {
	var errs []error
	for r := range m.All() {
		switch err := r.Send(ctx, msg); {
		case err == nil:
			sent++
		case !errors.Is(err, actor.ErrStopped):
			errs = append(errs, wrap("send to", r.String(), err))
		}
	}
	return sent, errors.Join(errs...)
}
