package actor

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/mailbox"
)

type num = wrapperspb.Int64Value

func testSystem(t *testing.T) *System {
	t.Helper()
	sys, err := NewSystem(SystemOptions{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sys.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if l := sys.Ledger(); !l.Exact || !l.Balanced() {
			t.Errorf("ledger: %v", l)
		}
	})
	return sys
}

// LIFE-10: a cell that is being prepared for its next tenant does not call the last one's end a normal one.
func TestPreparedCellKeepsNoFalseEnd(t *testing.T) {
	sys := testSystem(t)
	b := Handler(func(*Context, *num) error { return errors.New("bad") })
	r := MustSpawn(sys, b)
	if err := r.Send(context.Background(), &num{}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Wait(context.Background()); err == nil {
		t.Fatal("no error")
	}
	a := sys.table.at(uint32(r.id))
	sys.prepare(a, a.last+1, b.b, &Options{})
	if _, err := r.Wait(context.Background()); !errors.Is(err, ErrNoActor) {
		t.Errorf("Wait for one that failed: %v", err)
	}
}

// REF-2: what is meant for an earlier tenant and meets a cell before its next one is born wakes nobody; after it, the new one
// runs as itself.
func TestWakeBeforeBirth(t *testing.T) {
	for name, o := range map[string]Options{
		"plain":    {},
		"bounded":  {Mailbox: Mailbox{Capacity: 1}},
		"priority": {Mailbox: Mailbox{Priority: func(proto.Message) int { return 0 }}},
	} {
		t.Run(name, func(t *testing.T) {
			sys := testSystem(t)
			got := make(chan uint32, 2)
			b := Handler(func(ctx *Context, m *num) error { got <- ctx.gen; return nil })
			last := MustSpawn(sys, b)
			last.Stop()
			if _, err := last.Wait(context.Background()); err != nil {
				t.Fatal(err)
			}
			a := sys.table.at(uint32(last.id))
			gen := a.last + 1
			flags := sys.prepare(a, gen, b.b, &o)
			sys.born(flags)
			sys.rouse(nil, a)
			stale := envelope{msg: &num{}, meta: last.id &^ lowWord}
			if out, err := sys.tryPush(a, stale); out != mailbox.Closed || err != nil {
				t.Errorf("a push before the birth: %v, %v", out, err)
			}
			if err := sys.Quiesce(context.Background()); err != nil {
				t.Fatal(err)
			}
			if a.ctx.Load() != nil {
				t.Error("it ran before it was born")
			}
			sys.birth(nil, a, gen, claim{}, false)
			sys.counting(nil)
			if out, err := sys.tryPush(a, stale); out == mailbox.Closed || err != nil {
				t.Errorf("a push after the birth: %v, %v", out, err)
			}
			self := Ref[*num]{AnyRef{sys.node, uint64(gen)<<32 | uint64(a.idx)}}
			if o.Mailbox.Capacity > 0 {
				_ = sys.Quiesce(context.Background())
			}
			if err := self.Send(context.Background(), &num{}); err != nil {
				t.Fatal(err)
			}
			if g := <-got; g != gen {
				t.Errorf("handled by generation %d, not %d", g, gen)
			}
			if err := sys.Quiesce(context.Background()); err != nil {
				t.Fatal(err)
			}
			if l := sys.Ledger(); l.ByReason[DeadStopped] != 1 {
				t.Errorf("dead letters %v", l.ByReason)
			}
		})
	}
}

// BAD-1: a Spawn that finds the System stopping leaves nothing behind: no watch, no name, no behaviour.
func TestRefusedSpawnLeavesNothing(t *testing.T) {
	sys := testSystem(t)
	parent := MustSpawn(sys, Routine(func(ctx *Context, in *Inbox[*num]) error {
		sys.stopping.Store(true)
		defer sys.stopping.Store(false)
		m := &monitor{id: sys.nextID.Add(1), who: ctx.Self()}
		b := Handler(func(*Context, *num) error { return nil })
		if _, err := sys.place(ctx.here().slot, ctx, b.b, &Options{Name: "none"}, m); !errors.Is(err, ErrStopped) {
			return errors.New("not refused")
		}
		if cold := ctx.cell.cold.Load(); cold != nil && len(cold.watches) != 0 {
			return errors.New("a watch is left")
		}
		if sys.names.table.Size() != 0 || ctx.cell.nchild != 0 {
			return errors.New("a name or a child is left")
		}
		return nil
	}))
	if _, err := parent.Wait(context.Background()); err != nil {
		t.Error(err)
	}
	if err := sys.Join(context.Background()); err != nil { // who waits is told a moment before the count goes down
		t.Error(err)
	}
	if n := sys.living.Load(); n != 0 {
		t.Errorf("%d live", n)
	}
}

type closedQueue struct{ queue }

func (closedQueue) Insert(envelope) mailbox.Outcome { return mailbox.Closed }

// LEDG-1: a Down that made room for a message and comes back is not lost: it is handled when the mailbox has closed meanwhile,
// and it wakes an actor that has gone idle meanwhile.
func TestEvictedDownComesBack(t *testing.T) {
	sys := testSystem(t)
	a := MustSpawn(sys, Handler(func(*Context, *num) error { return nil }), Options{Mailbox: Mailbox{Capacity: 1, Overflow: mailbox.DropOldest}})
	if err := sys.Quiesce(context.Background()); err != nil {
		t.Fatal(err)
	}
	c, env := a.cell(), envelope{msg: drainMsg{}, meta: a.id &^ lowWord}
	sys.counting(nil)
	sys.evicted(nil, c, closedQueue{}, env)
	if l := sys.Ledger(); l.Handled != 1 {
		t.Errorf("ledger: %v", l)
	}
	sys.counting(nil)
	sys.evicted(nil, c, c.cold.Load().queue, env)
	if _, err := a.Wait(context.Background()); err != nil {
		t.Error(err)
	}
}

// openCalls forgets what was answered about as fast as it learns of new ones, at a cost that does not grow with those that stay.
func TestOpenCallsForget(t *testing.T) {
	var o openCalls
	open := func() callRef {
		k := new(call)
		return callRef{k, k.open()}
	}
	kept := make(map[callRef]bool)
	for i := range 10_000 {
		ref := open()
		o.add(ref)
		if i%100 == 0 {
			kept[ref] = true
			continue
		}
		ref.c.close(ref.seq, context.Canceled)
	}
	if n := len(o.list); n > 2*len(kept) {
		t.Errorf("%d remembered of which %d are open", n, len(kept))
	}
	for _, ref := range o.list {
		delete(kept, ref)
	}
	if len(kept) > 0 {
		t.Errorf("%d open calls are forgotten", len(kept))
	}
	for _, ref := range o.list {
		if ref.c.waiting(ref.seq) {
			ref.c.close(ref.seq, context.Canceled)
		}
	}
	for range 1000 {
		ref := open()
		o.add(ref)
		ref.c.close(ref.seq, context.Canceled)
	}
	if len(o.list) > 3 || cap(o.list) > 64 {
		t.Errorf("%d remembered in %d places", len(o.list), cap(o.list))
	}
}
