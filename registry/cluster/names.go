package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxNameBytes bounds names and groups, and what an Actor's Type holds.
const MaxNameBytes = 255

// MaxEntries bounds how many names and memberships one node publishes.
const MaxEntries = 8192

var (
	// ErrBadName answers a name or group that is empty, longer than MaxNameBytes or not valid UTF-8, and a type that is longer.
	ErrBadName = errors.New("cluster: not a valid name")
	// ErrTooMany answers one claim or membership more than MaxEntries.
	ErrTooMany = errors.New("cluster: this node publishes too many names and memberships")
	// ErrNotMine answers the release of a name, or the exit from a group, that this node's actor does not have.
	ErrNotMine = errors.New("cluster: that actor of this node does not have it")
)

// Actor is an actor of this node, as whoever gives it out writes it down. Nothing of it is looked at here: the same is the same actor.
type Actor struct {
	ID   uint64 // which
	Type string // what it takes
	Node uint64 // where it is, for whoever sends to it, if that takes another number than the incarnation
}

// Entry is an actor of some node.
type Entry struct {
	Node        string // the node's name
	Incarnation uint64 // and incarnation
	Actor              // who it is there
}

// IsZero reports whether the entry is nobody.
func (e Entry) IsZero() bool { return e == Entry{} }

// String is "node#incarnation/id".
func (e Entry) String() string { return fmt.Sprintf("%s#%x/%d", e.Node, e.Incarnation, e.ID) }

func (e Entry) compare(o Entry) int {
	return cmp.Or(strings.Compare(e.Node, o.Node), cmp.Compare(e.Incarnation, o.Incarnation), cmp.Compare(e.ID, o.ID), strings.Compare(e.Type, o.Type), cmp.Compare(e.Actor.Node, o.Actor.Node))
}

// NameEvent tells who has a name.
type NameEvent struct {
	Name  string // which
	Entry Entry  // who has it from now on; zero for nobody
}

// GroupEvent tells of a group.
type GroupEvent struct {
	Group   string  // which
	Members []Entry // the first event: who is in it, in order; nil with all later ones
	Joined  []Entry // who is in it from now on
	Left    []Entry // who no longer is
}

// Names are names and groups that the whole cluster knows, as this node sees them now.
// Any goroutine may use them. Functions that are called back are called one at a time, in order, under no lock, by whoever made
// the change; they may use Names, but must not block.
type Names interface {
	// Claim gives one of this node's actors a name; it has it already is no error. It keeps it until Release, until this node is no
	// member any more, or until it is lost to a claim that another node made at the same time, out of hearing; then the claim is
	// withdrawn and lost, if it is not nil, is told who has the name now.
	// Errors: ErrNameTaken, ErrBadName, ErrTooMany.
	Claim(name string, a Actor, lost func(Entry)) error
	// Release withdraws a claim of this node. Errors: ErrNotMine.
	Release(name string, a Actor) error
	// Lookup finds who has the name.
	Lookup(name string) (Entry, bool)
	// Watch tells who has the name: first who has it now, even if that is nobody, then each change, until stop is called.
	// Errors: ErrBadName.
	Watch(name string, tell func(NameEvent)) (stop func(), err error)
	// Enter puts one of this node's actors into a group; that it is there already is no error. It stays until Exit, or until this
	// node is no member any more. Errors: ErrBadName, ErrTooMany.
	Enter(group string, a Actor) error
	// Exit takes it out. Errors: ErrNotMine.
	Exit(group string, a Actor) error
	// Group is who is in the group, in the order of nodes and ids.
	Group(group string) []Entry
	// WatchGroup tells who is in the group: first who is in it now, even if that is nobody, then each change, until stop is called.
	// Errors: ErrBadName.
	WatchGroup(group string, tell func(GroupEvent)) (stop func(), err error)
}

func checkName(name string) error {
	if name == "" || len(name) > MaxNameBytes || !utf8.ValidString(name) {
		return fmt.Errorf("%w: %.40q has %d bytes, and a name is valid UTF-8 of 1 to %d", ErrBadName, name, len(name), MaxNameBytes)
	}
	return nil
}

func checkType(name string) error {
	if len(name) > MaxNameBytes || !utf8.ValidString(name) {
		return fmt.Errorf("%w: the type %.40q has %d bytes, and a type is valid UTF-8 of at most %d", ErrBadName, name, len(name), MaxNameBytes)
	}
	return nil
}
