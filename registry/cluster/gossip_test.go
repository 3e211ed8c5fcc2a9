package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/registry/cluster"
)

// patience bounds every wait for an event that must come.
const patience = 20 * time.Second

// The tests of this file open sockets, all on the loopback interface, and wait for what is told.

func key(b byte) []byte { return bytes.Repeat([]byte{b}, cluster.KeyBytes) }

// fast are options with which a failure is found within a second.
func fast(t *testing.T) cluster.GossipOptions {
	t.Helper()
	return cluster.GossipOptions{
		Key: key('k'), ProbeInterval: 100 * time.Millisecond, ProbeTimeout: 80 * time.Millisecond, GossipInterval: 10 * time.Millisecond,
		SyncInterval: time.Second, SeedInterval: 200 * time.Millisecond, StreamTimeout: 2 * time.Second, Logger: slog.New(slog.DiscardHandler),
	}
}

// peer is a running Gossip and what it was told.
type peer struct {
	*cluster.Gossip

	t    *testing.T
	mu   sync.Mutex
	news sync.Cond
	seen []string
}

func (p *peer) tell(e cluster.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, fmt.Sprint(e.Kind, " ", e.Member))
	p.news.Broadcast()
}

// await waits until a text was told that was not awaited before. What is told of others has no order.
func (p *peer) await(text string) {
	p.t.Helper()
	late := time.AfterFunc(patience, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.news.Broadcast()
	})
	defer late.Stop()
	until := time.Now().Add(patience)
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for i, s := range p.seen {
			if s == text {
				p.seen = slices.Delete(p.seen, i, i+1)
				return
			}
		}
		if time.Now().After(until) {
			p.t.Fatalf("%v was not told %q, but %q", p.Self(), text, p.seen)
		}
		p.news.Wait()
	}
}

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func newPeer(t *testing.T, o cluster.GossipOptions) *peer {
	t.Helper()
	g, err := cluster.NewGossip(o)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{Gossip: g, t: t}
	p.news.L = &p.mu
	t.Cleanup(func() { wantErr(t, "close", g.Close(), nil) })
	return p
}

func member(name string, incarnation uint64) cluster.Member {
	return cluster.Member{Name: name, Incarnation: incarnation, Addr: "127.0.0.1:7000"}
}

func startPeer(t *testing.T, o cluster.GossipOptions, m cluster.Member, seeds ...*peer) *peer {
	t.Helper()
	p := newPeer(t, o)
	if err := p.Start(patient(t), m, seedsOf(seeds...), p.tell); err != nil {
		t.Fatal(err)
	}
	return p
}

func seedsOf(peers ...*peer) cluster.Static {
	var seeds cluster.Static
	for _, p := range peers {
		seeds = append(seeds, p.Self().GossipAddr)
	}
	return seeds
}

// awaitHolder waits until the node sees that somebody has a name.
func awaitHolder(t *testing.T, p *peer, name, want string) {
	t.Helper()
	found := make(chan struct{})
	var once sync.Once
	stop, err := p.Names().Watch(name, func(e cluster.NameEvent) {
		if (want == "" && e.Entry.IsZero()) || e.Entry.String() == want {
			once.Do(func() { close(found) })
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	select {
	case <-found:
	case <-patient(t).Done():
		e, _ := p.Names().Lookup(name)
		t.Fatalf("%v sees that %q belongs to %v, want %q", p.Self(), name, e, want)
	}
}

// One seed is enough for all to find each other; records change; names and groups span the nodes; who leaves has left, who is killed
// has failed, and both take their names with them.
func TestGossip(t *testing.T) {
	o := fast(t)
	a := startPeer(t, o, member("a", 1))
	wantErr(t, "claim", a.Names().Claim("early", cluster.Actor{ID: 1, Type: "T"}, nil), nil)
	b := startPeer(t, o, member("b", 1), a)
	tagged := member("c", 1)
	tagged.Tags = map[string]string{"zone": "1"}
	c := startPeer(t, o, tagged, a)
	a.await("joined b#1")
	a.await("joined c#1")
	b.await("joined c#1")
	c.await("joined b#1")
	if got := fmt.Sprint(c.Members()); got != fmt.Sprint([]cluster.Member{a.Self(), b.Self(), c.Self()}) {
		t.Errorf("c knows %v", got)
	}
	awaitHolder(t, b, "early", "a#1/1")
	awaitHolder(t, c, "early", "a#1/1")

	wantErr(t, "update", b.Update(7, map[string]string{"zone": "2"}), nil)
	c.await("updated b#1")
	if m := c.Members()[1]; m.Load != 7 || m.Tags["zone"] != "2" || !m.Equal(b.Self()) {
		t.Errorf("c knows %+v of b", m)
	}
	wantErr(t, "claim", b.Names().Claim("b's", cluster.Actor{ID: 2}, nil), nil)
	wantErr(t, "claim", c.Names().Claim("c's", cluster.Actor{ID: 3}, nil), nil)
	awaitHolder(t, a, "b's", "b#1/2")
	awaitHolder(t, a, "c's", "c#1/3")
	wantErr(t, "claim what another has", a.Names().Claim("b's", cluster.Actor{ID: 4}, nil), cluster.ErrNameTaken)

	wantErr(t, "leave", b.Leave(patient(t)), nil)
	a.await("left b#1")
	c.await("left b#1")
	awaitHolder(t, a, "b's", "")
	wantErr(t, "close", c.Close(), nil)
	a.await("failed c#1")
	awaitHolder(t, a, "c's", "")
	wantErr(t, "update after the end", c.Update(1, nil), cluster.ErrNotStarted)
	wantErr(t, "join after the end", c.Join(patient(t), seedsOf(a)), cluster.ErrNotStarted)
	if got := c.Members(); got != nil {
		t.Errorf("members after the end: %v", got)
	}
}

// Many names are published before and after a node joins; a state that does not fit into a packet comes over a stream.
func TestGossipOfManyNames(t *testing.T) {
	o := fast(t)
	a := startPeer(t, o, member("a", 1))
	for i := range uint64(1000) {
		wantErr(t, "claim", a.Names().Claim(fmt.Sprint("name", i), cluster.Actor{ID: i, Type: strings.Repeat("t", 100)}, nil), nil)
	}
	b := startPeer(t, o, member("b", 1), a)
	for i := range uint64(1000) {
		wantErr(t, "enter", a.Names().Enter("g", cluster.Actor{ID: i}), nil)
	}
	wantErr(t, "claim", a.Names().Claim("last", cluster.Actor{ID: 1}, nil), nil)
	awaitHolder(t, b, "last", "a#1/1")
	awaitHolder(t, b, "name999", "a#1/999")
	if got := len(b.Names().Group("g")); got != 1000 {
		t.Errorf("b knows %d members", got)
	}
}

func TestWrongKey(t *testing.T) {
	a := startPeer(t, fast(t), member("a", 1))
	o := fast(t)
	o.Key = key('x')
	b := startPeer(t, o, member("b", 1))
	err := b.Join(patient(t), seedsOf(a))
	wantErr(t, "join with a wrong key", err, cluster.ErrNoSeeds)
	o.Key, o.OldKeys = key('n'), [][]byte{key('k')}
	c := startPeer(t, o, member("c", 1))
	wantErr(t, "join with a new key that the other does not have", c.Join(patient(t), seedsOf(a)), cluster.ErrNoSeeds)
	o.Key, o.OldKeys = key('k'), [][]byte{key('n')}
	d := startPeer(t, o, member("d", 1), a)
	a.await("joined d#1")
	d.await("joined a#1")
	if got := a.Members(); len(got) != 2 {
		t.Errorf("a knows %v", got)
	}
}

// A node that has died and is back is the member at once, wherever it listens now.
func TestRestart(t *testing.T) {
	o := fast(t)
	o.ProbeInterval, o.Suspicion = time.Second, 1000 // nobody is found to have failed within this test
	a := startPeer(t, o, member("a", 1))
	old := startPeer(t, o, member("b", 1), a)
	wantErr(t, "claim", old.Names().Claim("x", cluster.Actor{ID: 1}, nil), nil)
	a.await("joined b#1")
	awaitHolder(t, a, "x", "b#1/1")
	wantErr(t, "close", old.Close(), nil)
	next := startPeer(t, o, member("b", 2), a)
	a.await("failed b#1")
	a.await("joined b#2")
	awaitHolder(t, a, "x", "")
	wantErr(t, "claim", next.Names().Claim("x", cluster.Actor{ID: 2}, nil), nil)
	awaitHolder(t, a, "x", "b#2/2")
	wantErr(t, "close", next.Close(), nil)
	o.Bind = next.Self().GossipAddr
	startPeer(t, o, member("b", 3), a)
	a.await("failed b#2")
	a.await("joined b#3")
}

// A second living node of a name is refused, whatever its incarnation, and nobody hears of it.
func TestSecondNodeOfAName(t *testing.T) {
	o := fast(t)
	var log notes
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	a := startPeer(t, o, member("a", 1))
	b := startPeer(t, o, member("b", 5), a)
	a.await("joined b#5")
	for _, incarnation := range []uint64{5, 9} {
		second := newPeer(t, o)
		err := second.Start(patient(t), member("b", incarnation), seedsOf(a, b), second.tell)
		wantErr(t, fmt.Sprint("start incarnation ", incarnation), err, cluster.ErrNameTaken)
		if err == nil || !strings.Contains(err.Error(), b.Self().GossipAddr) {
			t.Errorf("the error does not say where the other is: %v", err)
		}
	}
	c := startPeer(t, o, member("c", 1), a)
	c.await("joined b#5")
	a.await("joined c#1") // and nothing of another b before
	log.mu.Lock()
	defer log.mu.Unlock()
	for _, text := range []string{"another node of this node's name", "the same name and incarnation"} {
		if !strings.Contains(log.b.String(), text) {
			t.Errorf("nothing was logged of %q", text)
		}
	}
}

// When two halves of a cluster meet that have a node of the same name each, the younger one is told and is out.
func TestHalvesMeet(t *testing.T) {
	o := fast(t)
	a := startPeer(t, o, member("a", 1))
	old := startPeer(t, o, member("x", 1), a)
	b := startPeer(t, o, member("b", 1))
	young := startPeer(t, o, member("x", 2), b)
	a.await("joined x#1")
	b.await("joined x#2")
	wantErr(t, "claim", young.Names().Claim("n", cluster.Actor{ID: 2}, nil), nil)
	wantErr(t, "claim", old.Names().Claim("n", cluster.Actor{ID: 1}, nil), nil)
	awaitHolder(t, b, "n", "x#2/2")
	wantErr(t, "join", b.Join(patient(t), seedsOf(a)), nil)
	young.await("displaced x#1")
	b.await("joined x#1")
	awaitHolder(t, b, "n", "x#1/1")
	wantErr(t, "update", young.Update(1, nil), cluster.ErrNotStarted)
	a.await("joined b#1")
}

// The seeds are asked for again, so it does not matter who starts first, nor that a seed is nobody.
func TestSeedsComeLate(t *testing.T) {
	o := fast(t)
	first := startPeer(t, o, member("first", 1))
	o.Bind = first.Self().GossipAddr
	wantErr(t, "close", first.Close(), nil)
	rest := fast(t)
	a := newPeer(t, rest)
	if err := a.Start(patient(t), member("a", 1), cluster.Static{o.Bind}, a.tell); err != nil {
		t.Fatal(err)
	}
	startPeer(t, o, member("late", 1))
	a.await("joined late#1")
}

func TestAdvertise(t *testing.T) {
	o := fast(t)
	o.Advertise = "127.0.0.2"
	a := startPeer(t, o, member("a", 1))
	if got := a.Self().GossipAddr; !strings.HasPrefix(got, "127.0.0.2:") {
		t.Errorf("it is said to be at %s", got)
	}
	o.Bind, o.Advertise = "[::1]:0", ""
	b := startPeer(t, o, member("b", 1))
	if got := b.Self().GossipAddr; !strings.HasPrefix(got, "[::1]:") {
		t.Errorf("it is said to be at %s", got)
	}
	startPeer(t, o, member("c", 1), b)
	b.await("joined c#1")
}

func TestBadOptions(t *testing.T) {
	for what, o := range map[string]cluster.GossipOptions{
		"no key":          {},
		"short key":       {Key: make([]byte, 16)},
		"short old key":   {Key: key(1), OldKeys: [][]byte{nil}},
		"host":            {Key: key(1), Bind: "localhost:0"},
		"no port":         {Key: key(1), Bind: "127.0.0.1"},
		"all addresses":   {Key: key(1), Bind: "0.0.0.0:0"},
		"all of IPv6":     {Key: key(1), Bind: "[::]:0"},
		"zone":            {Key: key(1), Bind: "[fe80::1%lo]:0"},
		"advertise all":   {Key: key(1), Advertise: "0.0.0.0:1"},
		"advertise host":  {Key: key(1), Advertise: "localhost"},
		"negative time":   {Key: key(1), ProbeInterval: -1},
		"negative number": {Key: key(1), Suspicion: -1},
	} {
		if _, err := cluster.NewGossip(o); err == nil || !strings.Contains(err.Error(), "give") && !strings.Contains(err.Error(), "must") && !strings.Contains(err.Error(), "cannot") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestBadMembers(t *testing.T) {
	large := member("a", 1)
	large.Tags = map[string]string{"k": strings.Repeat("v", cluster.MaxRecordBytes)}
	for _, c := range []struct {
		what string
		m    cluster.Member
		want error
	}{
		{"no name", member("", 1), cluster.ErrBadMember},
		{"long name", member(strings.Repeat("n", cluster.MaxNodeBytes+1), 1), cluster.ErrBadMember},
		{"no address", cluster.Member{Name: "a"}, cluster.ErrBadMember},
		{"port 0", cluster.Member{Name: "a", Addr: "h:0"}, cluster.ErrBadMember},
		{"no host", cluster.Member{Name: "a", Addr: ":1"}, cluster.ErrBadMember},
		{"large", large, cluster.ErrRecordTooLarge},
	} {
		wantErr(t, c.what, newPeer(t, fast(t)).Start(patient(t), c.m, nil, func(cluster.Event) {}), c.want)
	}
	p := newPeer(t, fast(t))
	if p.Names() != nil || p.Members() != nil {
		t.Error("there is something before Start")
	}
	wantErr(t, "join before Start", p.Join(patient(t), nil), cluster.ErrNotStarted)
	wantErr(t, "start", p.Start(patient(t), member("a", 0), nil, p.tell), nil)
	if p.Self().Incarnation == 0 {
		t.Error("it has no incarnation")
	}
	wantErr(t, "start again", p.Start(patient(t), member("a", 0), nil, p.tell), cluster.ErrNotStarted)
	wantErr(t, "update", p.Update(1, large.Tags), cluster.ErrRecordTooLarge)
	wantErr(t, "join nobody", p.Join(patient(t), []string{p.Self().GossipAddr, "x"}), cluster.ErrNoSeeds)
	wantErr(t, "close", p.Close(), nil)
	wantErr(t, "leave after close", p.Leave(patient(t)), nil)
	done, cancel := context.WithCancel(patient(t))
	cancel()
	wantErr(t, "start in vain", newPeer(t, fast(t)).Start(done, member("a", 0), nil, p.tell), context.Canceled)
	taken := fast(t)
	taken.Bind = startPeer(t, fast(t), member("b", 1)).Self().GossipAddr
	if err := newPeer(t, taken).Start(patient(t), member("c", 1), nil, p.tell); err == nil || errors.Is(err, cluster.ErrNameTaken) {
		t.Errorf("bind a port that is taken: %v", err)
	}
}

// notes is a log.
type notes struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (n *notes) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.b.Write(b)
}
