package remote_test

import (
	"context"
	"io"
	"testing"
	"time"

	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/remote"
	"github.com/greenroom-go/greenroom/remote/internal/wire"
)

// TestUnreadAnswersAreBounded has a peer watch actors that have ended, without end, and acknowledge nothing: what it is told waits, and
// nothing more is read from it (REM-26).
func TestUnreadAnswersAreBounded(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a := w.node("a", func(o *remote.Options) { o.MaxQueuedBytes = 1 << 20 })
		v := victim(a)
		s := w.stranger("x", a, v.Any())
		s.joins("x")
		go func() { _, _ = io.Copy(io.Discard, s.r) }()
		go func() {
			for {
				st, err := s.l.Accept(context.Background())
				if err != nil {
					return
				}
				go func() { _, _ = io.Copy(io.Discard, st) }()
			}
		}()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range 500 {
				var b []byte
				for j := range 1000 {
					b = append(b, envelope(wire.Envelope{Kind: greenroomv1.Kind_KIND_WATCH, To: 1 << 50, ID: uint64(i*1000 + j + 1), From: 5})...) //nolint:gosec // small
				}
				s.frame(1, b)
			}
		}()
		pass(time.Second)
		x, ok := remote.SessionWith(a.Node, "x")
		if !ok {
			w.Fatal("no session")
		}
		if n, _ := x.Inflight(); n > 4<<20 || n < 1<<20 {
			w.Errorf("%d bytes wait for a peer that reads nothing", n)
		}
		pass(3 * downAfter)
		if x.Ended() == nil {
			w.Error("the peer is up still")
		}
		<-done
	})
}
