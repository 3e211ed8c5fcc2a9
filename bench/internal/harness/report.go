package harness

import (
	"fmt"
	"io"
	"maps"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// list prints the benches: what they do, which floors they have, what they should reach.
func list(w io.Writer, suite Suite) {
	for _, b := range suite {
		fmt.Fprintf(w, "%s  (n %d, short %d)\n", b.Name, b.N, b.ShortN)
		fmt.Fprintf(w, "    %s\n", b.What)
		for _, row := range b.Rows {
			if reach := row.Reach.String(); reach != "" || row.Name != "" {
				fmt.Fprintf(w, "    %s\n", strings.TrimSpace(fmt.Sprintf("figure %s [%s] %s", b.fullName(row, false), row.Unit, reach)))
			}
		}
		for _, f := range b.Floors {
			fmt.Fprintf(w, "    floor %s: %s\n", f.Name, f.What)
		}
	}
}

// column is one column of the table.
type column struct {
	title string
	right bool // aligned right, for figures
	cell  func(comparison) string
}

var columns = []column{
	{"BENCH", false, func(c comparison) string { return c.ours.Bench }},
	{"PROCS", true, func(c comparison) string { return strconv.Itoa(c.ours.Procs) }},
	{"N", true, func(c comparison) string { return strconv.Itoa(c.ours.N) }},
	{"UNIT", false, func(c comparison) string { return c.ours.Unit }},
	{"GREENROOM", true, func(c comparison) string { return figure(c.ours.Median) }},
	{"MIN..MAX", false, func(c comparison) string { return spread(c.ours) }},
	{"FLOOR", false, func(c comparison) string { return c.floor.Impl }},
	{"MEDIAN", true, func(c comparison) string { return figure(c.floor.Median) }},
	{"MIN..MAX", false, func(c comparison) string { return spread(c.floor) }},
	{"RATIO", true, func(c comparison) string { return times(c.ours.Ratio) }},
	{"REACH", false, reached},
	{"ALLOCS", true, allocations},
}

func reached(c comparison) string {
	switch {
	case !c.asked:
		return ""
	case c.met():
		return c.reach.String() + " met"
	default:
		return c.reach.String() + " SHORT"
	}
}

func allocations(c comparison) string {
	if c.allocs == nil {
		return ""
	}
	return strconv.FormatFloat(*c.allocs, 'f', 2, 64)
}

// printTable prints the comparisons under a line that says where they come from.
func printTable(w io.Writer, s settings, all []comparison) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(w, "%s %s/%s, %d processors; medians of %d interleaved samples a side; ratio: times better than the floor\n\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), s.repeat)
	cells := make([][]string, 0, len(all)+1)
	cells = append(cells, titles())
	for _, c := range all {
		line := make([]string, len(columns))
		for i, col := range columns {
			line[i] = col.cell(c)
		}
		cells = append(cells, line)
	}
	widths := make([]int, len(columns))
	for _, line := range cells {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, line := range cells {
		fmt.Fprintln(w, align(line, widths))
	}
}

func titles() []string {
	out := make([]string, len(columns))
	for i, col := range columns {
		out[i] = col.title
	}
	return out
}

func align(line []string, widths []int) string {
	var b strings.Builder
	for i, cell := range line {
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if columns[i].right {
			b.WriteString(pad + cell + "  ")
		} else {
			b.WriteString(cell + pad + "  ")
		}
	}
	return strings.TrimRight(b.String(), " ")
}

func spread(r Result) string { return figure(r.Min) + ".." + figure(r.Max) }

func times(ratio float64) string { return figure(ratio) + "x" }

// figure shows about four digits, never an exponent.
func figure(v float64) string {
	decimals := 3
	switch abs := max(v, -v); {
	case abs > 0 && abs < 0.01:
		decimals = 5
	case abs >= 1000:
		decimals = 0
	case abs >= 100:
		decimals = 1
	case abs >= 1 || abs == 0:
		decimals = 2
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

// trim shows at most two decimals, and only those that say something.
func trim(v float64) string { return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64) }

func keys(set map[string]bool) string { return strings.Join(slices.Sorted(maps.Keys(set)), ", ") }
