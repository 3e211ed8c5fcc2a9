package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
)

// Supervisor is a running supervisor: start it with Start, find one in a tree with Supervisor.Tree. It is a small value, comparable, and
// any goroutine may use it. The zero value answers actor.ErrNoActor.
type Supervisor struct {
	ref actor.Ref[proto.Message]
}

// Start starts a supervisor and its children, in order, and returns when all of them have started. From a *System it stands alone, from
// an actor's Context it is that actor's child: it ends with it. Where it shall itself be restarted, make it a child of another: Tree.
// Errors: what is wrong with the spec; *StartError if a child did not start, and those before it were stopped again; ctx's own, and then
// the tree is stopped.
func Start(ctx context.Context, from actor.Spawner, spec Spec) (Supervisor, error) {
	if err := spec.check(); err != nil {
		return Supervisor{}, err
	}
	ref, err := actor.Spawn(from, behaviour(spec), actor.Options{Name: spec.Name})
	if err != nil {
		return Supervisor{}, fmt.Errorf("supervisor: start: %w", err)
	}
	sup := Supervisor{ref}
	if _, err := ask(ctx, sup, func(*super) (struct{}, error) { return struct{}{}, nil }); err != nil {
		ref.Shutdown()
		if exit := (*actor.ExitError)(nil); errors.Is(err, actor.ErrStopped) && !errors.As(err, &exit) {
			_, err = ref.Wait(ctx) // it had ended before it was asked
		}
		if exit := (*actor.ExitError)(nil); errors.As(err, &exit) && exit.Ref == ref.AnyRef && exit.Reason.Err != nil {
			return Supervisor{}, exit.Reason.Err
		}
		if err == nil {
			err = actor.ErrStopped
		}
		return Supervisor{}, fmt.Errorf("supervisor: start: %w", err)
	}
	return sup, nil
}

// ask has the supervisor's actor do something in its turn.
func ask[T any](ctx context.Context, sup Supervisor, do func(*super) (T, error)) (T, error) {
	var zero T
	if err := sup.usable(); err != nil {
		return zero, err
	}
	a, err := actor.Call[*answer](ctx, sup.ref, proto.Message(&request{do: func(s *super) (any, error) { return do(s) }}))
	if err != nil {
		return zero, err
	}
	return a.value.(T), nil
}

// usable refuses the zero Supervisor, and what would wait for itself.
func (sup Supervisor) usable() error {
	switch {
	case sup.ref.IsZero():
		return actor.ErrNoActor
	case sup.ref.Current():
		return ErrInTurn
	}
	return nil
}

// Ref is the supervisor's actor: to monitor, link or stop it.
func (sup Supervisor) Ref() actor.AnyRef { return sup.ref.AnyRef }

// Stop stops the tree: its children last first, each within its Shutdown, and waits for that under ctx. nil means that all ended.
func (sup Supervisor) Stop(ctx context.Context) error {
	if err := sup.usable(); err != nil {
		return err
	}
	sup.ref.Shutdown()
	_, err := sup.ref.Wait(ctx)
	return err
}

// Add starts one more child, after those that are there. When ctx ends during the start Add returns, but the child is started all the same,
// and stays. Errors: ErrExists, ErrDynamic, what is wrong with the child, *StartError, ctx's own.
func (sup Supervisor) Add(ctx context.Context, c Child) (actor.AnyRef, error) {
	return ask(ctx, sup, func(s *super) (actor.AnyRef, error) {
		if s.spec.Strategy == Dynamic {
			return actor.AnyRef{}, ErrDynamic
		}
		if s.find(c.ID) != nil {
			return actor.AnyRef{}, fmt.Errorf("%w: %q", ErrExists, c.ID)
		}
		one := s.spec
		one.Children = []Child{c}
		if err := one.check(); err != nil {
			return actor.AnyRef{}, err
		}
		if err := s.add(c); err != nil {
			return actor.AnyRef{}, err
		}
		return s.kids[len(s.kids)-1].ref, nil
	})
}

// Spawn starts one more child of a Dynamic supervisor: start, or the template's if that is nil. When ctx ends during the start Spawn
// returns, but the child is started all the same, and stays. Errors: ErrDynamic, ErrNoStart, ErrNotInPlace, *StartError, ctx's own.
// Cost: one call, and nothing in memory beside the actor.
func (sup Supervisor) Spawn(ctx context.Context, start Starter) (actor.AnyRef, error) {
	return ask(ctx, sup, func(s *super) (actor.AnyRef, error) {
		if s.spec.Strategy != Dynamic {
			return actor.AnyRef{}, ErrDynamic
		}
		return s.addDynamic(start)
	})
}

// Terminate stops a child, within its Shutdown. Its place is kept for Restart or Delete, unless it is temporary.
func (sup Supervisor) Terminate(ctx context.Context, id string) error {
	return sup.with(ctx, id, func(s *super, k *kid) error {
		return s.terminate(k)
	})
}

func (s *super) terminate(k *kid) error {
	if err := s.halt(k, k.shutdown()); err != nil {
		k.doomed, s.refs[k.ref] = true, k
		return err
	}
	s.drop(k)
	return nil
}

// TerminateRef stops a child of a Dynamic supervisor, and forgets it.
func (sup Supervisor) TerminateRef(ctx context.Context, ref actor.AnyRef) error {
	_, err := ask(ctx, sup, func(s *super) (struct{}, error) {
		if s.spec.Strategy != Dynamic {
			return struct{}{}, ErrDynamic
		}
		k := s.refs[ref]
		if k == nil {
			if _, err := s.ctx.ChildHeld(ref); err != nil {
				return struct{}{}, fmt.Errorf("%w: %v", ErrNoChild, ref)
			}
			k = &kid{Child: s.template(nil), ref: ref}
		}
		return struct{}{}, s.terminate(k)
	})
	return err
}

// Restart starts a child again that has ended for good or was terminated: with a new ref. ErrRunning: it runs, or waits to be started.
func (sup Supervisor) Restart(ctx context.Context, id string) (actor.AnyRef, error) {
	var ref actor.AnyRef
	err := sup.with(ctx, id, func(s *super, k *kid) error {
		if !k.gone {
			return fmt.Errorf("%w: %q", ErrRunning, id)
		}
		k.row = 0
		if err := s.open(k); err != nil {
			return err
		}
		ref = k.ref
		return nil
	})
	return ref, err
}

// Delete gives up the place of a child that is gone. ErrRunning: it runs, or waits to be started.
func (sup Supervisor) Delete(ctx context.Context, id string) error {
	return sup.with(ctx, id, func(s *super, k *kid) error {
		if !k.gone {
			return fmt.Errorf("%w: %q", ErrRunning, id)
		}
		k.waiting = 0 // for the restart of a sibling
		s.forget(k)
		return nil
	})
}

// with does something to the child of that ID in the supervisor's turn.
func (sup Supervisor) with(ctx context.Context, id string, do func(*super, *kid) error) error {
	_, err := ask(ctx, sup, func(s *super) (struct{}, error) {
		if s.spec.Strategy == Dynamic {
			return struct{}{}, ErrDynamic
		}
		k := s.find(id)
		if k == nil {
			return struct{}{}, fmt.Errorf("%w: %q", ErrNoChild, id)
		}
		return struct{}{}, do(s, k)
	})
	return err
}

func (s *super) find(id string) *kid {
	for _, k := range s.kids {
		if k.ID == id {
			return k
		}
	}
	return nil
}

// Status says what a child does.
type Status uint8

// The statuses.
const (
	Running Status = iota // it does what it should
	Waiting               // to be started again, after its backoff
	Gone                  // it has ended, or was terminated, and is not started again by itself
)

// String names the status in lower case.
func (s Status) String() string { return nameOf(s, "running", "waiting", "gone") }

// Info tells of one child.
type Info struct {
	ID       string        // "" in a Dynamic supervisor
	Kind     Kind          // what it is
	Ref      actor.AnyRef  // zero when it is gone, or has none until it is started again, as a foreign one
	Status   Status        // what it does
	Restart  Restart       // its class
	Restarts int           // so far
	Uptime   time.Duration // since its last start, where it is known
	Last     actor.Reason  // of its last end, if it had any
}

// Children lists the children in the order of their start.
func (sup Supervisor) Children(ctx context.Context) ([]Info, error) {
	return ask(ctx, sup, func(s *super) ([]Info, error) { return s.infos(), nil })
}

func (s *super) infos() []Info {
	var infos []Info
	if s.spec.Strategy == Dynamic {
		refs := s.ctx.Children()
		slices.Reverse(refs) // they come youngest first
		for _, ref := range refs {
			k := s.refs[ref]
			if k == nil {
				k = &kid{Child: s.template(nil), ref: ref}
			}
			infos = append(infos, s.info(k))
		}
		return infos
	}
	for _, k := range s.kids {
		infos = append(infos, s.info(k))
	}
	return infos
}

func (s *super) info(k *kid) Info {
	i := Info{ID: k.ID, Kind: k.kind(), Ref: k.ref, Restart: k.Restart, Restarts: k.restarts, Last: k.reason}
	switch {
	case k.gone:
		i.Status = Gone
	case k.waiting != 0:
		i.Status = Waiting
	case k.since != 0:
		i.Uptime = s.now() - k.since
	}
	return i
}

// Counts are OTP's count_children.
type Counts struct {
	Specs       int // places
	Active      int // children that run
	Supervisors int // of the places, those of trees
	Workers     int // the others
}

// Count counts the children. Cost: O(1) for a Dynamic supervisor, linear else.
func (sup Supervisor) Count(ctx context.Context) (Counts, error) {
	return ask(ctx, sup, func(s *super) (Counts, error) {
		if s.spec.Strategy == Dynamic {
			c := Counts{Specs: 1, Active: s.live - len(s.waiting)}
			if s.template(nil).kind() == KindTree {
				c.Supervisors = s.live
			} else {
				c.Workers = s.live
			}
			return c, nil
		}
		c := Counts{Specs: len(s.kids)}
		for _, k := range s.kids {
			if !k.ref.IsZero() && k.waiting == 0 {
				c.Active++
			}
			if k.kind() == KindTree {
				c.Supervisors++
			} else {
				c.Workers++
			}
		}
		return c, nil
	})
}

// Lookup returns the ref of the child of that ID. ErrNoChild: there is none, it is gone, or it is a foreign one that waits to be started
// and has no ref until then.
func (sup Supervisor) Lookup(ctx context.Context, id string) (actor.AnyRef, error) {
	var ref actor.AnyRef
	err := sup.with(ctx, id, func(_ *super, k *kid) error {
		if k.ref.IsZero() {
			return fmt.Errorf("%w: %q has ended and was not started again", ErrNoChild, id)
		}
		ref = k.ref
		return nil
	})
	return ref, err
}

// Ref is Lookup for a child that takes messages of type M; actor.ErrWrongType if it does not.
func Ref[M proto.Message](ctx context.Context, sup Supervisor, id string) (actor.Ref[M], error) {
	ref, err := sup.Lookup(ctx, id)
	if err != nil {
		return actor.Ref[M]{}, err
	}
	typed, ok := actor.TypedRef[M](ref)
	if !ok {
		return actor.Ref[M]{}, fmt.Errorf("supervisor: child %q: %w", id, actor.ErrWrongType)
	}
	return typed, nil
}

// Tree returns the child of that ID as a supervisor. ErrNoChild: it is none.
func (sup Supervisor) Tree(ctx context.Context, id string) (Supervisor, error) {
	var child Supervisor
	err := sup.with(ctx, id, func(_ *super, k *kid) error {
		if k.ref.IsZero() || k.kind() != KindTree {
			return fmt.Errorf("%w: %q is no tree", ErrNoChild, id)
		}
		child.ref = actor.Ref[proto.Message]{AnyRef: k.ref}
		return nil
	})
	return child, err
}
