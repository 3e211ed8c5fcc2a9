package remote_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// TestWordOfAnothersAddress has a peer say, unasked, where another one is: who is known is not dialed for that, which would keep the node
// from dialing it where it is.
func TestWordOfAnothersAddress(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair()
		v := victim(a)
		trap := w.net.Node("trap:1", identity("b"))
		defer func() { _ = trap.Close() }()
		s := w.stranger("x", a, v.Any())
		s.joins("x")
		s.say(&greenroomv1.Control{What: &greenroomv1.Control_ThisIs{ThisIs: &greenroomv1.ThisIs{
			Incarnation: b.System().NodeID(), Name: "b", Address: "trap:1",
		}}})
		ctx, cancel := context.WithTimeout(w.patient(), time.Second)
		defer cancel()
		if _, err := trap.Accept(ctx); err == nil {
			w.Error("a peer is dialed where another one says that it is")
		}
		holds(w, at(b, v).Send(w.patient(), wrapperspb.String("still")))
	})
}
