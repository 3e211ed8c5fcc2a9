package actor

import (
	"reflect"

	"google.golang.org/protobuf/proto"
)

// Takes names the type of message that the actor takes, as MessageName has it: what another node can be told of it. ok is false for
// an actor that has ended or lives on another node, and for the zero ref. Cost: one uncontended lock, and a little reflection.
func (r AnyRef) Takes() (name string, ok bool) {
	if r.node == nil || r.Remote() {
		return "", false
	}
	a, mu := r.locked()
	if a == nil {
		return "", false
	}
	t := a.beh.takesType()
	mu.Unlock()
	return messageName(t), true
}

// MessageName is the full name of the message M; of an interface, which actors of services take, its Go name with the path of its package.
// It is empty for a type that has no name of its own, as that of dynamic messages.
func MessageName[M proto.Message]() string { return messageName(typeOf[M]()) }

func messageName(t reflect.Type) (name string) {
	defer func() {
		if recover() != nil {
			name = "" // the descriptor is in the message, not in its type
		}
	}()
	switch {
	case t == nil:
		return ""
	case t.Kind() == reflect.Interface:
		return t.PkgPath() + "." + t.Name()
	}
	m, ok := reflect.TypeAssert[proto.Message](reflect.Zero(t))
	if !ok {
		return ""
	}
	return string(m.ProtoReflect().Descriptor().FullName())
}
