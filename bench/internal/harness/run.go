package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// taker takes one sample: in a child process, or in a test's own.
type taker func(ctx context.Context, j job) (sample, error)

// task is one line of work to compare: a bench at one GOMAXPROCS, with shared or with fresh messages.
type task struct {
	bench Bench
	floor Floor
	job   job // all but Impl
}

// tasks lists what the settings ask for, in the order it runs.
func (s settings) tasks() []task {
	var tasks []task
	for _, b := range s.benches {
		floor, _ := b.floor(s.against)
		for _, procs := range s.procs {
			if procs < b.MinProcs {
				continue
			}
			j := job{Bench: b.Name, Procs: procs, N: b.N, Short: s.short}
			if s.short {
				j.N = b.ShortN
			}
			tasks = append(tasks, task{b, floor, j})
			if s.fresh && b.Fresh {
				j.Fresh = true
				tasks = append(tasks, task{b, floor, j})
			}
		}
	}
	return tasks
}

// run takes all samples and returns the comparisons, with the errors of the benches that failed. JSON lines are written
// as soon as their bench is done.
func run(ctx context.Context, s settings, out outputs, stderr io.Writer, take taker) ([]comparison, error) {
	tasks := s.tasks()
	p := newProgress(stderr, len(tasks)*s.repeat*2)
	var all []comparison
	var errs []error
	for _, t := range tasks {
		done, err := t.run(ctx, s.repeat, p, take)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			p.failed(err)
			errs = append(errs, fmt.Errorf("%s failed", t.bench.Name))
			continue
		}
		p.done(done)
		all = append(all, done...)
		if err := writeJSON(out, done); err != nil {
			errs = append(errs, err)
			break
		}
	}
	p.close()
	return all, errors.Join(errs...)
}

// run takes the samples of both sides in turns and compares them.
func (t task) run(ctx context.Context, repeat int, p *progress, take taker) ([]comparison, error) {
	defer p.settle(p.planned + 2*repeat)
	var ours, floor []sample
	for i := range repeat {
		for _, side := range []struct {
			impl string
			into *[]sample
		}{{Greenroom, &ours}, {t.floor.Name, &floor}} {
			j := t.job
			j.Impl = side.impl
			p.begin(j, i+1, repeat)
			s, err := take(ctx, j)
			if err != nil {
				return nil, err
			}
			p.end()
			*side.into = append(*side.into, s)
		}
	}
	var out []comparison
	for _, row := range t.bench.Rows {
		out = append(out, compare(t.bench, row, t.floor.Name, t.job, ours, floor))
	}
	return out, nil
}

// writeJSON appends two lines for each comparison: ours and the floor's.
func writeJSON(out outputs, comparisons []comparison) error {
	if out.json == nil {
		return nil
	}
	return encode(out.json, comparisons)
}

func encode(w io.Writer, comparisons []comparison) error {
	enc := json.NewEncoder(w)
	for _, c := range comparisons {
		if err := errors.Join(enc.Encode(c.ours), enc.Encode(c.floor)); err != nil {
			return fmt.Errorf("writing results: %w", err)
		}
	}
	return nil
}
