package remote_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
)

// TestSendToWhoHasEnded: the first message to an actor that has ended is a dead letter on its node; then the sender is told.
func TestSendToWhoHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 5, "alpha", "beta")
		ended := actor.MustSpawn(c.sys["alpha"], actor.Handler(func(*actor.Context, *word) error { return nil }))
		ended.Stop()
		if _, err := ended.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		there := from(t, c.sys["beta"], ended)
		if err := there.Send(t.Context(), wrapperspb.String("hello")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		letters := c.sys["alpha"].DeadLetters()
		if len(letters) != 1 || letters[0].Reason != actor.DeadStopped || letters[0].Message.(*word).GetValue() != "hello" {
			t.Errorf("dead letters: %v", letters)
		}
		if err := there.Send(t.Context(), wrapperspb.String("hello?")); !errors.Is(err, actor.ErrStopped) {
			t.Errorf("the second message: %v", err)
		}
		var exit *actor.ExitError
		if _, err := actor.Call[*word](t.Context(), there, wrapperspb.String("hello?")); !errors.Is(err, actor.ErrStopped) {
			t.Errorf("a call: %v %v", err, exit)
		}
	})
}
