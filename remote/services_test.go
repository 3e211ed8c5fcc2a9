package remote_test

import (
	"context"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/remote"
	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// Who knows the actor behind a service may do no more than who knows its number: roles hold, and signals have no effect (REM-29).
func TestServicesCannotBeReachedRoundTheirRoles(t *testing.T) {
	inRCIWorld(t, func(t *testing.T, w *rciWorld) {
		guest := w.start(remote.Options{Name: "guest"}, link.MaySend)
		w.up("guest", "beta")
		swaps, err := remote.Lookup[proto.Message](t.Context(), guest, "beta", "greenroom.swap")
		if err != nil {
			t.Fatal(err)
		}
		to := actor.Ref[*greenroomv1.SwapRequest]{AnyRef: swaps.Any()}
		_, err = actor.Call[*greenroomv1.SwapReply](t.Context(), to, &greenroomv1.SwapRequest{Name: "echo"})
		wants(t, "a swap without the role spawn", err, remote.ErrRefused)

		channels, err := remote.Lookup[proto.Message](t.Context(), guest, "beta", "greenroom.channels")
		if err != nil {
			t.Fatal(err)
		}
		byNumber, err := guest.System().RefAt(channels.Any().Node(), 4)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []actor.AnyRef{channels.Any(), byNumber} {
			r.Stop()
			r.Shutdown()
			r.Kill()
			_ = r.Drain()
			_ = r.Interrupt(context.Canceled)
		}
		ch, err := actor.NewChannel[*text](w.nodes["beta"].System())
		if err != nil {
			t.Fatal(err)
		}
		defer ch.Close()
		holds(t, remote.Publish(w.nodes["beta"], "news", ch))
		if _, err := remote.OpenChannel[*text](t.Context(), guest, "news", "beta"); err != nil {
			t.Error(err)
		}
	}, "alpha", "beta")
}
