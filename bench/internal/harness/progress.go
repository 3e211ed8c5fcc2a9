package harness

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// progress tells on stderr how far the run is: a bar that is drawn over on a terminal, a line per bench elsewhere.
type progress struct {
	w        io.Writer
	terminal bool
	start    time.Time
	total    int
	taken    int
	planned  int // samples taken or given up
	width    int // of the bar's line as it stands on the terminal
}

func newProgress(w io.Writer, total int) *progress {
	return &progress{w: w, terminal: isTerminal(w), start: time.Now(), total: total}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// begin shows the sample that is about to be taken.
func (p *progress) begin(j job, i, of int) {
	if !p.terminal {
		return
	}
	const cells = 24
	filled := cells * p.planned / max(p.total, 1)
	p.draw(fmt.Sprintf("[%s%s] %d/%d  %s  procs %d  %s %d of %d  %s", strings.Repeat("#", filled),
		strings.Repeat(".", cells-filled), p.planned, p.total, j.Bench, j.Procs, j.Impl, i, of, p.left()))
}

// left guesses the time that remains from what the samples took so far.
func (p *progress) left() string {
	if p.taken == 0 {
		return ""
	}
	each := time.Since(p.start) / time.Duration(p.taken)
	return (each * time.Duration(p.total-p.planned)).Round(time.Second).String() + " left"
}

func (p *progress) end() {
	p.taken++
	p.planned++
}

// settle says how many samples are behind us, with those that a failed bench did not get to.
func (p *progress) settle(planned int) { p.planned = planned }

// done prints what a bench came to.
func (p *progress) done(comparisons []comparison) {
	for _, c := range comparisons {
		p.say(fmt.Sprintf("%-24s procs %d  %s %s  %s %s  ratio %s", c.ours.Bench, c.ours.Procs,
			figure(c.ours.Median), c.ours.Unit, c.floor.Impl, figure(c.floor.Median), times(c.ours.Ratio)))
	}
}

func (p *progress) failed(err error) { p.say("FAILED " + err.Error()) }

// say prints a line that stays.
func (p *progress) say(line string) {
	p.clear()
	fmt.Fprintln(p.w, line)
}

func (p *progress) close() { p.clear() }

func (p *progress) draw(line string) {
	pad := max(p.width-len(line), 0)
	fmt.Fprintf(p.w, "\r%s%s", line, strings.Repeat(" ", pad))
	p.width = len(line)
}

func (p *progress) clear() {
	if p.width > 0 {
		fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", p.width))
		p.width = 0
	}
}
