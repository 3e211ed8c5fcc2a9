package conditions

import "sync"

// Table holds the paths of a network, by the addresses at their ends.
// Any goroutine may use it.
type Table struct {
	seed uint64

	mu      sync.Mutex // guards what follows
	all     Conditions
	paths   map[direction]*Path
	changed chan struct{}
}

type direction struct{ from, to string }

// NewTable is a perfect network.
func NewTable(seed uint64) *Table {
	return &Table{seed: seed, paths: map[direction]*Path{}, changed: make(chan struct{})}
}

// Path is that from one address to another.
func (t *Table) Path(from, to string) *Path {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.path(from, to)
}

func (t *Table) path(from, to string) *Path {
	p := t.paths[direction{from, to}]
	if p == nil {
		p = NewPath(t.seed, from, to)
		p.Set(t.all)
		t.paths[direction{from, to}] = p
	}
	return p
}

// SetAll sets the conditions of all directions, those between addresses not seen yet included.
func (t *Table) SetAll(c Conditions) {
	t.change(func() {
		t.all = c
		for _, p := range t.paths {
			p.Set(c)
		}
	})
}

// SetOneWay sets the conditions of one direction.
func (t *Table) SetOneWay(from, to string, c Conditions) {
	t.change(func() { t.path(from, to).Set(c) })
}

// Set sets the conditions of both directions between two addresses.
func (t *Table) Set(a, b string, c Conditions) {
	t.change(func() {
		t.path(a, b).Set(c)
		t.path(b, a).Set(c)
	})
}

// PartitionOneWay lets nothing through from one address to another.
func (t *Table) PartitionOneWay(from, to string) {
	t.change(func() { t.path(from, to).Block(true) })
}

// Partition lets nothing through between two addresses.
func (t *Table) Partition(a, b string) {
	t.change(func() {
		t.path(a, b).Block(true)
		t.path(b, a).Block(true)
	})
}

// Heal ends partitions between two addresses, in both directions. Their other conditions stay.
func (t *Table) Heal(a, b string) {
	t.change(func() {
		t.path(a, b).Block(false)
		t.path(b, a).Block(false)
	})
}

// HealAll ends all partitions.
func (t *Table) HealAll() {
	t.change(func() {
		for _, p := range t.paths {
			p.Block(false)
		}
	})
}

// Changed is closed when something has changed after this call.
func (t *Table) Changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changed
}

// Touch does what a change does: whoever waits for one looks again.
func (t *Table) Touch() { t.change(func() {}) }

func (t *Table) change(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
	close(t.changed)
	t.changed = make(chan struct{})
}
