package remote_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote"
)

// TestLocatePassesOverInPeace has a name change hands among actors of the wrong type all the time: who looks for it does not ask as often.
func TestLocatePassesOverInPeace(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair()
		ctx, cancel := context.WithTimeout(w.patient(), 10*time.Second)
		defer cancel()
		done := make(chan error)
		go func() {
			_, err := remote.Locate[*blob](ctx, a.Node, "x")
			done <- err
		}()
		who := []actor.Ref[*text]{victim(b), victim(b)}
		for i := 0; ctx.Err() == nil; i++ {
			holds(w, b.sys.Names().Bind("x", who[i%2].Any()))
			pass(time.Millisecond)
			holds(w, b.sys.Names().Unbind("x", who[i%2].Any()))
		}
		wants(w, "the search", <-done, context.DeadlineExceeded)
		if n := strings.Count(w.log.String(), "passed over in the search"); n < 3 || n > 30 {
			w.Errorf("b was asked %d times", n)
		}
	})
}
