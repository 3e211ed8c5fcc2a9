package simlink_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/conditions"
	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/link/simlink"
)

const addrA, addrB = "a:1", "b:1"

// world is a network of two nodes with a link.
type world struct {
	*testing.T
	net              *simlink.Network
	nodeA, nodeB     link.Transport
	a, b             link.Link
	began            time.Time
	firstA, firstB   link.Stream
	secondA, secondB link.Stream
}

// bubble runs f with two nodes, a link and two streams, the first of them urgent. The clock starts after that.
func bubble(t *testing.T, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, net: simlink.New(1)}
		w.nodeA = w.net.Node(addrA, link.Identity{Name: "a"})
		w.nodeB = w.net.Node(addrB, link.Identity{Name: "b"})
		defer func() { _ = w.nodeA.Close() }()
		defer func() { _ = w.nodeB.Close() }()
		w.dial()
		w.firstA, w.firstB = w.stream()
		w.firstA.SetUrgent()
		w.secondA, w.secondB = w.stream()
		w.began = time.Now()
		f(w)
	})
}

func (w *world) dial() {
	w.Helper()
	var err error
	if w.a, err = w.nodeA.Dial(w.Context(), addrB, "b"); err != nil {
		w.Fatal(err)
	}
	if w.b, err = w.nodeB.Accept(w.Context()); err != nil {
		w.Fatal(err)
	}
}

func (w *world) stream() (here, there link.Stream) {
	w.Helper()
	here, err := w.a.Open(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	w.write(here, "!")
	if there, err = w.b.Accept(w.Context()); err != nil {
		w.Fatal(err)
	}
	w.read(there, "!")
	return here, there
}

func (w *world) write(s link.Stream, text string) {
	w.Helper()
	if _, err := io.WriteString(s, text); err != nil {
		w.Fatal(err)
	}
}

func (w *world) read(s link.Stream, text string) {
	w.Helper()
	b := make([]byte, len(text))
	if _, err := io.ReadFull(s, b); err != nil || string(b) != text {
		w.Fatalf("read %q, %v, want %q", b, err, text)
	}
}

// after fails the test unless that much time has passed since the clock was started.
func (w *world) after(what string, low, high time.Duration) {
	w.Helper()
	if d := time.Since(w.began); d < low || d > high {
		w.Errorf("%s after %v, want %v to %v", what, d, low, high)
	}
}

func TestLatency(t *testing.T) {
	bubble(t, func(w *world) {
		w.net.SetOneWay(addrA, addrB, conditions.Conditions{Latency: 100 * time.Millisecond})
		w.net.SetOneWay(addrB, addrA, conditions.Conditions{Latency: 30 * time.Millisecond})
		w.write(w.firstA, "there")
		w.read(w.firstB, "there")
		w.after("there", 100*time.Millisecond, 100*time.Millisecond)
		w.write(w.firstB, "back")
		w.read(w.firstA, "back")
		w.after("back", 130*time.Millisecond, 130*time.Millisecond)
		w.dial()
		w.after("dialed", 260*time.Millisecond, 260*time.Millisecond)
	})
}

func TestSlowLink(t *testing.T) {
	bubble(t, func(w *world) {
		w.net.SetAll(conditions.Conditions{BytesPerSecond: 10_000})
		w.write(w.secondA, strings.Repeat("x", 100_000))
		w.write(w.firstA, "urgent")
		w.read(w.firstB, "urgent")
		w.after("what is urgent", 0, 400*time.Millisecond)
		w.read(w.secondB, strings.Repeat("x", 100_000))
		w.after("the rest", 10*time.Second, 11*time.Second)
	})
}

func TestLossHoldsUpOneStream(t *testing.T) {
	bubble(t, func(w *world) {
		w.net.SetAll(conditions.Conditions{Loss: 1})
		w.write(w.secondA, "lost")
		w.net.SetAll(conditions.Conditions{})
		w.write(w.firstA, "past it")
		w.read(w.firstB, "past it")
		w.after("another stream", 0, 0)
		w.write(w.secondA, ", and then")
		if err := w.secondB.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			w.Fatal(err)
		}
		if n, err := w.secondB.Read(make([]byte, 1)); n != 0 || err == nil {
			w.Errorf("read %d bytes before the ones that were lost", n)
		}
	})
}

func TestPartitionStalls(t *testing.T) {
	bubble(t, func(w *world) {
		w.net.Partition(addrA, addrB)
		w.write(w.firstA, "late")
		if err := w.a.SendDatagram([]byte("lost")); err != nil {
			w.Fatal(err)
		}
		time.AfterFunc(20*time.Second, func() { w.net.Heal(addrA, addrB) })
		w.read(w.firstB, "late")
		w.after("what was stalled", 20*time.Second, 20*time.Second)
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		if b, err := w.b.ReceiveDatagram(ctx); err == nil {
			w.Errorf("the datagram %q came", b)
		}
	})
}

func TestPartitionKills(t *testing.T) {
	bubble(t, func(w *world) {
		w.net.Partition(addrA, addrB)
		w.write(w.firstA, "never")
		<-w.a.Done()
		w.after("death", 30*time.Second, 30*time.Second)
		<-w.b.Done()
		w.after("death on the other side", 30*time.Second, 30*time.Second)
		if err := w.b.Cause(); err == nil || !strings.Contains(err.Error(), "timeout") {
			w.Errorf("the cause is %v", err)
		}
		w.net.Heal(addrA, addrB)
		w.dial()
	})
}

func TestPartitionOneWay(t *testing.T) {
	bubble(t, func(w *world) {
		w.net.PartitionOneWay(addrB, addrA)
		stop := make(chan struct{})
		go func() {
			defer close(stop)
			for w.a.SendDatagram([]byte("x")) == nil {
				<-time.After(time.Second)
			}
		}()
		<-w.a.Done()
		w.after("the side that hears nothing dies", 30*time.Second, 30*time.Second)
		<-stop
		<-w.b.Done()
		w.after("the other one dies later", 59*time.Second, 61*time.Second)
	})
}

func TestCutLeavesAPrefix(t *testing.T) {
	bubble(t, func(w *world) {
		w.net.SetAll(conditions.Conditions{Latency: 10 * time.Millisecond, BytesPerSecond: 100_000})
		data := bytes.Repeat([]byte("0123456789"), 10_000)
		if err := w.firstA.TryWrite(data); err != nil {
			w.Fatal(err)
		}
		time.AfterFunc(300*time.Millisecond, func() { w.net.Cut(addrA, addrB) })
		got, err := io.ReadAll(w.firstB)
		if err == nil || !bytes.HasPrefix(data, got) || len(got) < 10_000 || len(got) > 40_000 {
			w.Errorf("read %d bytes, %v", len(got), err)
		}
		<-w.a.Done()
		<-w.b.Done()
		w.after("both sides dead", 300*time.Millisecond, 300*time.Millisecond)
		w.dial()
	})
}

func TestKill(t *testing.T) {
	bubble(t, func(w *world) {
		w.net.Kill(addrB)
		if _, err := w.nodeB.Accept(w.Context()); !errors.Is(err, link.ErrClosed) {
			w.Errorf("Accept: %v", err)
		}
		<-w.a.Done()
		w.after("silence is noticed", 30*time.Second, 30*time.Second)
		if _, isClose := errors.AsType[*link.CloseError](w.a.Cause()); isClose {
			w.Errorf("the cause is %v", w.a.Cause())
		}
	})
}

func TestDialWaitsForSomebody(t *testing.T) {
	bubble(t, func(w *world) {
		if _, err := w.nodeA.Dial(w.Context(), "c:1", "c"); err == nil || !strings.Contains(err.Error(), "in time") {
			w.Errorf("Dial: %v", err)
		}
		w.after("Dial gives up", 10*time.Second, 10*time.Second)
		w.net.Partition(addrA, "c:1")
		time.AfterFunc(5*time.Second, func() { w.net.Heal(addrA, "c:1") })
		c := w.net.Node("c:1", link.Identity{Name: "c"})
		defer func() { _ = c.Close() }()
		if _, err := w.nodeA.Dial(w.Context(), "c:1", "c"); err != nil {
			w.Error(err)
		}
		w.after("Dial gets through", 15*time.Second, 15*time.Second)
	})
}

func TestWriterWaits(t *testing.T) {
	bubble(t, func(w *world) {
		synctest.Wait() // until it is known that the first byte was read
		if err := w.firstA.TryWrite(make([]byte, 256<<10)); err != nil {
			w.Fatal(err)
		}
		if err := w.firstA.TryWrite([]byte{1}); !errors.Is(err, link.ErrWouldBlock) {
			w.Errorf("TryWrite: %v", err)
		}
		done := make(chan error)
		go func() {
			_, err := w.firstA.Write([]byte("more"))
			done <- err
		}()
		synctest.Wait()
		select {
		case err := <-done:
			w.Errorf("Write beyond the buffer: %v", err)
		default:
		}
		w.read(w.firstB, string(make([]byte, 256<<10))+"more")
		if err := <-done; err != nil {
			w.Error(err)
		}
	})
}

func TestStreamsAreLimited(t *testing.T) {
	bubble(t, func(w *world) {
		for range w.net.MaxStreams - 2 {
			w.stream()
		}
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		if _, err := w.a.Open(ctx); !errors.Is(err, context.DeadlineExceeded) {
			w.Errorf("Open: %v", err)
		}
		w.firstA.Reset()
		w.stream()
	})
}

// TestSeedRules runs the same twice and compares when each of many messages came.
func TestSeedRules(t *testing.T) {
	times := func(seed uint64) (all []time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			w := &world{T: t, net: simlink.New(seed)}
			w.net.SetAll(conditions.Conditions{Latency: 5 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.2, Reorder: 0.2})
			w.nodeA, w.nodeB = w.net.Node(addrA, link.Identity{Name: "a"}), w.net.Node(addrB, link.Identity{Name: "b"})
			defer func() { _ = w.nodeA.Close() }()
			defer func() { _ = w.nodeB.Close() }()
			w.began = time.Now()
			w.dial()
			here, there := w.stream()
			for range 100 {
				w.write(here, "message")
				w.read(there, "message")
				all = append(all, time.Since(w.began))
			}
		})
		return all
	}
	one, again, other := times(1), times(1), times(2)
	if len(one) == 0 || !equal(one, again) || equal(one, other) {
		t.Errorf("times of seed 1 %v, again %v, of seed 2 %v", one, again, other)
	}
}

func equal(a, b []time.Duration) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
