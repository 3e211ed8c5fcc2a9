package remote

import (
	"fmt"
	"testing"
)

// When a node goes, only its keys move; and all nodes have their share (RCI-5).
func TestByKeyIsStable(t *testing.T) {
	const nodes, keys = 10, 10000
	owner := func(key string, without int) int {
		best := -1
		for i := range nodes {
			if i != without && (best < 0 || affinity(key, fmt.Sprint("node-", i)) > affinity(key, fmt.Sprint("node-", best))) {
				best = i
			}
		}
		return best
	}
	var share [nodes]int
	for k := range keys {
		key := fmt.Sprint("key-", k)
		was := owner(key, -1)
		share[was]++
		if now := owner(key, 3); was != 3 && now != was {
			t.Fatalf("%s moved from %d to %d, and node 3 has gone", key, was, now)
		}
	}
	for i, n := range share {
		if n < keys/nodes*8/10 || n > keys/nodes*12/10 {
			t.Errorf("node %d has %d of %d keys", i, n, keys)
		}
	}
}
