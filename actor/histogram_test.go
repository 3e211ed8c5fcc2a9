package actor

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/greenroom-go/greenroom/mailbox"
)

// rendered is a histogram as a scrape shows it: upTo counts the values up to each of bounds.
type rendered struct {
	count  uint64
	sum    float64
	bounds []float64
	upTo   []uint64
}

func render(t *testing.T, h *histogram, buckets int, scale float64) (r rendered) {
	t.Helper()
	desc := prometheus.NewDesc("h", "h", nil, nil)
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(prometheus.CollectorFunc(func(to chan<- prometheus.Metric) { to <- h.metric(desc, buckets, scale) }))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := families[0].GetMetric()[0].GetHistogram()
	r.count, r.sum = got.GetSampleCount(), got.GetSampleSum()
	for _, b := range got.GetBucket() {
		r.bounds, r.upTo = append(r.bounds, b.GetUpperBound()), append(r.upTo, b.GetCumulativeCount())
	}
	return r
}

// TestHistogramBounds: every value lies in the first bucket whose bound it does not exceed, and nowhere else.
func TestHistogramBounds(t *testing.T) {
	for _, us := range []uint64{0, 1, 2, 3, 4, 7, 8, 1000, 1 << 25, 1<<26 - 1, 1 << 26, 1 << 31, 1 << 40} {
		var h histogram
		h.observe(us)
		got := render(t, &h, latencyBuckets, 1e6)
		if got.count != 1 || got.sum != float64(us)/1e6 {
			t.Errorf("%d us: count %d, sum %v", us, got.count, got.sum)
		}
		for i, bound := range got.bounds {
			// A reading of us is a time of at least us and less than us+1.
			if in := got.upTo[i] == 1; in != (float64(us+1)/1e6 <= bound) {
				t.Errorf("%d us: counted as at most %v s: %v", us, bound, in)
			}
		}
	}
}

// TestHistogramDrain: what a cache has counted arrives once, and above the last bound only where there is none.
func TestHistogramDrain(t *testing.T) {
	d := mailbox.Depths{Elems: 1<<30 + 4}
	d.Takes[0], d.Takes[1], d.Takes[mailbox.DepthBuckets-1] = 2, 1, 1
	var h histogram
	h.drain(&d)
	h.drain(&d)
	if d != (mailbox.Depths{}) {
		t.Errorf("the cache keeps %v", d)
	}
	got := render(t, &h, depthBuckets, 1)
	if got.count != 4 || got.sum != 1<<30+4 {
		t.Errorf("count %d, sum %v, want 4 and 2^30+4", got.count, got.sum)
	}
	if got.upTo[0] != 2 || got.upTo[len(got.upTo)-1] != 3 {
		t.Errorf("buckets: %v, want 2 up to one message and 3 with a bound", got.upTo)
	}
}

// TestLatencyIsNeverNegative: a message taken within the microsecond in which it was sent waited for no time, not for 71
// minutes.
func TestLatencyIsNeverNegative(t *testing.T) {
	sys, err := NewSystem()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sys.Close() }()
	s := sys.ex.all()[0]
	const n = 100000
	for range n {
		s.latency(sys.ex.stamp(sys.ex.now()))
	}
	got := render(t, &sys.metrics.latency, latencyBuckets, 1e6)
	if last := got.upTo[latencyBuckets-1]; last != n {
		t.Errorf("%d of %d messages waited for more than %v s", n-last, n, got.bounds[latencyBuckets-1])
	}
}

func TestHistogramAllocs(t *testing.T) {
	var h histogram
	var d mailbox.Depths
	if n := testing.AllocsPerRun(1000, func() {
		h.observe(1000)
		d.Takes[3], d.Elems = 1, 8
		h.drain(&d)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkHistogram(b *testing.B) {
	var h histogram
	b.Run("observe", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h.observe(1000)
		}
	})
	b.Run("drain", func(b *testing.B) {
		b.ReportAllocs()
		var d mailbox.Depths
		for b.Loop() {
			d.Takes[3], d.Elems = 1, 8
			h.drain(&d)
		}
	})
}
