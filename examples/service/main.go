// Command service counts words: a small but real service, a supervised tree of typed actors. HTTP handlers stand in front;
// behind them workers split documents, and sharded actors hold the counts. See README.md beside this file.
//
//	go run ./examples/service
//	curl --data-binary @README.md 'localhost:8080/documents?name=readme'
//	curl 'localhost:8080/top?n=10'
//
//	go run ./examples/service -load 8 -chaos -swap -for 10s
//
// Ctrl-C ends it in good order: it takes no more documents, counts those it has, and prints the totals and the ledger of
// all messages. Clients that do not finish are cut off in time for that. A second Ctrl-C ends it at once. Exit codes: 0 all
// is well, 1 something failed, 2 the command line is wrong, 130 ended by a second Ctrl-C.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

func main() {
	ctx, end := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		end()
		<-signals
		fmt.Fprintln(os.Stderr, "service: ended at once, without a count")
		os.Exit(exitInterrupted)
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// exitInterrupted is the exit code after a second Ctrl-C, as shells have it.
const exitInterrupted = 128 + int(syscall.SIGINT)

// options is the command line.
type options struct {
	listen      string
	dir         string
	shards      int
	workers     int
	queue       int
	inflight    int
	maxBytes    int64
	poison      string
	load        int
	chaos       bool
	swap        bool
	runFor      time.Duration
	patience    time.Duration
	progress    time.Duration
	grace       time.Duration
	deadLetters int
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("service", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.listen, "listen", "127.0.0.1:8080", "`address` to listen on; one that others can reach lets anybody post")
	flags.StringVar(&o.dir, "dir", "", "`folder` whose files are counted at the start, those below it included")
	flags.IntVar(&o.shards, "shards", 4, "actors that hold the counts")
	flags.IntVar(&o.workers, "workers", 4, "actors that split documents")
	flags.IntVar(&o.queue, "queue", 16, "documents that wait at one worker; further ones wait outside")
	flags.IntVar(&o.inflight, "inflight", 128, "posts that are read at the same time; further ones wait unread")
	flags.Int64Var(&o.maxBytes, "max-bytes", 1<<20, "largest document, in `bytes`")
	flags.StringVar(&o.poison, "poison", "POISON", "`word` that makes the worker panic when a document begins with it, in exactly these letters; empty for none")
	flags.IntVar(&o.load, "load", 0, "clients that post documents without end; at the end the totals are compared with what they were told")
	flags.BoolVar(&o.chaos, "chaos", false, "kill an actor ten times a second, chosen at random")
	flags.BoolVar(&o.swap, "swap", false, "replace the behaviour of the shards every second or so, while they count")
	flags.DurationVar(&o.runFor, "for", 0, "end after that `time`; 0 for not by itself")
	flags.DurationVar(&o.patience, "patience", 30*time.Second, "how long a client may take to send a document, or to take an answer")
	flags.DurationVar(&o.progress, "progress", time.Second, "time between lines of progress; 0 for none")
	flags.DurationVar(&o.grace, "grace", 10*time.Second, "how long the end may take: half for open requests, the rest for the counts")
	flags.IntVar(&o.deadLetters, "dead-letters", 100, "dead letters to keep for /deadletters")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	err := o.check(flags.Args())
	if err != nil {
		fmt.Fprintf(stderr, "service: %v; -help lists the flags\n", err)
	}
	return o, err
}

func (o options) check(rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("unexpected argument %q: documents come by HTTP or from the folder of -dir", rest[0])
	}
	for _, limit := range []struct {
		name  string
		value int64
		most  int64
	}{
		{"shards", int64(o.shards), 1 << 10},
		{"workers", int64(o.workers), 1 << 10},
		{"queue", int64(o.queue), 1 << 20},
		{"inflight", int64(o.inflight), 1 << 20},
		{"max-bytes", o.maxBytes, 1 << 26},
		{"dead-letters", int64(o.deadLetters), 1 << 20},
	} {
		if limit.value < 1 || limit.value > limit.most {
			return fmt.Errorf("-%s is %d: it must be from 1 to %d", limit.name, limit.value, limit.most)
		}
	}
	if o.load < 0 || o.load > 1<<10 {
		return fmt.Errorf("-load is %d: it must be from 0 to %d", o.load, 1<<10)
	}
	if words := slices.Collect(split(o.poison)); o.poison != "" && !slices.Equal(words, []string{o.poison}) {
		return fmt.Errorf("-poison is %q: no document begins with that, it must be one word of letters and digits", o.poison)
	}
	if o.progress < 0 || o.runFor < 0 || o.grace <= 0 || o.patience <= 0 {
		return errors.New("-progress and -for must not be negative, and -grace and -patience must be positive")
	}
	return nil
}

// run is the program: it returns the exit code. ctx ends when the program should.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if err := serve(ctx, o, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "service: %v\n", err)
		return 1
	}
	return 0
}

// serve runs the service until ctx is done, -for is over or something fails.
func serve(ctx context.Context, o options, stdout, stderr io.Writer) error {
	if o.dir != "" {
		root, err := openFolder(o.dir)
		if err != nil {
			return err
		}
		o.dir = root
	}
	listener, err := listen(ctx, o.listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "listening on http://%s, Ctrl-C ends\n", listener.Addr())
	s, err := newService(o, stdout, stderr, listener)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	var over <-chan time.Time // never
	if o.runFor > 0 {
		over = time.After(o.runFor)
	}
	var why error
	select {
	case <-ctx.Done():
		fmt.Fprintln(stdout, "ending: no more documents are taken; Ctrl-C again ends at once")
	case <-over:
		fmt.Fprintf(stdout, "ending after %v: no more documents are taken; Ctrl-C twice ends at once\n", o.runFor)
	case <-s.failed.Done():
		why = context.Cause(s.failed)
	}
	grace, cancel := context.WithTimeout(context.Background(), o.grace)
	defer cancel()
	return errors.Join(why, s.stop(grace))
}

// share returns a context for a part of the time that is left of grace.
func share(grace context.Context, part float64) (context.Context, context.CancelFunc) {
	end, bounded := grace.Deadline()
	if !bounded {
		return context.WithCancel(grace)
	}
	return context.WithTimeout(grace, time.Duration(part*float64(time.Until(end))))
}
