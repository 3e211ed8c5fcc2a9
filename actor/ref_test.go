package actor_test

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
)

// REF-3: Self is the actor's own ref with the type that it was spawned with, and no other.
func TestSelf(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		kept := make(chan *actor.Context, 1)
		a := actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*num]) error {
			self, err := actor.Self[*num](ctx)
			if err != nil || self.AnyRef != ctx.Self() {
				return errors.Join(errors.New("not itself"), err)
			}
			_, wrong := actor.Self[*text](ctx)
			_, wider := actor.Self[proto.Message](ctx)
			if !errors.Is(wrong, actor.ErrWrongType) || !errors.Is(wider, actor.ErrWrongType) {
				return errors.Join(errors.New("of another type"), wrong, wider)
			}
			kept <- ctx
			return actor.RunScope(ctx, func(s *actor.Scope) error {
				s.Go(func(ctx *actor.Context) error {
					if _, err := actor.Self[*num](ctx); !errors.Is(err, actor.ErrWrongType) {
						return errors.New("a scope's child takes messages")
					}
					return nil
				})
				return nil
			})
		}))
		wantKind(t, a.AnyRef, actor.ReasonNormal)
		_, err := actor.Self[*num](<-kept)
		wantErr(t, "after the end", err, actor.ErrEnded)
		if _, err := actor.Self[*num](nil); err == nil {
			t.Fatal("the self of nobody")
		}
	})
}
