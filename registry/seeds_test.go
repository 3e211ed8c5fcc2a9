package registry_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	"github.com/greenroom-go/greenroom/registry"
)

// contest is a scenario in which goroutines and actors take a name one after the other, wait for each other, watch it all, and end.
func contest(t *testing.T, sys *actor.System) {
	t.Helper()
	reg := registry.Of(sys)
	events, _ := watchNames(t, sys, reg, "king", "alias")
	changes, _ := watchGroups(t, sys, reg, "court")
	var all sync.WaitGroup
	reigned := make(chan actor.AnyRef, 10)
	claim := func(ctx *actor.Context) error { // until it is king, for an hour
		for reg.Register("king", ctx.Self()) != nil {
			r, err := reg.Locate(ctx, "king")
			if err != nil {
				return err
			}
			_, _ = r.Wait(ctx)
		}
		reigned <- ctx.Self()
		return ctx.Sleep(time.Hour)
	}
	for range 3 {
		r := do(sys, claim)
		if err := reg.Join("court", r); err != nil {
			t.Error(err)
		}
	}
	for i := range 3 {
		all.Go(func() {
			r, err := reg.Locate(t.Context(), "king")
			if err != nil {
				t.Errorf("a goroutine: %v", err)
			}
			_ = reg.Join("court", idler(sys, actor.Options{Name: fmt.Sprint("page ", i)}))
			_ = reg.Alias("alias", fmt.Sprint("page ", i))
			if i == 0 {
				r.Kill()
			}
			_, _ = r.Wait(t.Context())
			if h, ok := reg.Lookup("king"); ok && h == r {
				t.Errorf("%v has ended and is king", r)
			}
		})
	}
	all.Wait()
	for range 3 {
		r := <-reigned
		_, _ = r.Wait(t.Context())
	}
	quiesce(t, sys)
	wantHolder(t, reg, "king", actor.AnyRef{})
	if n := reg.Members("court").Len(); n != 3 {
		t.Errorf("%d at court", n)
	}
	var last actor.AnyRef
	kings := 0
	for _, e := range events.take() {
		if e.Name != "king" {
			continue
		}
		if !e.Ref.IsZero() {
			kings++
			if !last.IsZero() {
				t.Errorf("%v and %v were kings at once", last, e.Ref)
			}
		}
		last = e.Ref
	}
	if kings != 3 {
		t.Errorf("there were %d kings", kings)
	}
	if got := len(changes.take()); got != 10 {
		t.Errorf("%d events of the court", got)
	}
}

// NAME-1, NAME-5, NAME-7: under every seed.
func TestContest(t *testing.T) { actortest.Explore(t, 60, contest) }

// NAME-10: under a seed all this takes the same steps each time.
func TestContestAgain(t *testing.T) {
	for seed := range uint64(5) {
		actortest.Replay(t, seed+1, contest)
	}
}
