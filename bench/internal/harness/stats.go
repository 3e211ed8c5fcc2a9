package harness

import (
	"math"
	"slices"
	"strconv"
)

// Result is one line of the JSON output: one figure of one implementation.
type Result struct {
	// Bench names the figure: the bench, its row if it has several, and "fresh" if messages were.
	Bench string `json:"bench"`
	// Impl is Greenroom or the floor's name.
	Impl string `json:"impl"`
	// Procs is GOMAXPROCS.
	Procs int `json:"procs"`
	// N is how much work each sample did.
	N int `json:"n"`
	// Unit is what Median, Min and Max count.
	Unit string `json:"unit"`
	// Median is that of the samples.
	Median float64 `json:"median"`
	// Min is the least of the samples.
	Min float64 `json:"min"`
	// Max is the greatest of the samples.
	Max float64 `json:"max"`
	// Ratio is how many times better than the floor: above 1 is better, whatever the unit. The floor's own is 1. Zero
	// means that it could not be told, since one of the two figures was zero or less.
	Ratio float64 `json:"ratio"`
}

// comparison is one figure of both sides, with what the table and the plot show beside it.
type comparison struct {
	ours, floor Result
	better      Direction
	reach       Reach
	asked       bool // whether reach speaks of this run
	allocs      *float64
}

func (c comparison) met() bool { return c.reach.met(c.ours.Median, c.ours.Ratio) }

// ratio is how many times better ours is than floor; 0 if that cannot be told.
func ratio(ours, floor float64, better Direction) float64 {
	if !(ours > 0) || !(floor > 0) || math.IsInf(ours, 0) || math.IsInf(floor, 0) {
		return 0
	}
	if better == Higher {
		return ours / floor
	}
	return floor / ours
}

// medianRatio pairs the samples in the order they were taken and returns the median of the pairs' ratios.
func medianRatio(ours, floor []float64, better Direction) float64 {
	ratios := make([]float64, min(len(ours), len(floor)))
	for i := range ratios {
		ratios[i] = ratio(ours[i], floor[i], better)
	}
	return median(ratios)
}

// median of an even number of values is the mean of the middle two; of none it is 0.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[mid]
	}
	return (sorted[mid-1] + sorted[mid]) / 2
}

// Percentile returns the value below which p percent of values lie, by the nearest rank. It sorts values. Of none it is 0.
func Percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	rank := int(math.Ceil(p / 100 * float64(len(values))))
	return values[min(max(rank, 1), len(values))-1]
}

// compare sums up the samples of both sides for one row.
func compare(b Bench, row Row, floorName string, j job, ours, floor []sample) comparison {
	mine, theirs := figures(ours, row.Name), figures(floor, row.Name)
	line := func(impl string, values []float64, ratio float64) Result {
		return Result{
			Bench: b.fullName(row, j.Fresh), Impl: impl, Procs: j.Procs, N: j.N, Unit: row.Unit,
			Median: round(median(values)), Min: round(slices.Min(values)), Max: round(slices.Max(values)), Ratio: round(ratio),
		}
	}
	c := comparison{
		ours:   line(Greenroom, mine, medianRatio(mine, theirs, row.Better)),
		floor:  line(floorName, theirs, 1),
		better: row.Better,
		reach:  row.Reach,
		asked:  floorName == b.Floors[0].Name && row.Reach.asks(j.Procs),
	}
	if row.Name == "" {
		c.allocs = medianAllocs(ours)
	}
	return c
}

func figures(samples []sample, row string) []float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = s.Figures[row]
	}
	return values
}

func medianAllocs(samples []sample) *float64 {
	var values []float64
	for _, s := range samples {
		if s.Allocs != nil {
			values = append(values, *s.Allocs)
		}
	}
	if len(values) == 0 {
		return nil
	}
	m := median(values)
	return &m
}

// round keeps five significant digits: more is noise, and makes the JSON hard to read.
func round(v float64) float64 {
	short, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 5, 64), 64)
	if err != nil {
		return v
	}
	return short
}
