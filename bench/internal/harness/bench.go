package harness

import (
	"context"

	"fmt"
	"slices"
	"strings"
)

// Greenroom is the name of the implementation that every floor is compared with.
const Greenroom = "greenroom"

// Direction says which figures of a row are the better ones.
type Direction int

// Lower is better for times and bytes, Higher for rates. The zero value is Lower.
const (
	Lower Direction = iota
	Higher
)

// Func does the work of one side and reports its figures to r, one for each row of its bench. It runs once, in a process
// of its own. A Func that returns an error fails its bench; the others still run.
type Func func(ctx context.Context, r *Run) error

// Floor is the same work without Greenroom, or, for benches that ask what a condition costs, Greenroom without it.
type Floor struct {
	// Name is what -against takes and what the field "impl" says.
	Name string
	// What is half a line for -list.
	What string
	// Run does the work.
	Run Func
}

// Row is one figure that a bench yields.
type Row struct {
	// Name is the "p99" in "timers/p99"; empty when the bench has the one figure only.
	Name string
	// Unit is what the figure counts, for the reader.
	Unit string
	// Better says which figures are the better ones.
	Better Direction
	// Reach is what the figure should come to.
	Reach Reach
}

// Reach is what a row should come to at GOMAXPROCS 2 and more. The zero value asks for nothing.
type Reach struct {
	// Ratio is how many times better than the first floor it should be at least.
	Ratio float64
	// Aim is the ratio hoped for. It is shown, no more.
	Aim float64
	// AtMost is what Greenroom's median should not exceed.
	AtMost float64
}

// String renders r the way tables show it: ">=2x (3x)", "<=208".
func (r Reach) String() string {
	var parts []string
	if r.AtMost > 0 {
		parts = append(parts, "<="+trim(r.AtMost))
	}
	if r.Ratio > 0 {
		s := ">=" + trim(r.Ratio) + "x"
		if r.Aim > 0 {
			s += " (" + trim(r.Aim) + "x)"
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, " ")
}

// asks reports whether the reach says anything about a run with that GOMAXPROCS.
func (r Reach) asks(procs int) bool { return (r.Ratio > 0 || r.AtMost > 0) && procs >= 2 }

// met reports whether Greenroom's median and its ratio come to what r asks for.
func (r Reach) met(median, ratio float64) bool {
	return (r.Ratio == 0 || ratio >= r.Ratio) && (r.AtMost == 0 || median <= r.AtMost)
}

// Bench is one line of the table: a piece of work, done by Greenroom and by at least one floor.
type Bench struct {
	// Name is in lower case. A slash groups benches: -run scaling selects scaling/procs and its like.
	Name string
	// What is a line for -list.
	What string
	// Rows are the figures that each sample yields.
	Rows []Row
	// N is how much work a sample does: operations, actors, timers.
	N int
	// ShortN is N with -short.
	ShortN int
	// Fresh says that the work is sending messages, so that -fresh measures it a second time.
	Fresh bool
	// MinProcs is the least GOMAXPROCS at which the bench says anything. Zero means 1.
	MinProcs int
	// Greenroom does the work with actors.
	Greenroom Func
	// Floors do it otherwise. The first is what Reach speaks of and what runs unless -against names another.
	Floors []Floor
}

// Suite is the benches in the order they run.
type Suite []Bench

// check finds what is wrong with the suite itself.
func (s Suite) check() error {
	seen := make(map[string]bool)
	for _, b := range s {
		switch {
		case b.Name == "" || b.What == "" || len(b.Rows) == 0 || b.Greenroom == nil || len(b.Floors) == 0:
			return fmt.Errorf("bench %q is incomplete", b.Name)
		case b.N < 1 || b.ShortN < 1:
			return fmt.Errorf("bench %q has no N", b.Name)
		}
		for _, name := range b.rowNames() {
			if seen[name] {
				return fmt.Errorf("two figures are called %q", name)
			}
			seen[name] = true
		}
	}
	return nil
}

// selectBenches returns the benches that names, separated by commas, stand for: a bench, a group of benches, or one figure
// of a bench, which selects the whole bench. Empty names select all.
func (s Suite) selectBenches(names string) (Suite, error) {
	if names == "" {
		return s, nil
	}
	wanted := make(map[string]bool)
	for name := range strings.SplitSeq(names, ",") {
		name = strings.TrimSpace(name)
		found := false
		for _, b := range s {
			if b.answersTo(name) {
				wanted[b.Name], found = true, true
			}
		}
		if !found {
			return nil, fmt.Errorf("no bench is called %q; there are %s", name, strings.Join(s.names(), ", "))
		}
	}
	var out Suite
	for _, b := range s {
		if wanted[b.Name] {
			out = append(out, b)
		}
	}
	return out, nil
}

func (s Suite) names() []string {
	names := make([]string, len(s))
	for i, b := range s {
		names[i] = b.Name
	}
	return names
}

func (s Suite) find(name string) (Bench, bool) {
	for _, b := range s {
		if b.Name == name {
			return b, true
		}
	}
	return Bench{}, false
}

func (b Bench) answersTo(name string) bool {
	if b.Name == name || strings.HasPrefix(b.Name, name+"/") {
		return name != ""
	}
	return slices.Contains(b.rowNames(), name)
}

// rowNames are the names that the bench's figures are reported under.
func (b Bench) rowNames() []string {
	names := make([]string, len(b.Rows))
	for i, row := range b.Rows {
		names[i] = b.fullName(row, false)
	}
	return names
}

func (b Bench) fullName(row Row, fresh bool) string {
	name := b.Name
	if row.Name != "" {
		name += "/" + row.Name
	}
	if fresh {
		name += "/fresh"
	}
	return name
}

// floor returns the floor of that name, the first one if name is empty.
func (b Bench) floor(name string) (Floor, bool) {
	for _, f := range b.Floors {
		if name == "" || f.Name == name {
			return f, true
		}
	}
	return Floor{}, false
}

// impl returns the side of that name.
func (b Bench) impl(name string) (Func, error) {
	if name == Greenroom {
		return b.Greenroom, nil
	}
	if f, ok := b.floor(name); ok && name != "" {
		return f.Run, nil
	}
	return nil, fmt.Errorf("bench %s has no side called %q", b.Name, name)
}

// against returns the benches that have a floor of that name; an error if none has. Empty keeps all.
func (s Suite) against(floor string) (Suite, error) {
	var out Suite
	known := make(map[string]bool)
	for _, b := range s {
		for _, f := range b.Floors {
			known[f.Name] = true
		}
		if _, ok := b.floor(floor); ok {
			out = append(out, b)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("none of the chosen benches has a floor called %q; they have %s", floor, keys(known))
	}
	return out, nil
}
