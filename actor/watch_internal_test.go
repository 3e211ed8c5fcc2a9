package actor

import (
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

// LINK-4: those who are linked are told in the order in which their links were made.
func TestLinksAreToldInOrder(t *testing.T) {
	links := map[AnyRef]link{}
	var want []AnyRef
	for i := range uint64(100) {
		r := AnyRef{id: i * 7919 % 101}
		want = append(want, r)
		links[r] = link{id: i + 1}
	}
	if got := inOrderOfLinks(links); !slices.Equal(got, want) {
		t.Fatal(got)
	}
}

// LIFE-10: the last 4,096 ends are remembered, and nothing is kept of those before.
func TestEndsAreForgotten(t *testing.T) {
	const about = 2                                                         // an end is told before it is counted
	sys, err := NewSystem(SystemOptions{Workers: 1, StuckAfter: time.Hour}) // so that they are counted in order
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := sys.Close(); err != nil {
			t.Error(err)
		}
	}()
	b := Routine(func(ctx *Context, in *Inbox[*wrapperspb.Int64Value]) error { return ctx.SetValue(ctx.Self()) })
	refs := make([]AnyRef, 3*tombstones)
	for i := range refs {
		refs[i] = MustSpawn(sys, b).AnyRef
		if v, err := refs[i].Wait(t.Context()); err != nil || v != refs[i] {
			t.Fatal(v, err)
		}
		if i == tombstones-about {
			if v, err := refs[0].Wait(t.Context()); err != nil || v != refs[0] {
				t.Fatalf("with %d ended behind it: %v, %v", i, v, err)
			}
		}
	}
	if err := sys.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, r := range refs {
		v, err := r.Wait(t.Context())
		switch known := i >= len(refs)-tombstones+about; {
		case known && (err != nil || v != r):
			t.Fatalf("number %d of %d: %v, %v", i, len(refs), v, err)
		case i < len(refs)-tombstones-about && !errors.Is(err, ErrNoActor):
			t.Fatalf("number %d of %d is remembered: %v, %v", i, len(refs), v, err)
		}
	}
	held := 0
	sys.table.each(func(a *cell) {
		if a.tomb != nil && a.tomb != forgotten {
			held++
		}
	})
	if held > tombstones {
		t.Errorf("%d tombs", held)
	}
}
