package harness

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"math"
	"slices"
)

// The plot's measures, in pixels.
const (
	plotWidth   = 960
	plotLeft    = 210 // where the bars' field begins; names stand before it
	plotRight   = 230 // after the field: the ratio in figures
	plotTop     = 84
	plotBar     = 14
	plotBarStep = 18
	plotGroup   = 8 // between benches
	plotBottom  = 40
)

// plotColours are for the values of -procs, in their order, and again from the start.
var plotColours = []string{"#0b6e99", "#d98324", "#5b8c5a", "#8e5572"}

// scale maps ratios to pixels, logarithmically: twice as good and half as good are equally far from the line at 1.
// It ends at a sixteenth and at 32 times, so that one extreme ratio does not squeeze all others; bars beyond are cut.
type scale struct{ low, high float64 } // powers of 2, as exponents

func newScale(all []comparison) scale {
	s := scale{-1, 2}
	for _, c := range all {
		for _, v := range []float64{c.ours.Ratio, c.reach.Ratio} {
			if v > 0 {
				s.low, s.high = min(s.low, math.Floor(math.Log2(v))), max(s.high, math.Ceil(math.Log2(v)))
			}
		}
	}
	return scale{max(s.low, -4), min(s.high, 5)}
}

func (s scale) x(ratio float64) float64 {
	const field = plotWidth - plotLeft - plotRight
	return plotLeft + field*(min(max(math.Log2(ratio), s.low), s.high)-s.low)/(s.high-s.low)
}

// beyond reports whether the scale ends before ratio.
func (s scale) beyond(ratio float64) bool {
	return math.Log2(ratio) < s.low || math.Log2(ratio) > s.high
}

// writePlot draws the ratios as an SVG: a bar per bench and GOMAXPROCS, to the right of the line at 1 where Greenroom is
// better than the floor, with a mark where it should reach.
func writePlot(w io.Writer, all []comparison) error {
	b := bufio.NewWriter(w)
	groups := groupByBench(all)
	procs := procsOf(all)
	height := plotTop + plotBottom + len(groups)*plotGroup + len(all)*plotBarStep
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" `+
		`font-family="sans-serif" font-size="12">`+"\n", plotWidth, height, plotWidth, height)
	fmt.Fprintf(b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", plotWidth, height)
	text(b, 16, 26, "start", "#222222", 16, "How many times better than the floor")
	legend(b, procs)
	s := newScale(all)
	grid(b, s, height-plotBottom)
	y := plotTop
	for _, group := range groups {
		text(b, plotLeft-10, y+plotBarStep*len(group)/2+4, "end", "#222222", 12, group[0].ours.Bench)
		for _, c := range group {
			bar(b, s, c, y, plotColours[slices.Index(procs, c.ours.Procs)%len(plotColours)])
			y += plotBarStep
		}
		y += plotGroup
	}
	fmt.Fprintln(b, "</svg>")
	return b.Flush()
}

func groupByBench(all []comparison) [][]comparison {
	var groups [][]comparison
	at := make(map[string]int)
	for _, c := range all {
		i, ok := at[c.ours.Bench]
		if !ok {
			i = len(groups)
			at[c.ours.Bench] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], c)
	}
	return groups
}

func procsOf(all []comparison) []int {
	var procs []int
	for _, c := range all {
		if !slices.Contains(procs, c.ours.Procs) {
			procs = append(procs, c.ours.Procs)
		}
	}
	slices.Sort(procs)
	return procs
}

func legend(w io.Writer, procs []int) {
	x := 16
	for i, p := range procs {
		fmt.Fprintf(w, `<rect x="%d" y="38" width="12" height="12" fill="%s"/>`+"\n", x, plotColours[i%len(plotColours)])
		text(w, x+18, 49, "start", "#444444", 12, fmt.Sprintf("GOMAXPROCS %d", p))
		x += 140
	}
	fmt.Fprintf(w, `<path d="M%d 37v14" stroke="#b00020" stroke-width="2"/>`+"\n", x)
	text(w, x+10, 49, "start", "#444444", 12, "to reach, what falls short is red")
}

func grid(w io.Writer, s scale, bottom int) {
	for e := s.low; e <= s.high; e++ {
		x, colour, width := s.x(math.Exp2(e)), "#dddddd", 1
		if e == 0 {
			colour, width = "#555555", 2
		}
		fmt.Fprintf(w, `<path d="M%.1f %dV%d" stroke="%s" stroke-width="%d"/>`+"\n", x, plotTop-8, bottom, colour, width)
		text(w, int(x), plotTop-14, "middle", "#666666", 11, power(e))
	}
}

// power names a line of the grid: "1/4x", "2x".
func power(e float64) string {
	if e < 0 {
		return "1/" + trim(math.Exp2(-e)) + "x"
	}
	return trim(math.Exp2(e)) + "x"
}

func bar(w io.Writer, s scale, c comparison, y int, colour string) {
	right := plotWidth - plotRight + 12
	label := fmt.Sprintf("%s %s  (%s %s)", times(c.ours.Ratio), c.floor.Impl, figure(c.ours.Median), c.ours.Unit)
	if c.ours.Ratio <= 0 {
		text(w, right, y+plotBar-2, "start", "#888888", 12, "not told")
		return
	}
	from, to := s.x(1), s.x(c.ours.Ratio)
	fmt.Fprintf(w, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n",
		min(from, to), y, max(math.Abs(to-from), 1), plotBar, colour)
	if s.beyond(c.ours.Ratio) {
		fmt.Fprintf(w, `<path d="M%.1f %dl4 %d" stroke="#ffffff" stroke-width="2"/>`+"\n", to+math.Copysign(8, from-to)-2, y, plotBar)
	}
	if c.asked && c.reach.Ratio > 0 {
		fmt.Fprintf(w, `<path d="M%.1f %dv%d" stroke="#b00020" stroke-width="2"/>`+"\n", s.x(c.reach.Ratio), y-2, plotBar+4)
	}
	shade := "#222222"
	if c.asked && !c.met() {
		shade = "#b00020"
	}
	text(w, right, y+plotBar-2, "start", shade, 12, label)
}

func text(w io.Writer, x, y int, anchor, colour string, size int, s string) {
	fmt.Fprintf(w, `<text x="%d" y="%d" text-anchor="%s" fill="%s" font-size="%d">%s</text>`+"\n",
		x, y, anchor, colour, size, html.EscapeString(s))
}
