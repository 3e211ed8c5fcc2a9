package registry

import (
	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
)

// NameEvent tells who has a name.
type NameEvent struct {
	Name string       // as it was asked for
	Ref  actor.AnyRef // who has it, or whom the alias stands for, from now on; zero for nobody
}

// WatchName has the calling actor told who has a name or alias: first who has it now, even if that is nobody, and then each change,
// once and in order, until the subscription is cancelled or the actor ends. adapt makes each event a message of the actor's
// own type, in its turn. After actor.Feed.Cancel has returned no event arrives, not even one that is queued already. The
// name may be that of another System of the process.
// Errors: actor.ErrBadName, actor.ErrStopped (reg's System stops), actor.ErrForeignGoroutine, actor.ErrEnded, actor.ErrInBlock.
func WatchName[M proto.Message](ctx *actor.Context, reg *Registry, name string, adapt func(NameEvent) M) (*actor.Feed, error) {
	if err := reg.check(); err != nil {
		return nil, err
	}
	sub, err := actor.OpenFeed(ctx, adapt, func(post func(NameEvent)) (func(), error) {
		return reg.names.Watch(name, func(r actor.AnyRef) { post(NameEvent{name, r}) }, func() {})
	})
	return sub, wrap("watch", name, err)
}

// Change says what happened to a group.
type Change uint8

// What a GroupEvent tells.
const (
	Present Change = iota // the first event: these are the members
	Joined                // one more
	Left                  // one less: it left, or has ended
)

// String names the change.
func (c Change) String() string {
	switch c {
	case Present:
		return "present"
	case Joined:
		return "joined"
	case Left:
		return "left"
	}
	return "unknown"
}

// GroupEvent tells of a group's members.
type GroupEvent struct {
	Group   string       // which
	Change  Change       // what happened
	Ref     actor.AnyRef // who joined or left; zero with Present
	Members Members      // with Present: who is in the group
}

// WatchGroup has the calling actor told of a group: first who is in it, even if that is nobody, and then of each who joins or leaves,
// once and in order, until the subscription is cancelled or the actor ends. A member that ends has left before its Down is
// delivered. In all else it is WatchName. Cost: each change is one message to each who watches.
func WatchGroup[M proto.Message](ctx *actor.Context, reg *Registry, name string, adapt func(GroupEvent) M) (*actor.Feed, error) {
	if err := reg.check(); err != nil {
		return nil, err
	}
	sub, err := actor.OpenFeed(ctx, adapt, func(post func(GroupEvent)) (func(), error) {
		if err := actor.CheckName(name); err != nil {
			return nil, err
		}
		return reg.watch(name, post), nil
	})
	return sub, wrap("watch group", name, err)
}
