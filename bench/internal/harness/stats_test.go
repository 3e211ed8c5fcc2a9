package harness

import (
	"math"
	"testing"
)

func TestRatio(t *testing.T) {
	for _, c := range []struct {
		ours, floor float64
		better      Direction
		want        float64
	}{
		{50, 100, Lower, 2},
		{200, 100, Lower, 0.5},
		{50, 100, Higher, 0.5},
		{200, 100, Higher, 2},
		{0, 100, Lower, 0},
		{100, 0, Higher, 0},
		{-1, 100, Lower, 0},
		{math.NaN(), 100, Lower, 0},
		{math.Inf(1), 100, Higher, 0},
	} {
		if got := ratio(c.ours, c.floor, c.better); got != c.want {
			t.Errorf("ratio(%v, %v, %v) = %v, want %v", c.ours, c.floor, c.better, got, c.want)
		}
	}
}

// The machine gets three times slower between the pairs: pair by pair the ratio is 2 throughout, while the medians of
// the sides could not tell.
func TestRatioIsPairByPair(t *testing.T) {
	ours, floor := []float64{50, 150, 450}, []float64{100, 300, 900}
	if got := medianRatio(ours, floor, Lower); got != 2 {
		t.Errorf("ratio %v, want 2", got)
	}
	if got := medianRatio([]float64{1, 1, 1}, []float64{8, 2, 3}, Lower); got != 3 {
		t.Errorf("ratio %v, want the median 3", got)
	}
}

func TestMedianAndPercentile(t *testing.T) {
	if got := median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Errorf("median of four is %v, want 2.5", got)
	}
	if got := median(nil); got != 0 {
		t.Errorf("median of none is %v, want 0", got)
	}
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for p, want := range map[float64]float64{50: 50, 99: 99, 100: 100, 0: 1} {
		if got := Percentile(hundred, p); got != want {
			t.Errorf("percentile %v is %v, want %v", p, got, want)
		}
	}
	if got := Percentile(nil, 99); got != 0 {
		t.Errorf("percentile of none is %v, want 0", got)
	}
}

func TestReach(t *testing.T) {
	both := Reach{Ratio: 2, AtMost: 100}
	for _, c := range []struct {
		median, ratio float64
		want          bool
	}{{100, 2, true}, {101, 2, false}, {100, 1.9, false}} {
		if got := both.met(c.median, c.ratio); got != c.want {
			t.Errorf("met(%v, %v) = %v", c.median, c.ratio, got)
		}
	}
	if (Reach{}).asks(2) {
		t.Error("the zero reach asks for something")
	}
	if both.asks(1) || !both.asks(2) {
		t.Error("a reach speaks of procs 2 and more")
	}
}

func TestFigure(t *testing.T) {
	for v, want := range map[float64]string{0: "0.00", 0.00042: "0.00042", 0.12345: "0.123", 12.345: "12.35", 123.45: "123.5", 1e7: "10000000"} {
		if got := figure(v); got != want {
			t.Errorf("figure(%v) = %q, want %q", v, got, want)
		}
	}
}
