package actor

import "sync/atomic"

// metrics is what the System measures beside its counters.
type metrics struct {
	latency histogram
}

func (m *metrics) init(*System) {}

// histogram counts values in buckets of powers of two.
type histogram struct {
	buckets [32]atomic.Uint64
	sum     atomic.Uint64
}

func (h *histogram) observe(v uint64) {
	i := 0
	for x := v; x > 0 && i < len(h.buckets)-1; x >>= 1 {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(v)
}
