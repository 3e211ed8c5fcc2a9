package remote_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote"
	"github.com/greenroom-go/greenroom/remote/internal/conditions"
)

// traffic is several actors of two nodes that each send to several of the other.
type traffic struct {
	w     *world
	sinks [2][]*sink
	done  []<-chan error
}

const (
	flowSenders = 3
	flowSinks   = 3
)

// start has each sender send each messages to each sink of the other node, with pauses of up to that long.
func start(w *world, a, b *member, each int, pause time.Duration, strict bool) *traffic {
	f := &traffic{w: w}
	for i, m := range []*member{a, b} {
		for range flowSinks {
			f.sinks[i] = append(f.sinks[i], newSink(m, flowSenders*each, strict))
		}
	}
	for i, m := range []*member{a, b} {
		for n := range flowSenders {
			r := rand.New(rand.NewPCG(w.rand.Uint64(), 0))
			var to []actor.Ref[*blob]
			for _, s := range f.sinks[1-i] {
				to = append(to, at(m, s.ref))
			}
			f.done = append(f.done, runs(m, func(ctx *actor.Context) error {
				return sendAll(ctx, r, to, n, each, pause, strict)
			}))
		}
	}
	return f
}

func sendAll(ctx *actor.Context, r *rand.Rand, to []actor.Ref[*blob], from, each int, pause time.Duration, strict bool) error {
	for seq := range each {
		for _, ref := range to {
			size := r.IntN(200)
			if r.IntN(40) == 0 {
				size = r.IntN(150_000)
			}
			if err := ref.Send(ctx, parcel(from, seq, size)); err != nil && strict {
				return fmt.Errorf("message %d to %v: %w", seq, ref, err)
			}
		}
		if pause > 0 && r.IntN(4) == 0 {
			if err := ctx.Sleep(time.Duration(r.Int64N(int64(pause)))); err != nil {
				return err
			}
		}
	}
	return nil
}

// sent waits until all is sent.
func (f *traffic) sent() {
	f.w.Helper()
	for _, done := range f.done {
		holds(f.w, await(f.w, done))
	}
}

// arrived waits until all has come, and checks the order.
func (f *traffic) arrived() {
	f.w.Helper()
	for _, side := range f.sinks {
		for _, s := range side {
			await(f.w, s.done)
			s.check(f.w)
		}
	}
}

func (f *traffic) received() (n int) {
	for _, side := range f.sinks {
		for _, s := range side {
			n += s.count()
			s.check(f.w)
		}
	}
	return n
}

// agree checks that two nodes' accounts of their session agree, at rest.
func agree(w *world, a, b remote.Session) {
	w.Helper()
	for _, x := range [][2]remote.Session{{a, b}, {b, a}} {
		from, to := x[0].Tally(), x[1].Tally()
		if from.Sent != from.Confirmed+from.Lost {
			w.Errorf("sent %d, confirmed %d, lost %d", from.Sent, from.Confirmed, from.Lost)
		}
		if to.Received < from.Confirmed || to.Received > from.Sent {
			w.Errorf("received %d of %d, and %d were confirmed", to.Received, from.Sent, from.Confirmed)
		}
		if short, long := x[0].Inflight(); x[0].Ended() == nil && (short != 0 || long != 0) {
			w.Errorf("%d and %d bytes are in flight", short, long)
		}
	}
}

// TestOrderAcrossLinks cuts the link at random moments while both sides send (REM-1, REM-2).
func TestOrderAcrossLinks(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			inWorld(t, seed, func(w *world) {
				w.net.SetAll(conditions.Conditions{Latency: time.Duration(w.rand.IntN(30)) * time.Millisecond})
				a, b := w.pair()
				sa, sb := a.session(b), b.session(a)
				f := start(w, a, b, 100, 40*time.Millisecond, true)
				for range 10 {
					pass(time.Duration(w.rand.IntN(150)) * time.Millisecond)
					w.net.Cut("a:1", "b:1")
				}
				f.sent()
				f.arrived()
				pass(3 * time.Second) // a link that was cut in its greeting is given up after a second
				agree(w, sa, sb)
				if now := a.session(b); now != sa || sa.Tally().Lost != 0 {
					w.Errorf("the session has not outlived its links: %v", sa.Ended())
				}
			})
		})
	}
}

// TestOrderOnBadNetworks has both sides send over networks that lose, delay, reorder, duplicate and are slow (REM-1, REM-2).
func TestOrderOnBadNetworks(t *testing.T) {
	for name, c := range map[string]conditions.Conditions{
		"loss":      {Loss: 0.05, Latency: 5 * time.Millisecond},
		"delay":     {Latency: 200 * time.Millisecond, Jitter: 50 * time.Millisecond},
		"reorder":   {Latency: 20 * time.Millisecond, Reorder: 0.3},
		"duplicate": {Latency: 5 * time.Millisecond, Duplicate: 0.2},
		"slow":      {Latency: 5 * time.Millisecond, BytesPerSecond: 2_000_000},
		"all":       {Latency: 50 * time.Millisecond, Jitter: 50 * time.Millisecond, Loss: 0.02, Reorder: 0.1, Duplicate: 0.1, BytesPerSecond: 5_000_000},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 1, func(w *world) {
				w.net.SetAll(c)
				a, b := w.pair()
				sa, sb := a.session(b), b.session(a)
				f := start(w, a, b, 60, 40*time.Millisecond, true)
				f.sent()
				f.arrived()
				pass(2 * time.Second)
				agree(w, sa, sb)
			})
		})
	}
}

// TestShortPartitions has the network be partitioned, both ways and one way, for less than DownAfter: nothing is lost (REM-4).
func TestShortPartitions(t *testing.T) {
	for _, kind := range []string{"both", "ab", "ba", "cut", "flaps"} {
		t.Run(kind, func(t *testing.T) {
			inWorld(t, 7, func(w *world) {
				w.net.SetAll(conditions.Conditions{Latency: 5 * time.Millisecond})
				a, b := w.pair()
				sa, sb := a.session(b), b.session(a)
				f := start(w, a, b, 100, 100*time.Millisecond, true)
				for range 3 {
					pass(200 * time.Millisecond)
					part(w, kind)
					pass(downAfter * 7 / 10)
					w.net.Heal("a:1", "b:1")
					pass(2 * time.Second)
				}
				f.sent()
				f.arrived()
				pass(time.Second)
				agree(w, sa, sb)
				if sa.Ended() != nil || sb.Ended() != nil {
					w.Errorf("declared down: %v, %v", sa.Ended(), sb.Ended())
				}
			})
		})
	}
}

func part(w *world, kind string) {
	switch kind {
	case "both":
		w.net.Partition("a:1", "b:1")
	case "ab":
		w.net.PartitionOneWay("a:1", "b:1")
	case "ba":
		w.net.PartitionOneWay("b:1", "a:1")
	case "cut":
		w.net.Partition("a:1", "b:1")
		w.net.Cut("a:1", "b:1")
	case "flaps":
		w.net.Partition("a:1", "b:1")
		w.net.Cut("a:1", "b:1")
		w.net.Heal("a:1", "b:1")
		pass(12 * time.Millisecond)
		w.net.PartitionOneWay("a:1", "b:1")
	}
}

// TestLongPartitions has the network be partitioned for longer than DownAfter: both sides declare each other down, what was not confirmed
// is a dead letter, and order and at most once hold over the heal (REM-3, REM-5).
func TestLongPartitions(t *testing.T) {
	for i, kind := range []string{"both", "ab", "ba", "cut", "flaps", "both", "ab", "cut"} {
		t.Run(fmt.Sprint(kind, i), func(t *testing.T) {
			inWorld(t, uint64(i), func(w *world) { //nolint:gosec // small
				w.net.SetAll(conditions.Conditions{Latency: 5 * time.Millisecond})
				a, b := w.pair()
				sa, sb := a.session(b), b.session(a)
				la, lb := watchLetters(a.sys), watchLetters(b.sys)
				f := start(w, a, b, 400, 300*time.Millisecond, false)
				pass(300 * time.Millisecond)
				part(w, kind)
				pass(downAfter * 13 / 10)
				if kind != "ab" && kind != "ba" && kind != "flaps" { // else a word may have got through, and a new session begun
					wants(w, "a's session", sa.Ended(), actor.ErrNodeDown)
					wants(w, "b's session", sb.Ended(), actor.ErrNodeDown)
				}
				w.net.Heal("a:1", "b:1")
				pass(3 * time.Second)
				a.meets(b)
				f.sent()
				pass(downAfter)
				wants(w, "a's session", sa.Ended(), actor.ErrNodeDown)
				wants(w, "b's session", sb.Ended(), actor.ErrNodeDown)
				agree(w, sa, sb)
				agree(w, a.session(b), b.session(a))
				ta, tb := sa.Tally(), sb.Tally()
				na, nb := a.session(b).Tally(), b.session(a).Tally()
				if got, want := uint64(f.received()), ta.Received+tb.Received+na.Received+nb.Received; got != want { //nolint:gosec // small
					w.Errorf("%d messages were handled, and %d have come", got, want)
				}
				if na.Received == 0 || nb.Received == 0 {
					w.Error("nothing came after the heal")
				}
				if n := la.count(actor.DeadNodeDown); uint64(n) < ta.Lost { //nolint:gosec // small
					w.Errorf("%d dead letters of %d that were lost", n, ta.Lost)
				}
				if n := lb.count(actor.DeadNodeDown); uint64(n) < tb.Lost { //nolint:gosec // small
					w.Errorf("%d dead letters of %d that were lost", n, tb.Lost)
				}
			})
		})
	}
}

// TestLostLettersNameTheirReceivers loses messages to more receivers, of two types, than routes have numbers: each dead letter says whom it
// was for (REM-3).
func TestLostLettersNameTheirReceivers(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair()
		s, l := a.session(b), watchLetters(a.sys)
		var to []actor.AnyRef
		for range 3000 {
			to = append(to, at(a, victim(b)).Any())
		}
		send := func(round int) {
			for i, r := range to {
				m := proto.Message(wrapperspb.Int64(int64(r.ID()))) //nolint:gosec // only to be compared
				if (i+round)%2 == 0 {
					m = wrapperspb.String(strconv.FormatUint(r.ID(), 10))
				}
				holds(w, r.Send(w.patient(), m))
			}
		}
		send(0)
		pass(time.Second)
		confirmed := s.Tally().Confirmed
		w.net.Partition("a:1", "b:1")
		send(1)
		pass(2 * downAfter)
		all := l.list()
		if confirmed != 3000 || len(all) != 3000 {
			w.Fatalf("%d were confirmed, and %d lost", confirmed, len(all))
		}
		for _, d := range all {
			var id string
			switch m := d.Message.(type) {
			case *text:
				id = m.GetValue()
			case *wrapperspb.Int64Value:
				id = strconv.FormatUint(uint64(m.GetValue()), 10) //nolint:gosec // it came from there
			}
			if id != strconv.FormatUint(d.To.ID(), 10) || d.Reason != actor.DeadNodeDown {
				w.Fatalf("a letter to %v: %v, %v", d.To, d.Message, d.Reason)
			}
		}
	})
}
