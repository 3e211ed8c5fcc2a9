package remote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/remote/internal/pki"
)

// maxQueries bounds the Locates of a node that wait for other nodes, and so those that one peer has standing here.
const maxQueries = 4096

// Lookup asks the node called peer, which may be n itself, who has a name or alias there, and returns its answer: the actor was alive
// then. With proto.Message for M it is whoever has the name, whatever that takes.
// Errors: actor.ErrNoName (nobody has it), actor.ErrWrongType (who has it takes other messages), ErrNoPeer (the peer is not up),
// actor.ErrNodeDown (it was declared down meanwhile), ErrRefused, actor.ErrBadName, ErrStopped, ctx's own.
func Lookup[M proto.Message](ctx context.Context, n *Node, peer, name string) (actor.Ref[M], error) {
	r, err := n.lookup(ctx, peer, name, wantOf[M]())
	if err != nil {
		return actor.Ref[M]{}, fmt.Errorf("remote: look up %.80q at %q: %w", name, peer, err)
	}
	return actor.Ref[M]{AnyRef: r}, nil
}

// Locate is a standing query for a name or alias: it returns the actor of this node that has it, or else the one of another node that is found
// first, and waits under ctx for one to appear, here, at the peers that are up, or at those that come up later. What one of them answers
// ends nothing but if it has the name. at limits it to nodes of these names, which need not be up yet; this node's own may be among them.
// An actor suspends, holding no slot; any other goroutine blocks. A query that is over leaves nothing behind, here and elsewhere.
//
// Who has the name of this node and takes other messages than M ends it with actor.ErrWrongType. One elsewhere is passed over, unless at
// leaves nobody else to ask; what was passed over is in the error when ctx ends. With proto.Message for M anybody will do.
// Errors: ctx's own (there is no other deadline); actor.ErrWrongType; ErrLimit (4,096 of this node wait already); ErrRefused (by all that at
// names); ErrStopped, actor.ErrStopped; actor.ErrBadName; and for an actor an interrupt, actor.ErrForeignGoroutine, actor.ErrEnded,
// actor.ErrInBlock.
func Locate[M proto.Message](ctx context.Context, n *Node, name string, at ...string) (actor.Ref[M], error) {
	r, err := n.locate(ctx, name, wantOf[M](), at)
	if err != nil {
		return actor.Ref[M]{}, fmt.Errorf("remote: locate %.80q: %w", name, err)
	}
	return actor.Ref[M]{AnyRef: r}, nil
}

// wanted is the type of message that an actor should take: "" for any.
type wanted string

var anyMessage = actor.MessageName[proto.Message]()

func wantOf[M proto.Message]() wanted {
	if name := actor.MessageName[M](); name != anyMessage {
		return wanted(name)
	}
	return ""
}

// fits says, as an error, whether who takes messages of that type is wanted. Of one that does not say it is believed.
func (w wanted) fits(takes string) error {
	if w == "" || takes == "" || takes == string(w) {
		return nil
	}
	return fmt.Errorf("%w: it takes %.300s, and not %s", actor.ErrWrongType, takes, w)
}

// own is who has the name at this node, if anybody does.
func (n *Node) own(name string, want wanted) (actor.AnyRef, error) {
	r, ok := n.sys.Lookup(name)
	if ok {
		return r, want.local(r)
	}
	return r, actor.ErrNoName
}

// local is fits for an actor of this node; ErrNoName if it has ended.
func (w wanted) local(r actor.AnyRef) error {
	takes, ok := r.Takes()
	if !ok {
		return actor.ErrNoName
	}
	return w.fits(takes)
}

// holder is the actor that a peer's answer names.
func (n *Node) holder(m proto.Message, want wanted) (actor.AnyRef, error) {
	h, ok := m.(*greenroomv1.NameHolder)
	if !ok {
		return actor.AnyRef{}, fmt.Errorf("the answer is a %T: %w", m, actor.ErrWrongType)
	}
	r, err := n.sys.RefFromProto(h.GetRef())
	if err == nil && r.IsZero() {
		err = actor.ErrNoName
	}
	if err == nil {
		err = want.fits(h.GetTakes())
	}
	return r, err
}

func (n *Node) lookup(ctx context.Context, peer, name string, want wanted) (actor.AnyRef, error) {
	if n.none() {
		return actor.AnyRef{}, errNoNode
	}
	if err := actor.CheckName(name); err != nil {
		return actor.AnyRef{}, err
	}
	if ctx == nil {
		return actor.AnyRef{}, actor.ErrNilContext
	}
	if peer == n.name {
		return n.own(name, want)
	}
	far := n.farOf(peer)
	switch {
	case n.ctx.Err() != nil:
		return actor.AnyRef{}, ErrStopped
	case far == nil:
		return actor.AnyRef{}, ErrNoPeer
	}
	to := actor.Ref[*greenroomv1.NameQuery]{AnyRef: far.service(namesService)}
	m, err := actor.Call[*greenroomv1.NameHolder](ctx, to, &greenroomv1.NameQuery{Name: name})
	if err != nil {
		return actor.AnyRef{}, err
	}
	return n.holder(m, want)
}

func (n *Node) locate(ctx context.Context, name string, want wanted, at []string) (actor.AnyRef, error) {
	if n.none() {
		return actor.AnyRef{}, errNoNode
	}
	if err := actor.CheckName(name); err != nil {
		return actor.AnyRef{}, err
	}
	if ctx == nil {
		return actor.AnyRef{}, actor.ErrNilContext
	}
	q := &query{n: n, name: name, want: want, here: len(at) == 0 || slices.Contains(at, n.name), asks: make(map[string]*ask)}
	if len(at) > 0 {
		q.at = make(map[string]error)
		for _, peer := range at {
			if err := pki.CheckName(peer); err != nil {
				return actor.AnyRef{}, fmt.Errorf("a node's name: %w", err)
			}
			if peer != n.name {
				q.at[peer] = nil
			}
		}
	}
	if q.here {
		if r, err := n.own(name, want); !errors.Is(err, actor.ErrNoName) {
			return r, err
		}
	}
	return q.run(ctx)
}

// query is one Locate that waits.
type query struct {
	n    *Node
	name string
	want wanted
	here bool
	news actor.Event
	ctx  context.Context // ends with the query
	end  context.CancelFunc

	mu     sync.Mutex
	at     map[string]error // nil: anywhere; else who is asked, and why one of them is not asked any more
	asks   map[string]*ask  // by peer
	up     []string         // peers that have come up, and are not asked yet
	holder actor.AnyRef     // who has the name here
	found  actor.AnyRef     // who has it elsewhere
	err    error            // why the query ends
	passed []string         // who was passed over
	over   bool
}

// ask is a query that stands at a peer.
type ask struct {
	s     *session
	id    uint64 // 0: it is on its way
	again int    // how often somebody was passed over there
}

// run asks and waits until somebody is found.
func (q *query) run(ctx context.Context) (actor.AnyRef, error) {
	if len(q.at) > 0 || q.at == nil {
		if q.n.queries.Add(1) > maxQueries {
			q.n.queries.Add(-1)
			return actor.AnyRef{}, fmt.Errorf("%d of this node wait already: %w", maxQueries, ErrLimit)
		}
		defer q.n.queries.Add(-1)
	}
	q.ctx, q.end = context.WithCancel(q.n.ctx)
	defer q.finish()
	if q.here {
		stop, err := q.n.sys.Names().Watch(q.name, q.changed, func() { q.fail(actor.ErrStopped) })
		if err != nil {
			return actor.AnyRef{}, err
		}
		defer stop()
	}
	stop, err := q.n.watchPeersBy(&peerWatcher{tell: q.peer, end: func() { q.fail(ErrStopped) }})
	if err != nil {
		return actor.AnyRef{}, err
	}
	defer stop()
	for {
		if err := q.news.Wait(ctx); err != nil {
			return actor.AnyRef{}, q.explain(err)
		}
		q.news.Clear()
		if r, err := q.step(); !r.IsZero() || err != nil {
			return r, err
		}
	}
}

// step looks at what has come in. The zero ref without an error says that there is more to wait for.
func (q *query) step() (actor.AnyRef, error) {
	q.mu.Lock()
	here, found, up, err := q.holder, q.found, q.up, q.err
	q.up = nil
	q.mu.Unlock()
	if !here.IsZero() {
		if err := q.want.local(here); !errors.Is(err, actor.ErrNoName) {
			return here, err
		}
	}
	if !found.IsZero() || err != nil {
		return found, err
	}
	for _, peer := range up {
		q.send(peer, 0, 0)
	}
	return actor.AnyRef{}, nil
}

// changed is told who has the name here, under the name's lock.
func (q *query) changed(r actor.AnyRef) {
	q.mu.Lock()
	q.holder = r
	q.mu.Unlock()
	if !r.IsZero() {
		q.news.Set()
	}
}

func (q *query) fail(err error) {
	q.mu.Lock()
	if q.err == nil {
		q.err = err
	}
	q.mu.Unlock()
	q.news.Set()
}

// peer is told of peers, under the node's lock.
func (q *query) peer(e PeerEvent) {
	if e.Status != PeerUp {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if why, wanted := q.at[e.Peer.Name]; q.at != nil && (!wanted || why != nil) {
		return
	}
	q.up = append(q.up, e.Peer.Name)
	q.news.Set()
}

// send has the peer asked, by a goroutine that lives until the question is on its way: a peer that reads slowly holds up nobody else.
// One where somebody was passed over more than once waits longer and longer: it may go on like that.
func (q *query) send(peer string, except uint64, again int) {
	q.n.begin(func() {
		if again > 1 {
			q.n.pauseIn(q.ctx, min(redialFirst<<min(again, 10), redialLast))
		}
		q.ask(peer, except, again)
	})
}

func (q *query) ask(peer string, except uint64, again int) {
	far := q.n.farOf(peer)
	if far == nil {
		return // down again: its coming up will be told
	}
	s, err := far.way()
	if err != nil {
		return
	}
	a := &ask{s: s, again: again}
	q.mu.Lock()
	if old := q.asks[peer]; q.over || old != nil && old.s == s {
		q.mu.Unlock()
		return
	}
	q.asks[peer] = a
	q.mu.Unlock()
	m := &greenroomv1.NameQuery{Name: q.name, Wait: true, Except: except}
	id, err := s.ask(q.ctx, far.service(namesService), m, func(m proto.Message, err error) { q.answered(peer, a, m, err) })
	if err != nil {
		q.answered(peer, a, nil, err)
		return
	}
	q.mu.Lock()
	a.id = id
	over := q.over
	q.mu.Unlock()
	if over {
		s.cancel(id)
	}
}

// answered takes a peer's answer. It runs where that is read.
func (q *query) answered(peer string, a *ask, m proto.Message, err error) {
	var r actor.AnyRef
	if err == nil {
		r, err = q.n.holder(m, q.want)
	}
	if q.settle(peer, a, r, err) {
		q.send(peer, r.ID(), a.again+1) // somebody else may get the name there
	}
}

// settle takes an answer, and says whether the peer is to be asked for somebody else than r.
func (q *query) settle(peer string, a *ask, r actor.AnyRef, err error) (again bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.over || q.asks[peer] != a {
		return false
	}
	delete(q.asks, peer)
	switch {
	case err == nil:
		q.found = r
		q.news.Set()
	case errors.Is(err, actor.ErrNodeDown), errors.Is(err, actor.ErrStopped), errors.Is(err, ErrStopped), errors.Is(err, context.Canceled):
		// When it comes up again it is asked again.
	case q.at != nil:
		q.refused(peer, err)
	default:
		q.pass(peer, err)
		return errors.Is(err, actor.ErrWrongType) && !r.IsZero()
	}
	return false
}

// refused notes that one of those who are to be asked will not do. The caller holds the lock.
func (q *query) refused(peer string, err error) {
	q.at[peer] = err
	q.pass(peer, err)
	if q.here {
		return
	}
	for _, why := range q.at {
		if why == nil {
			return
		}
	}
	q.err = fmt.Errorf("%s: %w", peer, err)
	q.news.Set()
}

// maxPassed bounds what an error tells of those who were passed over.
const maxPassed = 8

func (q *query) pass(peer string, err error) {
	q.n.log.Warn("a peer is passed over in the search for a name", "name", q.name, "peer", peer, "reason", err.Error())
	if len(q.passed) < maxPassed {
		q.passed = append(q.passed, fmt.Sprintf("%s: %v", peer, err))
	}
}

// explain adds to ctx's error what was passed over.
func (q *query) explain(err error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.passed) == 0 {
		return err
	}
	return fmt.Errorf("%w (passed over: %s)", err, strings.Join(q.passed, "; "))
}

// finish withdraws the query from all peers.
func (q *query) finish() {
	q.end()
	q.mu.Lock()
	q.over = true
	var asks []ask
	for _, a := range q.asks {
		if a.id != 0 { // else whoever is asking sees that it is over
			asks = append(asks, *a)
		}
	}
	q.asks = nil
	q.mu.Unlock()
	for _, a := range asks {
		a.s.cancel(a.id)
	}
}

// serveNames is the service that others ask for names here.
func (s *session) serveNames(back *incoming, m proto.Message) error {
	switch m := m.(type) {
	case *greenroomv1.NameQuery:
		if back != nil {
			s.askedFor(back, m)
			return nil
		}
	case *greenroomv1.NamesSubscribe:
		if back == nil {
			s.node.naming.subscribed(s)
			return nil
		}
	case *greenroomv1.NamesPublished:
		if back == nil {
			s.node.naming.published(s, m.GetState())
			return nil
		}
	}
	return fmt.Errorf("remote: the names service takes no %T like this: %w", m, actor.ErrWrongType)
}

// askedFor answers a peer's query.
func (s *session) askedFor(back *incoming, m *greenroomv1.NameQuery) {
	if err := actor.CheckName(m.GetName()); err != nil {
		back.refuse(err)
		return
	}
	if r, ok := s.node.sys.Lookup(m.GetName()); ok && answerWith(back, r, m.GetExcept()) {
		return
	}
	switch {
	case !m.GetWait():
		back.refuse(actor.ErrNoName)
	case s.queries.Add(1) > maxQueries:
		s.queries.Add(-1)
		back.refuse(fmt.Errorf("remote: %d queries of %s stand here already: %w", maxQueries, s.far, ErrLimit))
	default:
		(&standing{s: s, back: back, except: m.GetExcept()}).begin(m.GetName())
	}
}

// answerWith answers with r, unless that has ended or is not wanted.
func answerWith(back *incoming, r actor.AnyRef, except uint64) bool {
	if r.IsZero() || r.ID() == except {
		return false
	}
	takes, ok := r.Takes()
	if ok {
		back.Answered(&greenroomv1.NameHolder{Ref: r.Proto(), Takes: takes}, nil)
	}
	return ok
}

// standing is a peer's query that waits for somebody to have the name.
type standing struct {
	s      *session
	back   *incoming
	except uint64

	mu      sync.Mutex
	holder  actor.AnyRef
	running bool   // a goroutine looks at the holder
	stop    func() // ends the watch
	over    bool
}

func (w *standing) begin(name string) {
	stop, err := w.s.node.sys.Names().Watch(name, w.changed, w.closed)
	if err != nil {
		w.back.refuse(err)
		w.end()
		return
	}
	w.mu.Lock()
	w.stop = stop
	over := w.over
	w.mu.Unlock()
	if over {
		stop()
	}
	w.back.begun(w.end)
}

// changed is told who has the name, under the name's lock, where it must not be looked at.
func (w *standing) changed(r actor.AnyRef) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holder = r
	if !r.IsZero() && r.ID() != w.except && !w.running && !w.over {
		w.running = w.s.node.begin(w.look)
	}
}

func (w *standing) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.over {
		r := w.holder
		w.mu.Unlock()
		told := answerWith(w.back, r, w.except)
		if told {
			w.end()
		}
		w.mu.Lock()
		if told || w.holder == r {
			break
		}
	}
	w.running = false
}

func (w *standing) closed() {
	w.s.node.begin(func() {
		w.back.refuse(actor.ErrStopped)
		w.end()
	})
}

// end withdraws the query: it was answered, given up, or the session is over.
func (w *standing) end() {
	w.mu.Lock()
	was, stop := w.over, w.stop
	w.over = true
	w.mu.Unlock()
	if was {
		return
	}
	w.s.queries.Add(-1)
	if stop != nil {
		stop()
	}
}
