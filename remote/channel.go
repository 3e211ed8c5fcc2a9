package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

const (
	// MaxChannels bounds the channels that a node publishes, and those of other nodes that it has opened. Beyond it ErrLimit.
	MaxChannels = 4096
	// maxFinds bounds the searches of peers for channels that are not published yet.
	maxFinds = 4096
	// maxProxies bounds the proxies of a channel on one node, which has one, and those of before that have not ended yet.
	maxProxies = 64
	// maxDeliveries bounds the Delivers of peers that are under way; their messages are bounded by Options.MaxQueuedBytes.
	maxDeliveries = 1 << 16
)

// PublishOptions say what is particular about a channel that other nodes may use.
type PublishOptions struct {
	// MaxNodes bounds the nodes that have subscribers. 0 means Options.MaxPeers. Beyond it Subscribe is ErrLimit on one more node.
	MaxNodes int
}

// Publish lets other nodes find ch, a channel of the node's System, under name and use it by OpenChannel: n is its home. It stays so until
// Unpublish, or until ch is closed. At most one PublishOptions may be given.
// Errors: actor.ErrBadName, actor.ErrNameTaken, actor.ErrChannelClosed, ErrStopped; ErrLimit beyond MaxChannels.
func Publish[M proto.Message](n *Node, name string, ch *actor.Channel[M], o ...PublishOptions) error {
	typeName, err := nameOf[M]()
	if err != nil {
		return fmt.Errorf("remote: publish %q: %w", name, err)
	}
	if err := n.publish(name, typeName, ch.Stem(), ch, o); err != nil {
		return fmt.Errorf("remote: publish %q: %w", name, err)
	}
	return nil
}

// Unpublish takes back Publish: for other nodes it is as if the channel was closed. ErrNoChannel: nothing is published under name.
func Unpublish(n *Node, name string) error {
	if n.none() {
		return errNoNode
	}
	if !n.unpublish(name) {
		return fmt.Errorf("remote: unpublish %q: %w", name, ErrNoChannel)
	}
	return nil
}

// ErrNoChannel means that no channel is published under that name.
var ErrNoChannel = errors.New("remote: no channel of that name is published")

// nameOf is the full name of message type M.
func nameOf[M proto.Message]() (string, error) {
	rt := reflect.TypeFor[M]()
	if rt.Kind() == reflect.Interface || rt == dynamic {
		return "", fmt.Errorf("a channel between nodes is for one generated type of message, not for %v: %w", rt, actor.ErrWrongType)
	}
	var zero M
	t, err := typeNamed(zero.ProtoReflect().Descriptor().FullName())
	if err != nil {
		return "", err
	}
	return t.name, nil
}

// Channel is a channel whose home is another node, or this one: what OpenChannel returns. Any goroutine may use it, actors and others.
//
// Shape: messages go to the home, which makes of them what its transform says and sends them once to each node that has subscribers. There
// a proxy, a local channel, hands them out; the node has one for each remote channel with subscribers.
// Order: messages from one sender to one subscriber arrive in the order in which they were sent, wherever the two are.
// Subscribers with SlowSuspend slow down all who send, wherever they are, and no other channel.
// When the home closes the channel, Unpublish is called there, or the home is declared down, the subscriptions end with
// actor.ErrChannelClosed, behind all that has arrived, and so does the Channel: what is sent by it is actor.ErrChannelClosed or
// actor.ErrNodeDown. It stays so if the home comes back: open it anew, and subscribe again. A node with subscribers that is declared down
// is no longer counted; messages that it has not confirmed are dead letters at the home.
type Channel[M proto.Message] struct {
	n     *Node
	name  string
	local *actor.Channel[M] // at home
	out   *outlet           // elsewhere
}

// OpenChannel finds the channel that is published under name: on the node called where or, if that is empty, on this node or on any peer. It
// asks the peers that are up and those that come up later, and waits, under ctx, until one has it: also for it to be published. If several
// have a channel of the name the first to answer is taken. From an actor it suspends, from any other goroutine it blocks.
// Errors: actor.ErrWrongType if it is for another type of message; ctx's own; ErrStopped; ErrRefused if the peer that was asked for lets
// this node send nothing; ErrLimit beyond MaxChannels.
func OpenChannel[M proto.Message](ctx context.Context, n *Node, name, where string) (*Channel[M], error) {
	c, err := openChannel[M](ctx, n, name, where)
	if err != nil {
		return nil, fmt.Errorf("remote: channel %q of %s: %w", name, cmp.Or(where, "any node"), err)
	}
	return c, nil
}

func openChannel[M proto.Message](ctx context.Context, n *Node, name, where string) (*Channel[M], error) {
	if n.none() {
		return nil, errNoNode
	}
	if ctx == nil {
		return nil, actor.ErrNilContext
	}
	if err := actor.CheckName(name); err != nil {
		return nil, err
	}
	typeName, err := nameOf[M]()
	if err != nil {
		return nil, err
	}
	found, err := n.findChannel(ctx, name, where)
	if err != nil {
		return nil, err
	}
	if found.typeName != typeName {
		return nil, fmt.Errorf("it is for %s, not for %s: %w", found.typeName, typeName, actor.ErrWrongType)
	}
	c := &Channel[M]{n: n, name: name}
	if found.pub != nil {
		local, ok := found.pub.keep.(*actor.Channel[M])
		if !ok {
			return nil, fmt.Errorf("it is for another Go type of %s: %w", typeName, actor.ErrWrongType)
		}
		c.local = local
		return c, nil
	}
	c.out, err = n.outletFor(name, found)
	return c, err
}

// Name is the name that the channel is published under.
func (c *Channel[M]) Name() string {
	if c.none() {
		return ""
	}
	return c.name
}

// Home is the name of the node that the channel lives on.
func (c *Channel[M]) Home() string {
	if c.none() {
		return ""
	}
	if c.local != nil {
		return c.n.name
	}
	return c.out.s.far.String()
}

// Err is nil while the channel can be used, and then says why not.
func (c *Channel[M]) Err() error {
	switch {
	case c.none():
		return errNoChannel
	case c.local == nil:
		return c.out.state()
	case c.local.Stem().Closed():
		return actor.ErrChannelClosed
	}
	return nil
}

// Send sends m to all who are subscribed, as actor.Channel.Send: it does not wait to hear from them. To another node it goes as a message
// does: only a full window or a home that cannot keep up make it wait, under ctx. If the home's transform panics that is logged there.
// Errors: actor.ErrChannelClosed, actor.ErrNodeDown, actor.ErrNilMessage, ErrTooLarge, ErrRefused; those of actor.Channel.Send at home.
func (c *Channel[M]) Send(ctx context.Context, m M) error {
	if c.none() {
		return errNoChannel
	}
	if c.local != nil {
		return c.local.Send(ctx, m)
	}
	switch {
	case ctx == nil:
		return actor.ErrNilContext
	case isNil(m):
		return actor.ErrNilMessage
	}
	if err := c.out.state(); err != nil {
		return c.because(err)
	}
	return c.out.s.sendMessage(ctx, senderOf(ctx), c.out.gate, m)
}

// Deliver is Send that returns how many actors were reached, on all nodes and through all channels below, as actor.Channel.Deliver: with
// atLeast > 0 it first waits, under ctx, until so many are subscribed, and does not wait for slow ones once so many have m; else it waits
// for all. A node that is declared down meanwhile counts with those whom it has told of. After an error m may still arrive.
// Errors: those of Send and of actor.Channel.Deliver, of which a *PanicError and others come back as *Error; ErrLimit if more Delivers
// of other nodes wait at the home than it takes.
func (c *Channel[M]) Deliver(ctx context.Context, m M, atLeast int) (int, error) {
	if c.none() {
		return 0, errNoChannel
	}
	if c.local != nil {
		return c.local.Deliver(ctx, m, atLeast)
	}
	switch {
	case ctx == nil:
		return 0, actor.ErrNilContext
	case isNil(m):
		return 0, actor.ErrNilMessage
	case atLeast < 0 || atLeast > math.MaxInt32:
		return 0, fmt.Errorf("remote: channel %q: deliver to at least %d: use 0 for all, or a positive number", c.name, atLeast)
	}
	if err := c.out.state(); err != nil {
		return 0, c.because(err)
	}
	n, err := c.out.deliver(ctx, m, uint32(atLeast)) //nolint:gosec // within bounds
	if err != nil {
		return n, c.because(err)
	}
	return n, nil
}

// Subscribe has ref, an actor of this node, get what is sent from now on, and first what the channel retains, as actor.Channel.Subscribe.
// The node's first Subscribe waits, under ctx, for the home; later ones do not. At home EndPoints grows a moment later.
// Errors: those of actor.Channel.Subscribe, and actor.ErrNodeDown; ErrLimit if too many nodes are subscribed; ErrTooLarge if what the
// channel retains cannot travel.
func (c *Channel[M]) Subscribe(ctx context.Context, ref actor.Ref[M], o ...actor.SubscribeOptions) (*actor.Subscription, error) {
	return subscribed(ctx, c, func(ch *actor.Channel[M]) (*actor.Subscription, error) { return ch.Subscribe(ctx, ref, o...) })
}

// SubscribeAs is Channel.Subscribe for an actor that takes another type of message, as actor.SubscribeAs: adapt runs on this node.
func SubscribeAs[N, M proto.Message](ctx context.Context, c *Channel[M], ref actor.Ref[N], adapt func(m M) N, o ...actor.SubscribeOptions) (*actor.Subscription, error) {
	return subscribed(ctx, c, func(ch *actor.Channel[M]) (*actor.Subscription, error) {
		return actor.SubscribeAs(ctx, ch, ref, adapt, o...)
	})
}

// SubscribeChannel has other, a channel of this node, pass on what is sent to c from now on. Where other's messages have come through c, by
// way of any nodes, it is a *actor.ChannelCycleError, which may leave out channels of other nodes; of two attempts at once on different nodes
// that would make a cycle together at least one is refused, or ends soon with that error, before a message has gone round.
func (c *Channel[M]) SubscribeChannel(ctx context.Context, other *actor.Channel[M]) (*actor.Subscription, error) {
	return subscribed(ctx, c, func(ch *actor.Channel[M]) (*actor.Subscription, error) { return ch.SubscribeChannel(ctx, other) })
}

// Unsubscribe ends the subscription of an actor, as actor.Channel.Unsubscribe. actor.ErrNotSubscribed if it was not subscribed here.
func (c *Channel[M]) Unsubscribe(ref actor.AnyRef) error {
	if ch := c.here(); ch != nil {
		return ch.Unsubscribe(ref)
	}
	return actor.ErrNotSubscribed
}

// UnsubscribeChannel is Unsubscribe for a channel.
func (c *Channel[M]) UnsubscribeChannel(other *actor.Channel[M]) error {
	if ch := c.here(); ch != nil {
		return ch.UnsubscribeChannel(other)
	}
	return actor.ErrNotSubscribed
}

// EndPoints asks the home how many actors a message reaches if nothing is dropped, on all nodes: as many as they have told of so far, this
// one included.
func (c *Channel[M]) EndPoints(ctx context.Context) (int, error) {
	switch {
	case c.none():
		return 0, errNoChannel
	case ctx == nil:
		return 0, actor.ErrNilContext
	case c.local != nil:
		return c.local.EndPoints(), nil
	}
	if err := c.out.state(); err != nil {
		return 0, c.because(err)
	}
	n, err := c.out.endPoints(ctx)
	if err != nil {
		return 0, c.because(err)
	}
	return n, nil
}

func (c *Channel[M]) because(err error) error {
	return fmt.Errorf("remote: channel %q of %s: %w", c.name, c.Home(), err)
}

// errNoChannel answers what is asked of the nil or zero Channel.
var errNoChannel = errors.New("remote: no Channel: make one with OpenChannel, and look at its error")

func (c *Channel[M]) none() bool { return c == nil || c.local == nil && c.out == nil }

// here is the channel that this node's subscribers are subscribed to, nil if there is none.
func (c *Channel[M]) here() *actor.Channel[M] {
	switch {
	case c.none():
		return nil
	case c.local != nil:
		return c.local
	}
	if p := c.out.current(); p != nil {
		ch, _ := p.keep.(*actor.Channel[M])
		return ch
	}
	return nil
}

// subscribed has f subscribe somebody to the channel that stands for c on this node.
func subscribed[M proto.Message](ctx context.Context, c *Channel[M], f func(*actor.Channel[M]) (*actor.Subscription, error)) (*actor.Subscription, error) {
	switch {
	case c.none():
		return nil, errNoChannel
	case c.local != nil:
		return f(c.local)
	case ctx == nil:
		return nil, actor.ErrNilContext
	}
	p, err := c.out.enter(func() (*actor.Stem, any, error) {
		ch, err := actor.NewChannel(c.n.sys, actor.ChannelOptions[M]{Name: c.name, Retain: c.out.retain})
		return ch.Stem(), ch, err
	})
	if err != nil {
		return nil, c.because(err)
	}
	defer p.leave()
	if err := p.await(ctx); err != nil {
		return nil, c.because(err)
	}
	ch, ok := p.keep.(*actor.Channel[M])
	if !ok {
		return nil, c.because(fmt.Errorf("it was opened here for another Go type: %w", actor.ErrWrongType))
	}
	return f(ch)
}

func isNil(m proto.Message) bool {
	if m == nil {
		return true
	}
	v := reflect.ValueOf(m)
	return v.Kind() == reflect.Pointer && v.IsNil()
}

// senderOf is the actor whose context it is, the zero ref for none.
func senderOf(ctx context.Context) actor.AnyRef {
	if c, ok := actor.FromContext(ctx); ok {
		return c.Self()
	}
	return actor.AnyRef{}
}

// packed puts m into an Any; nil stays nil.
func packed(m proto.Message) (*anypb.Any, error) {
	if m == nil {
		return nil, nil
	}
	a := new(anypb.Any)
	return a, anypb.MarshalFrom(a, m, proto.MarshalOptions{AllowPartial: true})
}

// unpacked takes a message of that type out of an Any.
func unpacked(a *anypb.Any, typeName string) (proto.Message, error) {
	if got := string(a.MessageName()); got != typeName {
		return nil, fmt.Errorf("remote: a %.300s for a channel of %s: %w", got, typeName, actor.ErrWrongType)
	}
	t, err := typeNamed(protoreflect.FullName(typeName))
	if err != nil {
		return nil, err
	}
	m := t.mt.New().Interface()
	return m, unmarshal.Unmarshal(a.GetValue(), m)
}

func idsTo(list []actor.ChannelID) []*greenroomv1.ChannelId {
	out := make([]*greenroomv1.ChannelId, len(list))
	for i, id := range list {
		out[i] = &greenroomv1.ChannelId{Node: id.Node, Id: id.ID}
	}
	return out
}

func idsFrom(list []*greenroomv1.ChannelId) []actor.ChannelID {
	out := make([]actor.ChannelID, len(list))
	for i, id := range list {
		out[i] = actor.ChannelID{Node: id.GetNode(), ID: id.GetId()}
	}
	return out
}
