package actor

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// Proto is the ref as it travels inside a message, never nil. The zero ref is the empty message.
func (r AnyRef) Proto() *greenroomv1.Ref {
	return &greenroomv1.Ref{Node: r.Node(), Id: r.id}
}

// RefFromProto is the ref that m names: AnyRef.Proto undone. nil and the empty message are the zero ref. The actor may have ended;
// that is for Send to find out. ErrNoActor: m names an actor of another node, a System that is not this one, or none that there
// could be; a node, if the System is no node itself (package remote).
// Cost: 0 allocs unless it fails.
func (sys *System) RefFromProto(m *greenroomv1.Ref) (AnyRef, error) {
	switch {
	case !sys.made():
		return AnyRef{}, errNoSystem
	case m.GetNode() == 0 && m.GetId() == 0:
		return AnyRef{}, nil
	case m.GetNode() != sys.node.id:
		r, err := sys.RefAt(m.GetNode(), m.GetId())
		if err != nil {
			err = fmt.Errorf("actor: a ref to node %016x, and this is %016x: %w", m.GetNode(), sys.node.id, err)
		}
		return r, err
	}
	r := AnyRef{sys.node, m.GetId()}
	if r.id>>32 == 0 || sys.table.at(uint32(r.id)) == nil {
		return AnyRef{}, fmt.Errorf("actor: a ref to %v, which never was: %w", r, ErrNoActor)
	}
	return r, nil
}

// TypedRefFromProto is RefFromProto for a ref of an actor that is alive and takes messages of type M. Its errors are also
// ErrStopped, for an actor that has ended, and ErrWrongType, for one that takes something else.
func TypedRefFromProto[M proto.Message](sys *System, m *greenroomv1.Ref) (Ref[M], error) {
	r, err := sys.RefFromProto(m)
	if err != nil || r.IsZero() {
		return Ref[M]{}, err
	}
	typed, ok := TypedRef[M](r)
	switch {
	case ok:
		return typed, nil
	case !r.Alive():
		return Ref[M]{}, fmt.Errorf("actor: a ref to %v: %w", r, ErrStopped)
	}
	return Ref[M]{}, fmt.Errorf("actor: a ref to %v: %w: it takes no %T", r, ErrWrongType, *new(M))
}
