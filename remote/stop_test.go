package remote_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

// TestStopTwice calls Stop while another call of it waits for a peer: each waits under its own context.
func TestStopTwice(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair()
		to := at(a, victim(b))
		w.net.Kill(b.addr)
		holds(w, to.Send(w.patient(), wrapperspb.String("x")))
		first := make(chan error)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			first <- a.Stop(ctx)
		}()
		synctest.Wait()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		began := time.Now()
		wants(w, "the second Stop", a.Stop(ctx), context.Canceled)
		between(w, "the second Stop", began, 0, 0)
		wants(w, "the first Stop", <-first, context.DeadlineExceeded)
		b.leave()
	})
}
