package remote

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
)

// TestAbortedStreamsLeaveTheLink opens streams and aborts them before they say what they are for, as a file request does that is given
// up at once. The link must stay. At most 64 of them are open at a time, so most of the 200 have ended on the other side when it is asked.
func TestAbortedStreamsLeaveTheLink(t *testing.T) {
	certs := t.TempDir()
	start := func(o Options) *Node {
		sys, err := actor.NewSystem()
		if err != nil {
			t.Fatal(err)
		}
		o.TLS, o.Logger = DevTLS(certs), slog.New(slog.DiscardHandler)
		n, err := Start(sys, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = n.Stop(context.Background())
			_ = sys.Close()
		})
		return n
	}
	far := start(Options{Name: "far"})
	near := start(Options{Name: "near", Peers: []string{far.Addr()}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := near.Peer(ctx, "far"); err != nil {
		t.Fatal(err)
	}
	s, err := near.farOf("far").session(false)
	if err != nil {
		t.Fatal(err)
	}
	at, err := s.attached(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		st, err := at.l.Open(ctx)
		if err != nil {
			t.Fatalf("after %d aborted streams: %v", i, err)
		}
		st.Reset()
	}
	if _, err := Lookup[proto.Message](ctx, near, "far", "nobody"); err == nil || at.l.Cause() != nil {
		t.Errorf("the link has ended: %v; %v", at.l.Cause(), err)
	}
}
