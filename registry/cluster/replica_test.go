package cluster_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/greenroom-go/greenroom/registry/cluster"
)

func newReplica(t *testing.T, node string, incarnation uint64) *cluster.Replica {
	t.Helper()
	r, err := cluster.NewReplica(node, incarnation)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func merge(t *testing.T, r *cluster.Replica, states ...[]byte) {
	t.Helper()
	for _, b := range states {
		if err := r.Merge(b); err != nil {
			t.Fatal(err)
		}
	}
}

func claim(t *testing.T, r *cluster.Replica, name string, id uint64) {
	t.Helper()
	if err := r.Claim(name, cluster.Actor{ID: id}, nil); err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func wantHolder(t *testing.T, r cluster.Names, name string, want string) {
	t.Helper()
	e, ok := r.Lookup(name)
	if got := e.String(); ok != (want != "") || (ok && got != want) {
		t.Errorf("%q belongs to %v (%v), want %q", name, got, ok, want)
	}
}

func TestClaims(t *testing.T) {
	a, b := newReplica(t, "a", 1), newReplica(t, "b", 1)
	a.Appear("b", 1)
	b.Appear("a", 1)
	claim(t, a, "printer", 7)
	claim(t, a, "printer", 7)
	merge(t, b, a.Deltas()...)
	wantHolder(t, b, "printer", "a#1/7")
	wantErr(t, "claim a taken name", b.Claim("printer", cluster.Actor{ID: 8}, nil), cluster.ErrNameTaken)
	wantErr(t, "claim it here", a.Claim("printer", cluster.Actor{ID: 8}, nil), cluster.ErrNameTaken)
	wantErr(t, "release another's", b.Release("printer", cluster.Actor{ID: 7}), cluster.ErrNotMine)
	wantErr(t, "release another actor's", a.Release("printer", cluster.Actor{ID: 8}), cluster.ErrNotMine)
	wantErr(t, "release", a.Release("printer", cluster.Actor{ID: 7}), nil)
	merge(t, b, a.Deltas()...)
	wantHolder(t, b, "printer", "")
	claim(t, b, "printer", 8)
}

func TestBadNames(t *testing.T) {
	r := newReplica(t, "a", 1)
	long := strings.Repeat("x", cluster.MaxNameBytes)
	for _, name := range []string{"", "\xff", long + "x", strings.Repeat("x", 1<<20)} {
		_, watch := r.Watch(name, nil)
		_, watchGroup := r.WatchGroup(name, nil)
		for _, err := range []error{r.Claim(name, cluster.Actor{}, nil), r.Enter(name, cluster.Actor{}), watch, watchGroup} {
			wantErr(t, fmt.Sprintf("%.10q", name), err, cluster.ErrBadName)
			if err != nil && len(err.Error()) > 400 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		}
		if _, err := cluster.NewReplica(name, 1); !errors.Is(err, cluster.ErrBadMember) {
			t.Errorf("a node is called %.10q: %v", name, err)
		}
	}
	wantErr(t, "type", r.Claim("x", cluster.Actor{Type: long + "x"}, nil), cluster.ErrBadName)
	wantErr(t, "longest", r.Claim(long, cluster.Actor{ID: 1 << 63, Type: long}, nil), nil)
	_, err := cluster.NewReplica("a", 0)
	wantErr(t, "incarnation 0", err, cluster.ErrBadMember)
}

// A delta has its largest names and is still small.
func TestDeltasAreSmall(t *testing.T) {
	a := newReplica(t, strings.Repeat("n", cluster.MaxNodeBytes), 1<<63)
	long := strings.Repeat("x", cluster.MaxNameBytes-4)
	for i := range uint64(50) {
		wantErr(t, "claim", a.Claim(fmt.Sprint(long, i), cluster.Actor{ID: 1<<63 + i, Type: long}, nil), nil)
		wantErr(t, "enter", a.Enter("g", cluster.Actor{ID: i}), nil)
	}
	deltas := a.Deltas()
	for _, d := range deltas {
		if len(d) > cluster.MaxDeltaBytes {
			t.Errorf("a delta has %d bytes", len(d))
		}
	}
	b := newReplica(t, "b", 1)
	b.Appear(strings.Repeat("n", cluster.MaxNodeBytes), 1<<63)
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(deltas), func(i, j int) { deltas[i], deltas[j] = deltas[j], deltas[i] })
	merge(t, b, deltas...)
	if got := b.Group("g"); len(got) != 50 {
		t.Errorf("%d members have arrived", len(got))
	}
	wantHolder(t, b, long+"49", a.Group("g")[0].Node+"#8000000000000000/9223372036854775857")
}

func TestLimits(t *testing.T) {
	a := newReplica(t, "a", 1)
	for i := range uint64(cluster.MaxEntries) {
		if err := a.Enter("g", cluster.Actor{ID: i}); err != nil {
			t.Fatal(err)
		}
	}
	wantErr(t, "claim", a.Claim("x", cluster.Actor{}, nil), cluster.ErrTooMany)
	wantErr(t, "enter", a.Enter("x", cluster.Actor{}), cluster.ErrTooMany)
	wantErr(t, "exit", a.Exit("g", cluster.Actor{}), nil)
	claim(t, a, "x", 1)
	b := newReplica(t, "b", 1)
	b.Appear("a", 1)
	merge(t, b, a.Deltas()...) // the oldest were not kept, so this is a gap
	if got := b.Missing(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("missing %v", got)
	}
	merge(t, b, a.Own())
	if got := b.Missing(); got != nil {
		t.Errorf("missing %v", got)
	}
	if got := b.Group("g"); len(got) != cluster.MaxEntries-1 {
		t.Errorf("%d members", len(got))
	}
	wantHolder(t, b, "x", "a#1/1")
}

// The older claim wins, and among equals the first node; the loser's claim is withdrawn, and told by whom.
func TestConflicts(t *testing.T) {
	a, b := newReplica(t, "a", 1), newReplica(t, "b", 1)
	var lost []string
	note := func(node string) func(cluster.Entry) {
		return func(e cluster.Entry) { lost = append(lost, fmt.Sprint(node, " to ", e)) }
	}
	wantErr(t, "claim", a.Claim("tie", cluster.Actor{ID: 1}, note("a tie")), nil)
	wantErr(t, "claim", b.Claim("tie", cluster.Actor{ID: 1}, note("b tie")), nil)
	wantErr(t, "claim", b.Claim("older", cluster.Actor{ID: 2}, note("b older")), nil)
	claim(t, a, "more time goes by", 2)
	wantErr(t, "claim", a.Claim("older", cluster.Actor{ID: 3}, note("a older")), nil)
	var seen []string
	for _, r := range []*cluster.Replica{a, b} {
		_, err := r.Watch("older", func(e cluster.NameEvent) { seen = append(seen, e.Entry.String()) })
		wantErr(t, "watch", err, nil)
	}
	a.Appear("b", 1)
	b.Appear("a", 1)
	fromA, fromB := a.State(), b.State()
	merge(t, a, fromB)
	merge(t, b, fromA)
	merge(t, a, b.Deltas()...)
	merge(t, b, a.Deltas()...)
	if diff := cmp.Diff([]string{"a older to b#1/2", "b tie to a#1/1"}, lost); diff != "" {
		t.Errorf("lost (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a#1/3", "b#1/2", "b#1/2"}, seen); diff != "" {
		t.Errorf("seen (-want +got):\n%s", diff)
	}
	if got, want := cluster.Describe(a), cluster.Describe(b); got != want {
		t.Errorf("a sees\n%s\nb sees\n%s", got, want)
	}
}

// Whoever is told that a name was lost may use Names: here it asks for another one.
func TestCallbacksMayCall(t *testing.T) {
	a, b := newReplica(t, "a", 1), newReplica(t, "b", 1)
	claim(t, a, "x", 1)
	wantErr(t, "claim", b.Claim("x", cluster.Actor{ID: 1}, func(cluster.Entry) { claim(t, b, "y", 1) }), nil)
	stop := func() {}
	stop, err := b.Watch("y", func(e cluster.NameEvent) {
		if !e.Entry.IsZero() {
			stop()
			claim(t, b, "z", 1)
		}
	})
	wantErr(t, "watch", err, nil)
	b.Appear("a", 1)
	merge(t, b, a.State())
	wantHolder(t, b, "x", "a#1/1")
	wantHolder(t, b, "z", "b#1/1")
}

func TestGroups(t *testing.T) {
	a, b := newReplica(t, "a", 1), newReplica(t, "b", 1)
	var seen []string
	stop, err := b.WatchGroup("g", func(e cluster.GroupEvent) {
		seen = append(seen, fmt.Sprint(e.Members != nil, e.Members, e.Joined, e.Left))
	})
	wantErr(t, "watch", err, nil)
	wantErr(t, "enter", a.Enter("g", cluster.Actor{ID: 1}), nil)
	wantErr(t, "enter", a.Enter("g", cluster.Actor{ID: 1}), nil)
	wantErr(t, "enter", b.Enter("g", cluster.Actor{ID: 1}), nil)
	merge(t, b, a.Deltas()...)
	b.Appear("a", 1)
	wantErr(t, "enter", a.Enter("g", cluster.Actor{ID: 2}), nil)
	wantErr(t, "exit", a.Exit("g", cluster.Actor{ID: 1}), nil)
	wantErr(t, "exit again", a.Exit("g", cluster.Actor{ID: 1}), cluster.ErrNotMine)
	merge(t, b, a.Deltas()...)
	b.Vanish("a", 1)
	stop()
	b.Appear("a", 1)
	want := []string{"true [] [] []", "false [] [b#1/1] []", "false [] [a#1/1] []", "false [] [a#1/2] [a#1/1]", "false [] [] [a#1/2]"}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("seen (-want +got):\n%s", diff)
	}
	if got := fmt.Sprint(b.Group("g")); got != "[a#1/2 b#1/1]" {
		t.Errorf("members %s", got)
	}
}

// What a node has published goes with it, and what its predecessor has published is not taken for its own.
func TestIncarnations(t *testing.T) {
	old, b := newReplica(t, "a", 1), newReplica(t, "b", 1)
	claim(t, old, "x", 1)
	claim(t, old, "y", 1)
	b.Appear("a", 1)
	stale := old.State()
	merge(t, b, stale)
	next := newReplica(t, "a", 2)
	claim(t, next, "x", 2)
	b.Appear("a", 2)
	wantHolder(t, b, "x", "")
	merge(t, b, next.State(), stale)
	wantHolder(t, b, "x", "a#2/2")
	wantHolder(t, b, "y", "")
	b.Vanish("a", 1) // late news of its predecessor
	wantHolder(t, b, "x", "a#2/2")
	b.Vanish("a", 2)
	wantHolder(t, b, "x", "")
	if err := old.Merge(old.State()); err != nil {
		t.Error(err)
	}
	twin := newReplica(t, "a", 2)
	if err := twin.Merge(next.State()); err == nil || !strings.Contains(err.Error(), "incarnation of its own") {
		t.Errorf("a twin's state: %v", err)
	}
}

// Nothing that is kept for strangers grows without bound.
func TestStrangersAreForgotten(t *testing.T) {
	b := newReplica(t, "b", 1)
	for i := range 500 {
		a := newReplica(t, fmt.Sprint("a", i), 1)
		claim(t, a, "x", 1)
		merge(t, b, a.State())
	}
	b.Appear("a0", 1)
	b.Appear("a499", 1)
	wantHolder(t, b, "x", "a499#1/1")
	if got := b.Missing(); !slices.Equal(got, []string{"a0"}) {
		t.Errorf("missing %v", got)
	}
}

// Whatever is claimed, in whatever partitions, and whichever messages get lost, come late, twice or in another order: when all have
// exchanged their states all see the same, each name has one claim, and what is told to those who watch is what is seen.
func TestReplicasConverge(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			w := newWorld(t, rand.New(rand.NewPCG(seed, 11)))
			for range 600 {
				w.step()
			}
			w.heal()
			w.check()
		})
	}
}

// world is a cluster of replicas and the messages under way between them.
type world struct {
	t        *testing.T
	rng      *rand.Rand
	nodes    []*cluster.Replica
	starts   []uint64
	side     []int
	flying   [][]byte
	to       []int
	watched  []map[string]cluster.Entry
	grouped  []map[string]map[cluster.Entry]bool
	claims   []map[string]uint64 // what each node believes to have
	nextID   uint64
	nameList []string
}

func newWorld(t *testing.T, rng *rand.Rand) *world {
	t.Helper()
	n := 2 + rng.IntN(4)
	w := &world{t: t, rng: rng, nameList: []string{"p", "q", "r", "s"}, nodes: make([]*cluster.Replica, n), starts: make([]uint64, n), side: make([]int, n),
		watched: make([]map[string]cluster.Entry, n), grouped: make([]map[string]map[cluster.Entry]bool, n), claims: make([]map[string]uint64, n)}
	for i := range n {
		w.start(i)
	}
	return w
}

func (w *world) name(i int) string { return fmt.Sprint("n", i) }

// start begins an incarnation of a node, in the place of its predecessor if there was one.
func (w *world) start(i int) {
	w.starts[i]++
	r := newReplica(w.t, w.name(i), w.starts[i])
	w.nodes[i] = r
	w.watched[i], w.grouped[i], w.claims[i] = map[string]cluster.Entry{}, map[string]map[cluster.Entry]bool{}, map[string]uint64{}
	watched, grouped := w.watched[i], w.grouped[i]
	for _, name := range w.nameList {
		_, err := r.Watch(name, func(e cluster.NameEvent) { watched[name] = e.Entry })
		wantErr(w.t, "watch", err, nil)
		grouped[name] = map[cluster.Entry]bool{}
		_, err = r.WatchGroup(name, func(e cluster.GroupEvent) {
			for _, in := range append(e.Members, e.Joined...) {
				grouped[name][in] = true
			}
			for _, out := range e.Left {
				delete(grouped[name], out)
			}
		})
		wantErr(w.t, "watch group", err, nil)
	}
	w.see()
}

// see has each node's membership follow the partition.
func (w *world) see() {
	for i, r := range w.nodes {
		for j := range w.nodes {
			switch {
			case r == nil || i == j || w.nodes[j] == nil:
			case w.side[i] == w.side[j]:
				r.Appear(w.name(j), w.starts[j])
			default:
				r.Vanish(w.name(j), w.starts[j])
			}
		}
	}
}

func (w *world) step() {
	i := w.rng.IntN(len(w.nodes))
	r, name := w.nodes[i], w.nameList[w.rng.IntN(len(w.nameList))]
	switch k := w.rng.IntN(100); {
	case k < 25:
		w.nextID++
		id, claims := w.nextID, w.claims[i]
		if r.Claim(name, cluster.Actor{ID: id}, func(cluster.Entry) { delete(claims, name) }) == nil {
			claims[name] = id
		}
	case k < 35:
		if id, ok := w.claims[i][name]; ok {
			wantErr(w.t, "release", r.Release(name, cluster.Actor{ID: id}), nil)
			delete(w.claims[i], name)
		}
	case k < 45:
		wantErr(w.t, "enter", r.Enter(name, cluster.Actor{ID: w.rng.Uint64N(4)}), nil)
	case k < 50:
		_ = r.Exit(name, cluster.Actor{ID: w.rng.Uint64N(4)})
	case k < 70:
		w.send(i)
	case k < 94:
		w.deliver()
	case k < 97:
		w.post(i, w.rng.IntN(len(w.nodes)), r.State())
	case k < 98:
		w.start(i)
	default:
		for j := range w.side {
			w.side[j] = w.rng.IntN(2)
		}
		w.see()
	}
}

// send passes on a node's deltas, some of them not, some twice.
func (w *world) send(i int) {
	for _, d := range w.nodes[i].Deltas() {
		for j := range w.nodes {
			for range w.rng.IntN(3) {
				w.post(i, j, d)
			}
		}
	}
}

func (w *world) post(i, j int, b []byte) {
	if i != j && w.side[i] == w.side[j] {
		w.flying, w.to = append(w.flying, b), append(w.to, j)
	}
}

// deliver has some message arrive, whenever it was sent.
func (w *world) deliver() {
	if len(w.flying) == 0 {
		return
	}
	k := w.rng.IntN(len(w.flying))
	err := w.nodes[w.to[k]].Merge(w.flying[k])
	wantErr(w.t, "merge", err, nil)
	w.flying, w.to = slices.Delete(w.flying, k, k+1), slices.Delete(w.to, k, k+1)
}

// heal ends partitions and has each tell each its state until nothing is news.
func (w *world) heal() {
	clear(w.side)
	w.see()
	for before := ""; ; {
		for len(w.flying) > 0 {
			w.deliver()
		}
		for i := range w.nodes {
			for j := range w.nodes {
				w.post(i, j, w.nodes[i].State())
			}
		}
		var all strings.Builder
		for _, r := range w.nodes {
			all.WriteString(cluster.Describe(r))
		}
		now := all.String()
		if now == before {
			return
		}
		before = now
	}
}

func (w *world) check() {
	want := cluster.Describe(w.nodes[0])
	for i, r := range w.nodes {
		if diff := cmp.Diff(want, cluster.Describe(r)); diff != "" {
			w.t.Fatalf("%s sees something else (-n0 +%s):\n%s", w.name(i), w.name(i), diff)
		}
		if got := r.Missing(); got != nil {
			w.t.Errorf("%s misses %v", w.name(i), got)
		}
		for _, name := range w.nameList {
			if e, _ := r.Lookup(name); e != w.watched[i][name] {
				w.t.Errorf("%s was told that %v has %q, and it is %v", w.name(i), w.watched[i][name], name, e)
			}
			if id, ok := w.claims[i][name]; ok {
				wantHolder(w.t, w.nodes[0], name, fmt.Sprintf("%s#%x/%d", w.name(i), w.starts[i], id))
			} else if e, _ := r.Lookup(name); e.Node == w.name(i) {
				w.t.Errorf("%s has %q and was told that it has not", w.name(i), name)
			}
			told := map[cluster.Entry]bool{}
			for _, e := range r.Group(name) {
				told[e] = true
			}
			if diff := cmp.Diff(told, w.grouped[i][name]); diff != "" {
				w.t.Errorf("%s was told something else of group %q (-is +told):\n%s", w.name(i), name, diff)
			}
		}
	}
	if n := strings.Count(want, "  name "); n > len(w.nameList) {
		w.t.Errorf("some name has two claims:\n%s", want)
	}
}

func TestMergeRefuses(t *testing.T) {
	r := newReplica(t, "a", 1)
	for what, b := range map[string][]byte{
		"nothing": nil, "another format": {2}, "too much": make([]byte, cluster.MaxStateBytes+1), "half a section": {1, 10, 9, 1},
		"no node": {1, 10, 2, 16, 1}, "no incarnation": {1, 10, 3, 10, 1, 'b'}, "an empty delta": {1, 10, 5, 10, 1, 'b', 16, 1},
		"an unknown operation": {1, 10, 12, 10, 1, 'b', 16, 1, 42, 5, 8, 9, 18, 1, 'x'}, "no name": {1, 10, 9, 10, 1, 'b', 16, 1, 42, 2, 8, 1},
		"a whole state that releases": {1, 10, 14, 10, 1, 'b', 16, 1, 32, 1, 42, 5, 8, 2, 18, 1, 'x'},
		"too many operations":         tooMany(),
	} {
		if err := r.Merge(b); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if got := cluster.Describe(r); got != "a#1 version 0\n" {
		t.Errorf("something has changed:\n%s", got)
	}
}

// tooMany is a whole state of one operation more than there may be, each of them empty.
func tooMany() []byte {
	section := []byte{10, 1, 'b', 16, 1, 32, 1}
	for range cluster.MaxEntries + 1 {
		section = append(section, 42, 0)
	}
	return append(binary.AppendUvarint([]byte{1, 10}, uint64(len(section))), section...)
}

// A claim counts as later than all that its node knew of.
func TestClaimsAreLaterThanWhatWasKnown(t *testing.T) {
	a, b := newReplica(t, "a", 1), newReplica(t, "b", 1)
	claim(t, a, "p", 1)
	claim(t, a, "q", 1)
	merge(t, b, a.State())
	claim(t, a, "k", 1)
	claim(t, b, "k", 1) // of the same time as a's, which is first by its name
	a.Appear("b", 1)
	merge(t, a, b.State())
	wantHolder(t, a, "k", "a#1/1")
}

// What is merged from one node says nothing of others, and is not passed on.
func TestMergeFrom(t *testing.T) {
	a, b, c := newReplica(t, "a", 1), newReplica(t, "b", 1), newReplica(t, "c", 1)
	for _, r := range []*cluster.Replica{b, c} {
		r.Appear("a", 1)
	}
	c.Appear("b", 1)
	who := cluster.Actor{ID: 7, Type: "t", Node: 1 << 63}
	wantErr(t, "claim", a.Claim("x", who, nil), nil)
	deltas := a.Deltas()
	for _, d := range deltas {
		wantErr(t, "merge", b.MergeFrom("a", 1, d), nil)
	}
	if e, ok := b.Lookup("x"); !ok || e.Actor != who {
		t.Errorf("x is %v, %v", e, ok)
	}
	if passed := b.Deltas(); len(passed) != 0 {
		t.Errorf("%d deltas are passed on", len(passed))
	}
	for _, state := range append(deltas, a.Own(), b.State()) {
		if c.MergeFrom("b", 1, state) == nil {
			t.Error("b speaks for a")
		}
	}
	if c.MergeFrom("a", 2, a.Own()) == nil {
		t.Error("an incarnation speaks for another one")
	}
	if e, ok := c.Lookup("x"); ok {
		t.Errorf("x is %v", e)
	}
}
