package harness

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Exit codes of Main.
const (
	exitOK          = 0
	exitFailed      = 1   // a bench failed, or a file could not be written
	exitUsage       = 2   // the command line is wrong
	exitInterrupted = 130 // Ctrl-C
)

// Main is the command: it reads args, runs what they ask for and returns the exit code. Progress goes to stderr, the
// table to stdout. SIGINT and SIGTERM end it after the sample at hand; what was measured by then is still printed.
func Main(suite Suite, args []string, stdout, stderr io.Writer) int {
	if IsChild(args) {
		return childMain(context.Background(), suite, args[1:], stdout, stderr)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return command(ctx, suite, args, stdout, stderr, spawnSample)
}

// IsChild reports whether args, without the executable's name, ask for one sample rather than for a run. A test whose
// executable the harness starts for that leaves its work to Main then.
func IsChild(args []string) bool { return len(args) > 0 && args[0] == childFlag }

// settings are what the command line asks for.
type settings struct {
	list    bool
	benches Suite
	skipped []string // benches left out and why
	against string
	procs   []int
	repeat  int
	json    string
	plot    string
	short   bool
	fresh   bool
	profile string
}

// command is Main without the process around it; take takes one sample.
func command(ctx context.Context, suite Suite, args []string, stdout, stderr io.Writer, take taker) int {
	if err := suite.check(); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitFailed
	}
	s, err := parse(suite, args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "bench: %v\nRun it with -h for the flags, with -list for the benches.\n", err)
		return exitUsage
	case s.list:
		list(stdout, s.benches)
		return exitOK
	}
	if s.profile != "" {
		if err := errors.Join(os.MkdirAll(s.profile, 0o755), os.Setenv(profileVar, s.profile)); err != nil {
			fmt.Fprintln(stderr, "bench: -profile:", err)
			return exitUsage
		}
	}
	out, err := openOutputs(s)
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitUsage
	}
	return measure(ctx, s, out, stdout, stderr, take)
}

// parse reads the command line.
func parse(suite Suite, args []string, stderr io.Writer) (settings, error) {
	s := settings{}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.BoolVar(&s.list, "list", false, "list the benches, their floors and what they should reach")
	run := fs.String("run", "", "`names` of the benches to run, separated by commas (default all)")
	fs.StringVar(&s.against, "against", "", "`name` of the floor to compare with (default each bench's first; see -list)")
	procs := fs.String("procs", "2", "values of GOMAXPROCS, separated by commas")
	fs.IntVar(&s.repeat, "repeat", 5, "samples of each side, 3 with -short")
	fs.StringVar(&s.json, "json", "", "`file` for the results, one JSON object a line")
	fs.StringVar(&s.plot, "plot", "", "`file` for a picture of the ratios, SVG")
	fs.BoolVar(&s.short, "short", false, "do less work: all benches within a minute on 2 cores")
	fs.BoolVar(&s.fresh, "fresh", false, "measure also with one new message per send, on both sides")
	fs.StringVar(&s.profile, "profile", "", "`directory` for a processor profile of each process")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			usage(fs, stderr)
		}
		return s, err
	}
	if fs.NArg() > 0 {
		return s, fmt.Errorf("%q is not a flag; choose benches with -run NAME,NAME", fs.Arg(0))
	}
	if s.repeat < 1 || s.repeat > 1000 {
		return s, fmt.Errorf("-repeat is %d, it takes 1 to 1000", s.repeat)
	}
	if s.short && !isSet(fs, "repeat") {
		s.repeat = 3
	}
	var err error
	if s.procs, err = parseProcs(*procs); err != nil {
		return s, err
	}
	if isSet(fs, "run") && strings.TrimSpace(*run) == "" {
		return s, errors.New("-run names no bench")
	}
	return s, s.choose(suite, *run)
}

// choose fills in the benches, and what is left out of those that were asked for.
func (s *settings) choose(suite Suite, names string) error {
	asked, err := suite.selectBenches(names)
	if err != nil {
		return err
	}
	if s.benches, err = asked.against(s.against); err != nil {
		return err
	}
	for _, b := range asked {
		if _, ok := b.floor(s.against); !ok {
			s.skipped = append(s.skipped, fmt.Sprintf("%s: has no floor called %q", b.Name, s.against))
		}
	}
	if s.list {
		return nil
	}
	return s.dropTooSmall()
}

// dropTooSmall leaves out benches that need more processors than any of -procs has.
func (s *settings) dropTooSmall() error {
	most := slices.Max(s.procs)
	kept := s.benches[:0:0]
	for _, b := range s.benches {
		if b.MinProcs > most {
			s.skipped = append(s.skipped, fmt.Sprintf("%s: needs -procs %d or more", b.Name, b.MinProcs))
			continue
		}
		kept = append(kept, b)
	}
	s.benches = kept
	if len(kept) == 0 {
		return errors.New("nothing left to run: " + strings.Join(s.skipped, "; "))
	}
	return nil
}

func isSet(fs *flag.FlagSet, name string) bool {
	set := false
	fs.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

func parseProcs(list string) ([]int, error) {
	var procs []int
	for field := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || n < 1 || n > 1024 {
			return nil, fmt.Errorf("-procs is %q, it takes whole numbers from 1 to 1024, separated by commas", list)
		}
		if !slices.Contains(procs, n) {
			procs = append(procs, n)
		}
	}
	return procs, nil
}

func usage(fs *flag.FlagSet, w io.Writer) {
	fmt.Fprint(w, "Bench does the same work with Greenroom and with a floor, in turns, and compares them.\n\n"+
		"\tgo run ./bench -short\n\tgo run ./bench -run pingpong,count -procs 1,2 -json bench-results.json\n\nFlags:\n")
	fs.SetOutput(w)
	fs.PrintDefaults()
}

// outputs are the files that results go to.
type outputs struct {
	json *os.File
	plot *os.File
}

// openOutputs creates the files before anything is measured, so that a path that cannot be written costs no time.
func openOutputs(s settings) (outputs, error) {
	var out outputs
	var err error
	if s.json != "" {
		if out.json, err = os.Create(s.json); err != nil {
			return out, fmt.Errorf("-json: %w", err)
		}
	}
	if s.plot != "" {
		if out.plot, err = os.Create(s.plot); err != nil {
			return out, errors.Join(fmt.Errorf("-plot: %w", err), out.close())
		}
	}
	return out, nil
}

func (o outputs) close() error {
	var errs []error
	for _, f := range []*os.File{o.json, o.plot} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// measure runs the benches and writes all there is to write.
func measure(ctx context.Context, s settings, out outputs, stdout, stderr io.Writer, take taker) int {
	for _, why := range s.skipped {
		fmt.Fprintln(stderr, "left out", why)
	}
	if most := slices.Max(s.procs); most > runtime.NumCPU() {
		fmt.Fprintf(stderr, "-procs %d on %d processors: the figures show time sharing too\n", most, runtime.NumCPU())
	}
	results, err := run(ctx, s, out, stderr, take)
	printTable(stdout, s, results)
	if out.plot != nil {
		err = errors.Join(err, writePlot(out.plot, results))
	}
	err = errors.Join(err, out.close())
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "interrupted: only what had been measured by then is shown")
		return exitInterrupted
	case err != nil:
		fmt.Fprintln(stderr, "bench:", err)
		return exitFailed
	}
	return exitOK
}
