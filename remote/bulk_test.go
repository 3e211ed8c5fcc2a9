package remote

import "testing"

// A buffer has the room that was asked for, and comes from no class that is larger than need be.
func TestBulkBuffers(t *testing.T) {
	for _, n := range []int{0, 1, leastBulk, leastBulk + bulkSlack, leastBulk + bulkSlack + 1, 1 << 20, 1<<20 + bulkSlack, 1<<20 + bulkSlack + 1, 16 << 20, 16<<20 + bulkSlack, 16<<20 + bulkSlack + 1, 20 << 20} {
		b := takeBulk(n)
		if len(b) != 0 || cap(b) < n {
			t.Errorf("%d bytes: a buffer of %d with room for %d", n, len(b), cap(b))
		}
		if cap(b) > max(2*n, leastBulk+bulkSlack) {
			t.Errorf("%d bytes: a buffer with room for %d", n, cap(b))
		}
		if c := bulkClass(n); c < bulkClasses && bulkClass(cap(b)) != c {
			t.Errorf("%d bytes: a buffer of class %d is given back to class %d", n, c, bulkClass(cap(b)))
		}
		giveBulk(b)
	}
	giveBulk(nil)
	giveBulk(make([]byte, 70<<10))
	if b := takeBulk(66 << 10); cap(b) != leastBulk+bulkSlack {
		t.Errorf("a buffer of a stranger's size came back: %d", cap(b))
	}
}
