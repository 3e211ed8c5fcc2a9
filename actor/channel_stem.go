package actor

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync/atomic"

	"google.golang.org/protobuf/proto"
)

// Branch is the way from a channel to its subscribers on another node. Package remote implements it. Its methods must not wait; locks
// of channels are held while Origins is called.
type Branch interface {
	// EndPoints is how many actors a message reaches there.
	EndPoints() int
	// Offer sends m there, behind all that was offered before. confirm: the sender wants to know how many it reaches. The result is nil if
	// there is nothing to wait for.
	Offer(m proto.Message, confirm bool) Passage
	// Origins tells that messages may have come through these channels from now on: those that are offered next.
	Origins(list []ChannelID)
}

// Passage is a message on its way to another node, for its sender to wait for. Any goroutine may use it.
type Passage interface {
	// Reached is how many have the message by now, and whether there will be no more. err is why some have not got it.
	Reached() (n int, over bool, err error)
	// Notify has f called when Reached has something new to say, or at once if it has already. f must be quick and must not wait.
	Notify(f func())
	// GiveUp ends the wait; true if the message has not been sent, and never will be.
	GiveUp() bool
	// LeaveBehind ends the wait and has the message go on by itself; false if another one does already, and this one must wait.
	LeaveBehind() bool
}

// ChannelID names a channel among those of all nodes.
type ChannelID struct {
	Node uint64 // AnyRef.Node of actors there
	ID   uint64 // which channel of that System
}

// maxOrigins bounds the channels that messages come through before they are in a channel, where nodes have to tell each other of them.
const maxOrigins = 1024

// Stem is a channel as package remote sees it: without its type. It keeps the channel. Any goroutine may use it.
type Stem struct {
	ch   *channel
	keep any
	is   func(m any) bool
}

// Stem is the channel for package remote; nil for a channel that was never made.
func (c *Channel[M]) Stem() *Stem {
	if c.core() == nil {
		return nil
	}
	return &Stem{c.ch, c, func(m any) bool {
		_, ok := m.(M)
		return ok
	}}
}

// System is whose channel it is.
func (s *Stem) System() *System { return s.ch.sys }

// ID names the channel.
func (s *Stem) ID() ChannelID { return s.ch.identity() }

// Retains reports whether the channel keeps the last message for who comes later.
func (s *Stem) Retains() bool { return s.ch.retain }

// EndPoints is Channel.EndPoints.
func (s *Stem) EndPoints() int { return s.ch.endPoints() }

// Closed reports whether the channel is closed.
func (s *Stem) Closed() bool { return s.ch.closed.Load() }

// Close is Channel.Close.
func (s *Stem) Close() { s.ch.close() }

// Idle reports whether nobody is subscribed, no actor and no channel.
func (s *Stem) Idle() bool {
	s.ch.mu.Lock()
	defer s.ch.mu.Unlock()
	return len(s.ch.actors)+len(s.ch.channels)+len(s.ch.branches) == 0
}

// Publish is Channel.Deliver; without confirm it does not wait to hear from other nodes, as Channel.Send. progress, which may be nil, is
// told how many have m whenever there are more of them and it has to wait for others. ErrWrongType: m is no message of the channel's type.
func (s *Stem) Publish(ctx context.Context, m proto.Message, atLeast int, confirm bool, progress func(n int)) (int, error) {
	if !s.is(m) {
		return 0, fmt.Errorf("actor: channel %s: a %T: %w", s.ch.name, m, ErrWrongType)
	}
	n, err := s.ch.publish(ctx, m, atLeast, confirm, progress)
	runtime.KeepAlive(s.keep)
	return n, err
}

// AddBranch has b get what is sent from now on. It returns what the channel retains, for which b's subscribers are new, and the channels
// that messages have come through before. ErrChannelClosed.
func (s *Stem) AddBranch(b Branch) (retained proto.Message, origins []ChannelID, err error) {
	ch := s.ch
	hierarchy.Lock()
	defer hierarchy.Unlock()
	origins, err = ch.origins()
	if err != nil {
		return nil, nil, err
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.closed.Load() {
		return nil, nil, ErrChannelClosed
	}
	ch.branches = append(ch.branches, b)
	ch.audience.Store(nil)
	retained, _ = ch.last.(proto.Message)
	return retained, origins, nil
}

// RemoveBranch ends what AddBranch has begun. A send under way may still offer.
func (s *Stem) RemoveBranch(b Branch) {
	s.ch.mu.Lock()
	i := slices.Index(s.ch.branches, b)
	if i >= 0 {
		s.ch.branches = slices.Delete(s.ch.branches, i, i+1)
		s.ch.audience.Store(nil)
	}
	s.ch.mu.Unlock()
	if i >= 0 {
		s.ch.shrunk()
	}
}

// BranchChanged says that a branch's EndPoints are others than they were.
func (s *Stem) BranchChanged() { s.ch.grown() }

// Watch has changed called when there may be more end points or fewer, and closed, once, when the channel is closed, at once if it is. Both
// must be quick and must not wait: locks of channels may be held. There is one watch: the last.
func (s *Stem) Watch(changed, closed func()) {
	ch := s.ch
	ch.mu.Lock()
	over := ch.closed.Load()
	if !over {
		if ch.onChange == nil && changed != nil {
			watchedChannels.Add(1)
		}
		if ch.onChange != nil && changed == nil {
			watchedChannels.Add(-1)
		}
		ch.onChange, ch.onClose = changed, closed
	}
	ch.mu.Unlock()
	if over && closed != nil {
		closed()
	}
}

// watchedChannels counts those whose end points somebody watches, so that others cost nothing.
var watchedChannels atomic.Int64

// SetOrigins says which channels of other nodes the channel's messages come through from now on. Subscriptions of channels that would
// make a cycle of it end with a *ChannelCycleError.
func (s *Stem) SetOrigins(list []ChannelID) {
	ch := s.ch
	hierarchy.Lock()
	defer hierarchy.Unlock()
	ch.foreign = slices.Clone(list)
	for _, child := range ch.children() {
		err := ch.crosses(child)
		if err == nil {
			child.announce()
			continue
		}
		ch.mu.Lock()
		sub := ch.channels[child]
		ch.mu.Unlock()
		if sub != nil && sub.leave(err) {
			child.orphan(ch)
		}
	}
}

func (ch *channel) identity() ChannelID { return ChannelID{ch.sys.node.id, ch.id} }

// origins are the channels that messages may have come through when they leave ch, itself included. The caller holds hierarchy.
func (ch *channel) origins() ([]ChannelID, error) {
	set := make(map[ChannelID]struct{})
	ch.originsTo(set, make(map[*channel]bool))
	if len(set) > maxOrigins {
		return nil, fmt.Errorf("actor: channel %s: its messages come through %d channels, and %d are the most where nodes are between them", ch.name, len(set), maxOrigins)
	}
	list := make([]ChannelID, 0, len(set))
	for id := range set {
		list = append(list, id)
	}
	slices.SortFunc(list, func(a, b ChannelID) int { return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.ID, b.ID)) })
	return list, nil
}

func (ch *channel) originsTo(set map[ChannelID]struct{}, seen map[*channel]bool) {
	if seen[ch] {
		return
	}
	seen[ch] = true
	set[ch.identity()] = struct{}{}
	for _, id := range ch.foreign {
		set[id] = struct{}{}
	}
	for _, parent := range ch.parents {
		parent.originsTo(set, seen)
	}
}

// crosses tells whether messages that child gets from ch have been in child, or below it, before: they would go round by way of other nodes.
// The caller holds hierarchy.
func (ch *channel) crosses(child *channel) error {
	set := make(map[ChannelID]struct{})
	ch.originsTo(set, make(map[*channel]bool))
	var err error
	branched := false
	all, seen := maps.Clone(set), make(map[*channel]bool)
	child.below(make(map[*channel]bool), func(c *channel) {
		c.originsTo(all, seen)
		if _, ok := set[c.identity()]; ok && err == nil {
			err = &ChannelCycleError{[]string{c.name, ch.name, c.name}}
		}
		c.mu.Lock()
		branched = branched || len(c.branches) > 0
		c.mu.Unlock()
	})
	if err == nil && branched && len(all) > maxOrigins {
		err = fmt.Errorf("actor: channel %s: messages would come through %d channels, and %d are the most where nodes are between them", child.name, len(all), maxOrigins)
	}
	return err
}

// below visits ch and all channels below it.
func (ch *channel) below(seen map[*channel]bool, visit func(*channel)) {
	if seen[ch] {
		return
	}
	seen[ch] = true
	visit(ch)
	for _, child := range ch.children() {
		child.below(seen, visit)
	}
}

// announce tells the branches of ch, and below it, which channels messages come through from now on. The caller holds hierarchy.
func (ch *channel) announce() {
	ch.below(make(map[*channel]bool), func(c *channel) {
		c.mu.Lock()
		branches := slices.Clone(c.branches)
		c.mu.Unlock()
		if len(branches) == 0 {
			return
		}
		if list, err := c.origins(); err == nil { // crosses has seen to that
			for _, b := range branches {
				b.Origins(list)
			}
		}
	})
}

// stir collects who is told of a change of end points, in ch and above. The caller holds hierarchy.
func (ch *channel) stir(to []func(), seen map[*channel]bool) []func() {
	if seen[ch] {
		return to
	}
	seen[ch] = true
	ch.mu.Lock()
	if ch.onChange != nil {
		to = append(to, ch.onChange)
	}
	ch.mu.Unlock()
	for _, parent := range ch.parents {
		to = parent.stir(to, seen)
	}
	return to
}

// shrunk tells those who watch, here and above, that there may be fewer end points.
func (ch *channel) shrunk() {
	if watchedChannels.Load() == 0 {
		return
	}
	hierarchy.Lock()
	list := ch.stir(nil, make(map[*channel]bool))
	hierarchy.Unlock()
	for _, f := range list {
		f()
	}
}

// shrunkLocked is shrunk for who holds hierarchy.
func (ch *channel) shrunkLocked() {
	if watchedChannels.Load() == 0 {
		return
	}
	for _, f := range ch.stir(nil, make(map[*channel]bool)) {
		f()
	}
}

// away is a message on its way to another node, which its sender waits for.
type away struct {
	ch      *channel
	p       Passage
	counted int
}

// abroadTo offers m to the other nodes that listen to ch.
func (f *fanout) abroadTo(ch *channel, branches []Branch, m any) {
	pm, _ := m.(proto.Message)
	for _, b := range branches {
		if p := b.Offer(pm, f.confirm); p != nil {
			f.away = append(f.away, &away{ch: ch, p: p})
		}
	}
}

// tally counts whom the message has reached there; true if there is nothing to wait for any more.
func (f *fanout) tally(a *away) bool {
	n, over, err := a.p.Reached()
	f.reached += n - a.counted
	a.counted = n
	if over && err != nil {
		f.errs = append(f.errs, fmt.Errorf("actor: channel %s: %w", a.ch.name, err))
	}
	return over
}

// giveUpAway ends the wait for other nodes.
func (f *fanout) giveUpAway(why error) {
	for _, a := range f.away {
		switch {
		case f.tally(a):
		case a.p.GiveUp():
			f.errs = append(f.errs, fmt.Errorf("actor: channel %s: not sent to a node: %w", a.ch.name, why))
		default:
			f.errs = append(f.errs, fmt.Errorf("actor: channel %s: a node has not told yet whom it has reached: %w", a.ch.name, why))
		}
	}
	f.away = nil
}

// tell has who wants to know told how many have the message.
func (f *fanout) tell() {
	if f.progress != nil && f.reached > f.told {
		f.told = f.reached
		f.progress(f.reached)
	}
}
