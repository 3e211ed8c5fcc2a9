package rpc_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	"github.com/greenroom-go/greenroom/actor/rpc"
	pb "github.com/greenroom-go/greenroom/actor/rpc/internal/counterv1"
)

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// collect reads a whole stream, which must end in good order.
func collect(t *testing.T, stream iter.Seq2[*pb.WatchResponse, error]) []int64 {
	t.Helper()
	var totals []int64
	for m, err := range stream {
		if err != nil {
			t.Errorf("after %d items: %v", len(totals), err)
			break
		}
		totals = append(totals, m.Total)
	}
	return totals
}

// RPC-11: a server stream brings every item in order, however many; each loop is a call of its own.
func TestServerStream(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		callers(t, sys, func(t *testing.T, ctx context.Context) error {
			ref := spawnCounter(t, sys, nil)
			stream := ref.Watch(ctx, &pb.WatchRequest{More: 5 * rpc.Window})
			for range 2 {
				got := collect(t, stream)
				if len(got) != 5*rpc.Window+1 {
					t.Errorf("%d items", len(got))
				}
				for i, total := range got {
					if total != int64(i) {
						t.Fatalf("item %d is %d", i, total)
					}
				}
			}
			return nil
		})
	})
}

// RPC-12: a method is never more than Window items ahead of its reader: it waits, and other actors go on.
func TestSlowReader(t *testing.T) {
	for _, from := range []string{"goroutine", "actor"} {
		t.Run("from="+from, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sys := actortest.New(t)
				sent, ended := make(chan int64, 1000), make(chan error, 1)
				ref, err := pb.SpawnCounter(sys, newCounter(sent, ended))
				if err != nil {
					t.Fatal(err)
				}
				read := func(ctx context.Context, pause func()) error {
					n := 0
					for _, err := range ref.Watch(ctx, &pb.WatchRequest{More: 200}) {
						if err != nil {
							return err
						}
						n++
						pause()
						if ahead := len(sent) - n; ahead > rpc.Window {
							t.Errorf("the method is %d items ahead", ahead)
						}
					}
					if n != 201 {
						t.Errorf("%d items", n)
					}
					return nil
				}
				if from == "actor" {
					err = inActor(t, sys, func(ctx *actor.Context) error {
						return read(ctx, func() { _ = ctx.Sleep(time.Second) })
					})
				} else {
					err = read(t.Context(), func() { time.Sleep(time.Second) })
				}
				wantErr(t, "reading", err, nil)
				wantErr(t, "writing", <-ended, nil)
			})
		})
	}
}

// RPC-13: a reader that ends early, however it does, ends the stream: the method's next Send answers ErrGone, and what was not
// read is accounted for.
func TestReaderLeaves(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		ended := make(chan error, 1)
		ref := spawnCounter(t, sys, ended)
		watch := func(ctx context.Context, leave func(n int) bool) {
			n := 0
			for _, err := range ref.Watch(ctx, &pb.WatchRequest{More: 1 << 40}) {
				if n++; err != nil || leave(n) {
					return
				}
			}
		}
		for name, leave := range map[string]func(ctx *actor.Context) bool{
			"break":  func(*actor.Context) bool { return true },
			"panic":  func(*actor.Context) bool { panic("enough") },
			"goexit": func(*actor.Context) bool { runtime.Goexit(); return true },
			"kill":   func(ctx *actor.Context) bool { ctx.Self().Kill(); return false },
			"stop":   func(ctx *actor.Context) bool { ctx.Self().Stop(); return false },
		} {
			actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*pb.NoteRequest]) error {
				watch(ctx, func(n int) bool { return n == 100 && leave(ctx) })
				return nil
			}))
			wantErr(t, name, await(t, ended), rpc.ErrGone)
		}
		watch(patient(t), func(n int) bool { return n == 100 })
		wantErr(t, "break in a goroutine", await(t, ended), rpc.ErrGone)
		ctx, cancel := context.WithCancel(patient(t))
		watch(ctx, func(n int) bool {
			if n == 100 {
				cancel()
			}
			return false
		})
		wantErr(t, "cancel in a goroutine", await(t, ended), rpc.ErrGone)
		if resp, err := ref.Add(patient(t), &pb.AddRequest{Delta: 1}); err != nil || resp.Total != 1 {
			t.Errorf("the service goes on: %v, %v", resp, err)
		}
	})
}

// RPC-14: the reader gets the method's error as it is, behind the items.
func TestStreamFails(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		callers(t, sys, func(t *testing.T, ctx context.Context) error {
			for _, failure := range []error{errOdd, io.ErrShortWrite, context.DeadlineExceeded, actor.ErrStopped, rpc.ErrGone} {
				ref := spawnWatch(t, sys, func(ctx *actor.Context, out *rpc.Sender[*pb.WatchResponse]) error {
					_ = out.Send(ctx, &pb.WatchResponse{Total: 1})
					return failure
				})
				items := 0
				var last error
				for _, err := range ref.Watch(ctx, &pb.WatchRequest{}) {
					if last = err; err == nil {
						items++
					}
				}
				if items != 1 || last != failure { //nolint:errorlint // as it is
					t.Errorf("%d items, then %v, want 1 and %v", items, last, failure)
				}
			}
			ref := spawnWatch(t, sys, func(*actor.Context, *rpc.Sender[*pb.WatchResponse]) error { return io.EOF })
			for _, err := range ref.Watch(ctx, &pb.WatchRequest{}) {
				wantErr(t, "a method that fails with EOF", err, io.ErrUnexpectedEOF)
			}
			return nil
		})
	})
}

// watching implements CounterService with a Watch of the test's.
type watching struct {
	*counter
	watch func(ctx *actor.Context, out *rpc.Sender[*pb.WatchResponse]) error
}

func (w watching) Watch(ctx *actor.Context, _ *pb.WatchRequest, out *rpc.Sender[*pb.WatchResponse]) error {
	return w.watch(ctx, out)
}

func spawnWatch(t *testing.T, sys *actor.System, watch func(*actor.Context, *rpc.Sender[*pb.WatchResponse]) error) pb.CounterRef {
	t.Helper()
	ref, err := pb.SpawnCounter(sys, func(*actor.Context) (pb.CounterServer, error) { return watching{&counter{}, watch}, nil })
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// RPC-15: a stream ends with its service, in whatever way that ends, and the reader is told how.
func TestServiceEndsDuringStream(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		for name, end := range map[string]struct {
			end  func(ctx *actor.Context) error
			want actor.ReasonKind
		}{
			"panic": {func(*actor.Context) error { panic("x") }, actor.ReasonPanic},
			"kill":  {func(ctx *actor.Context) error { ctx.Self().Kill(); return ctx.Sleep(time.Hour) }, actor.ReasonKilled},
			"stop":  {func(ctx *actor.Context) error { ctx.Self().Stop(); return nil }, actor.ReasonNormal},
		} {
			callers(t, sys, func(t *testing.T, ctx context.Context) error {
				ref := spawnWatch(t, sys, func(ctx *actor.Context, out *rpc.Sender[*pb.WatchResponse]) error {
					out.Keep()
					_ = out.Send(ctx, &pb.WatchResponse{})
					if name == "stop" {
						return nil // the reader stops it
					}
					return end.end(ctx)
				})
				n := 0
				for _, err := range ref.Watch(ctx, &pb.WatchRequest{}) {
					if err == nil {
						if n++; name == "stop" {
							ref.Stop()
						}
						continue
					}
					var exit *actor.ExitError
					if !errors.As(err, &exit) || exit.Ref != ref.Any() || exit.Reason.Kind != end.want {
						t.Errorf("%s: the reader is told %v", name, err)
					}
					n += 10
				}
				if n != 11 && n != 10 { // the item may become a dead letter
					t.Errorf("%s: %d", name, n)
				}
				return nil
			})
		}
	})
}

// RPC-16: a kept stream outlives its method: the service goes on and sends later. TrySend does not wait for a slow reader.
func TestKeptStream(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		ended := make(chan error, 1)
		ref := spawnCounter(t, sys, ended)
		n := int64(0)
		for m, err := range ref.Watch(patient(t), &pb.WatchRequest{More: -1}) {
			if err != nil {
				t.Fatal(err)
			}
			if m.Total != n {
				t.Fatalf("item %d is %d", n, m.Total)
			}
			if n++; n == 200 {
				break
			}
			if _, err := ref.Add(patient(t), &pb.AddRequest{Delta: 1}); err != nil {
				t.Fatal(err)
			}
		}
		for { // until it has noticed
			if _, err := ref.Add(patient(t), &pb.AddRequest{Delta: 1}); err != nil {
				t.Fatal(err)
			}
			if len(ended) > 0 {
				break
			}
		}
		wantErr(t, "the watcher has left", <-ended, rpc.ErrGone)

		seen := 0
		for _, err := range ref.Watch(patient(t), &pb.WatchRequest{More: -1}) {
			if err != nil {
				wantErr(t, "a slow watcher is closed", err, actor.ErrFull)
				break
			}
			if seen++; seen == 1 {
				for range rpc.Window + 1 {
					if _, err := ref.Add(patient(t), &pb.AddRequest{Delta: 1}); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if seen != rpc.Window+1 {
			t.Errorf("a slow watcher saw %d items", seen)
		}
	})
}

// RPC-17: the actor of a stream lives as long as the stream: it can be watched.
func TestStreamRef(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		refs := make(chan actor.AnyRef, 1)
		ref := spawnWatch(t, sys, func(ctx *actor.Context, out *rpc.Sender[*pb.WatchResponse]) error {
			out.Keep()
			refs <- out.Ref()
			return out.Send(ctx, &pb.WatchResponse{})
		})
		for _, err := range ref.Watch(patient(t), &pb.WatchRequest{}) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		if down := actortest.ExpectDown(t, <-refs, patience); !down.Reason.Normal() {
			t.Errorf("the stream ended: %v", down.Reason)
		}
	})
}

// RPC-18: a client stream brings the service every item in order and the caller one answer.
func TestClientStream(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		ref := spawnCounter(t, sys, nil)
		total := int64(0)
		callers(t, sys, func(t *testing.T, ctx context.Context) error {
			for _, n := range []int{0, 1, rpc.Window, 10 * rpc.Window} {
				up, err := ref.Sum(ctx)
				if err != nil {
					return err
				}
				for range n {
					if err := up.Send(ctx, &pb.SumRequest{Delta: 1}); err != nil {
						return err
					}
				}
				total += int64(n)
				resp, err := up.CloseAndReceive(ctx)
				if err != nil || resp.Total != total {
					t.Errorf("%d items: %v, %v, want %d", n, resp, err, total)
				}
				if err := up.Send(ctx, &pb.SumRequest{}); err == nil {
					t.Error("a closed stream takes items")
				}
				if _, err := up.CloseAndReceive(ctx); err == nil {
					t.Error("a closed stream answers twice")
				}
				up.Cancel()
			}
			return nil
		})
	})
}

// RPC-19: a method that returns early is told of by ErrGone, and CloseAndReceive says why; a panic is told of as such.
func TestClientStreamFails(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		callers(t, sys, func(t *testing.T, ctx context.Context) error {
			ref := spawnCounter(t, sys, nil)
			up, err := ref.Sum(ctx)
			for err == nil {
				err = up.Send(ctx, &pb.SumRequest{Delta: 13})
			}
			wantErr(t, "sending", err, rpc.ErrGone)
			_, err = up.CloseAndReceive(ctx)
			wantErr(t, "the answer", err, errOdd)

			up, err = ref.Sum(ctx)
			for err == nil {
				err = up.Send(ctx, &pb.SumRequest{Delta: 666})
			}
			wantErr(t, "sending", err, rpc.ErrGone)
			_, err = up.CloseAndReceive(ctx)
			if _, ok := errors.AsType[*actor.PanicError](err); !ok {
				t.Errorf("a panic: %v", err)
			}
			return nil
		})
	})
}

// RPC-20: a client that gives a stream up, by Cancel or by its context, ends it: the method's Receive answers ErrGone.
func TestClientLeaves(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		ended := make(chan error, 1)
		ref := spawnCounter(t, sys, ended)
		callers(t, sys, func(t *testing.T, ctx context.Context) error {
			up, err := ref.Sum(ctx)
			if err != nil {
				return err
			}
			up.Cancel()
			wantErr(t, "cancelled", await(t, ended), rpc.ErrGone)
			wantErr(t, "sending", up.Send(ctx, &pb.SumRequest{}), rpc.ErrGone)
			_, err = up.CloseAndReceive(ctx)
			wantErr(t, "receiving", err, rpc.ErrGone)

			bounded, cancel := context.WithCancel(ctx)
			defer cancel()
			up, err = ref.Sum(bounded)
			if err != nil {
				return err
			}
			cancel()
			wantErr(t, "its context is done", await(t, ended), rpc.ErrGone)
			_, err = up.CloseAndReceive(ctx)
			wantErr(t, "receiving", err, context.Canceled)
			return nil
		})
		actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*pb.NoteRequest]) error {
			_, err := ref.Sum(ctx)
			return err // without a word
		}))
		wantErr(t, "its actor has ended", await(t, ended), rpc.ErrGone)
	})
}

// RPC-21: a stream in both directions brings items each way, in lockstep or far ahead.
func TestBidiStream(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		ref := spawnCounter(t, sys, nil)
		total := int64(0)
		callers(t, sys, func(t *testing.T, ctx context.Context) error {
			both, err := ref.Mirror(ctx)
			if err != nil {
				return err
			}
			for range 100 {
				if err := both.Send(ctx, &pb.MirrorRequest{Delta: 1}); err != nil {
					return err
				}
				total++
				if m, err := both.Receive(ctx); err != nil || m.Total != total {
					t.Fatalf("%v, %v, want %d", m, err, total)
				}
			}
			for range rpc.Window {
				if err := both.Send(ctx, &pb.MirrorRequest{Delta: 1}); err != nil {
					return err
				}
			}
			if err := both.CloseSend(ctx); err != nil {
				return err
			}
			for m, err := range both.All(ctx) {
				if total++; err != nil || m.Total != total {
					t.Fatalf("%v, %v, want %d", m, err, total)
				}
			}
			_, err = both.Receive(ctx)
			wantErr(t, "after the end", err, io.EOF)
			both.Cancel()

			both, err = ref.Mirror(ctx)
			if err != nil {
				return err
			}
			if err := both.Send(ctx, &pb.MirrorRequest{Delta: 13}); err != nil {
				return err
			}
			_, err = both.Receive(ctx)
			wantErr(t, "a failed method", err, errOdd)
			wantErr(t, "sending after it", both.Send(ctx, &pb.MirrorRequest{}), rpc.ErrGone)
			return nil
		})
	})
}

// RPC-22: the timeout of the schema bounds a whole stream.
func TestStreamTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := actortest.New(t)
		ended := make(chan error, 1)
		ref := spawnCounter(t, sys, ended)
		use := func(ctx context.Context) error {
			started := time.Now()
			both, err := ref.Mirror(ctx)
			if err != nil {
				return err
			}
			_, err = both.Receive(ctx)
			wantErr(t, "receiving", err, context.DeadlineExceeded)
			wantErr(t, "the method", <-ended, rpc.ErrGone)
			if took := time.Since(started).Round(time.Millisecond); took != 90500*time.Millisecond {
				t.Errorf("it took %v", took)
			}
			return nil
		}
		if err := use(t.Context()); err != nil {
			t.Error(err)
		}
		if err := inActor(t, sys, func(ctx *actor.Context) error { return use(ctx) }); err != nil {
			t.Error(err)
		}
	})
}

// RPC-23: requests of streams that are sent and not called have nobody to answer: their methods run all the same.
func TestStreamRequestsThatAreSent(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		ended := make(chan error, 1)
		ref := spawnCounter(t, sys, ended)
		ctx := patient(t)
		if err := ref.Send(ctx, &pb.SumRequest{Delta: 5}); err != nil {
			t.Fatal(err)
		}
		wantErr(t, "a client stream of one item", await(t, ended), nil)
		for _, m := range []pb.CounterMessage{&pb.WatchRequest{}, &pb.MirrorRequest{Delta: 1}} {
			if err := ref.Send(ctx, m); err != nil {
				t.Fatal(err)
			}
			wantErr(t, "a stream to nobody", await(t, ended), rpc.ErrGone)
		}
		if resp, err := ref.Add(ctx, &pb.AddRequest{}); err != nil || resp.Total != 6 {
			t.Errorf("%v, %v", resp, err)
		}
	})
}

// RPC-24: a caller that gives up before its stream is opened leaves nothing behind.
func TestOpenerGivesUp(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		hold := make(chan struct{})
		ref := spawnOdd(t, sys, func(ctx *actor.Context) (*pb.AddResponse, error) {
			return &pb.AddResponse{}, ctx.Block(func() { <-hold })
		})
		if err := ref.Send(patient(t), &pb.AddRequest{}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := ref.Sum(ctx)
		wantErr(t, "opening", err, context.DeadlineExceeded)
		for _, err := range ref.Watch(ctx, &pb.WatchRequest{}) {
			wantErr(t, "watching", err, context.DeadlineExceeded)
		}
		close(hold)
	})
}

// RPC-25: a Send that waits for room and gives up has sent nothing and may be tried again; one that its actor's stop ends says so.
func TestSendGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := actortest.New(t)
		full, errs := make(chan struct{}), make(chan error, 2)
		ref := spawnWatch(t, sys, func(ctx *actor.Context, out *rpc.Sender[*pb.WatchResponse]) error {
			for i := range int64(2 * rpc.Window) {
				bounded, cancel := ctx.WithTimeout(time.Second)
				err := out.Send(bounded, &pb.WatchResponse{Total: i})
				cancel()
				if err != nil {
					errs <- err
					close(full)
					if err := out.Send(ctx, &pb.WatchResponse{Total: i}); err != nil {
						return err
					}
				}
			}
			for {
				if err := out.Send(ctx, &pb.WatchResponse{Total: -1}); err != nil {
					errs <- err
					return err
				}
			}
		})
		want := int64(0)
		for m, err := range ref.Watch(t.Context(), &pb.WatchRequest{}) {
			if err != nil {
				wantErr(t, "the reader", err, actor.ErrStopped)
				break
			}
			if want == 0 {
				<-full
			}
			if m.Total >= 0 && m.Total != want {
				t.Errorf("item %d, want %d", m.Total, want)
			}
			if want++; want == 2*rpc.Window {
				ref.Stop()
			}
		}
		wantErr(t, "a Send out of time", <-errs, context.DeadlineExceeded)
		wantErr(t, "a Send of a stopped actor", <-errs, actor.ErrStopped)
	})
}
