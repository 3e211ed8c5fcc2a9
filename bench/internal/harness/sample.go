package harness

import (
	"fmt"
	"runtime"
	"time"
)

// job is one sample to take; it travels to the child as JSON.
type job struct {
	Bench string `json:"bench"`
	Impl  string `json:"impl"`
	Procs int    `json:"procs"`
	N     int    `json:"n"`
	Fresh bool   `json:"fresh"`
	Short bool   `json:"short"`
}

// sample is what a job yielded; it travels back as JSON.
type sample struct {
	Figures map[string]float64 `json:"figures"`
	Allocs  *float64           `json:"allocs,omitempty"` // per operation, where the bench counts them
}

// Run is one sample in the making, as its Func sees it.
type Run struct {
	// Procs is GOMAXPROCS.
	Procs int
	// N is how much work to do.
	N int
	// Fresh asks for one new message per send, on both sides; else one shared message is sent again and again.
	Fresh bool
	// Short asks for less where N does not say it all, a measuring time for example.
	Short bool

	figures map[string]float64
	allocs  *float64
}

// Set reports the figure of a row. The row of a bench with a single figure has the empty name.
func (r *Run) Set(row string, figure float64) { r.figures[row] = figure }

// Figure returns what Set reported for a row, 0 if nothing has been.
func (r *Run) Figure(row string) float64 { return r.figures[row] }

// PerOp reports the nanoseconds, and the heap allocations, that work takes per operation. It calls work twice: with a
// tenth of n to warm up, and with n to measure.
func (r *Run) PerOp(n int, work func(n int) error) error {
	if err := work(max(n/10, 1)); err != nil {
		return err
	}
	ns, err := r.Measure(n, func() error { return work(n) })
	r.Set("", ns)
	return err
}

// Measure returns the nanoseconds that work takes for each of n operations and reports its allocations. It is PerOp
// without the warm-up, for work that can be done only once.
func (r *Run) Measure(n int, work func() error) (ns float64, err error) {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	err = work()
	elapsed := time.Since(start)
	runtime.ReadMemStats(&after)
	allocs := float64(after.Mallocs-before.Mallocs) / float64(n)
	r.allocs = &allocs
	return max(float64(elapsed.Nanoseconds()), 1) / float64(n), err
}

// checkRows finds figures that the bench promised and the run did not give, or the other way round.
func (r *Run) checkRows(b Bench) error {
	for _, row := range b.Rows {
		if _, ok := r.figures[row.Name]; !ok {
			return fmt.Errorf("no figure for %s", b.fullName(row, false))
		}
	}
	if len(r.figures) != len(b.Rows) {
		return fmt.Errorf("%d figures for %d rows", len(r.figures), len(b.Rows))
	}
	return nil
}
