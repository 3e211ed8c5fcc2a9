// Command cluster runs one supervision tree on several processes and kills them, one after the other, while it counts words.
// See README.md beside this file.
//
//	go run ./examples/cluster
//	go run ./examples/cluster -for 60s -every 2s
//
// It starts the node processes itself; they end with it. At the end it compares what the shards hold with what was acknowledged,
// word by word. Ctrl-C brings the end forward; a second one ends at once. Exit codes: 0 every count is right, 1 it is not, or
// something failed, 2 the command line is wrong, 130 ended by a second Ctrl-C.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == nodeCommand {
		os.Exit(runNode(os.Args[2:], os.Stdin, os.Stderr))
	}
	ctx, end := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		end()
		<-signals
		fmt.Fprintln(os.Stderr, "cluster: ended at once, without a proof")
		os.Exit(exitInterrupted) // the nodes notice
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// exitInterrupted is the exit code after a second Ctrl-C, as shells have it.
const exitInterrupted = 128 + int(syscall.SIGINT)

// options is the command line.
type options struct {
	nodes   int
	shards  int
	runFor  time.Duration
	every   time.Duration
	rate    int
	seed    uint64
	verbose bool
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&o.nodes, "nodes", 3, "node processes")
	flags.IntVar(&o.shards, "shards", 6, "actors that count, dealt out to the nodes")
	flags.DurationVar(&o.runFor, "for", 20*time.Second, "how long documents are produced")
	flags.DurationVar(&o.every, "every", 4*time.Second, "`time` from one kill to the next; 0 for no kills")
	flags.IntVar(&o.rate, "rate", 0, "`documents` a second in all; 0 for as fast as it goes")
	flags.Uint64Var(&o.seed, "seed", 1, "what decides who is killed, and the texts")
	flags.BoolVar(&o.verbose, "v", false, "write what the nodes log to stderr, each line with the node's name; else only errors")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	err := o.check(flags.Args())
	if err != nil {
		fmt.Fprintf(stderr, "cluster: %v; -help lists the flags\n", err)
	}
	return o, err
}

func (o options) check(rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("unexpected argument %q: all there is to say is said by flags", rest[0])
	}
	for _, limit := range []struct {
		name               string
		value, least, most int
	}{
		{"nodes", o.nodes, 2, 16}, // somebody has to take over
		{"shards", o.shards, 1, 256},
		{"rate", o.rate, 0, 1e6},
	} {
		if limit.value < limit.least || limit.value > limit.most {
			return fmt.Errorf("-%s is %d: it must be from %d to %d", limit.name, limit.value, limit.least, limit.most)
		}
	}
	if o.runFor <= 0 {
		return fmt.Errorf("-for is %v: it must be positive", o.runFor)
	}
	if o.every < 0 || o.every > 0 && o.every < minEvery {
		return fmt.Errorf("-every is %v: it must be at least %v, or 0 for no kills", o.every, minEvery)
	}
	return nil
}

// minEvery is the least -every: a process takes that long to start.
const minEvery = 100 * time.Millisecond

// run is the program: it returns the exit code. ctx ends when the program should.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if err := runCluster(ctx, o, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "cluster: %v\n", err)
		return 1
	}
	return 0
}
