package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMain lets the test's own executable take samples of the fake suite, as the bench command takes those of its own.
func TestMain(m *testing.M) {
	if IsChild(os.Args[1:]) {
		os.Exit(Main(fakeSuite(), os.Args[1:], os.Stdout, os.Stderr))
	}
	// The race detector keeps each of the many children for a second after its work, unless it is told not to.
	if err := os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// fakeSuite has one bench of each kind; its figures are what the tests expect and take no time to get.
func fakeSuite() Suite {
	set := func(figures map[string]float64) Func {
		return func(_ context.Context, r *Run) error {
			for row, v := range figures {
				r.Set(row, v*float64(r.Procs))
			}
			return nil
		}
	}
	fails := func(context.Context, *Run) error { return errors.New("the well is dry") }
	return Suite{
		{
			Name: "time", What: "lower is better", Rows: []Row{{Unit: "ns", Reach: Reach{Ratio: 3}}}, N: 1000, ShortN: 10, Fresh: true,
			Greenroom: set(map[string]float64{"": 25}),
			Floors:    []Floor{{"chan", "goroutines", set(map[string]float64{"": 100})}, {"other", "another", set(map[string]float64{"": 50})}},
		},
		{
			Name: "late", What: "two figures",
			Rows: []Row{{Name: "p50", Unit: "us"}, {Name: "rate", Unit: "M/s", Better: Higher, Reach: Reach{Ratio: 2}}}, N: 20, ShortN: 2,
			Greenroom: set(map[string]float64{"p50": 10, "rate": 10}),
			Floors:    []Floor{{"chan", "goroutines", set(map[string]float64{"p50": 10, "rate": 20})}},
		},
		{
			Name: "group/a", What: "in a group", Rows: []Row{{Unit: "x"}}, N: 1, ShortN: 1, MinProcs: 2,
			Greenroom: set(map[string]float64{"": 1}), Floors: []Floor{{"alone", "without", set(map[string]float64{"": 1})}},
		},
		{
			Name: "group/broken", What: "fails", Rows: []Row{{Unit: "x"}}, N: 1, ShortN: 1, MinProcs: 2,
			Greenroom: fails, Floors: []Floor{{"alone", "without", set(map[string]float64{"": 1})}},
		},
	}
}

// inProcess takes samples without a child and keeps a list of them.
func inProcess(taken *[]job) taker {
	return func(ctx context.Context, j job) (sample, error) {
		*taken = append(*taken, j)
		return takeSample(ctx, fakeSuite(), j)
	}
}

func bench(t *testing.T, take taker, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = command(t.Context(), fakeSuite(), args, &out, &errs, take)
	return code, out.String(), errs.String()
}

func TestWrongCommandLines(t *testing.T) {
	for _, c := range []struct {
		args string
		says string
	}{
		{"-run pong", `no bench is called "pong"; there are time, late, group/a, group/broken`},
		{"-run time,", `no bench is called ""`},
		{"-run=", "-run names no bench"},
		{"-against erlang", `none of the chosen benches has a floor called "erlang"; they have alone, chan, other`},
		{"-run late -against other", `has a floor called "other"; they have chan`},
		{"-procs 0", "-procs is"},
		{"-procs 1,two", "-procs is"},
		{"-run group -procs 1", "needs -procs 2 or more"},
		{"-repeat 0", "-repeat is 0"},
		{"-repeat many", "invalid value"},
		{"-fast", "not defined: -fast"},
		{"time", `"time" is not a flag`},
		{"-json /nowhere/at/all", "-json: "},
		{"-plot /nowhere/at/all", "-plot: "},
		{"-run time " + childFlag, "not defined"},
	} {
		var taken []job
		code, stdout, stderr := bench(t, inProcess(&taken), strings.Fields(c.args)...)
		if code != exitUsage || !strings.Contains(stderr, c.says) || stdout != "" || len(taken) > 0 {
			t.Errorf("bench %s: exit %d, %d samples, said %q, want exit 2 and %q", c.args, code, len(taken), stderr, c.says)
		}
	}
}

func TestHelpAndList(t *testing.T) {
	code, _, stderr := bench(t, nil, "-h")
	if code != exitOK || !strings.Contains(stderr, "-procs") || strings.Contains(stderr, childFlag) {
		t.Errorf("-h: exit %d, said %q", code, stderr)
	}
	code, stdout, _ := bench(t, nil, "-list")
	if code != exitOK {
		t.Errorf("-list: exit %d", code)
	}
	for _, want := range []string{"time  (n 1000, short 10)", "late/rate [M/s] >=2x", "floor other: another", "group/broken"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("-list does not say %q:\n%s", want, stdout)
		}
	}
}

func TestSamplesAlternate(t *testing.T) {
	var taken []job
	if code, _, stderr := bench(t, inProcess(&taken), "-run", "time", "-repeat", "2", "-procs", "1,2", "-short", "-fresh"); code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	var want []job
	for _, procs := range []int{1, 2} {
		for _, fresh := range []bool{false, true} {
			for range 2 {
				for _, impl := range []string{Greenroom, "chan"} {
					want = append(want, job{Bench: "time", Impl: impl, Procs: procs, N: 10, Fresh: fresh, Short: true})
				}
			}
		}
	}
	if diff := cmp.Diff(want, taken); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
}

func TestRepeatAndN(t *testing.T) {
	for args, want := range map[string]struct{ samples, n int }{
		"":                 {10, 1000},
		"-short":           {6, 10},
		"-short -repeat 4": {8, 10},
	} {
		var taken []job
		bench(t, inProcess(&taken), append(strings.Fields(args), "-run", "time")...)
		if len(taken) != want.samples || taken[0].N != want.n {
			t.Errorf("bench %s took %d samples of n %d, want %d of %d", args, len(taken), taken[0].N, want.samples, want.n)
		}
	}
}

func TestResults(t *testing.T) {
	dir := t.TempDir()
	file, plot := filepath.Join(dir, "results.json"), filepath.Join(dir, "plot.svg")
	var taken []job
	code, stdout, stderr := bench(t, inProcess(&taken), "-run", "time,late/rate,group/a", "-procs", "1,2", "-fresh", "-json", file, "-plot", plot)
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	var want []Result
	pair := func(bench string, procs, n int, unit string, ours, floor float64, floorName string, ratio float64) {
		v, w := ours*float64(procs), floor*float64(procs)
		want = append(want, Result{bench, Greenroom, procs, n, unit, v, v, v, ratio}, Result{bench, floorName, procs, n, unit, w, w, w, 1})
	}
	for _, procs := range []int{1, 2} {
		pair("time", procs, 1000, "ns", 25, 100, "chan", 4)
		pair("time/fresh", procs, 1000, "ns", 25, 100, "chan", 4)
	}
	for _, procs := range []int{1, 2} {
		pair("late/p50", procs, 20, "us", 10, 10, "chan", 1)
		pair("late/rate", procs, 20, "M/s", 10, 20, "chan", 0.5)
	}
	pair("group/a", 2, 1, "x", 1, 1, "alone", 1)
	if diff := cmp.Diff(want, readResults(t, file)); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	for _, says := range []string{"BENCH", "4.00x  >=3x met", ">=2x SHORT", "late/p50"} {
		if !strings.Contains(stdout, says) {
			t.Errorf("the table does not say %q:\n%s", says, stdout)
		}
	}
	checkPlot(t, plot, "time/fresh", "late/rate", "group/a", "GOMAXPROCS 1", "GOMAXPROCS 2", "0.500x")
}

// readResults holds each line to exactly the promised fields.
func readResults(t *testing.T, file string) []Result {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var results []Result
	for line := range bytes.Lines(data) {
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"bench", "impl", "procs", "n", "unit", "median", "min", "max", "ratio"} {
			if _, ok := fields[name]; !ok {
				t.Errorf("no field %q in %s", name, line)
			}
		}
		var r Result
		strict := json.NewDecoder(bytes.NewReader(line))
		strict.DisallowUnknownFields()
		if err := strict.Decode(&r); err != nil {
			t.Error(err)
		}
		results = append(results, r)
	}
	return results
}

func checkPlot(t *testing.T, file string, texts ...string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for dec := xml.NewDecoder(bytes.NewReader(data)); ; {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the plot is not XML: %v", err)
		}
	}
	for _, text := range texts {
		if !bytes.Contains(data, []byte(text)) {
			t.Errorf("the plot does not show %q", text)
		}
	}
}

func TestAgainst(t *testing.T) {
	var taken []job
	code, stdout, stderr := bench(t, inProcess(&taken), "-against", "other", "-repeat", "1")
	if code != exitOK || !strings.Contains(stderr, `left out late: has no floor called "other"`) {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if len(taken) != 2 || taken[1].Impl != "other" || !strings.Contains(stdout, "2.00x") {
		t.Errorf("took %v and printed\n%s", taken, stdout)
	}
	if strings.Contains(stdout, "SHORT") {
		t.Errorf("the reach speaks of the first floor only:\n%s", stdout)
	}
}

func TestABrokenBenchSparesTheOthers(t *testing.T) {
	var taken []job
	code, stdout, stderr := bench(t, inProcess(&taken), "-run", "group,late", "-repeat", "3")
	if code != exitFailed || !strings.Contains(stderr, "the well is dry") || !strings.Contains(stderr, "group/broken failed") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if !strings.Contains(stdout, "group/a") || !strings.Contains(stdout, "late/rate") || strings.Contains(stdout, "group/broken") {
		t.Errorf("printed\n%s", stdout)
	}
}

func TestInterrupt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results.json")
	ctx, cancel := context.WithCancel(t.Context())
	var out, errs bytes.Buffer
	take := func(ctx context.Context, j job) (sample, error) {
		if j.Bench == "late" {
			cancel()
			return sample{}, ctx.Err()
		}
		return takeSample(ctx, fakeSuite(), j)
	}
	code := command(ctx, fakeSuite(), []string{"-json", file}, &out, &errs, take)
	if code != exitInterrupted || !strings.Contains(errs.String(), "interrupted") || strings.Contains(errs.String(), "FAILED") {
		t.Errorf("exit %d: %s", code, errs.String())
	}
	if !strings.Contains(out.String(), "time") || strings.Contains(out.String(), "late") {
		t.Errorf("printed\n%s", out.String())
	}
	if got := len(readResults(t, file)); got != 2 {
		t.Errorf("%d results were kept, want the 2 of the bench that was done", got)
	}
}

// The figures are computed from the settings that reach the child, and its GOMAXPROCS is the one that was asked for.
func TestChildProcess(t *testing.T) {
	s, err := spawnSample(t.Context(), job{Bench: "time", Impl: "other", Procs: 3, N: 7})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Figures[""]; got != 150 {
		t.Errorf("figure %v, want 150", got)
	}
	_, err = spawnSample(t.Context(), job{Bench: "group/broken", Impl: Greenroom, Procs: 2, N: 1})
	if err == nil || !strings.Contains(err.Error(), "the well is dry") {
		t.Errorf("the child's complaint is lost: %v", err)
	}
	if _, err = spawnSample(t.Context(), job{Bench: "time", Impl: "nobody", Procs: 1, N: 1}); err == nil {
		t.Error("a side that does not exist was sampled")
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := spawnSample(cancelled, job{Bench: "time", Impl: Greenroom, Procs: 1, N: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled sample ended with %v", err)
	}
}

func TestChildEnvironment(t *testing.T) {
	got := childEnv([]string{"HOME=/h", "GOGC=off", "GOMAXPROCS=7", "GOMEMLIMIT=1MiB"}, 2)
	if diff := cmp.Diff([]string{"HOME=/h", "GOGC=100", "GOMAXPROCS=2"}, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

func TestRowsArePromises(t *testing.T) {
	suite := Suite{{Name: "b", What: "w", Rows: []Row{{Name: "p50"}}, N: 1, ShortN: 1, Floors: []Floor{{Name: "chan"}}}}
	for _, figures := range []map[string]float64{{}, {"p99": 1}, {"p50": 1, "p99": 1}} {
		suite[0].Greenroom = func(_ context.Context, r *Run) error {
			for row, v := range figures {
				r.Set(row, v)
			}
			return nil
		}
		if _, err := takeSample(t.Context(), suite, job{Bench: "b", Impl: Greenroom}); err == nil {
			t.Errorf("figures %v passed for the row p50", figures)
		}
	}
}

func TestIncompleteSuite(t *testing.T) {
	suite := fakeSuite()
	suite[0].Greenroom = nil
	twice := append(fakeSuite(), fakeSuite()...)
	for _, s := range []Suite{suite, twice} {
		var out, errs bytes.Buffer
		if code := command(t.Context(), s, []string{"-list"}, &out, &errs, nil); code != exitFailed || errs.Len() == 0 {
			t.Errorf("exit %d: %s", code, errs.String())
		}
	}
}

func TestMemoryAndTime(t *testing.T) {
	rss, err := RSS()
	if err != nil || rss == 0 {
		t.Fatalf("resident size %d, %v", rss, err)
	}
	ballast := make([]byte, 64<<20)
	for i := 0; i < len(ballast); i += 4096 {
		ballast[i] = 1
	}
	more, err := RSS()
	if err != nil || more < rss+32<<20 {
		t.Errorf("resident size went from %d to %d (%v) under 64 MiB of ballast", rss, more, err)
	}
	peak, err := PeakRSS()
	if err != nil || peak < more {
		t.Errorf("the peak is %d (%v), below the present %d", peak, err, more)
	}
	before, err := CPUTime()
	if err != nil {
		t.Fatal(err)
	}
	for after := before; after <= before; {
		if after, err = CPUTime(); err != nil {
			t.Fatal(err)
		}
	}
	ballast[0] = 2
}
