package linktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// Transports are two that can reach each other: A of the node called "a", and B of "b".
type Transports struct {
	// A is what dials in most tests.
	A link.Transport
	// B is what accepts.
	B link.Transport
	// AddrB is where B can be dialed.
	AddrB string
}

// Run tests an implementation in real time. Connect makes two new transports; the tests close them.
func Run(t *testing.T, connect func(t *testing.T) Transports) {
	t.Helper()
	before := runtime.NumGoroutine()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(newWorld(t, connect)) })
	}
	t.Run("nothing runs afterwards", func(t *testing.T) { noneLeft(t, before+1) }) // the subtest is one itself
}

// RunInBubbles does the same in virtual time. The bubbles see to it that nothing runs afterwards.
func RunInBubbles(t *testing.T, connect func(t *testing.T) Transports) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.run(newWorld(t, connect)) })
		})
	}
}

// noneLeft waits until there are no more goroutines than before: some need a moment to end after what they were for is closed.
func noneLeft(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

var cases = []struct {
	name string
	run  func(*world)
}{
	{"identities", identities},
	{"order", order},
	{"half close", halfClose},
	{"reset", reset},
	{"try write", tryWrite},
	{"back-pressure is a stream's own", ownBackPressure},
	{"close", closeLink},
	{"close wakes all", closeWakesAll},
	{"transport close", transportClose},
	{"many streams", manyStreams},
	{"datagrams", datagrams},
	{"contexts end", contextsEnd},
	{"read deadline", readDeadline},
	{"wrong name", wrongName},
	{"both dial", bothDial},
}

// world is two transports and a link between them.
type world struct {
	*testing.T
	Transports
	ctx context.Context
	a   link.Link // dialed
	b   link.Link
}

func newWorld(t *testing.T, connect func(t *testing.T) Transports) *world {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	w := &world{T: t, Transports: connect(t), ctx: ctx}
	t.Cleanup(func() {
		cancel()
		for _, tr := range []link.Transport{w.A, w.B} {
			if err := tr.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	})
	w.a, w.b = w.dial(w.A, w.B, w.AddrB, "b")
	return w
}

// ok fails the test on an error.
func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// is fails the test unless err is want.
func (w *world) is(what string, err, want error) {
	w.Helper()
	if !errors.Is(err, want) {
		w.Errorf("%s: %v, want %v", what, err, want)
	}
}

func (w *world) dial(from, to link.Transport, addr, peer string) (dialed, accepted link.Link) {
	w.Helper()
	dialed, err := from.Dial(w.ctx, addr, peer)
	w.ok(err)
	accepted, err = to.Accept(w.ctx)
	w.ok(err)
	return dialed, accepted
}

// stream opens one with a first byte, without which the other side does not see it.
func (w *world) stream(from, to link.Link) (here, there link.Stream) {
	w.Helper()
	here, err := from.Open(w.ctx)
	w.ok(err)
	_, err = here.Write([]byte{'!'})
	w.ok(err)
	there, err = to.Accept(w.ctx)
	w.ok(err)
	w.expect(there, "!")
	return here, there
}

// expect reads text.
func (w *world) expect(s io.Reader, text string) {
	w.Helper()
	b := make([]byte, len(text))
	if _, err := io.ReadFull(s, b); err != nil || string(b) != text {
		w.Fatalf("read %q, %v, want %q", b, err, text)
	}
}

// closed is the error that the other side's Close gives.
func (w *world) closed(what string, err error, code uint64, text string) {
	w.Helper()
	if e, ok := errors.AsType[*link.CloseError](err); !ok || e.Code != code || e.Text != text {
		w.Errorf("%s: %v, want a CloseError with code %d and text %q", what, err, code, text)
	}
}

func identities(w *world) {
	if got := w.a.Peer(); got.Name != "b" || got.Roles != link.AllRoles {
		w.Errorf("the dialer's peer is %v", got)
	}
	if got := w.b.Peer(); got.Name != "a" {
		w.Errorf("the acceptor's peer is %v", got)
	}
	if !w.a.Dialed() || w.b.Dialed() {
		w.Errorf("Dialed is %v and %v", w.a.Dialed(), w.b.Dialed())
	}
	if w.a.Addr() != w.AddrB || w.b.Addr() == "" {
		w.Errorf("Addr is %q and %q", w.a.Addr(), w.b.Addr())
	}
	if w.a.Cause() != nil || w.b.Cause() != nil {
		w.Errorf("Cause is %v and %v", w.a.Cause(), w.b.Cause())
	}
}

// pattern is n bytes that repeat at no power of two.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

func order(w *world) {
	here, there := w.stream(w.a, w.b)
	data := pattern(1 << 20)
	var writers sync.WaitGroup
	defer writers.Wait()
	for i, s := range []link.Stream{here, there} {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1)) //nolint:gosec // runs are to be repeatable
			for rest := data; len(rest) > 0; {
				n := min(1+random.IntN(20_000), len(rest))
				if _, err := s.Write(rest[:n]); err != nil {
					w.Errorf("Write: %v", err)
					return
				}
				rest = rest[n:]
			}
			if err := s.Close(); err != nil {
				w.Errorf("Close: %v", err)
			}
		})
	}
	for _, s := range []link.Stream{here, there} {
		if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, data) {
			w.Errorf("read %d bytes, %v, equal: %v", len(got), err, bytes.Equal(got, data))
		}
	}
}

func halfClose(w *world) {
	here, there := w.stream(w.a, w.b)
	_, err := here.Write([]byte("question"))
	w.ok(err)
	w.ok(here.Close())
	got, err := io.ReadAll(there)
	w.ok(err)
	if string(got) != "question" {
		w.Errorf("read %q", got)
	}
	if _, err := here.Write([]byte("more")); err == nil {
		w.Error("Write after Close succeeds")
	}
	if err := here.TryWrite([]byte("more")); err == nil || errors.Is(err, link.ErrWouldBlock) {
		w.Errorf("TryWrite after Close: %v", err)
	}
	_, err = there.Write([]byte("answer"))
	w.ok(err)
	w.ok(there.Close())
	got, err = io.ReadAll(here)
	w.ok(err)
	if string(got) != "answer" {
		w.Errorf("read %q", got)
	}
}

func reset(w *world) {
	here, there := w.stream(w.a, w.b)
	other, otherThere := w.stream(w.a, w.b)
	here.Reset()
	_, err := there.Read(make([]byte, 1))
	w.is("Read at the other side", err, link.ErrReset)
	for err = nil; err == nil; { // the word may come by another way than that for reads
		_, err = there.Write(make([]byte, 1000))
	}
	w.is("Write at the other side", err, link.ErrReset)
	_, err = here.Read(make([]byte, 1))
	w.is("Read at this side", err, link.ErrReset)
	_, err = here.Write([]byte("more"))
	w.is("Write at this side", err, link.ErrReset)
	_, err = other.Write([]byte("unharmed"))
	w.ok(err)
	w.expect(otherThere, "unharmed")
}

// fill writes what takes no waiting.
func (w *world) fill(s link.Stream) int {
	w.Helper()
	chunk, total := pattern(10_000), 0
	for {
		switch err := s.TryWrite(chunk); {
		case errors.Is(err, link.ErrWouldBlock):
			return total
		case err != nil:
			w.Fatal(err)
		}
		if total += len(chunk); total > 64<<20 {
			w.Fatalf("%d bytes were taken and nobody reads", total)
		}
	}
}

func tryWrite(w *world) {
	here, there := w.stream(w.a, w.b)
	here.SetUrgent()
	w.ok(here.TryWrite(nil))
	filled := w.fill(here)
	done := make(chan error, 1)
	go func() {
		_, err := here.Write(pattern(1 << 20))
		if err == nil {
			err = here.Close()
		}
		done <- err
	}()
	got, err := io.ReadAll(there)
	w.ok(err)
	w.ok(<-done)
	want := append(bytes.Repeat(pattern(10_000), filled/10_000), pattern(1<<20)...)
	if !bytes.Equal(got, want) {
		w.Errorf("read %d bytes, want %d, of which %d were written without waiting", len(got), len(want), filled)
	}
}

func ownBackPressure(w *world) {
	stuck, _ := w.stream(w.a, w.b)
	w.fill(stuck)
	here, there := w.stream(w.a, w.b)
	_, err := here.Write([]byte("past the other"))
	w.ok(err)
	w.expect(there, "past the other")
}

func closeLink(w *world) {
	here, there := w.stream(w.a, w.b)
	w.ok(w.a.Close(42, "for a reason"))
	w.ok(w.a.Close(43, "twice"))
	<-w.a.Done()
	<-w.b.Done()
	w.is("Cause here", w.a.Cause(), link.ErrClosed)
	w.closed("Cause there", w.b.Cause(), 42, "for a reason")
	_, err := here.Read(make([]byte, 1))
	w.is("Read here", err, link.ErrClosed)
	_, err = here.Write([]byte("x"))
	w.is("Write here", err, link.ErrClosed)
	_, err = w.a.Open(w.ctx)
	w.is("Open here", err, link.ErrClosed)
	_, err = there.Read(make([]byte, 1))
	w.closed("Read there", err, 42, "for a reason")
	w.closed("TryWrite there", there.TryWrite([]byte("x")), 42, "for a reason")
	_, err = w.b.Accept(w.ctx)
	w.closed("Accept there", err, 42, "for a reason")
	w.closed("SendDatagram there", w.b.SendDatagram([]byte("x")), 42, "for a reason")
}

func closeWakesAll(w *world) {
	here, there := w.stream(w.a, w.b)
	w.fill(here)
	waits := map[string]func() error{
		"Read":            func() error { _, err := there.Read(make([]byte, 1<<25)); return err },
		"Write":           func() error { _, err := here.Write(pattern(1 << 25)); return err },
		"Accept":          func() error { _, err := w.a.Accept(w.ctx); return err },
		"ReceiveDatagram": func() error { _, err := w.b.ReceiveDatagram(w.ctx); return err },
	}
	type result struct {
		name string
		err  error
	}
	results := make(chan result)
	for name, wait := range waits {
		go func() {
			for {
				if err := wait(); err != nil { // what is there already is read first
					results <- result{name, err}
					return
				}
			}
		}()
	}
	w.ok(w.b.Close(1, "now"))
	for range waits {
		if r := <-results; r.err == nil || w.ctx.Err() != nil {
			w.Errorf("%s: %v", r.name, r.err)
		}
	}
}

func transportClose(w *world) {
	w.ok(w.B.Close())
	w.ok(w.B.Close())
	<-w.a.Done()
	w.closed("Cause", w.a.Cause(), link.CodeGone, "the node is going down")
	<-w.b.Done()
	w.is("Cause there", w.b.Cause(), link.ErrClosed)
	_, err := w.B.Accept(w.ctx)
	w.is("Accept", err, link.ErrClosed)
	_, err = w.B.Dial(w.ctx, w.AddrB, "b")
	w.is("Dial", err, link.ErrClosed)
}

func manyStreams(w *world) {
	const streams, atOnce = 200, 20
	var echoes, asks sync.WaitGroup
	defer echoes.Wait()
	echoes.Go(func() {
		for range streams {
			s, err := w.b.Accept(w.ctx)
			if err != nil {
				w.Errorf("Accept: %v", err)
				return
			}
			echoes.Go(func() {
				_, err := io.Copy(s, s)
				if err = errors.Join(err, s.Close()); err != nil {
					w.Errorf("echo: %v", err)
				}
			})
		}
	})
	for i := range atOnce {
		asks.Go(func() {
			for j := range streams / atOnce {
				w.ask(fmt.Sprintf("%d of %d", j, i) + strings.Repeat(".", 3000))
			}
		})
	}
	asks.Wait()
}

// ask has text echoed.
func (w *world) ask(text string) {
	s, err := w.a.Open(w.ctx)
	if err != nil {
		w.Errorf("Open: %v", err)
		return
	}
	_, err = io.WriteString(s, text)
	if err = errors.Join(err, s.Close()); err != nil {
		w.Errorf("Write: %v", err)
		return
	}
	if got, err := io.ReadAll(s); err != nil || string(got) != text {
		w.Errorf("read %d bytes, %v, want %d", len(got), err, len(text))
	}
}

func datagrams(w *world) {
	w.is("a large one", w.a.SendDatagram(make([]byte, 100_000)), link.ErrTooLarge)
	w.datagram(w.a, w.b, "there")
	w.datagram(w.b, w.a, "and back")
}

// datagram sends until one of them has arrived.
func (w *world) datagram(from, to link.Link, text string) {
	w.Helper()
	for {
		b := []byte(text)
		w.ok(from.SendDatagram(b))
		clear(b) // it is ours again
		ctx, cancel := context.WithTimeout(w.ctx, time.Second)
		got, err := to.ReceiveDatagram(ctx)
		cancel()
		if err == nil {
			if string(got) != text {
				w.Errorf("received %q", got)
			}
			return
		}
		w.ok(w.ctx.Err())
	}
}

func contextsEnd(w *world) {
	for _, ctx := range []func() (context.Context, context.CancelFunc){
		func() (context.Context, context.CancelFunc) { return context.WithTimeout(w.ctx, 5*time.Millisecond) },
		func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(w.ctx)
			cancel()
			return ctx, cancel
		},
	} {
		for name, wait := range map[string]func(context.Context) error{
			"Transport.Accept": func(ctx context.Context) error { _, err := w.B.Accept(ctx); return err },
			"Accept":           func(ctx context.Context) error { _, err := w.b.Accept(ctx); return err },
			"ReceiveDatagram":  func(ctx context.Context) error { _, err := w.b.ReceiveDatagram(ctx); return err },
		} {
			ctx, cancel := ctx()
			if err := wait(ctx); err == nil || !errors.Is(err, ctx.Err()) {
				w.Errorf("%s: %v, want %v", name, err, ctx.Err())
			}
			cancel()
		}
	}
	here, there := w.stream(w.a, w.b) // all is well still
	_, err := here.Write([]byte("well"))
	w.ok(err)
	w.expect(there, "well")
}

func readDeadline(w *world) {
	here, there := w.stream(w.a, w.b)
	w.ok(there.SetReadDeadline(time.Now().Add(5 * time.Millisecond)))
	_, err := there.Read(make([]byte, 1))
	w.is("Read", err, os.ErrDeadlineExceeded)
	w.ok(there.SetReadDeadline(time.Time{}))
	_, err = here.Write([]byte("late"))
	w.ok(err)
	w.expect(there, "late")
}

func wrongName(w *world) {
	if l, err := w.A.Dial(w.ctx, w.AddrB, "somebody"); err == nil {
		w.Errorf("dialed %v", l.Peer())
	}
	dialed, _ := w.dial(w.A, w.B, w.AddrB, "")
	if dialed.Peer().Name != "b" {
		w.Errorf("dialed %v", dialed.Peer())
	}
}

// bothDial has a second link beside the first; they do not know of each other.
func bothDial(w *world) {
	second, secondThere := w.dial(w.A, w.B, w.AddrB, "b")
	w.ok(w.a.Close(1, "the first"))
	<-w.b.Done()
	here, there := w.stream(second, secondThere)
	_, err := here.Write([]byte("second"))
	w.ok(err)
	w.expect(there, "second")
	here, there = w.stream(secondThere, second)
	_, err = here.Write([]byte("other way"))
	w.ok(err)
	w.expect(there, "other way")
}
