package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// foundChannel is where a channel is: here, or on another node.
type foundChannel struct {
	typeName string
	pub      *publication // here
	s        *session     // elsewhere
	info     *greenroomv1.ChannelInfo
}

// search looks for a channel, here and on other nodes, until it is found.
type search struct {
	n      *Node
	name   string
	where  string
	ctx    context.Context
	stop   context.CancelFunc
	done   actor.Event
	mu     sync.Mutex
	found  *foundChannel
	err    error
	asked  map[*session]bool
	asking sync.WaitGroup
}

// findChannel finds a channel by name, as OpenChannel has it.
func (n *Node) findChannel(ctx context.Context, name, where string) (*foundChannel, error) {
	q := &search{n: n, name: name, where: where, asked: make(map[*session]bool)}
	q.ctx, q.stop = context.WithCancel(n.ctx)
	defer q.stop()
	defer context.AfterFunc(n.ctx, func() { q.end(nil, ErrStopped) })()
	if where == "" || where == n.name {
		found := func(p *publication) { q.end(&foundChannel{typeName: p.typeName, pub: p}, nil) }
		if err := n.channels.find(name, finder{q, found, func() bool { return q.ctx.Err() == nil }}); err != nil {
			return nil, err
		}
		defer n.channels.unfind(q)
	}
	if where != n.name && !q.done.IsSet() {
		if !n.begin(q.peers) {
			return nil, ErrStopped
		}
	}
	if err := q.done.Wait(ctx); err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.found, q.err
}

// end ends the search, with the first result.
func (q *search) end(f *foundChannel, err error) {
	q.mu.Lock()
	if q.found == nil && q.err == nil {
		q.found, q.err = f, err
	}
	q.mu.Unlock()
	q.stop()
	q.done.Set()
}

// peers asks each peer that is up, and each that comes up, until the search is over.
func (q *search) peers() {
	defer q.asking.Wait()
	for {
		var fresh []*session
		err := q.n.await(q.ctx, func() bool {
			for _, p := range q.n.peers {
				if !p.up || q.where != "" && p.name != q.where {
					continue
				}
				if s := p.now.sess.Load(); s != nil && !q.asked[s] {
					q.asked[s] = true
					fresh = append(fresh, s)
				}
			}
			return len(fresh) > 0
		})
		if err != nil {
			if errors.Is(err, ErrStopped) {
				q.end(nil, ErrStopped)
			}
			return
		}
		for _, s := range fresh {
			q.asking.Go(func() { q.ask(s) })
		}
	}
}

// ask asks one peer. It answers once it has such a channel.
func (q *search) ask(s *session) {
	to, ok := actor.TypedRef[*greenroomv1.ChannelRequest](s.far.service(channelsService))
	if !ok {
		return
	}
	m := &greenroomv1.ChannelRequest{What: &greenroomv1.ChannelRequest_Find{Find: &greenroomv1.ChannelFind{Name: q.name}}}
	info, err := actor.Call[*greenroomv1.ChannelInfo](q.ctx, to, m)
	switch {
	case err == nil:
		q.end(&foundChannel{typeName: info.GetTypeName(), s: s, info: info}, nil)
	case q.where != "" && !errors.Is(err, actor.ErrNodeDown) && q.ctx.Err() == nil:
		q.end(nil, err)
	}
}

// outlet is another node's channel as this node uses it. It lives as long as the session with the other, and as the channel.
type outlet struct {
	n       *Node
	s       *session
	id      actor.ChannelID
	name    string
	retain  bool
	typ     string
	gate    actor.AnyRef
	service actor.Ref[*greenroomv1.ChannelRequest]

	mu    sync.Mutex
	err   error  // why it is over
	proxy *proxy // nil while nobody here is subscribed
}

// outletFor is the outlet for a channel that was found.
func (n *Node) outletFor(name string, f *foundChannel) (*outlet, error) {
	id := actor.ChannelID{Node: f.s.far.id, ID: f.info.GetId()}
	gate, err := n.sys.RefAt(id.Node, f.info.GetGate())
	if err != nil {
		return nil, err
	}
	service, ok := actor.TypedRef[*greenroomv1.ChannelRequest](f.s.far.service(channelsService))
	if !ok {
		return nil, actor.ErrNodeDown
	}
	h := &n.channels
	h.mu.Lock()
	if o := h.outlets[id]; o != nil && o.s == f.s && o.gate == gate {
		h.mu.Unlock()
		return o, nil
	}
	if len(h.outlets) >= MaxChannels {
		h.mu.Unlock()
		return nil, fmt.Errorf("%d channels of other nodes are open: %w", MaxChannels, ErrLimit)
	}
	if h.outlets == nil {
		h.outlets = make(map[actor.ChannelID]*outlet)
	}
	o := &outlet{n: n, s: f.s, id: id, name: name, typ: f.typeName, retain: f.info.GetRetain(), gate: gate, service: service}
	h.outlets[id] = o
	h.mu.Unlock()
	if err := f.s.watch(actor.AnyRef{}, gate, randomID(), o.gateDown); err != nil {
		o.over(err)
		return nil, err
	}
	return o, nil
}

// gateDown hears that the home's gate, or the home, is no more.
func (o *outlet) gateDown(d actor.Down) {
	err := actor.ErrChannelClosed
	if d.Reason.Kind == actor.ReasonNodeDown {
		err = cmp.Or(d.Reason.Err, actor.ErrNodeDown)
		if !errors.Is(err, actor.ErrNodeDown) {
			err = fmt.Errorf("%w: %w", actor.ErrNodeDown, err)
		}
	}
	p := o.over(err)
	if p != nil && d.Reason.Kind == actor.ReasonNodeDown {
		p.homeDown()
	} // else the home says so itself, behind all messages
}

// over ends the outlet, and returns its proxy.
func (o *outlet) over(err error) *proxy {
	h := &o.n.channels
	h.mu.Lock()
	if h.outlets[o.id] == o {
		delete(h.outlets, o.id)
	}
	h.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
	return o.proxy
}

// state is why the outlet is over, nil while it is not.
func (o *outlet) state() error {
	o.mu.Lock()
	err := o.err
	o.mu.Unlock()
	if err == nil && o.s.ctx.Err() != nil {
		err = cmp.Or(o.s.downError(), actor.ErrNodeDown)
	}
	return err
}

func (o *outlet) current() *proxy {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.proxy
}

// deliver has the home deliver m.
func (o *outlet) deliver(ctx context.Context, m proto.Message, atLeast uint32) (int, error) {
	gate, ok := actor.TypedRef[*greenroomv1.ChannelDeliver](o.gate)
	if !ok {
		return 0, actor.ErrNodeDown
	}
	a, err := packed(m)
	if err != nil {
		return 0, err
	}
	d := &greenroomv1.ChannelDeliver{Node: o.n.sys.NodeID(), Id: randomID(), AtLeast: atLeast, Message: a}
	answered := false
	defer func() {
		if !answered { // also of one that is killed
			_ = o.say(&greenroomv1.ChannelRequest{What: &greenroomv1.ChannelRequest_Cancel{Cancel: &greenroomv1.ChannelCancel{Id: d.GetId()}}})
		}
	}()
	r, err := actor.Call[*greenroomv1.ChannelReached](ctx, gate, d)
	if err != nil {
		answered = o.s.ctx.Err() != nil
		var exit *actor.ExitError
		if errors.As(err, &exit) || errors.Is(err, actor.ErrStopped) {
			err = actor.ErrChannelClosed
		}
		return 0, err
	}
	answered = true
	return reachedFrom(o.n, o.s, r)
}

func reachedFrom(n *Node, s *session, r *greenroomv1.ChannelReached) (int, error) {
	reached := int(min(r.GetReached(), math.MaxInt32))
	if f := r.GetFailure(); f != nil {
		return reached, n.errorFrom(f, s.far.String())
	}
	return reached, nil
}

// say tells the home's service something. It does not wait.
func (o *outlet) say(m *greenroomv1.ChannelRequest) error {
	return o.s.tell(o.service.Any(), m)
}

// tell sends a small message from nobody without waiting for room. The sender bounds how many there are.
func (s *session) tell(to actor.AnyRef, m proto.Message) error {
	b := branch{s: s, pair: pair{0, to.ID()}}
	return b.word(m)
}

// endPoints asks the home how many end points there are.
func (o *outlet) endPoints(ctx context.Context) (int, error) {
	m := &greenroomv1.ChannelCount{Channel: o.id.ID, Node: o.n.sys.NodeID()}
	if p := o.current(); p != nil {
		m = p.counts()
	}
	r, err := actor.Call[*greenroomv1.ChannelReached](ctx, o.service, &greenroomv1.ChannelRequest{What: &greenroomv1.ChannelRequest_Count{Count: m}})
	if err != nil {
		return 0, err
	}
	return reachedFrom(o.n, o.s, r)
}

// proxy is what stands here for another node's channel: a local channel, and the actor that gets from the home what is sent.
type proxy struct {
	o    *outlet
	stem *actor.Stem
	keep any // the Channel
	ref  actor.AnyRef
	done actor.Event // set when it is attached, or cannot be
	err  error       // why not; there once done is set

	mu        sync.Mutex
	users     int // who is about to subscribe
	leaving   bool
	version   uint64
	stale     bool // the home has to be told how many end points there are
	reporting bool
}

// enter returns the proxy, and keeps it until leave. The first time it is made, with the channel that is made by channel.
func (o *outlet) enter(channel func() (*actor.Stem, any, error)) (*proxy, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return nil, o.err
	}
	if p := o.proxy; p != nil {
		p.mu.Lock()
		p.users++
		p.mu.Unlock()
		return p, nil
	}
	stem, keep, err := channel()
	if err != nil {
		return nil, err
	}
	p := &proxy{o: o, stem: stem, keep: keep, users: 1}
	ref, err := actor.Spawn(o.n.sys, actor.Routine(p.run), actor.Options{Daemon: true, OnExit: func(*actor.Context, actor.Reason) { p.end(actor.ErrStopped) }})
	if err != nil {
		stem.Close()
		return nil, err
	}
	p.ref = ref.Any()
	o.proxy = p
	return p, nil
}

// leave is for who has entered.
func (p *proxy) leave() {
	p.mu.Lock()
	p.users--
	p.mu.Unlock()
	p.changed()
}

// await waits until the proxy is attached.
func (p *proxy) await(ctx context.Context) error {
	if err := p.done.Wait(ctx); err != nil {
		return err
	}
	return p.err
}

// run is the proxy's actor: it hands out what comes from the home.
func (p *proxy) run(ctx *actor.Context, in *actor.Inbox[proto.Message]) error {
	if err := p.attach(ctx); err != nil {
		p.end(err)
		return nil
	}
	p.stem.Watch(p.changed, nil)
	p.done.Set()
	for number := uint64(0); ; {
		m, err := in.Receive(ctx)
		if err != nil {
			return err
		}
		switch w := m.(type) {
		case *greenroomv1.ChannelEnd:
			p.end(actor.ErrChannelClosed)
			return nil
		case *greenroomv1.ChannelOrigins:
			p.stem.SetOrigins(idsFrom(w.GetOrigins()))
			continue
		}
		if ctx.IsCall() {
			number++
		}
		if err := p.pass(ctx, m, number); err != nil {
			return err
		}
	}
}

// attach has the home send what is sent to the channel.
func (p *proxy) attach(ctx *actor.Context) error {
	m := &greenroomv1.ChannelAttach{Channel: p.o.id.ID, Node: p.o.n.sys.NodeID(), Proxy: ctx.Self().ID()}
	a, err := actor.Call[*greenroomv1.ChannelAttached](ctx, p.o.service, &greenroomv1.ChannelRequest{What: &greenroomv1.ChannelRequest_Attach{Attach: m}})
	if err != nil {
		return err
	}
	p.stem.SetOrigins(idsFrom(a.GetOrigins()))
	if a.GetRetained() == nil {
		return nil
	}
	retained, err := unpacked(a.GetRetained(), p.o.typ)
	if err != nil {
		return err
	}
	_, err = p.stem.Publish(ctx, retained, 0, false, nil) // nobody is there yet: it is what is retained here
	return err
}

// pass hands out one message. number is that of the last call.
func (p *proxy) pass(ctx *actor.Context, m proto.Message, number uint64) error {
	if !ctx.IsCall() {
		if _, err := p.stem.Publish(ctx, m, 0, false, nil); err != nil {
			p.o.n.log.Warn("a message from another node has not reached all", "channel", p.o.name, "node", p.o.s.far.String(), "error", err.Error())
		}
		return nil
	}
	n, err := p.stem.Publish(ctx, m, 0, true, func(n int) {
		_ = p.o.say(&greenroomv1.ChannelRequest{What: &greenroomv1.ChannelRequest_Progress{Progress: &greenroomv1.ChannelProgress{
			Channel: p.o.id.ID, Node: p.o.n.sys.NodeID(), Proxy: p.ref.ID(), Number: number, Reached: uint64(max(n, 0)),
		}}})
	})
	if err := ctx.Reply(reachedOf(n, err)); err != nil && !errors.Is(err, actor.ErrCallerGone) {
		return err
	}
	return nil
}

// homeDown has the proxy end once it has handed out what has come.
func (p *proxy) homeDown() {
	_ = p.ref.Send(context.Background(), &greenroomv1.ChannelEnd{Closed: true}) // unless it has ended
}

// end closes the proxy's channel.
func (p *proxy) end(why error) {
	p.o.mu.Lock()
	if p.o.proxy == p {
		p.o.proxy = nil
	}
	p.o.mu.Unlock()
	p.stem.Watch(nil, nil)
	p.stem.Close()
	if !p.done.IsSet() {
		p.err = why
		p.done.Set()
	}
}

// changed has the home told how many end points there are; and if nobody is left, that nothing needs to come any more. It does not wait.
func (p *proxy) changed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stale = true
	if !p.reporting {
		p.reporting = p.o.n.begin(p.report)
	}
}

func (p *proxy) report() {
	for {
		p.mu.Lock()
		if !p.stale || p.leaving {
			p.reporting = false
			p.mu.Unlock()
			return
		}
		p.stale = false
		p.mu.Unlock()
		if p.withdraw() {
			continue
		}
		m := &greenroomv1.ChannelRequest{What: &greenroomv1.ChannelRequest_Count{Count: p.counts()}}
		if p.o.s.sendMessage(p.o.s.ctx, actor.AnyRef{}, p.o.service.Any(), m) != nil {
			continue // the home is down, and about to be missed
		}
	}
}

// withdraw has the home send no more if nobody is subscribed here. Whoever comes after that gets another proxy; this one ends when the home
// says that nothing more comes.
func (p *proxy) withdraw() bool {
	if !p.done.IsSet() {
		return false
	}
	p.o.mu.Lock()
	p.mu.Lock()
	idle := p.users == 0 && !p.leaving && p.stem.Idle()
	if idle {
		p.leaving = true
		if p.o.proxy == p {
			p.o.proxy = nil
		}
	}
	p.mu.Unlock()
	p.o.mu.Unlock()
	if idle {
		_ = p.o.say(&greenroomv1.ChannelRequest{What: &greenroomv1.ChannelRequest_Detach{Detach: &greenroomv1.ChannelDetach{
			Channel: p.o.id.ID, Node: p.o.n.sys.NodeID(), Proxy: p.ref.ID(),
		}}}) // or the home is down
	}
	return idle
}

// counts says how many end points there are.
func (p *proxy) counts() *greenroomv1.ChannelCount {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.version++
	return &greenroomv1.ChannelCount{Channel: p.o.id.ID, Node: p.o.n.sys.NodeID(), Proxy: p.ref.ID(), Version: p.version, Count: uint64(max(p.stem.EndPoints(), 0))}
}
