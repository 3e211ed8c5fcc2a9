package remote

import (
	"math/bits"
	"sync"
)

// Long envelopes are marshalled into, and put together in, buffers that are used again: to allocate a new one each time keeps the garbage
// collector busier than the message itself.

const (
	// leastBulk is the size of the smallest such buffers; each class has twice as much. bulkSlack more holds what an envelope says beside a
	// message whose size is a power of two.
	leastBulk   = 64 << 10
	bulkSlack   = 4 << 10
	bulkClasses = 9 // the largest is of 16 MiB
)

var bulkBuffers [bulkClasses]sync.Pool // of *[]byte

// bulkClass is the class of the smallest buffers that hold n bytes: bulkClasses or more if none does.
func bulkClass(n int) int { return bits.Len(uint(max(n-bulkSlack-1, 0) / leastBulk)) }

// takeBulk returns an empty buffer with room for n bytes.
func takeBulk(n int) []byte {
	c := bulkClass(n)
	if c >= bulkClasses {
		return make([]byte, 0, n)
	}
	if b, ok := bulkBuffers[c].Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, leastBulk<<c+bulkSlack)
}

// giveBulk gives a buffer back that nobody uses any more. One that takeBulk did not make is left to the garbage collector.
func giveBulk(b []byte) {
	if c := bulkClass(cap(b)); c < bulkClasses && cap(b) == leastBulk<<c+bulkSlack {
		b = b[:0]
		bulkBuffers[c].Put(&b)
	}
}
