package registry

import (
	"errors"
	"fmt"

	"github.com/puzpuzpuz/xsync/v3"
	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
)

// ErrNoRegistry answers everything asked of a Registry that Of has not made.
var ErrNoRegistry = errors.New("registry: this Registry belongs to no System: use registry.Of")

// Registry names the actors of one System and puts them into groups.
//
// Shape: the System's table of names, and a concurrent map of groups. Of makes it; the zero value, and nil, find nothing and answer
// everything else with ErrNoRegistry. Any goroutine may use it, actors and others.
// Cost: a lookup is one load from a concurrent map, without a lock, however many names there are (bench locate). Changes of
// different names and groups seldom meet on a lock; Alias and Unalias lock all names for a moment.
type Registry struct {
	sys    *actor.System
	names  *actor.Names
	groups *xsync.MapOf[string, *group]
}

type partKey struct{}

// Of returns the System's registry: always the same one. Nil, of which nothing can be asked, for a System that is nil or zero.
func Of(sys *actor.System) *Registry {
	if sys == nil || sys.Names() == nil {
		return nil
	}
	return sys.Part(partKey{}, func() any {
		return &Registry{sys: sys, names: sys.Names(), groups: xsync.NewMapOf[string, *group]()}
	}).(*Registry)
}

func (reg *Registry) check() error {
	if reg == nil || reg.sys == nil {
		return ErrNoRegistry
	}
	return nil
}

// Addressed is who can be named and can join: an actor.Ref, an actor.AnyRef, or whatever embeds one.
type Addressed interface {
	// Any is the address.
	Any() actor.AnyRef
}

func address(who Addressed) actor.AnyRef {
	if who == nil {
		return actor.AnyRef{}
	}
	return who.Any()
}

// Register gives a living actor a name, one more if it has some; that it has this one already is no error. It keeps it, restarts
// included, until Unregister or its final end.
// Errors: actor.ErrBadName (empty, not UTF-8, or more than actor.MaxNameBytes), actor.ErrNameTaken (by another actor, or as an
// alias), actor.ErrNoActor (a zero ref), actor.ErrStopped (it has ended), actor.ErrOtherSystem.
func (reg *Registry) Register(name string, who Addressed) error {
	if err := reg.check(); err != nil {
		return err
	}
	return wrap("register", name, reg.names.Bind(name, address(who)))
}

// Unregister takes a name from that actor. One that another actor has by now is left alone, so that it is safe in deferred code.
// Errors: actor.ErrNoName (that actor does not have the name), actor.ErrBadName, actor.ErrNoActor, actor.ErrOtherSystem.
func (reg *Registry) Unregister(name string, who Addressed) error {
	if err := reg.check(); err != nil {
		return err
	}
	return wrap("unregister", name, reg.names.Unbind(name, address(who)))
}

// Alias has alias stand for a name: who looks up, locates or watches the alias finds whoever has the name, now or later. Nobody
// need have it yet. An alias that is one already stands for another name from now on.
// Errors: actor.ErrNameTaken (an actor has that name), actor.ErrAlias (name is an alias itself, or alias is a name that aliases
// stand for: there are no chains and no cycles), actor.ErrBadName.
func (reg *Registry) Alias(alias, name string) error {
	if err := reg.check(); err != nil {
		return err
	}
	return wrap("alias", alias, reg.names.Alias(alias, name))
}

// Unalias ends an alias; the name that it stood for stays. Errors: actor.ErrNoName (it is no alias), actor.ErrBadName.
func (reg *Registry) Unalias(alias string) error {
	if err := reg.check(); err != nil {
		return err
	}
	return wrap("unalias", alias, reg.names.Unalias(alias))
}

// Lookup returns the actor that has the name or that the alias stands for. It was alive at that moment.
// Cost: one load from a concurrent map (bench locate).
func (reg *Registry) Lookup(name string) (actor.AnyRef, bool) {
	if reg.check() != nil {
		return actor.AnyRef{}, false
	}
	return reg.sys.Lookup(name)
}

// Lookup is Registry.Lookup for a ref to an actor that takes M. Errors: actor.ErrNoName (nobody has the name; the error is bare),
// actor.ErrWrongType (the actor takes other messages).
// Cost: that of Registry.Lookup.
func Lookup[M proto.Message](reg *Registry, name string) (actor.Ref[M], error) {
	if err := reg.check(); err != nil {
		return actor.Ref[M]{}, err
	}
	return actor.LookupRef[M](reg.sys, name)
}

// wrap says what was being done to what.
func wrap(what, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("registry: %s %.80q: %w", what, name, err)
}
