// Command service counts words: a small but real service on actors. HTTP handlers stand in front; behind them documents
// queue at desks, workers split them, and sharded actors hold the counts. See README.md beside this file.
//
//	go run ./examples/service
//	curl --data-binary @README.md 'localhost:8080/documents?name=readme'
//	curl 'localhost:8080/top?n=10'
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
	"log/slog"
	"net"
	"net/http"
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
	desks       int
	queue       int
	inflight    int
	maxBytes    int64
	poison      string
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
	flags.IntVar(&o.desks, "desks", 4, "queues for documents, each with a worker")
	flags.IntVar(&o.queue, "queue", 16, "documents that wait at one desk; further ones wait outside")
	flags.IntVar(&o.inflight, "inflight", 128, "posts that are read at the same time; further ones wait unread")
	flags.Int64Var(&o.maxBytes, "max-bytes", 1<<20, "largest document, in `bytes`")
	flags.StringVar(&o.poison, "poison", "POISON", "`word` that makes the worker panic when a document begins with it, in exactly these letters; empty for none")
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
		{"desks", int64(o.desks), 1 << 10},
		{"queue", int64(o.queue), 1 << 20},
		{"inflight", int64(o.inflight), 1 << 20},
		{"max-bytes", o.maxBytes, 1 << 30},
		{"dead-letters", int64(o.deadLetters), 1 << 20},
	} {
		if limit.value < 1 || limit.value > limit.most {
			return fmt.Errorf("-%s is %d: it must be from 1 to %d", limit.name, limit.value, limit.most)
		}
	}
	if words := slices.Collect(split(o.poison)); o.poison != "" && !slices.Equal(words, []string{o.poison}) {
		return fmt.Errorf("-poison is %q: no document begins with that, it must be one word of letters and digits", o.poison)
	}
	if o.progress < 0 || o.grace <= 0 || o.patience <= 0 {
		return errors.New("-progress must not be negative, and -grace and -patience must be positive")
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

// serve runs the service until ctx is done or something fails.
func serve(ctx context.Context, o options, stdout, stderr io.Writer) error {
	if o.dir != "" {
		root, err := openFolder(o.dir)
		if err != nil {
			return err
		}
		o.dir = root
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return explainListen(o.listen, err)
	}
	s, err := newService(o, stdout, stderr)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	work, giveUp := context.WithCancelCause(context.Background()) // what requests and the folder's files are done under
	defer giveUp(nil)
	server := &http.Server{
		BaseContext:       func(net.Listener) context.Context { return work },
		Handler:           s.handler(),
		ReadHeaderTimeout: min(5*time.Second, o.patience),
		ReadTimeout:       o.patience,
		WriteTimeout:      o.patience,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	broken := make(chan error, 1)
	go func() { broken <- server.Serve(listener) }()
	fmt.Fprintf(stdout, "listening on http://%s, Ctrl-C ends\n", listener.Addr())

	fed := make(chan struct{})
	feeding, stopFeeding := context.WithCancel(ctx)
	defer stopFeeding()
	go func() {
		defer close(fed)
		if o.dir != "" {
			s.feed(feeding, work, o.dir, log)
		}
	}()

	var why error
	select {
	case <-ctx.Done():
		fmt.Fprintln(stdout, "ending: no more documents are taken; Ctrl-C again ends at once")
	case <-s.failed.Done():
		why = context.Cause(s.failed)
	case why = <-broken:
		why = fmt.Errorf("serve HTTP: %w", why)
	}
	stopFeeding()
	grace, cancel := context.WithTimeout(context.Background(), o.grace)
	defer cancel()
	s.closing.Store(true)
	if !endIntake(grace, server, fed, func() { giveUp(errEnding) }) {
		fmt.Fprintln(stderr, "service: what clients and files had not finished in half of -grace was cut off and not acknowledged")
	}
	return errors.Join(why, s.stop(grace))
}

func explainListen(address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("-listen %s is taken: choose another address, as 127.0.0.1:8081", address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("-listen %s is not allowed: choose a port from 1024 on, as 127.0.0.1:8081: %w", address, err)
	}
	return fmt.Errorf("-listen %s cannot be listened on: %w", address, err)
}

// errEnding is why requests are cut off at the end.
var errEnding = errors.New("the service is ending")

// endIntake ends what brings documents. Open requests and files have half of the grace to finish; then giveUp is called,
// and what heeds it has another tenth to answer, before connections are closed. It reports whether all finished by
// themselves. What it leaves of the grace is for counting what has come in, so no client can use it up.
func endIntake(grace context.Context, server *http.Server, fed <-chan struct{}, giveUp func()) bool {
	ended := func(within context.Context) bool {
		err := server.Shutdown(within)
		select {
		case <-fed:
			return err == nil
		case <-within.Done():
			return false
		}
	}
	finish, cancel := share(grace, 0.5)
	defer cancel()
	if ended(finish) {
		return true
	}
	giveUp()
	answer, cancel := share(grace, 0.2) // of the half that is left
	defer cancel()
	if !ended(answer) {
		_ = server.Close() // connections that are broken already are no concern
	}
	return false
}

// share returns a context for a part of the time that is left of grace.
func share(grace context.Context, part float64) (context.Context, context.CancelFunc) {
	end, bounded := grace.Deadline()
	if !bounded {
		return context.WithCancel(grace)
	}
	return context.WithTimeout(grace, time.Duration(part*float64(time.Until(end))))
}
