package actortest

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/greenroom-go/greenroom/actor"
)

var seedFlag = flag.Uint64("actortest.seed", 0, "run the scenarios of actortest.Explore under this seed alone")

// lastSteps is how many steps of a failed run are shown.
const lastSteps = 20

// Scenario is a test that can run under a seed. It gets a System of its own, runs in a bubble of testing/synctest, and must
// let all goroutines that it starts come to their end; the System is stopped after it, as one of New is. It may not call t.Run.
type Scenario func(t *testing.T, sys *actor.System)

// Explore runs f under the seeds 1 to n, each as a subtest, and stops at the first that fails: then it prints the seed and
// the last steps of the run. The flag -actortest.seed=N of the test binary runs that seed alone.
// Cost: each run is a bubble and a System, and at each of its steps all goroutines of the bubble come to rest.
func Explore(t *testing.T, n int, f Scenario) {
	t.Helper()
	if n < 1 {
		t.Fatalf("actortest: explore %d seeds: it takes at least one", n)
	}
	if seed := *seedFlag; seed != 0 {
		explore(t, seed, f)
		return
	}
	for seed := range uint64(n) {
		explore(t, seed+1, f)
	}
}

func explore(t *testing.T, seed uint64, f Scenario) {
	t.Helper()
	if _, ok := run(t, fmt.Sprintf("seed=%d", seed), seed, f); !ok {
		t.Fatalf("actortest: seed %d failed: rerun with -run '^%s$' -actortest.seed=%d", seed, t.Name(), seed)
	}
}

// Replay runs f twice under the same seed. It fails if the two runs differ, and names the first step that does: f depends
// on something that the seed does not rule.
func Replay(t *testing.T, seed uint64, f Scenario) {
	t.Helper()
	if seed == 0 {
		t.Fatal("actortest: replay seed 0: seeds start at 1")
	}
	first, ok := run(t, "first", seed, f)
	if !ok {
		t.Fatalf("actortest: seed %d failed before there was anything to compare", seed)
	}
	second, ok := run(t, "second", seed, f)
	if diff := difference(first, second); diff != "" {
		t.Fatalf("actortest: two runs under seed %d differ: %s", seed, diff)
	}
	if !ok {
		t.Fatalf("actortest: seed %d failed the second time after the same %d steps", seed, len(second))
	}
}

// run runs f once, as a subtest, and returns the steps that the System took.
func run(t *testing.T, name string, seed uint64, f Scenario) (trace []actor.Step, ok bool) {
	t.Helper()
	ok = t.Run(name, func(t *testing.T) {
		defer func() {
			if v := recover(); v != nil { // a deadlock, or goroutines that are left: the panic shows their stacks
				t.Errorf("actortest: seed %d ends in a panic", seed)
				panic(v)
			}
		}()
		synctest.Test(t, func(t *testing.T) {
			var sys *actor.System
			t.Cleanup(func() {
				if sys == nil {
					return
				}
				trace = sys.Trace()
				if t.Failed() {
					t.Logf("the last of %d steps under seed %d:%s", len(trace), seed, tail(trace))
				}
			})
			sys = New(t, actor.SystemOptions{Seed: seed})
			f(t, sys)
		})
	})
	return trace, ok
}

// difference names the first step in which two traces differ, or nothing if they are the same.
func difference(a, b []actor.Step) string {
	for i := range min(len(a), len(b)) {
		if a[i].Hash != b[i].Hash {
			return fmt.Sprintf("at step %d of %d: first %q, then %q; before:%s", i+1, len(a), a[i].What, b[i].What, tail(a[:i]))
		}
	}
	switch {
	case len(a) > len(b):
		return fmt.Sprintf("at step %d: first %q, then the run ended", len(b)+1, a[len(b)].What)
	case len(a) < len(b):
		return fmt.Sprintf("at step %d: first the run ended, then %q", len(a)+1, b[len(a)].What)
	}
	return ""
}

// tail lists the last steps of a trace, one to a line.
func tail(trace []actor.Step) string {
	var text strings.Builder
	for i := max(0, len(trace)-lastSteps); i < len(trace); i++ {
		fmt.Fprintf(&text, "\n\t%4d  %s", i+1, trace[i].What)
	}
	return text.String()
}
