package remote_test

import (
	"context"
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	benchv1 "github.com/greenroom-go/greenroom/proto/greenroom/bench/v1"
)

// More receivers than a lane has numbers for, one after the other and again: each gets what is for it.
func TestManyReceivers(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	sysA, a := statsNode(t, dir, "alpha")
	sysB, b := statsNode(t, dir, "beta", a.Addr())
	if _, err := b.Peer(ctx, "alpha"); err != nil {
		t.Fatal(err)
	}
	const receivers, rounds = 1500, 4
	type got struct{ receiver, value int64 }
	all := make(chan got, receivers*rounds)
	refs := make([]actor.Ref[*benchv1.Number], receivers)
	for i := range refs {
		ref := actor.MustSpawn(sysA, actor.Handler(func(_ *actor.Context, m *benchv1.Number) error {
			all <- got{int64(i), m.GetValue()}
			return nil
		}))
		there, err := actor.TypedRefFromProto[*benchv1.Number](sysB, ref.Proto())
		if err != nil {
			t.Fatal(err)
		}
		refs[i] = there
	}
	sender := actor.MustSpawn(sysB, actor.Handler(func(ctx *actor.Context, _ *benchv1.Number) error {
		for round := range rounds {
			for i, ref := range refs {
				if err := ref.Send(ctx, &benchv1.Number{Value: int64(i*rounds + round)}); err != nil {
					return err
				}
			}
		}
		return nil
	}))
	if err := sender.Send(ctx, &benchv1.Number{}); err != nil {
		t.Fatal(err)
	}
	next := make([]int64, receivers)
	for range receivers * rounds {
		select {
		case g := <-all:
			if want := g.receiver*rounds + next[g.receiver]; g.value != want {
				t.Fatalf("receiver %d got %d, and %d is its next", g.receiver, g.value, want)
			}
			next[g.receiver]++
		case <-ctx.Done():
			t.Fatal("not all has arrived")
		}
	}
}
