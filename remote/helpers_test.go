package remote_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote"
	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/link/simlink"
)

type (
	text = wrapperspb.StringValue
	blob = wrapperspb.BytesValue
)

// downAfter is that of all nodes of a world.
const downAfter = 5 * time.Second

// world is a simulated network with nodes, in a bubble: its time is virtual.
type world struct {
	*testing.T
	net  *simlink.Network
	rand *rand.Rand
	log  *record
	all  []*member
}

// member is a node of a world.
type member struct {
	*remote.Node
	w      *world
	sys    *actor.System
	addr   string
	killed bool
}

// inWorld runs f in a world whose nodes are stopped, and their ledgers looked at, in the end.
func inWorld(t *testing.T, seed uint64, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, net: simlink.New(seed), rand: rand.New(rand.NewPCG(seed, 1)), log: new(record)}
		defer func() {
			for _, m := range w.all {
				m.leave()
			}
			if t.Failed() {
				t.Logf("seed %d; the log:\n%s", seed, w.log)
			}
		}()
		f(w)
	})
}

// node starts a node that is linked to those named.
func (w *world) node(name string, change ...func(o *remote.Options)) *member {
	w.Helper()
	return w.nodeAt(name, name+":1", change...)
}

func (w *world) nodeAt(name, addr string, change ...func(o *remote.Options)) *member {
	w.Helper()
	sys, err := actor.NewSystem(actor.SystemOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.Fatal(err)
	}
	o := remote.Options{Name: name, DownAfter: downAfter, Logger: slog.New(slog.NewTextHandler(w.log, nil))}
	for _, f := range change {
		f(&o)
	}
	n, err := remote.Start(sys, remote.Over(o, addr, w.net.Node(addr, identity(name))))
	if err != nil {
		w.Fatal(err)
	}
	m := &member{Node: n, w: w, sys: sys, addr: addr}
	w.all = append(w.all, m)
	return m
}

// peers has a node stay linked to others.
func peers(addrs ...string) func(o *remote.Options) {
	return func(o *remote.Options) { o.Peers = addrs }
}

// pair starts two nodes, a and b, that are linked.
func (w *world) pair(change ...func(o *remote.Options)) (a, b *member) {
	w.Helper()
	a = w.node("a", change...)
	b = w.node("b", append(change, peers("a:1"))...)
	b.meets(a)
	return a, b
}

// meets waits until both nodes have each other up.
func (m *member) meets(other *member) {
	m.w.Helper()
	if _, err := m.Peer(m.w.patient(), other.Name()); err != nil {
		m.w.Fatal(err)
	}
	if _, err := other.Peer(m.w.patient(), m.Name()); err != nil {
		m.w.Fatal(err)
	}
}

// leave stops the node and its System.
func (m *member) leave() {
	m.w.Helper()
	if m.killed {
		return
	}
	m.killed = true
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_ = m.Stop(ctx)
	if l := settle(m.w, m.sys); !l.Balanced() {
		m.w.Errorf("ledger of %s: %v", m.Name(), l)
	}
	if err := m.sys.Stop(ctx); err != nil {
		m.w.Errorf("stop %s: %v", m.Name(), err)
	}
	if l := m.sys.Ledger(); !l.Balanced() {
		m.w.Errorf("ledger of %s when it has stopped: %v", m.Name(), l)
	}
}

// crash ends the node without a word.
func (m *member) crash() {
	m.w.net.Kill(m.addr)
	m.leave()
}

// session is what there is with a peer.
func (m *member) session(other *member) remote.Session {
	m.w.Helper()
	s, ok := remote.SessionWith(m.Node, other.Name())
	if !ok {
		m.w.Fatalf("%s has no session with %s", m.Name(), other.Name())
	}
	return s
}

// patient is a context for what must come by itself.
func (w *world) patient() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	w.Cleanup(cancel)
	return ctx
}

// settle waits until nothing runs in a System, and returns its ledger.
func settle(t testing.TB, sys *actor.System) (l actor.Ledger) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for range 100 {
		if err := sys.Quiesce(ctx); err != nil {
			t.Fatalf("quiesce: %v", err)
		}
		if l = sys.Ledger(); l.Exact {
			return l
		}
	}
	t.Fatalf("no rest: %v", l)
	return l
}

// at is a ref of another node's actor.
func at[M proto.Message](m *member, r actor.Ref[M]) actor.Ref[M] {
	m.w.Helper()
	there, err := actor.TypedRefFromProto[M](m.sys, r.Proto())
	if err != nil {
		m.w.Fatal(err)
	}
	return there
}

// await returns what ch brings.
func await[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(10 * time.Minute):
		t.Fatal("an event did not come")
		panic("unreachable")
	}
}

// runs spawns an actor that runs f once, and returns what tells that it is over.
func runs(m *member, f func(ctx *actor.Context) error) <-chan error {
	m.w.Helper()
	done := make(chan error, 1)
	ref := actor.MustSpawn(m.sys, actor.Handler(func(ctx *actor.Context, _ *text) error {
		err := f(ctx)
		done <- err
		ctx.Stop()
		return nil
	}))
	if err := ref.Send(context.Background(), wrapperspb.String("go")); err != nil {
		m.w.Fatal(err)
	}
	return done
}

// holds fails the test if f's error is not nil.
func holds(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// wants fails the test unless err is target.
func wants(t testing.TB, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: %v, want %v", what, err, target)
	}
}

// between fails the test unless that much time has passed since then.
func between(t testing.TB, what string, since time.Time, low, high time.Duration) {
	t.Helper()
	if d := time.Since(since); d < low || d > high {
		t.Errorf("%s after %v, want %v to %v", what, d, low, high)
	}
}

// record is a log in memory.
type record struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.b.Len() > 1<<20 {
		return len(p), nil
	}
	return r.b.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}

func (r *record) says(what string) bool { return strings.Contains(r.String(), what) }

// letters collects the dead letters of a System.
type letters struct {
	mu  sync.Mutex
	all []actor.DeadLetter
}

func watchLetters(sys *actor.System) *letters {
	l := new(letters)
	sys.SubscribeDeadLetters(func(d actor.DeadLetter) {
		l.mu.Lock()
		l.all = append(l.all, d)
		l.mu.Unlock()
	})
	return l
}

func (l *letters) list() []actor.DeadLetter {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]actor.DeadLetter(nil), l.all...)
}

// count is how many there are for that reason.
func (l *letters) count(why actor.DeadReason) (n int) {
	for _, d := range l.list() {
		if d.Reason == why {
			n++
		}
	}
	return n
}

// parcel makes a message of a stream: who sends it, the how manieth it is, and that many bytes more.
func parcel(from, seq, more int) *blob {
	b := make([]byte, 16+more)
	binary.LittleEndian.PutUint64(b, uint64(from))    //nolint:gosec // small
	binary.LittleEndian.PutUint64(b[8:], uint64(seq)) //nolint:gosec // small
	return wrapperspb.Bytes(b)
}

func opened(m *blob) (from, seq int) {
	b := m.GetValue()
	return int(binary.LittleEndian.Uint64(b)), int(binary.LittleEndian.Uint64(b[8:])) //nolint:gosec // small
}

// sink is an actor that notes what comes from whom.
type sink struct {
	ref actor.Ref[*blob]

	mu   sync.Mutex
	last map[int]int // the last of each sender's
	n    int
	want int
	done chan struct{}
	bad  string
}

// newSink starts a sink. strict: nothing may be missing; else later ones may come where earlier ones were lost.
func newSink(m *member, want int, strict bool, o ...actor.Options) *sink {
	s := &sink{last: map[int]int{}, want: want, done: make(chan struct{})}
	s.ref = actor.MustSpawn(m.sys, actor.Handler(func(_ *actor.Context, b *blob) error {
		s.take(b, strict)
		return nil
	}), o...)
	return s
}

func (s *sink) take(b *blob, strict bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from, seq := opened(b)
	last, ok := s.last[from]
	if !ok {
		last = -1
	}
	if (seq <= last || strict && seq != last+1) && s.bad == "" {
		s.bad = fmt.Sprintf("message %d of sender %d after %d", seq, from, last)
	}
	s.last[from] = seq
	if s.n++; s.n == s.want {
		close(s.done)
	}
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

func (s *sink) check(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bad != "" {
		t.Error(s.bad)
	}
}

// pass lets virtual time pass: for what happens in a bubble only.
func pass(d time.Duration) { <-time.After(d) }

func identity(name string) link.Identity { return link.Identity{Name: name, Roles: link.AllRoles} }

// The policies of package mailbox, which this one may not import.
const (
	reject = iota
	suspend
	dropNewest
	dropOldest
)

// bounded is a mailbox with a policy.
func bounded(capacity, policy int) actor.Mailbox {
	m := actor.Mailbox{Capacity: capacity}
	for range policy {
		m.Overflow++
	}
	return m
}
