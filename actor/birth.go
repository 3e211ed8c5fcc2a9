package actor

import (
	"errors"

	"google.golang.org/protobuf/proto"
)

// SpawnWatched is Spawn of a top-level actor whose end down is told of, however early it comes: for package remote. down is called
// once, before all who watch the actor, where it ends: it must be quick and must not wait.
func SpawnWatched[M proto.Message](sys *System, b Behaviour[M], down func(Down), o ...Options) (Ref[M], error) {
	if !sys.made() {
		return Ref[M]{}, errNoSystem
	}
	if down == nil {
		return Ref[M]{}, errors.New("actor: SpawnWatched needs a function that is told of the end")
	}
	r, err := spawn(sys, b.b, o, &monitor{id: sys.nextID.Add(1), call: down})
	return Ref[M]{r}, err
}

// Expected is a monitor of an actor that is yet to be born, on another node: for package remote, which says who it is and when it ends.
type Expected struct{ m *monitor }

// Expect has the calling actor monitor an actor before it is born: adapt is that of Monitor. Born or Forget must follow.
// Errors: those of Monitor.
func Expect[W proto.Message](ctx *Context, adapt func(Down) W) (*Expected, error) {
	if err := ctx.own(); err != nil {
		return nil, err
	}
	if adapt == nil {
		return nil, errors.New("actor: a monitor needs a function that makes a message of a Down")
	}
	if err := fits[W](ctx); err != nil {
		return nil, err
	}
	m := &monitor{id: ctx.sys.nextID.Add(1), who: ctx.Self(), adapt: func(d Down) any { return adapt(d) }}
	ctx.note(m.id, AnyRef{})
	return &Expected{m}, nil
}

// Born says who the actor is. For the actor that expects it.
func (e *Expected) Born(ctx *Context, r AnyRef) MonitorRef {
	if ctx.here() != nil && ctx.Self() == e.m.who {
		ctx.note(e.m.id, r)
	}
	return MonitorRef{r, e.m.id}
}

// Down tells of the end of the actor, once, after Born. Any goroutine may call it.
func (e *Expected) Down(d Down) { e.m.tell(nil, d) }

// Forget ends the monitor of an actor that was not born. For the actor that expected it.
func (e *Expected) Forget(ctx *Context) { _ = ctx.Demonitor(MonitorRef{id: e.m.id}) }
