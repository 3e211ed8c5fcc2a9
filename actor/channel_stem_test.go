package actor_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
)

// twig is a branch by hand.
type twig struct {
	mu      sync.Mutex
	points  int
	offered []*letter
	origins []actor.ChannelID
}

// letter is what was offered to a twig.
type letter struct {
	t       *twig
	confirm bool
	n       int
	over    bool
	left    string // how its sender has left it
	notify  func()
}

func (t *twig) EndPoints() int { t.mu.Lock(); defer t.mu.Unlock(); return t.points }

func (t *twig) Offer(_ proto.Message, confirm bool) actor.Passage {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := &letter{t: t, confirm: confirm}
	t.offered = append(t.offered, l)
	return l
}

func (t *twig) Origins(list []actor.ChannelID) { t.mu.Lock(); defer t.mu.Unlock(); t.origins = list }

func (l *letter) Reached() (int, bool, error) {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	return l.n, l.over, nil
}

func (l *letter) Notify(f func()) { l.t.mu.Lock(); defer l.t.mu.Unlock(); l.notify = f }

func (l *letter) GiveUp() bool      { return l.leave("given up") }
func (l *letter) LeaveBehind() bool { return l.leave("left behind") }

func (l *letter) leave(how string) bool {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	l.left = how
	return true
}

func (l *letter) reached(n int, over bool) {
	l.t.mu.Lock()
	l.n, l.over = n, over
	f := l.notify
	l.t.mu.Unlock()
	f()
}

func (t *twig) last() *letter { t.mu.Lock(); defer t.mu.Unlock(); return t.offered[len(t.offered)-1] }

func TestStemBranches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys, err := actor.NewSystem()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = sys.Close() }()
		ctx := context.Background()
		ch, err := actor.NewChannel[*num](sys)
		if err != nil {
			t.Fatal(err)
		}
		b := &twig{}
		if _, origins, err := ch.Stem().AddBranch(b); err != nil || !slices.Equal(origins, []actor.ChannelID{ch.Stem().ID()}) {
			t.Fatal(origins, err)
		}
		type outcome struct {
			n   int
			err error
		}
		deliver := func(ctx context.Context, atLeast int) chan outcome {
			done := make(chan outcome, 1)
			go func() {
				n, err := ch.Deliver(ctx, &num{}, atLeast)
				done <- outcome{n, err}
			}()
			synctest.Wait()
			return done
		}

		// It waits for end points there, and then until enough have the message.
		done := deliver(ctx, 2)
		if len(b.offered) > 0 {
			t.Error("offered before there was anybody")
		}
		b.mu.Lock()
		b.points = 3
		b.mu.Unlock()
		ch.Stem().BranchChanged()
		synctest.Wait()
		b.last().reached(1, false)
		synctest.Wait()
		if len(done) > 0 {
			t.Error("one of two was enough")
		}
		b.last().reached(2, false)
		if got := <-done; got != (outcome{2, nil}) || b.last().left != "left behind" {
			t.Errorf("%v, %q", got, b.last().left)
		}

		// An actor that sends waits in its turn; Send asks for no confirmation.
		sent := make(chan error, 1)
		sender := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			sent <- ch.Send(ctx, m)
			return nil
		}))
		if err := sender.Send(ctx, &num{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(sent) > 0 || b.last().confirm {
			t.Error("it has not waited, or asks for too much")
		}
		b.last().reached(0, true)
		if err := <-sent; err != nil {
			t.Error(err)
		}

		// A wait that ends early gives up.
		bounded, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if got := <-deliver(bounded, 0); !errors.Is(got.err, context.DeadlineExceeded) || b.last().left != "given up" {
			t.Errorf("%v, %q", got, b.last().left)
		}

		// Channels learn where messages come from, and refuse to send them back.
		top, err := actor.NewChannel[*num](sys)
		if err != nil {
			t.Fatal(err)
		}
		s, err := top.SubscribeChannel(ctx, ch)
		if err != nil || len(b.origins) != 2 {
			t.Fatal(err, b.origins)
		}
		top.Stem().SetOrigins([]actor.ChannelID{{Node: 1, ID: 2}})
		if len(b.origins) != 3 || s.Err() != nil {
			t.Error(b.origins, s.Err())
		}
		top.Stem().SetOrigins([]actor.ChannelID{ch.Stem().ID()})
		var cycle *actor.ChannelCycleError
		if !errors.As(s.Err(), &cycle) {
			t.Errorf("a cycle by way of another node: %v", s.Err())
		}
		if _, err := top.SubscribeChannel(ctx, ch); !errors.As(err, &cycle) {
			t.Errorf("once more: %v", err)
		}
		if _, err := ch.Stem().Publish(ctx, &text{}, 0, true, nil); !errors.Is(err, actor.ErrWrongType) {
			t.Errorf("another type: %v", err)
		}
		ch.Stem().RemoveBranch(b)
		if n := ch.EndPoints(); n != 0 {
			t.Errorf("%d end points without the branch", n)
		}
		ch.Close()
		closed := 0
		ch.Stem().Watch(nil, func() { closed++ })
		if _, _, err := ch.Stem().AddBranch(b); !errors.Is(err, actor.ErrChannelClosed) || closed != 1 {
			t.Error(err, closed)
		}
	})
}
