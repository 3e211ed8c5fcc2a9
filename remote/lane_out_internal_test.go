package remote

import (
	"context"
	"errors"
	"testing"
	"time"

	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/wire"
)

// lent is a stream that counts what is written to it by others than the writer.
type lent struct {
	link.Stream
	writes int
}

func (s *lent) TryWrite([]byte) error {
	s.writes++
	return nil
}

// A writer ends while it waits, and the next one has a frame in its hands: a sender must not write the next frame before that.
func TestSendersWriteOnlyWhileTheWriterWaits(t *testing.T) {
	s := &session{node: &Node{start: time.Now().Add(-time.Hour)}, count: new(counters)}
	l := newLaneOut(s, 1)
	say := func() {
		t.Helper()
		if err := l.plain(pair{1, 2}, &wire.Envelope{Kind: greenroomv1.Kind_KIND_STOP}); err != nil {
			t.Fatal(err)
		}
	}
	l.writing = true
	if head, _ := l.take(); head != nil {
		t.Fatal("a frame out of nothing")
	}
	l.lend(nil)
	l.writing = false
	say() // while there is no link

	st := new(lent)
	l.writing = true
	l.lend(st)
	if head, _ := l.take(); head == nil {
		t.Fatal("no frame")
	}
	say()
	if st.writes > 0 {
		t.Error("a frame was written before the one that the writer holds")
	}
	l.directAt = 0
	if head, _ := l.take(); head == nil {
		t.Fatal("the second frame is lost")
	}
	if head, _ := l.take(); head != nil {
		t.Fatal("a frame out of nothing")
	}
	say()
	if st.writes != 1 {
		t.Errorf("%d writes of a sender whose writer waits, want 1", st.writes)
	}
}

// Who holds a session's lock may take a lane's, so that a sender must not want the former while it holds the latter.
func TestSendersOfAnEndedSessionNeedNoLockOfIt(t *testing.T) {
	s := &session{node: &Node{start: time.Now()}, count: new(counters)}
	s.ctx, s.end = context.WithCancelCause(context.Background())
	l := newLaneOut(s, 1)
	why := errors.New("it is over")
	s.end(why)
	l.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	said := make(chan error)
	go func() { said <- l.plain(pair{1, 2}, &wire.Envelope{Kind: greenroomv1.Kind_KIND_STOP}) }()
	select {
	case err := <-said:
		if !errors.Is(err, why) {
			t.Errorf("%v, want %v", err, why)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it waits for the session's lock")
	}
}

// A Pause that is read while the session ends must not hold up senders: nothing comes that would let them go.
func TestEndedSessionsPauseNobody(t *testing.T) {
	s := &session{node: &Node{start: time.Now()}, count: new(counters)}
	s.ctx, s.end = context.WithCancelCause(context.Background())
	s.peerPauses([]uint64{7}, true)
	if s.pausedN.Load() != 1 {
		t.Error("a pause has no effect")
	}
	s.peerPauses([]uint64{7}, false)
	s.end(errors.New("it is over"))
	s.peerPauses([]uint64{7}, true)
	if s.pausedN.Load() != 0 {
		t.Error("an ended session pauses senders")
	}
}
