package actor

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"unicode/utf8"
	"unsafe"

	"github.com/puzpuzpuz/xsync/v3"
	"google.golang.org/protobuf/proto"
)

// MaxNameBytes bounds a name. A longer one is refused with ErrBadName.
const MaxNameBytes = 255

// ErrBadName answers a name that is empty, longer than MaxNameBytes, or not valid UTF-8.
var ErrBadName = errors.New("actor: not a name")

// ErrNameTaken answers a Spawn or Bind with a name that a living actor has, or that is an alias.
var ErrNameTaken = errors.New("actor: the name is taken")

// ErrNoName answers who asks for a name that nobody has.
var ErrNoName = errors.New("actor: nobody has that name")

// ErrOtherSystem answers a Bind or AtEnd of an actor that lives in another System: each System does that for its own.
var ErrOtherSystem = errors.New("actor: the actor lives in another System, and only that one can do this for it")

// ErrAlias answers an alias of an alias or of itself. An alias stands for a name, so there are no chains and no cycles.
var ErrAlias = errors.New("actor: an alias stands for a name, not for an alias")

// CheckName says what is wrong with a name: nil, or an error that is ErrBadName.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrBadName)
	case len(name) > MaxNameBytes:
		return fmt.Errorf("%w: %.40q... has %d bytes, and %d are the most", ErrBadName, name, len(name), MaxNameBytes)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: %q is not valid UTF-8", ErrBadName, name)
	}
	return nil
}

// Names is a System's one table of names: those of Options.Name, those that Bind adds, and aliases. Package registry is how
// programs use it.
//
// Shape: a concurrent map for those who look up, and shares for those who change or watch names: a name belongs to one share,
// whose lock gives all that happens to that name one order. Who changes an alias holds the locks of all shares, so that under
// any of them no alias changes. Any goroutine may use it; System.Names makes it.
// An actor keeps its names until its final end. They are free again before anybody is told of that.
// Cost: a lookup is one load from the map, without a lock (bench locate).
type Names struct {
	sys     *System
	table   *xsync.MapOf[string, holder]
	aliases *xsync.MapOf[string, string] // the names that they stand for
	targets map[string]int               // how many aliases stand for a name; changed under all shares, read under any
	closed  bool                         // as targets
	changes atomic.Uint64                // of aliases; counted under all shares, so before a name can go that an alias stood for
	seed    maphash.Seed
	watches atomic.Uint64 // how many there were
	shares  [64]nameShare
}

// holder is who has a name: the id of an actor, and a tag of the type of message that it takes. It is as short as an AnyRef, so
// that a lookup costs what it costs in a plain map. An alias has the id 0.
type holder struct {
	id    uint64
	takes typeTag
}

type nameShare struct {
	mu      sync.Mutex
	watched map[string]*nameWatches
	_       [48]byte
}

// typeTag tells types of messages apart: the pointer inside their reflect.Type.
type typeTag unsafe.Pointer

func tagOf[M proto.Message]() typeTag {
	t := reflect.TypeFor[M]()
	return typeTag((*[2]unsafe.Pointer)(unsafe.Pointer(&t))[1])
}

func (handler[M]) tag() typeTag      { return tagOf[M]() }
func (*stateful[S, M]) tag() typeTag { return tagOf[M]() }
func (routine[M]) tag() typeTag      { return tagOf[M]() }

func newNames(sys *System) *Names {
	return &Names{
		sys:     sys,
		table:   xsync.NewMapOf[string, holder](),
		aliases: xsync.NewMapOf[string, string](),
		targets: make(map[string]int),
		seed:    maphash.MakeSeed(),
	}
}

// Names is the System's table of names. A System that is none has a nil one, which answers with an error.
func (sys *System) Names() *Names {
	if !sys.made() {
		return nil
	}
	return sys.names
}

// Lookup returns the actor of that name or alias. It may have ended by the time you look. Cost: one map load without a lock.
func (sys *System) Lookup(name string) (AnyRef, bool) {
	if !sys.made() {
		return AnyRef{}, false
	}
	h, _ := sys.names.table.Load(name)
	if h.id == 0 {
		h = sys.names.byAlias(name)
	}
	return sys.names.ref(h), h.id != 0
}

// ref is the holder's, zero for nobody.
func (n *Names) ref(h holder) AnyRef {
	if h.id == 0 {
		return AnyRef{}
	}
	return AnyRef{n.sys.node, h.id}
}

// LookupRef is System.Lookup for a ref to actors that take M. Errors: ErrNoName, or ErrWrongType if the actor takes something
// else. Cost: that of System.Lookup.
func LookupRef[M proto.Message](sys *System, name string) (Ref[M], error) {
	if !sys.made() {
		return Ref[M]{}, errNoSystem
	}
	h, _ := sys.names.table.Load(name)
	if h.id == 0 {
		h = sys.names.byAlias(name)
	}
	switch { // of this holder, whoever has the name by now
	case h.takes == tagOf[M]():
		return Ref[M]{AnyRef{sys.node, h.id}}, nil
	case h.id == 0:
		return Ref[M]{}, ErrNoName
	}
	return Ref[M]{}, ErrWrongType
}

// byAlias returns who has the name that alias stands for, a zero holder for nobody. It looks again where aliases have changed meanwhile:
// who moves an alias to another actor's name, and then gives the first name up, leaves no moment in which the alias is nobody's.
func (n *Names) byAlias(alias string) holder {
	for {
		changes := n.changes.Load()
		name, ok := n.aliases.Load(alias)
		if !ok {
			return holder{}
		}
		if h, _ := n.table.Load(name); h.id != 0 || n.changes.Load() == changes {
			return h
		}
	}
}

// real is the name that an alias stands for, or else name itself.
func (n *Names) real(name string) string {
	if r, ok := n.aliases.Load(name); ok {
		return r
	}
	return name
}

func (n *Names) shareOf(name string) *nameShare {
	return &n.shares[maphash.String(n.seed, name)%uint64(len(n.shares))]
}

// lockReal locks the share of the name that asked is or stands for.
func (n *Names) lockReal(asked string) (*nameShare, string) {
	for {
		name := n.real(asked)
		s := n.shareOf(name)
		s.mu.Lock()
		if n.real(asked) == name {
			return s, name
		}
		s.mu.Unlock()
	}
}

func (n *Names) lockAll() {
	for i := range n.shares {
		n.shares[i].mu.Lock()
	}
}

func (n *Names) unlockAll() {
	for i := range n.shares {
		n.shares[i].mu.Unlock()
	}
}

// Bind gives a living actor of this System a name, one more if it has some. It keeps it, restarts included, until its final end or
// Unbind. Nothing changes if it has that name already.
// Errors: ErrBadName, ErrNameTaken, ErrNoActor (a zero ref), ErrOtherSystem, ErrStopped (the actor has ended).
func (n *Names) Bind(name string, r AnyRef) error {
	if err := n.check(name, r); err != nil {
		return err
	}
	n.sys.AwaitTurn(r, "binds ", name)
	s := n.shareOf(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if h, taken := n.table.Load(name); taken {
		if h.id == r.id {
			return nil
		}
		return n.taken(name)
	}
	takes, ok := n.note(name, r)
	if !ok {
		return ErrStopped
	}
	n.set(s, name, holder{r.id, takes})
	return nil
}

func (n *Names) checkName(name string) error {
	if n == nil {
		return errNoSystem
	}
	return CheckName(name)
}

func (n *Names) check(name string, r AnyRef) error {
	if err := n.checkName(name); err != nil {
		return err
	}
	switch r.node {
	case nil:
		return ErrNoActor
	case n.sys.node:
		return nil
	}
	return ErrOtherSystem
}

func (n *Names) taken(name string) error {
	if target, ok := n.aliases.Load(name); ok {
		return fmt.Errorf("%w: it is an alias of %q", ErrNameTaken, target)
	}
	return ErrNameTaken
}

// note has the actor give the name back at its end; false if that has come. The caller holds the name's share.
func (n *Names) note(name string, r AnyRef) (typeTag, bool) {
	a := r.cell()
	if a == nil {
		return nil, false
	}
	mu := n.sys.locks.of(a.idx)
	mu.Lock()
	defer mu.Unlock()
	if a.gen.Load() != uint32(r.id>>32) {
		return nil, false
	}
	cold := a.coldOf()
	if cold.over || cold.dying && a.flags.Load()&flagGuarded == 0 {
		return nil, false
	}
	if len(cold.names) == cap(cold.names) {
		cold.names = n.held(cold.names, r.id)
	}
	cold.names = append(cold.names, name)
	return tagOfBehaviour(a.beh), true
}

// held leaves out those names that the actor no longer has: Unbind leaves them in its list, which is why no list of an actor's
// names is ever searched. What is left must make room, so that this is done seldom.
func (n *Names) held(names []string, id uint64) []string {
	seen := make(map[string]bool, len(names))
	kept := make([]string, 0, len(names))
	for _, name := range names {
		if h, ok := n.table.Load(name); ok && h.id == id && !seen[name] {
			seen[name] = true
			kept = append(kept, name)
		}
	}
	return slices.Grow(kept, len(kept)+1)
}

func tagOfBehaviour(b behaviour) typeTag {
	if t, ok := b.(interface{ tag() typeTag }); ok {
		return t.tag()
	}
	return nil
}

// Unbind takes a name, also one of Options.Name, from the actor that has it. ErrNoName: that actor does not have it.
func (n *Names) Unbind(name string, r AnyRef) error {
	if err := n.check(name, r); err != nil {
		return err
	}
	n.sys.AwaitTurn(r, "unbinds ", name)
	if !n.free(name, r.id) {
		return ErrNoName
	}
	return nil
}

// free takes a name from an actor if it has it.
func (n *Names) free(name string, id uint64) bool {
	s := n.shareOf(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if h, ok := n.table.Load(name); !ok || h.id != id {
		return false
	}
	n.table.Delete(name)
	s.tell(name, AnyRef{})
	return true
}

// freeAll takes an actor's names at its end: that of its Options, if there is one, and others.
func (n *Names) freeAll(first string, names []string, id uint64) {
	if first != "" {
		n.free(first, id)
	}
	for _, name := range names {
		n.free(name, id)
	}
}

// set gives a name that is free away. The caller holds its share.
func (n *Names) set(s *nameShare, name string, h holder) {
	n.table.Store(name, h)
	s.tell(name, n.ref(h))
}

// claim is a name that is about to be given to a new actor, under the lock of its share: nobody else can take it, and nobody sees
// it before the actor can be sent to. The zero value claims nothing.
type claim struct {
	names *Names
	share *nameShare
	name  string
}

func (n *Names) claim(name string) (claim, error) {
	if name == "" {
		return claim{}, nil
	}
	s := n.shareOf(name)
	s.mu.Lock()
	if _, taken := n.table.Load(name); taken {
		s.mu.Unlock()
		return claim{}, fmt.Errorf("actor: spawn %q: %w", name, n.taken(name))
	}
	return claim{n, s, name}, nil
}

// drop leaves the name free.
func (c claim) drop() {
	if c.share != nil {
		c.share.mu.Unlock()
	}
}

// keep gives the name to the actor.
func (c claim) keep(a *cell) {
	if c.share != nil {
		c.names.set(c.share, c.name, holder{a.id(), tagOfBehaviour(a.beh)})
		c.share.mu.Unlock()
	}
}

// Alias has alias stand for name, whoever has that, now or later, or nobody. An alias that is one already stands for another name
// from now on. Cost: it locks all shares.
// Errors: ErrBadName; ErrNameTaken, an actor has it; ErrAlias, name is an alias, or alias is the name of one.
func (n *Names) Alias(alias, name string) error {
	if err := cmp.Or(n.checkName(alias), CheckName(name)); err != nil {
		return err
	}
	n.sys.AwaitTurn(AnyRef{}, "aliases ", alias, " ", name)
	n.lockAll()
	defer n.unlockAll()
	if h, ok := n.table.Load(alias); ok && h.id != 0 {
		return ErrNameTaken
	}
	if _, chain := n.aliases.Load(name); chain || alias == name || n.targets[alias] > 0 {
		return ErrAlias
	}
	old := n.real(alias)
	if old == name {
		return nil
	}
	n.targets[name]++
	n.aliases.Store(alias, name)
	n.changes.Add(1)
	if old == alias {
		n.table.Store(alias, holder{})
	} else {
		n.untarget(old)
	}
	n.move(alias, old, name)
	return nil
}

// Unalias ends an alias. ErrNoName: it is none.
func (n *Names) Unalias(alias string) error {
	if err := n.checkName(alias); err != nil {
		return err
	}
	n.sys.AwaitTurn(AnyRef{}, "unaliases ", alias)
	n.lockAll()
	defer n.unlockAll()
	name, ok := n.aliases.Load(alias)
	if !ok {
		return ErrNoName
	}
	n.table.Delete(alias)
	n.aliases.Delete(alias)
	n.changes.Add(1)
	n.untarget(name)
	n.move(alias, name, alias)
	return nil
}

func (n *Names) untarget(name string) {
	if n.targets[name]--; n.targets[name] == 0 {
		delete(n.targets, name)
	}
}

// move takes those who watch an alias along, and tells them if that changes whom it stands for. The caller holds all shares.
func (n *Names) move(alias, from, to string) {
	list := n.shareOf(from).watched[from]
	if list == nil {
		return
	}
	before, _ := n.table.Load(from)
	after, _ := n.table.Load(to)
	for w := list.first; w != nil; {
		next := w.next
		if w.asked == alias {
			n.shareOf(from).remove(w)
			n.shareOf(to).add(w, to)
			if before.id != after.id {
				w.changed(n.ref(after))
			}
		}
		w = next
	}
}

// nameWatch is one watcher of a name.
type nameWatch struct {
	asked      string // what was asked for
	at         string // the name that it is or stands for; changed under all shares, read under any
	prev, next *nameWatch
	added      uint64
	changed    func(AnyRef)
	closed     func()
}

type nameWatches struct{ first, last *nameWatch }

func (s *nameShare) add(w *nameWatch, at string) {
	if s.watched == nil {
		s.watched = make(map[string]*nameWatches)
	}
	list := s.watched[at]
	if list == nil {
		list = new(nameWatches)
		s.watched[at] = list
	}
	w.at, w.prev, w.next = at, list.last, nil
	if list.last == nil {
		list.first = w
	} else {
		list.last.next = w
	}
	list.last = w
}

func (s *nameShare) remove(w *nameWatch) {
	list := s.watched[w.at]
	if w.prev == nil {
		list.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		list.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
	if list.first == nil {
		delete(s.watched, w.at)
	}
}

func (s *nameShare) tell(name string, r AnyRef) {
	if list := s.watched[name]; list != nil {
		for w := list.first; w != nil; w = w.next {
			w.changed(r)
		}
	}
}

// Watch has changed called with whoever has the name or alias now, the zero ref for nobody, before Watch returns, and then at each
// change, in order, none left out. closed is called when the System begins to stop. Both run in the goroutine that makes the
// change and under the name's lock: they must be quick, may post or set an Event, and may not wait nor use Names.
// stop ends it: when it has returned no call is under way or will come. It may be called more than once.
// Errors: ErrBadName, ErrStopped (the System stops).
func (n *Names) Watch(name string, changed func(AnyRef), closed func()) (stop func(), err error) {
	if err := n.checkName(name); err != nil {
		return nil, err
	}
	w := &nameWatch{asked: name, changed: changed, closed: closed, added: n.watches.Add(1)}
	s, at := n.lockReal(name)
	defer s.mu.Unlock()
	if n.closed {
		return nil, ErrStopped
	}
	s.add(w, at)
	h, _ := n.table.Load(at)
	changed(n.ref(h))
	return func() { n.unwatch(w) }, nil
}

func (n *Names) unwatch(w *nameWatch) {
	s, _ := n.lockReal(w.asked)
	defer s.mu.Unlock()
	if w.added != 0 {
		w.added = 0
		s.remove(w)
	}
}

// Watchers is how many watch a name just now, also by an alias: standing queries among them.
func (n *Names) Watchers(name string) (count int) {
	if n == nil {
		return 0
	}
	s, at := n.lockReal(name)
	defer s.mu.Unlock()
	if list := s.watched[at]; list != nil {
		for w := list.first; w != nil; w = w.next {
			count++
		}
	}
	return count
}

// close tells those who watch, oldest first, that the System is stopping: nobody should wait for a name any longer. Changes are told
// until the last actor has ended.
func (n *Names) close() {
	n.lockAll()
	defer n.unlockAll()
	if n.closed {
		return
	}
	n.closed = true
	var all []*nameWatch
	for i := range n.shares {
		for _, list := range n.shares[i].watched {
			for w := list.first; w != nil; w = w.next {
				all = append(all, w)
			}
		}
	}
	slices.SortFunc(all, func(a, b *nameWatch) int { return cmp.Compare(a.added, b.added) })
	for _, w := range all {
		w.closed()
	}
}
