package mailbox

import "math/bits"

// DepthBuckets is how many buckets Depths has.
const DepthBuckets = 24

// Depths counts how deep consumers found their MPSC queues. A consumer takes whatever has queued up since its last take, once
// it has popped everything from before: how much that was is the depth of the queue at that moment.
type Depths struct {
	// Takes counts in buckets of powers of two: [0] those of one element, [i] those of more than 2^(i-1) and at most 2^i; the
	// last one counts all above too.
	Takes [DepthBuckets]uint32
	// Elems is how many elements these takes brought.
	Elems uint64
}

func (d *Depths) note(n int) {
	d.Takes[min(bits.Len(uint(n-1)), DepthBuckets-1)]++
	d.Elems += uint64(n)
}

// Depths returns the counts of all takes made with this cache. They are plain: only the owner of the cache may read them,
// and set them back to zero, which it should do before a bucket reaches 2^32.
func (c *Cache[E]) Depths() *Depths { return &c.depths }
