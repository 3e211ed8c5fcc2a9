package rpc_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	"github.com/greenroom-go/greenroom/actor/rpc"
	pb "github.com/greenroom-go/greenroom/actor/rpc/internal/counterv1"
	"github.com/greenroom-go/greenroom/mailbox"
)

// RPC-1: a unary rpc brings the method's response or its error, which is no end of the actor; a panic is one.
func TestUnary(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		callers(t, sys, func(t *testing.T, ctx context.Context) error {
			ref := spawnCounter(t, sys, nil)
			for want := int64(2); want <= 6; want += 2 {
				resp, err := ref.Add(ctx, &pb.AddRequest{Delta: 2})
				if err != nil || resp.Total != want {
					t.Errorf("total %v, %v, want %d", resp, err, want)
				}
				_, err = ref.Add(ctx, &pb.AddRequest{Delta: 13})
				wantErr(t, "a refused change", err, errOdd)
			}
			_, err := ref.Add(ctx, &pb.AddRequest{Delta: 666})
			if _, ok := errors.AsType[*actor.PanicError](err); !ok {
				t.Errorf("a panic: got %v", err)
			}
			_, err = ref.Add(ctx, &pb.AddRequest{})
			wantErr(t, "a call after the end", err, actor.ErrStopped)
			_, err = ref.Add(ctx, nil)
			wantErr(t, "a nil request", err, actor.ErrNilMessage)
			return nil
		})
	})
}

// RPC-2: a one-way rpc is in the mailbox when it returns, and comes in order with the sender's calls.
func TestOneWay(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		callers(t, sys, func(t *testing.T, ctx context.Context) error {
			ref := spawnCounter(t, sys, nil)
			for range 100 {
				if err := ref.Note(ctx, &pb.NoteRequest{Delta: 1}); err != nil {
					return err
				}
			}
			resp, err := ref.Add(ctx, &pb.AddRequest{})
			if err != nil || resp.Total != 100 {
				t.Errorf("total %v, %v, want 100", resp, err)
			}
			ref.Stop()
			_, _ = ref.Wait(ctx)
			wantErr(t, "a note after the end", ref.Note(ctx, &pb.NoteRequest{}), actor.ErrStopped)
			return nil
		})
	})
}

// odd implements CounterService in odd ways.
type odd struct {
	*counter
	add func(ctx *actor.Context) (*pb.AddResponse, error)
}

func (o odd) Add(ctx *actor.Context, _ *pb.AddRequest) (*pb.AddResponse, error) { return o.add(ctx) }

func spawnOdd(t *testing.T, sys *actor.System, add func(ctx *actor.Context) (*pb.AddResponse, error)) pb.CounterRef {
	t.Helper()
	ref, err := pb.SpawnCounter(sys, func(*actor.Context) (pb.CounterServer, error) { return odd{&counter{}, add}, nil })
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// RPC-3: a method may answer in the ways of package actor; one that answers in none fails the call with ErrNoReply.
func TestOtherAnswers(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		ctx := patient(t)
		later := make(chan actor.Responder, 1)
		ref := spawnOdd(t, sys, func(ctx *actor.Context) (*pb.AddResponse, error) {
			r, err := ctx.Responder()
			later <- r
			return nil, err
		})
		go func() { _ = (<-later).Reply(&pb.AddResponse{Total: 7}) }()
		if resp, err := ref.Add(ctx, &pb.AddRequest{}); err != nil || resp.Total != 7 {
			t.Errorf("by a Responder: %v, %v", resp, err)
		}
		ref = spawnOdd(t, sys, func(ctx *actor.Context) (*pb.AddResponse, error) {
			return &pb.AddResponse{Total: -1}, ctx.Reply(&pb.AddResponse{Total: 8})
		})
		if resp, err := ref.Add(ctx, &pb.AddRequest{}); err != nil || resp.Total != 8 {
			t.Errorf("by Reply: %v, %v", resp, err)
		}
		ref = spawnOdd(t, sys, func(*actor.Context) (*pb.AddResponse, error) { return nil, nil })
		for range 2 {
			_, err := ref.Add(ctx, &pb.AddRequest{})
			wantErr(t, "no answer", err, actor.ErrNoReply)
		}
		if err := ref.Send(ctx, &pb.AddRequest{}); err != nil {
			t.Errorf("a request that is sent: %v", err)
		}
	})
}

// RPC-4: an error that nobody waits for is logged.
func TestUnheardError(t *testing.T) {
	var log strings.Builder
	sys := actortest.New(t, actor.SystemOptions{Logger: logTo(&log)})
	ref := spawnCounter(t, sys, nil)
	if err := ref.Send(patient(t), &pb.AddRequest{Delta: 13}); err != nil {
		t.Fatal(err)
	}
	if _, err := ref.Add(patient(t), &pb.AddRequest{}); err != nil {
		t.Errorf("the actor has ended: %v", err)
	}
	if !strings.Contains(log.String(), "error=odd") {
		t.Errorf("the log says %q", log.String())
	}
}

// RPC-5: the timeout of the schema bounds a call whose context has no deadline or a later one, and so the method's own waits.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := actortest.New(t)
		waited := make(chan error, 1)
		ref := spawnOdd(t, sys, func(ctx *actor.Context) (*pb.AddResponse, error) {
			err := ctx.Sleep(time.Hour)
			waited <- err
			return nil, err
		})
		for _, c := range []struct {
			name  string
			bound time.Duration // 0: none
			want  time.Duration
		}{{"no deadline", 0, 5 * time.Second}, {"a later one", time.Minute, 5 * time.Second}, {"an earlier one", time.Second, time.Second}} {
			call := func(ctx context.Context) error {
				if c.bound != 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.bound)
					defer cancel()
				}
				started := time.Now()
				_, err := ref.Add(ctx, &pb.AddRequest{})
				wantErr(t, c.name, err, context.DeadlineExceeded)
				if took := time.Since(started).Round(time.Millisecond); took != c.want {
					t.Errorf("%s: it took %v, want %v", c.name, took, c.want)
				}
				if err := <-waited; err == nil {
					t.Errorf("%s: the method waited on", c.name)
				}
				return nil
			}
			_ = call(t.Context())
			_ = inActor(t, sys, func(ctx *actor.Context) error { return call(ctx) })
		}
	})
}

// RPC-6: the mailbox of the schema is that of the actors, unless the options say otherwise.
func TestMailboxOption(t *testing.T) {
	want := actor.Mailbox{Capacity: 2, Overflow: mailbox.Suspend}
	got := func(o ...actor.Options) actor.Options { return rpc.WithMailbox(o, want)[0] }
	if o := got(); o.Mailbox.Capacity != 2 || o.Mailbox.Overflow != mailbox.Suspend {
		t.Errorf("no options: %+v", o)
	}
	if o := got(actor.Options{Name: "x"}); o.Mailbox.Capacity != 2 || o.Name != "x" {
		t.Errorf("options without a mailbox: %+v", o)
	}
	if o := got(actor.Options{Mailbox: actor.Mailbox{Capacity: 9}}); o.Mailbox.Capacity != 9 || o.Mailbox.Overflow != mailbox.Reject {
		t.Errorf("a mailbox of one's own: %+v", o)
	}
	if o := got(actor.Options{Mailbox: actor.Mailbox{Priority: func(proto.Message) int { return 0 }}}); o.Mailbox.Capacity != 0 {
		t.Errorf("a priority of one's own: %+v", o)
	}
	sys := actortest.New(t)
	if _, err := pb.SpawnLedger(sys, nil, actor.Options{}, actor.Options{}); err == nil {
		t.Error("two Options were taken")
	}
}

// RPC-7: each incarnation has an implementation of its own, made when it starts; an error, or none, ends it.
func TestStart(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		failed := errors.New("no room")
		ref, err := pb.SpawnCounter(sys, func(*actor.Context) (pb.CounterServer, error) { return nil, failed })
		if err != nil {
			t.Fatal(err)
		}
		_, err = ref.Add(patient(t), &pb.AddRequest{})
		wantErr(t, "a start that fails", err, failed)
		ref, err = pb.SpawnCounter(sys, func(*actor.Context) (pb.CounterServer, error) { return nil, nil })
		if err != nil {
			t.Fatal(err)
		}
		_, err = ref.Add(patient(t), &pb.AddRequest{})
		wantErr(t, "a start that makes nothing", err, actor.ErrStopped)
		_, err = pb.SpawnCounter(sys, nil)
		wantErr(t, "no start function", err, actor.ErrNilBehaviour)

		behaviour := pb.CounterBehaviour(newCounter(nil, nil))
		err = inActor(t, sys, func(ctx *actor.Context) error {
			if err := actor.Guard(ctx, func(actor.ChildEvent) *pb.NoteRequest { return &pb.NoteRequest{} }); err != nil {
				return err
			}
			guarded, _, err := actor.SpawnGuarded(ctx, behaviour)
			if err != nil {
				return err
			}
			ref := pb.CounterRef{Ref: guarded}
			for range 2 {
				if resp, err := ref.Add(ctx, &pb.AddRequest{Delta: 5}); err != nil || resp.Total != 5 {
					t.Errorf("a fresh incarnation: %v, %v", resp, err)
				}
				_, err := ref.Add(ctx, &pb.AddRequest{Delta: 666})
				wantErr(t, "a panic", err, actor.ErrStopped)
				restartHeld(ctx, ref.Any())
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// restartHeld restarts a guarded child, which is held a moment after its caller is told.
func restartHeld(ctx *actor.Context, child actor.AnyRef) {
	for {
		if _, err := ctx.RestartChild(child); !errors.Is(err, actor.ErrNotHeld) {
			return
		}
		if ctx.Yield() != nil {
			return
		}
	}
}

// RPC-28: what persist makes of an implementation the next incarnation is made of.
func TestPersistent(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		restore := func(_ *actor.Context, kept *int64) (pb.CounterServer, error) {
			c := &counter{}
			if kept != nil {
				c.total = *kept
			}
			return c, nil
		}
		persist := func(s pb.CounterServer) (*int64, error) { return &s.(*counter).total, nil }
		for _, b := range []actor.Behaviour[pb.CounterMessage]{
			pb.PersistentCounterBehaviour(nil, persist),
			pb.PersistentCounterBehaviour[int64](restore, nil),
		} {
			_, err := actor.Spawn(sys, b)
			wantErr(t, "a function that is missing", err, actor.ErrNilBehaviour)
		}
		err := inActor(t, sys, func(ctx *actor.Context) error {
			if err := actor.Guard(ctx, func(actor.ChildEvent) *pb.NoteRequest { return &pb.NoteRequest{} }); err != nil {
				return err
			}
			guarded, _, err := actor.SpawnGuarded(ctx, pb.PersistentCounterBehaviour(restore, persist))
			if err != nil {
				return err
			}
			ref := pb.CounterRef{Ref: guarded}
			for i := range int64(3) {
				if resp, err := ref.Add(ctx, &pb.AddRequest{Delta: 5}); err != nil || resp.Total != 5*(i+1) {
					t.Errorf("incarnation %d: %v, %v", i, resp, err)
				}
				_, err := ref.Add(ctx, &pb.AddRequest{Delta: 666})
				wantErr(t, "a panic", err, actor.ErrStopped)
				restartHeld(ctx, ref.Any())
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// RPC-27: a swap with Migrate has a new implementation go on where the old one was, and keeps the old one if it fails.
func TestMigrate(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		ref := spawnCounter(t, sys, nil)
		swap := func(f func(old pb.CounterServer) (pb.CounterServer, error)) error {
			return actor.Swap(patient(t), ref.Ref, pb.CounterBehaviour(newCounter(nil, nil)), actor.SwapOptions{Migrate: rpc.Migrate(f)})
		}
		total := func(want int64) {
			t.Helper()
			if resp, err := ref.Add(patient(t), &pb.AddRequest{Delta: 5}); err != nil || resp.Total != want {
				t.Errorf("total %v, %v, want %d", resp, err, want)
			}
		}
		total(5)
		if err := swap(func(pb.CounterServer) (pb.CounterServer, error) { return nil, nil }); err == nil {
			t.Error("nothing was taken for an implementation")
		}
		wantErr(t, "a swap that fails", swap(func(pb.CounterServer) (pb.CounterServer, error) { return nil, errOdd }), errOdd)
		total(10)
		err := swap(func(old pb.CounterServer) (pb.CounterServer, error) {
			was, ok := old.(*counter)
			if !ok {
				return nil, errOdd
			}
			return odd{was, func(*actor.Context) (*pb.AddResponse, error) { return &pb.AddResponse{Total: -was.total}, nil }}, nil
		})
		wantErr(t, "a swap", err, nil)
		total(-10)
	})
}

// RPC-8: a ref is typed by the service: what the schema does not name is refused at compile time, and by an untyped ref at its
// turn; only an actor of the service is one.
func TestWrongType(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		ref := spawnCounter(t, sys, nil)
		again, ok := pb.CounterRefOf(ref.Any())
		if !ok || again != ref {
			t.Errorf("the counter's ref is %v, %v", again, ok)
		}
		ledger, err := pb.SpawnLedger(sys, nil)
		wantErr(t, "no start function", err, actor.ErrNilBehaviour)
		if _, ok := pb.CounterRefOf(ledger.Any()); ok {
			t.Error("nobody is a counter")
		}
		probe := actortest.NewProbe[*pb.EnterRequest](t, sys)
		if _, ok := pb.CounterRefOf(probe.Ref().Any()); ok {
			t.Error("a probe is a counter")
		}
		if err := ref.Any().Send(patient(t), &pb.EnterRequest{}); err != nil {
			t.Fatal(err)
		}
		_, err = pb.LedgerRef{Ref: actor.Ref[pb.LedgerMessage]{AnyRef: ref.Any()}}.Enter(patient(t), &pb.EnterRequest{})
		wantErr(t, "a request of another service", err, actor.ErrWrongType)
		var disguised struct{ *pb.AddRequest } // has the method that seals the set
		disguised.AddRequest = &pb.AddRequest{}
		_, err = actor.Call[*pb.AddResponse, pb.CounterMessage](patient(t), ref.Ref, &disguised)
		wantErr(t, "a request in disguise", err, actor.ErrWrongType)
		if resp, err := ref.Add(patient(t), &pb.AddRequest{Delta: 1}); err != nil || resp.Total != 1 {
			t.Errorf("after all that: %v, %v", resp, err)
		}
	})
}

// RPC-9: rpcs of all kinds work between Systems.
func TestTwoSystems(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		ended := make(chan error, 4)
		ref := spawnCounter(t, actortest.New(t), ended)
		err := inActor(t, sys, func(ctx *actor.Context) error {
			if _, err := ref.Add(ctx, &pb.AddRequest{Delta: 2}); err != nil {
				return err
			}
			if err := ref.Note(ctx, &pb.NoteRequest{Delta: 2}); err != nil {
				return err
			}
			if got := collect(t, ref.Watch(ctx, &pb.WatchRequest{More: 100})); len(got) != 101 || got[0] != 4 {
				t.Errorf("watched %v", got)
			}
			up, err := ref.Sum(ctx)
			if err != nil {
				return err
			}
			for range 100 {
				if err := up.Send(ctx, &pb.SumRequest{Delta: 1}); err != nil {
					return err
				}
			}
			resp, err := up.CloseAndReceive(ctx)
			if err != nil || resp.Total != 104 {
				t.Errorf("sum %v, %v", resp, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// RPC-10: a Service names the requests, and a Factory spawns the service without its type.
func TestFactory(t *testing.T) {
	eachProcs(t, func(t *testing.T, sys *actor.System) {
		f := pb.CounterFactory(newCounter(nil, nil))
		var kinds []string
		for _, m := range f.Service.Methods {
			kinds = append(kinds, m.Name+" "+m.Kind.String()+" "+string(m.Request.ProtoReflect().Descriptor().Name()))
		}
		want := "Add unary AddRequest, Note one-way NoteRequest, Watch server stream WatchRequest, Sum client stream SumRequest, " +
			"Mirror bidi stream MirrorRequest"
		if got := strings.Join(kinds, ", "); got != want {
			t.Errorf("methods %s, want %s", got, want)
		}
		untyped, err := f.Spawn(sys, actor.Options{Name: "c"})
		if err != nil {
			t.Fatal(err)
		}
		ref, ok := pb.CounterRefOf(untyped)
		if !ok {
			t.Fatal("not a counter")
		}
		if resp, err := ref.Add(patient(t), &pb.AddRequest{Delta: 3}); err != nil || resp.Total != 3 {
			t.Errorf("%v, %v", resp, err)
		}
	})
}

// RPC-8 needs that no rpc hides a method of actor.Ref: the generator refuses those names, and must know all of them.
func TestReservedNames(t *testing.T) {
	generator, err := os.ReadFile("../../proto/internal/gen/names.go")
	if err != nil {
		t.Fatal(err)
	}
	ref := reflect.TypeFor[actor.Ref[proto.Message]]()
	names := []string{"Ref"}
	for m := range ref.Methods() {
		names = append(names, m.Name)
	}
	for f := range ref.Fields() {
		names = append(names, f.Name)
	}
	for _, name := range names {
		if !strings.Contains(string(generator), strconv.Quote(name)+": true") {
			t.Errorf("%s is not among the reserved names of proto/internal/gen/names.go", name)
		}
	}
}

// RPC-26: what does not implement a service, or is no message of it, does not compile.
func TestDoesNotCompile(t *testing.T) {
	for folder, want := range map[string]string{
		"missing": "missing method Watch",
		"wrong":   "wrong type for method Note",
		"foreign": "missing method counterMessage",
	} {
		out, err := exec.CommandContext(t.Context(), "go", "vet", "./testdata/"+folder).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, want an error that says %q:\n%s", folder, err, want, out)
		}
	}
}
