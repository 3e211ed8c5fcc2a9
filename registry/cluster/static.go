package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// StaticMembership is a fixed list of members. Nobody joins it, and nobody fails: whoever connects to them finds out.
type StaticMembership struct {
	mu      sync.Mutex
	members []Member
	self    Member
	started bool
	over    bool
}

var _ Membership = (*StaticMembership)(nil)

// NewStaticMembership takes the list; this node itself may be in it.
// Errors: ErrBadMember (a name or address is not valid), ErrNameTaken (two have the same name).
func NewStaticMembership(members ...Member) (*StaticMembership, error) {
	s := &StaticMembership{}
	for _, m := range members {
		if err := m.check(); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(s.members, func(o Member) bool { return o.Name == m.Name }) {
			return nil, fmt.Errorf("%w: two members of the list are called %q", ErrNameTaken, m.Name)
		}
		s.members = append(s.members, m.clone())
	}
	return s, nil
}

// Start tells of each member of the list but this node. Discovery is not asked.
func (s *StaticMembership) Start(ctx context.Context, self Member, _ Discovery, tell func(Event)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := self.check(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.started {
		s.mu.Unlock()
		return fmt.Errorf("%w: it starts once", ErrNotStarted)
	}
	s.started = true
	s.self = self.clone()
	s.members = slices.DeleteFunc(s.members, func(m Member) bool { return m.Name == self.Name })
	others := slices.Clone(s.members)
	s.mu.Unlock()
	for _, m := range others {
		tell(Event{Joined, m.clone()})
	}
	return nil
}

// Join has nothing to do: the list is fixed.
func (s *StaticMembership) Join(context.Context, []string) error { return s.check() }

// Update changes what Self and Members say here; the others are not told.
func (s *StaticMembership) Update(load uint32, tags map[string]string) error {
	if err := s.check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.self.Load, s.self.Tags = load, maps.Clone(tags)
	return nil
}

// Self is this node's own record, zero before Start.
func (s *StaticMembership) Self() Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.self.clone()
}

// Members are the list and this node, in the order of their names; none before Start and after the end.
func (s *StaticMembership) Members() []Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.started || s.over {
		return nil
	}
	all := []Member{s.self.clone()}
	for _, m := range s.members {
		all = append(all, m.clone())
	}
	sortMembers(all)
	return all
}

// Leave ends; there is nobody to tell.
func (s *StaticMembership) Leave(context.Context) error { return s.Close() }

// Close ends.
func (s *StaticMembership) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started, s.over = true, true
	return nil
}

func (s *StaticMembership) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.started || s.over {
		return ErrNotStarted
	}
	return nil
}

func sortMembers(all []Member) {
	slices.SortFunc(all, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
}
