package remote_test

import (
	"context"
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/actor"
)

// What a sender has behind a long message of its own waits with that one, and is bounded as well (REM-11).
func TestShortOnesBehindALongOneAreBounded(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair()
		sink := newSink(b, -1, false)
		to, s := at(a, sink.ref), a.session(b)
		w.net.Kill(b.addr)
		ctx, cancel := context.WithTimeout(w.patient(), time.Second)
		defer cancel()
		wants(w, "send without end", <-runs(a, func(*actor.Context) error {
			for i := 0; ; i++ {
				size := 10_000
				if i == 0 {
					size = 100_000
				}
				if err := to.Send(ctx, parcel(0, i, size)); err != nil || i > 2000 {
					return err
				}
			}
		}), context.DeadlineExceeded)
		if short, long := s.Inflight(); short > 5<<20 || long > 5<<20 {
			w.Errorf("%d and %d bytes wait", short, long)
		}
		b.leave()
	})
}
