package registry

import (
	"context"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
)

// Locate is a standing query: it returns the actor of that name or alias at once if there is one, and else waits under ctx for one
// to appear. An actor suspends, holding no slot; any other goroutine blocks. The actor that is returned was alive when the
// caller went on; one that has come and gone before that does not end the wait. A query that is given up leaves nothing behind.
// Errors: ctx's own (there is no other deadline); actor.ErrStopped (the System stops, or the calling actor does);
// actor.ErrBadName; and for an actor an interrupt, actor.ErrForeignGoroutine, actor.ErrEnded, actor.ErrInBlock.
func (reg *Registry) Locate(ctx context.Context, name string) (actor.AnyRef, error) {
	var found actor.AnyRef
	err := reg.locate(ctx, name, func(r actor.AnyRef) (bool, error) {
		found = r
		return r.Alive(), nil
	})
	if err != nil {
		return actor.AnyRef{}, err
	}
	return found, nil
}

// Locate is Registry.Locate for a ref to an actor that takes M. Errors: as there, and actor.ErrWrongType if the name belongs to an
// actor that takes other messages.
func Locate[M proto.Message](ctx context.Context, reg *Registry, name string) (actor.Ref[M], error) {
	var found actor.Ref[M]
	err := reg.locate(ctx, name, func(r actor.AnyRef) (ok bool, err error) {
		if found, ok = actor.TypedRef[M](r); !ok && r.Alive() {
			err = actor.ErrWrongType
		}
		return ok, err
	})
	if err != nil {
		return actor.Ref[M]{}, err
	}
	return found, nil
}

// locate waits until accept says that the name's actor is the one, or what is wrong with it.
func (reg *Registry) locate(ctx context.Context, name string, accept func(actor.AnyRef) (bool, error)) error {
	if err := reg.check(); err != nil {
		return err
	}
	if ctx == nil {
		return actor.ErrNilContext
	}
	if r, ok := reg.sys.Lookup(name); ok {
		if ok, err := accept(r); ok || err != nil {
			return wrap("locate", name, err)
		}
	}
	return wrap("locate", name, reg.await(ctx, name, accept))
}

func (reg *Registry) await(ctx context.Context, name string, accept func(actor.AnyRef) (bool, error)) error {
	q := new(query)
	stop, err := reg.names.Watch(name, q.changed, q.closed)
	if err != nil {
		return err
	}
	defer stop()
	for {
		if err := q.news.Wait(ctx); err != nil {
			return err
		}
		r, closed := q.take()
		if ok, err := accept(r); ok || err != nil {
			return err
		}
		if closed {
			return actor.ErrStopped
		}
	}
}

// query is one Locate that waits.
type query struct {
	news  actor.Event
	mu    sync.Mutex
	holds actor.AnyRef
	over  bool
}

func (q *query) changed(r actor.AnyRef) {
	q.mu.Lock()
	q.holds = r
	q.mu.Unlock()
	if !r.IsZero() {
		q.news.Set()
	}
}

func (q *query) closed() {
	q.mu.Lock()
	q.over = true
	q.mu.Unlock()
	q.news.Set()
}

// take returns who has the name; the next wait is for news from here on.
func (q *query) take() (holder actor.AnyRef, closed bool) {
	q.news.Clear()
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.holds, q.over
}
