package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// What the tests outside of the package look at.
var (
	ReadRecord = func(b []byte) ([]byte, error) {
		r, err := decodeRecord(b)
		if err != nil {
			return nil, err
		}
		return r.encode()
	}
	Describe = (*Replica).describe
)

// describe is all that is seen, and by what claims.
func (r *Replica) describe() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(r.nodes)) {
		p := r.nodes[name]
		fmt.Fprintf(&b, "%s#%x version %d\n", p.name, p.incarnation, p.version)
		for _, n := range slices.Sorted(maps.Keys(p.claims)) {
			fmt.Fprintf(&b, "  name %s %d %d\n", n, p.claims[n].actor.ID, p.claims[n].stamp)
		}
	}
	for _, g := range slices.Sorted(maps.Keys(r.groups)) {
		fmt.Fprintf(&b, "group %s %v\n", g, r.group(g))
	}
	return b.String()
}
