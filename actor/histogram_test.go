package actor

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/greenroom-go/greenroom/mailbox"
)

func render(t *testing.T, h *histogram, buckets int, scale float64) *dto.Histogram {
	t.Helper()
	var m dto.Metric
	if err := h.metric(prometheus.NewDesc("h", "h", nil, nil), buckets, scale).Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetHistogram()
}

// TestHistogramBounds: every value lies in the first bucket whose bound it does not exceed, and nowhere else.
func TestHistogramBounds(t *testing.T) {
	for _, us := range []uint64{0, 1, 2, 3, 4, 7, 8, 1000, 1 << 25, 1<<26 - 1, 1 << 26, 1 << 31, 1 << 40} {
		var h histogram
		h.observe(us)
		got := render(t, &h, latencyBuckets, 1e6)
		if got.GetSampleCount() != 1 || got.GetSampleSum() != float64(us)/1e6 {
			t.Errorf("%d us: count %d, sum %v", us, got.GetSampleCount(), got.GetSampleSum())
		}
		for _, b := range got.GetBucket() {
			// A reading of us is a time of at least us and less than us+1.
			if in := b.GetCumulativeCount() == 1; in != (float64(us+1)/1e6 <= b.GetUpperBound()) {
				t.Errorf("%d us: counted as at most %v s: %v", us, b.GetUpperBound(), in)
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
	if got.GetSampleCount() != 4 || got.GetSampleSum() != 1<<30+4 {
		t.Errorf("count %d, sum %v, want 4 and 2^30+4", got.GetSampleCount(), got.GetSampleSum())
	}
	last := got.GetBucket()[len(got.GetBucket())-1]
	if got.GetBucket()[0].GetCumulativeCount() != 2 || last.GetCumulativeCount() != 3 {
		t.Errorf("buckets: %v, want 2 up to one message and 3 with a bound", got.GetBucket())
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
	if last := got.GetBucket()[latencyBuckets-1]; last.GetCumulativeCount() != n {
		t.Errorf("%d of %d messages waited for more than %v s", n-last.GetCumulativeCount(), n, last.GetUpperBound())
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
