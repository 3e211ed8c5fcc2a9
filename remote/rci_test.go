package remote_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote"
	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/link/simlink"
)

type number = wrapperspb.Int64Value

// rciWorld is a simulated network with nodes on it.
type rciWorld struct {
	t     *testing.T
	net   *simlink.Network
	nodes map[string]*remote.Node
}

// inRCIWorld runs f in a bubble with nodes of those names, all linked to each other.
func inRCIWorld(t *testing.T, f func(t *testing.T, w *rciWorld), names ...string) {
	synctest.Test(t, func(t *testing.T) {
		w := &rciWorld{t: t, net: simlink.New(1), nodes: make(map[string]*remote.Node)}
		defer func() {
			for _, n := range w.nodes {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				_ = n.Stop(ctx)
				_ = n.System().Stop(ctx)
				cancel()
			}
		}()
		for _, name := range names {
			w.start(remote.Options{Name: name}, link.AllRoles)
		}
		for _, n := range names {
			for _, peer := range names {
				if n != peer {
					w.up(n, peer)
				}
			}
		}
		f(t, w)
	})
}

// start adds a node that keeps links to those that are there.
func (w *rciWorld) start(o remote.Options, roles link.Roles) *remote.Node {
	w.t.Helper()
	sys, err := actor.NewSystem()
	if err != nil {
		w.t.Fatal(err)
	}
	for name := range w.nodes {
		o.Peers = append(o.Peers, name+":1")
	}
	o.Logger = slog.New(slog.DiscardHandler)
	tr := w.net.Node(o.Name+":1", link.Identity{Name: o.Name, Roles: roles})
	n, err := remote.Start(sys, remote.Over(o, o.Name+":1", tr))
	if err != nil {
		w.t.Fatal(err)
	}
	w.nodes[o.Name] = n
	return n
}

// up waits until a node has a link to a peer.
func (w *rciWorld) up(node, peer string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := w.nodes[node].Peer(ctx, peer); err != nil {
		w.t.Fatal(err)
	}
}

// inActor runs f in an actor of a node and waits for it.
func (w *rciWorld) inActor(node string, f func(ctx *actor.Context, in *actor.Inbox[proto.Message]) error) {
	w.t.Helper()
	ref := actor.MustSpawn(w.nodes[node].System(), actor.Routine(f))
	if _, err := ref.Wait(context.Background()); err != nil && !errors.Is(err, actor.ErrNoActor) {
		w.t.Error(err)
	}
}

// echo answers calls with what was sent behind a prefix; "fail" and "panic" end it so, and "value:x" with the value x.
func echo(prefix string) actor.Behaviour[*text] {
	return actor.Handler(func(ctx *actor.Context, m *text) error {
		switch s := m.GetValue(); {
		case s == "fail":
			return errors.New("broken on purpose")
		case s == "panic":
			panic("on purpose")
		case strings.HasPrefix(s, "value:"):
			defer ctx.Stop()
			return ctx.SetValue(wrapperspb.String(s[6:]))
		case ctx.IsCall():
			return ctx.Reply(wrapperspb.String(prefix + s))
		}
		return nil
	})
}

// registerEcho registers echo, with the node's name and the arguments as the prefix.
func registerEcho(t *testing.T, n *remote.Node, name string, o ...remote.RegisterOptions) {
	t.Helper()
	err := remote.Register(n, name, func(_ remote.Origin, args *text) (actor.Behaviour[*text], error) {
		if args.GetValue() == "refuse" {
			return actor.Behaviour[*text]{}, fmt.Errorf("no %s here: %w", args.GetValue(), actor.ErrBadName)
		}
		if args.GetValue() == "panic" {
			panic("the maker")
		}
		return echo(n.Name() + args.GetValue() + ":"), nil
	}, o...)
	if err != nil {
		t.Fatal(err)
	}
}

func asks(t *testing.T, ref actor.Ref[*text], m string) string {
	t.Helper()
	r, err := actor.Call[*text](t.Context(), ref, wrapperspb.String(m))
	if err != nil {
		t.Errorf("call: %v", err)
	}
	return r.GetValue()
}

func TestSpawn(t *testing.T) {
	inRCIWorld(t, func(t *testing.T, w *rciWorld) {
		a, b := w.nodes["alpha"], w.nodes["beta"]
		registerEcho(t, b, "echo")
		ref, err := remote.Spawn[*text](t.Context(), a, remote.On("beta"), "echo", wrapperspb.String("1"))
		if err != nil {
			t.Fatal(err)
		}
		if !ref.Remote() || asks(t, ref, "x") != "beta1:x" {
			t.Errorf("%v", ref)
		}
		if ref, err = remote.Spawn[*text](t.Context(), a, remote.On("beta"), "echo", nil); err != nil || asks(t, ref, "x") != "beta:x" {
			t.Errorf("without arguments: %v, %v", ref, err)
		}
		if got := b.System().Ledger().Dead; got != 0 {
			t.Errorf("%d dead letters", got)
		}
		w.inActor("alpha", func(ctx *actor.Context, _ *actor.Inbox[proto.Message]) error {
			ref, err := remote.Spawn[*text](ctx, a, remote.Any(), "echo", nil)
			if err != nil {
				return err
			}
			ref.Stop()
			if _, err := ref.Wait(ctx); err != nil {
				return err
			}
			return nil
		})
		if err := b.Unregister("echo"); err != nil {
			t.Error(err)
		}
		if asks(t, ref, "still") != "beta:still" {
			t.Error("what runs ended with the registration")
		}
		if err := b.Unregister("echo"); !errors.Is(err, remote.ErrUnregistered) {
			t.Errorf("%v", err)
		}
		if _, err := remote.Spawn[*text](t.Context(), a, remote.On("beta"), "echo", nil); !errors.Is(err, remote.ErrUnregistered) {
			t.Errorf("%v", err)
		}
	}, "alpha", "beta")
}

// TestSpawnRefusals holds what its name says (RCI-1, RCI-2).
func TestSpawnRefusals(t *testing.T) {
	inRCIWorld(t, func(t *testing.T, w *rciWorld) {
		w.start(remote.Options{Name: "beta", MaxSpawned: 3, Policy: remote.Policy{
			Spawn:  func(_, behaviour string) bool { return behaviour != "policy" },
			Accept: func(_, message string) bool { return message != "google.protobuf.BoolValue" },
		}}, link.AllRoles)
		w.start(remote.Options{Name: "guest"}, link.MaySend)
		w.up("alpha", "beta")
		w.up("guest", "beta")
		b := w.nodes["beta"]
		registerEcho(t, b, "echo")
		registerEcho(t, b, "two", remote.RegisterOptions{MaxRunning: 2})
		registerEcho(t, b, "policy")
		registerEcho(t, b, "allow", remote.RegisterOptions{Allow: func(peer string) bool { return peer == "gamma" }})
		registerEcho(t, b, "panics", remote.RegisterOptions{Allow: func(string) bool { panic("allow") }})
		registerEcho(t, b, "exits", remote.RegisterOptions{Actor: actor.Options{Name: "one"}})
		if err := remote.Register(b, "goexit", func(remote.Origin, *text) (actor.Behaviour[*text], error) {
			t.Helper()
			goexit()
			return echo(""), nil
		}); err != nil {
			t.Error(err)
		}
		for name, c := range map[string]struct {
			from, to, name string
			args           proto.Message
			want           error
			text           string
		}{
			"unknown":        {name: "nobody", want: remote.ErrUnregistered, text: `"nobody"`},
			"no peer":        {to: "delta", name: "echo", want: remote.ErrNoPeer, text: "delta"},
			"no name":        {want: actor.ErrBadName},
			"long name":      {name: strings.Repeat("x", 256), want: actor.ErrBadName},
			"no role":        {from: "guest", name: "echo", want: remote.ErrRefused, text: "spawn"},
			"policy":         {name: "policy", want: remote.ErrRefused, text: "alpha may not start"},
			"allow":          {name: "allow", want: remote.ErrRefused},
			"allow panics":   {name: "panics", text: "panicked: allow"},
			"args":           {name: "echo", args: wrapperspb.String("refuse"), want: actor.ErrBadName, text: "no refuse here"},
			"args' type":     {name: "echo", args: wrapperspb.Int64(1), want: actor.ErrWrongType, text: "StringValue"},
			"accept":         {name: "echo", args: wrapperspb.Bool(true), want: remote.ErrRefused, text: "BoolValue"},
			"args too large": {name: "echo", args: wrapperspb.String(strings.Repeat("x", 17<<20)), want: remote.ErrTooLarge},
			"maker panics":   {name: "echo", args: wrapperspb.String("panic"), text: "panicked: the maker"},
			"maker exits":    {name: "goexit", want: actor.ErrGoexit},
		} {
			if c.from == "" {
				c.from = "alpha"
			}
			if c.to == "" {
				c.to = "beta"
			}
			_, err := remote.Spawn[*text](t.Context(), w.nodes[c.from], remote.On(c.to), c.name, c.args)
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%s: %v, want %v, %q", name, err, c.want, c.text)
			}
		}
		a := w.nodes["alpha"]
		if _, err := remote.Spawn[*number](t.Context(), a, remote.On("beta"), "echo", nil); !errors.Is(err, actor.ErrWrongType) {
			t.Errorf("of another type: %v", err)
		}
		if _, err := remote.Spawn[proto.Message](t.Context(), a, remote.On("beta"), "exits", nil); err != nil {
			t.Errorf("of any type: %v", err)
		}
		if _, err := remote.Spawn[proto.Message](t.Context(), a, remote.On("beta"), "exits", nil); !errors.Is(err, actor.ErrNameTaken) {
			t.Errorf("two of a name: %v", err)
		}
		var two []actor.Ref[*text]
		for range 2 {
			ref, err := remote.Spawn[*text](t.Context(), a, remote.On("beta"), "two", nil)
			if err != nil {
				t.Fatal(err)
			}
			two = append(two, ref)
		}
		if _, err := remote.Spawn[*text](t.Context(), a, remote.On("beta"), "two", nil); !errors.Is(err, remote.ErrLimit) || !strings.Contains(err.Error(), "MaxRunning") {
			t.Errorf("the third of two: %v", err)
		}
		if _, err := remote.Spawn[*text](t.Context(), a, remote.On("beta"), "echo", nil); !errors.Is(err, remote.ErrLimit) || !strings.Contains(err.Error(), "MaxSpawned") {
			t.Errorf("the fourth of three: %v", err)
		}
		two[0].Kill()
		if _, err := two[0].Wait(t.Context()); !errors.Is(err, actor.ErrKilled) {
			t.Errorf("%v", err)
		}
		if _, err := remote.Spawn[*text](t.Context(), a, remote.On("beta"), "two", nil); err != nil {
			t.Errorf("after one has ended: %v", err)
		}
	}, "alpha")
}

// textMessage is what an actor takes whose messages are of several types, as those of a generated service are.
type textMessage interface {
	proto.Message
	GetValue() string
}

// TestSpawnService holds what its name says (RCI-2).
func TestSpawnService(t *testing.T) {
	inRCIWorld(t, func(t *testing.T, w *rciWorld) {
		a, b := w.nodes["alpha"], w.nodes["beta"]
		if err := remote.Register(b, "service", func(from remote.Origin, _ proto.Message) (actor.Behaviour[textMessage], error) {
			return actor.Handler(func(ctx *actor.Context, m textMessage) error {
				return ctx.Reply(wrapperspb.String(from.Node + "'s " + from.Name + ": " + m.GetValue()))
			}), nil
		}); err != nil {
			t.Fatal(err)
		}
		ref, err := remote.Spawn[textMessage](t.Context(), a, remote.Any(), "service", &emptypb.Empty{})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := actor.Call[*text, textMessage](t.Context(), ref, wrapperspb.String("x")); err != nil || r.GetValue() != "alpha's service: x" {
			t.Errorf("%v, %v", r, err)
		}
		if _, err := remote.Spawn[*text](t.Context(), a, remote.Any(), "service", nil); err != nil {
			t.Errorf("one type of several: %v", err)
		}
		if _, err := remote.Spawn[*number](t.Context(), a, remote.Any(), "service", nil); !errors.Is(err, actor.ErrWrongType) {
			t.Errorf("another type: %v", err)
		}
		type other interface {
			proto.Message
			GetValue() int64
		}
		if _, err := remote.Spawn[other](t.Context(), a, remote.Any(), "service", nil); !errors.Is(err, actor.ErrWrongType) {
			t.Errorf("another service: %v", err)
		}
	}, "alpha", "beta")
}

// A node may be started again, by the same name, on a System whose node has stopped.
func TestNodeStartsAgain(t *testing.T) {
	inRCIWorld(t, func(t *testing.T, w *rciWorld) {
		old := w.nodes["alpha"]
		if err := old.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		tr := w.net.Node("again:1", link.Identity{Name: "alpha", Roles: link.AllRoles})
		n, err := remote.Start(old.System(), remote.Over(remote.Options{Name: "alpha"}, "again:1", tr))
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}, "alpha")
}

// TestRegisterRefusals holds what its name says (RCI-1).
func TestRegisterRefusals(t *testing.T) {
	inRCIWorld(t, func(t *testing.T, w *rciWorld) {
		n := w.nodes["alpha"]
		registerEcho(t, n, "echo")
		mk := func(remote.Origin, *text) (actor.Behaviour[*text], error) { return echo(""), nil }
		if err := remote.Register(n, "echo", mk); !errors.Is(err, actor.ErrNameTaken) {
			t.Errorf("%v", err)
		}
		for _, name := range []string{"", strings.Repeat("x", 256), "\xff"} {
			if err := remote.Register(n, name, mk); !errors.Is(err, actor.ErrBadName) {
				t.Errorf("%v", err)
			}
		}
		if err := remote.Register[*text, *text](n, "nil", nil); !errors.Is(err, actor.ErrNilBehaviour) {
			t.Errorf("%v", err)
		}
		if err := remote.Register(n, "x", mk, remote.RegisterOptions{MaxRunning: -1}); err == nil {
			t.Error("a negative bound")
		}
		if err := remote.Register(n, "x", mk, remote.RegisterOptions{}, remote.RegisterOptions{}); err == nil {
			t.Error("two options")
		}
		if err := remote.Register(nil, "x", mk); err == nil {
			t.Error("no node")
		}
		if _, err := remote.Spawn[*text](t.Context(), nil, remote.Any(), "x", nil); err == nil {
			t.Error("from nobody")
		}
		if _, err := remote.Spawn[*text](t.Context(), n, remote.Any(), "echo", nil); !errors.Is(err, remote.ErrNoPeer) {
			t.Errorf("%v", err)
		}
		if ref, err := remote.Spawn[*text](t.Context(), n, remote.Any().WithSelf(), "echo", nil); err != nil || ref.Remote() || asks(t, ref, "x") != "alpha:x" {
			t.Errorf("here: %v", err)
		}
		if err := n.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := remote.Spawn[*text](t.Context(), n, remote.On("alpha"), "echo", nil); !errors.Is(err, remote.ErrStopped) {
			t.Errorf("%v", err)
		}
	}, "alpha")
}

// An end is told with its reason and value, however early it comes, and behind what the actor has sent (RCI-3).
func TestSpawnMonitor(t *testing.T) {
	inRCIWorld(t, func(t *testing.T, w *rciWorld) {
		a, b := w.nodes["alpha"], w.nodes["beta"]
		type outcome = func(ctx *actor.Context) error
		for name, f := range map[string]outcome{
			"normal": func(ctx *actor.Context) error { return ctx.SetValue(wrapperspb.String("v")) },
			"none":   func(*actor.Context) error { return nil },
			"error":  func(*actor.Context) error { return fmt.Errorf("early: %w", actor.ErrFull) },
			"panic":  func(*actor.Context) error { panic("early") },
			"killed": func(ctx *actor.Context) error { ctx.Self().Kill(); return ctx.Sleep(time.Hour) },
		} {
			for _, n := range []*remote.Node{a, b} {
				if err := remote.Register(n, name, func(remote.Origin, *text) (actor.Behaviour[*text], error) {
					return actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*text]) error { return f(ctx) }), nil
				}); err != nil {
					t.Error(err)
				}
			}
		}
		want := map[string]actor.ReasonKind{
			"normal": actor.ReasonNormal, "none": actor.ReasonNormal, "error": actor.ReasonError, "panic": actor.ReasonPanic, "killed": actor.ReasonKilled,
		}
		for name, kind := range want {
			for _, where := range []remote.Placement{remote.On("beta"), remote.On("alpha")} {
				w.inActor("alpha", func(ctx *actor.Context, in *actor.Inbox[proto.Message]) error {
					downs := make(map[proto.Message]actor.Down)
					adapt := func(d actor.Down) proto.Message {
						m := wrapperspb.String(d.Reason.String())
						downs[m] = d
						return m
					}
					ref, _, err := remote.SpawnMonitor[*text](ctx, a, where, name, nil, adapt)
					if err != nil {
						return err
					}
					check := func(how string) error {
						m, err := in.Receive(ctx)
						if err != nil {
							return err
						}
						d := downs[m]
						if d.Ref != ref.Any() || d.Reason.Kind != kind {
							t.Errorf("%s of %q on %v: %v of %v, want %v of %v", how, name, where, d.Reason, d.Ref, kind, ref)
						}
						if v, _ := d.Value.(*text); name == "normal" && v.GetValue() != "v" {
							t.Errorf("%s of %q: value %v", how, name, d.Value)
						}
						if name == "error" && !errors.Is(d.Reason.Err, actor.ErrFull) {
							t.Errorf("%s: %v", how, d.Reason)
						}
						return nil
					}
					if err := check("SpawnMonitor"); err != nil || !ref.Remote() {
						return err
					}
					if _, err := actor.Monitor(ctx, ref.Any(), adapt); err != nil {
						return err
					}
					if err := check("a later monitor"); err != nil {
						return err
					}
					_, err = ref.Wait(ctx)
					var exit *actor.ExitError
					if kind == actor.ReasonNormal && err != nil || kind != actor.ReasonNormal && (!errors.As(err, &exit) || exit.Reason.Kind != kind) {
						t.Errorf("Wait for %q: %v", name, err)
					}
					return nil
				})
			}
		}
		synctest.Wait()
		if p := b.Running("alpha"); p != 0 {
			t.Errorf("%d still count", p)
		}
	}, "alpha", "beta")
}

// TestSpawnMonitorDemonitor holds what its name says (RCI-3).
func TestSpawnMonitorDemonitor(t *testing.T) {
	inRCIWorld(t, func(t *testing.T, w *rciWorld) {
		registerEcho(t, w.nodes["beta"], "echo")
		w.inActor("alpha", func(ctx *actor.Context, in *actor.Inbox[proto.Message]) error {
			adapt := func(d actor.Down) proto.Message { return wrapperspb.String(d.Reason.String()) }
			ref, m, err := remote.SpawnMonitor[*text](ctx, w.nodes["alpha"], remote.Any(), "echo", nil, adapt)
			if err != nil {
				return err
			}
			if err := ctx.Demonitor(m); err != nil {
				return err
			}
			ref.Kill()
			_, _ = ref.Wait(ctx)
			limit, cancel := ctx.WithTimeout(time.Second)
			defer cancel()
			if m, err := in.Receive(limit); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v, %v", m, err)
			}
			if _, _, err := remote.SpawnMonitor[*text](ctx, w.nodes["alpha"], remote.Any(), "nobody", nil, adapt); !errors.Is(err, remote.ErrUnregistered) {
				t.Errorf("%v", err)
			}
			return nil
		})
	}, "alpha", "beta")
}

// TestRun holds what its name says (RCI-4).
func TestRun(t *testing.T) {
	inRCIWorld(t, func(t *testing.T, w *rciWorld) {
		a, b := w.nodes["alpha"], w.nodes["beta"]
		stopped := make(chan error, 1)
		if err := remote.RegisterFunc(b, "half", func(ctx *actor.Context, m *number) (*number, error) {
			switch v := m.GetValue(); {
			case v < 0:
				err := ctx.Sleep(time.Hour)
				stopped <- err
				return nil, err
			case v == 13:
				panic("unlucky")
			case v%2 != 0:
				return nil, fmt.Errorf("%d is odd: %w", v, actor.ErrBadName)
			default:
				return wrapperspb.Int64(v / 2), nil
			}
		}); err != nil {
			t.Fatal(err)
		}
		run := func(ctx context.Context, v int64) (*number, error) {
			return remote.Run[*number](ctx, a, remote.Any(), "half", wrapperspb.Int64(v))
		}
		if r, err := run(t.Context(), 42); err != nil || r.GetValue() != 21 {
			t.Errorf("%v, %v", r, err)
		}
		_, err := run(t.Context(), 7)
		var far *remote.Error
		if !errors.As(err, &far) || far.Node != "beta" || far.Type != "*fmt.wrapError" || !strings.Contains(far.Text, "7 is odd") || !errors.Is(err, actor.ErrBadName) {
			t.Errorf("%v", err)
		}
		var exit *actor.ExitError
		if _, err := run(t.Context(), 13); !errors.As(err, &exit) || exit.Reason.Kind != actor.ReasonPanic || !strings.Contains(err.Error(), "unlucky") {
			t.Errorf("%v", err)
		}
		if _, err := remote.Run[*text](t.Context(), a, remote.Any(), "half", wrapperspb.Int64(2)); !errors.Is(err, actor.ErrWrongType) {
			t.Errorf("%v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := run(ctx, -1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if err := <-stopped; !errors.Is(err, actor.ErrStopped) {
			t.Errorf("it ended with %v", err)
		}
		// A runner that is killed leaves nothing behind.
		runner := actor.MustSpawn(a.System(), actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*text]) error {
			_, err := run(ctx, -1)
			return err
		}))
		synctest.Wait()
		runner.Kill()
		if err := <-stopped; !errors.Is(err, actor.ErrStopped) {
			t.Errorf("it ended with %v", err)
		}
	}, "alpha", "beta")
}

// What is started although its asker has given up is stopped, wherever the two meet (RCI-4).
func TestSpawnGivenUp(t *testing.T) {
	inRCIWorld(t, func(t *testing.T, w *rciWorld) {
		a, b := w.nodes["alpha"], w.nodes["beta"]
		registerEcho(t, b, "echo")
		slow(w, "alpha:1", "beta:1", 20*time.Millisecond)
		for after := time.Millisecond; after < 100*time.Millisecond; after += 3 * time.Millisecond {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			ref, err := remote.Spawn[*text](ctx, a, remote.On("beta"), "echo", nil)
			cancel()
			if err == nil {
				ref.Stop()
			}
			w.inActor("alpha", func(ctx *actor.Context, _ *actor.Inbox[proto.Message]) error {
				limit, cancel := ctx.WithTimeout(after)
				defer cancel()
				if ref, err := remote.Spawn[*text](limit, a, remote.On("beta"), "echo", nil); err == nil {
					ref.Stop()
				}
				return nil
			})
			killed := actor.MustSpawn(a.System(), actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[proto.Message]) error {
				ref, err := remote.Spawn[*text](ctx, a, remote.On("beta"), "echo", nil)
				ref.Stop()
				return err
			}))
			timer := time.AfterFunc(after, killed.Kill)
			_, _ = killed.Wait(t.Context())
			timer.Stop()
		}
		pass(time.Second)
		if n := b.Running("alpha"); n != 0 {
			t.Errorf("%d still run", n)
		}
	}, "alpha", "beta")
}

// TestPlacements holds what its name says (RCI-5).
func TestPlacements(t *testing.T) {
	names := []string{"alpha", "beta", "gamma", "delta"}
	inRCIWorld(t, func(t *testing.T, w *rciWorld) {
		a := w.nodes["alpha"]
		for _, name := range names[:3] { // delta has none
			registerEcho(t, w.nodes[name], "echo", remote.RegisterOptions{MaxRunning: 12})
		}
		spawn := func(p remote.Placement) (string, error) {
			ref, err := remote.Spawn[*text](t.Context(), a, p, "echo", nil)
			if err != nil {
				return "", err
			}
			return strings.TrimSuffix(asks(t, ref, ""), ":"), nil
		}
		count := func(p remote.Placement, n int) map[string]int {
			m := make(map[string]int)
			for range n {
				where, err := spawn(p)
				if err != nil {
					t.Error(err)
				}
				m[where]++
			}
			return m
		}
		if m := count(remote.Any(), 6); m["beta"] < 2 || m["gamma"] < 2 || len(m) != 2 {
			t.Errorf("any: %v", m)
		}
		if m := count(remote.LeastLoaded(), 6); w.nodes["beta"].Running("alpha") != 6 || w.nodes["gamma"].Running("alpha") != 6 {
			t.Errorf("least loaded: %v", m)
		}
		if m := count(remote.LeastLoaded().WithSelf(), 6); m["alpha"] != 6 {
			t.Errorf("least loaded, here: %v", m)
		}
		pass(2 * time.Second)
		for _, p := range a.Peers() {
			if want := map[string]uint32{"beta": 6, "gamma": 6}[p.Name]; p.Load != want {
				t.Errorf("%s tells of load %d, want %d", p.Name, p.Load, want)
			}
		}
		first, err := spawn(remote.ByKey("k"))
		if again, err2 := spawn(remote.ByKey("k")); err != nil || err2 != nil || again != first {
			t.Errorf("by key: %s, %s, %v, %v", first, again, err, err2)
		}
		list, err := remote.SpawnEach[*text](t.Context(), a, remote.Any().WithSelf(), "echo", nil)
		got := make(map[string]bool)
		for _, s := range list {
			got[s.Node] = s.Err == nil
			if s.Err != nil && !errors.Is(s.Err, remote.ErrUnregistered) || s.Err == nil && asks(t, s.Ref, "x") != s.Node+":x" {
				t.Errorf("%+v", s)
			}
		}
		if err != nil || fmt.Sprint(got) != "map[alpha:true beta:true delta:false gamma:true]" {
			t.Errorf("each: %v, %v", got, err)
		}
		for err == nil { // until all are full
			_, err = spawn(remote.Any())
		}
		if !errors.Is(err, remote.ErrLimit) || !errors.Is(err, remote.ErrUnregistered) || w.nodes["beta"].Running("alpha") != 12 {
			t.Errorf("%v", err)
		}
	}, names...)
}

// TestSwapAbroad holds what its name says (RCI-8).
func TestSwapAbroad(t *testing.T) {
	inRCIWorld(t, func(t *testing.T, w *rciWorld) {
		a, b := w.nodes["alpha"], w.nodes["beta"]
		guest := w.start(remote.Options{Name: "guest"}, link.MaySend)
		w.up("guest", "beta")
		registerEcho(t, b, "echo")
		veto := errors.New("not today")
		registerEcho(t, b, "stubborn", remote.RegisterOptions{Actor: actor.Options{OnSwap: func(*actor.Context, actor.SwapOffer) error { return veto }}})
		if err := actor.RegisterBehaviour(b.System(), "echo", "2", echo("two:"), nil); err != nil {
			t.Fatal(err)
		}
		ref, err := remote.Spawn[*text](t.Context(), a, remote.On("beta"), "echo", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.System().SwapTo(t.Context(), ref.Any(), "echo", "3"); !errors.Is(err, actor.ErrNoBehaviour) {
			t.Errorf("%v", err)
		}
		theirs, err := guest.System().RefFromProto(ref.Proto())
		if err != nil {
			t.Fatal(err)
		}
		if err := guest.System().SwapTo(t.Context(), theirs, "echo", "2"); !errors.Is(err, remote.ErrRefused) {
			t.Errorf("%v", err)
		}
		w.inActor("alpha", func(ctx *actor.Context, _ *actor.Inbox[proto.Message]) error {
			return ctx.System().SwapTo(ctx, ref.Any(), "echo", "2")
		})
		if got := asks(t, ref, "x"); got != "two:x" {
			t.Errorf("%s", got)
		}
		ref, err = remote.Spawn[*text](t.Context(), a, remote.On("beta"), "stubborn", nil)
		if err != nil {
			t.Fatal(err)
		}
		var no *actor.VetoError
		if err := a.System().SwapTo(t.Context(), ref.Any(), "echo", "2"); !errors.As(err, &no) || no.Ref != ref.Any() || !strings.Contains(err.Error(), "not today") {
			t.Errorf("%v", err)
		}
		ref.Kill()
		_, _ = ref.Wait(t.Context())
		if err := a.System().SwapTo(t.Context(), ref.Any(), "echo", "2"); !errors.Is(err, actor.ErrStopped) {
			t.Errorf("%v", err)
		}
	}, "alpha", "beta")
}

// TestClient holds what its name says (RCI-6).
func TestClient(t *testing.T) {
	inRCIWorld(t, func(t *testing.T, w *rciWorld) {
		a, b := w.nodes["alpha"], w.nodes["beta"]
		registerEcho(t, b, "echo")
		registerEcho(t, b, "outlives", remote.RegisterOptions{Outlive: true})
		registerEcho(t, b, "slow", remote.RegisterOptions{Actor: actor.Options{OnExit: func(ctx *actor.Context, _ actor.Reason) {
			clean, done := ctx.Cleanup(time.Hour)
			defer done()
			var never actor.Event
			_ = never.Wait(clean)
		}}})
		c := remote.NewClient(a)
		refs := make([]actor.Ref[*text], 3)
		for i := range refs {
			var err error
			if refs[i], err = remote.Spawn[*text](t.Context(), c, remote.Any(), "echo", nil); err != nil {
				t.Fatal(err)
			}
		}
		refs[0].Stop()
		_, _ = refs[0].Wait(t.Context())
		if c.Running() != 2 {
			t.Errorf("%d run", c.Running())
		}
		if err := c.Close(t.Context()); err != nil || c.Running() != 0 || b.Running("alpha") != 0 {
			t.Errorf("%v, %d, %d", err, c.Running(), b.Running("alpha"))
		}
		if _, err := remote.Spawn[*text](t.Context(), c, remote.Any(), "echo", nil); !errors.Is(err, remote.ErrClientClosed) {
			t.Errorf("%v", err)
		}
		pass(time.Second)
		if b.Running("alpha") != 0 {
			t.Error("what was started for a closed client runs")
		}
		c = remote.NewClient(a)
		if _, err := remote.Spawn[*text](t.Context(), c, remote.Any(), "slow", nil); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		pass(2 * time.Hour)
		if b.Running("alpha") != 0 {
			t.Errorf("%d run", b.Running("alpha"))
		}
		// A client that an actor has opened.
		owner := actor.MustSpawn(a.System(), actor.Routine(func(ctx *actor.Context, in *actor.Inbox[*text]) error {
			c, err := remote.OpenClient(ctx, a)
			if err == nil {
				_, err = remote.Spawn[*text](ctx, c, remote.Any(), "echo", nil)
			}
			if err != nil {
				return err
			}
			_, err = in.Receive(ctx)
			return err
		}))
		pass(time.Second)
		if b.Running("alpha") != 1 {
			t.Errorf("%d run", b.Running("alpha"))
		}
		owner.Kill()
		pass(time.Second)
		if b.Running("alpha") != 0 {
			t.Errorf("%d run", b.Running("alpha"))
		}
		// A node that goes down.
		for _, name := range []string{"echo", "outlives"} {
			if _, err := remote.Spawn[*text](t.Context(), a, remote.Any(), name, nil); err != nil {
				t.Fatal(err)
			}
		}
		w.net.Kill("alpha:1")
		pass(10 * time.Second)
		if b.Running("alpha") != 1 {
			t.Errorf("%d run, want the one that outlives", b.Running("alpha"))
		}
	}, "alpha", "beta")
}

// What ends with its node is told as such, also where the actor was all but started (RCI-6).
func TestSpawnNodeDown(t *testing.T) {
	inRCIWorld(t, func(t *testing.T, w *rciWorld) {
		a, b := w.nodes["alpha"], w.nodes["beta"]
		registerEcho(t, b, "echo")
		for range 2 {
			w.inActor("alpha", func(ctx *actor.Context, in *actor.Inbox[proto.Message]) error {
				var down actor.Down
				_, _, err := remote.SpawnMonitor[*text](ctx, a, remote.Any(), "echo", nil, func(d actor.Down) proto.Message {
					down = d
					return &emptypb.Empty{}
				})
				if err == nil {
					w.net.Kill("beta:1")
					_, _ = in.Receive(ctx)
					if down.Reason.Kind != actor.ReasonNodeDown {
						t.Errorf("%v", down.Reason)
					}
				} else if !errors.Is(err, actor.ErrNodeDown) && !errors.Is(err, remote.ErrNoPeer) {
					t.Errorf("%v", err)
				}
				return nil
			})
		}
	}, "alpha", "beta")
}
