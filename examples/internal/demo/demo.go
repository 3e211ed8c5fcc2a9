// Package demo is what the examples of package remote share: their common flags, and a node that lives until Ctrl-C.
//
//	you call            we call back
//	Example.Main        Run, with a node that is up
//	Actor               a function that is an actor
//	Lines
package demo

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote"
)

const (
	// downAfter is shorter than the default, so that nobody has to wait long to see what happens when a process is killed.
	downAfter = 2 * time.Second
	// complainAfter is how long a peer may take before the user is told that there is none.
	complainAfter = 2 * time.Second
	// grace is how long the end may take.
	grace = 5 * time.Second
)

// Example is a program: one process with one node.
type Example struct {
	// Name is the program's.
	Name string
	// About says what it does: the first line of -help.
	About string
	// Flags, if there is one, adds flags to those that all have.
	Flags func(flags *flag.FlagSet)
	// Check, if there is one, says what is wrong with the flags.
	Check func(o Options) error
	// Run does the work. Its return ends the program, and ctx ends with Ctrl-C; that is no error then.
	Run func(ctx context.Context, n *remote.Node, o Options) error
}

// Options are the flags that all examples have.
type Options struct {
	Name   string // of this node: different for each process
	Listen string // its address
	Peer   string // address of another node, empty for none
	Certs  string // directory of the certificates, the same for all processes
}

// Main is the program. It ends the process: code 0 if all is well, 1 if something failed, 2 if the command line is wrong.
func (e Example) Main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends it at once
	os.Exit(e.main(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func (e Example) main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := e.parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if err := e.serve(ctx, o, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", e.Name, err)
		return 1
	}
	return 0
}

func (e Example) parse(args []string, stderr io.Writer) (o Options, err error) {
	flags := flag.NewFlagSet(e.Name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintf(stderr, "%s: %s\n\nFlags:\n", e.Name, e.About)
		flags.PrintDefaults()
	}
	flags.StringVar(&o.Name, "name", "", "`name` of this node, different for each process")
	flags.StringVar(&o.Listen, "listen", "127.0.0.1:0", "`address` that this node listens at, host:port, over UDP")
	flags.StringVar(&o.Peer, "peer", "", "`address` of another node, as it prints it when it starts")
	flags.StringVar(&o.Certs, "certs", defaultCerts(), "`directory` of certificates, the same for all processes; what is missing is made")
	if e.Flags != nil {
		e.Flags(flags)
	}
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if err = e.check(o, flags.Args()); err != nil {
		fmt.Fprintf(stderr, "%s: %v; -help lists the flags\n", e.Name, err)
	}
	return o, err
}

func (e Example) check(o Options, rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("unexpected argument %q", rest[0])
	}
	if o.Name == "" {
		return errors.New("this node needs a name: -name NAME, another one for each process")
	}
	if _, _, err := net.SplitHostPort(o.Listen); err != nil {
		return fmt.Errorf("-listen %s: it must be host:port, as in 127.0.0.1:7001", o.Listen)
	}
	if _, _, err := net.SplitHostPort(o.Peer); err != nil && o.Peer != "" {
		return fmt.Errorf("-peer %s: it must be host:port, as the other node prints it", o.Peer)
	}
	if e.Check != nil {
		return e.Check(o)
	}
	return nil
}

// Actor runs f as an actor of the node until it ends, or ctx does.
func Actor[M proto.Message](ctx context.Context, n *remote.Node, f func(ctx *actor.Context, n *remote.Node, in *actor.Inbox[M]) error) error {
	ref, err := actor.Spawn(n.System(), actor.Routine(func(ctx *actor.Context, in *actor.Inbox[M]) error { return f(ctx, n, in) }))
	if err != nil {
		return err
	}
	_, err = ref.Wait(ctx)
	return err
}

// Lines are the lines of r, usually os.Stdin, up to its end. They are read until the process ends.
func Lines(r io.Reader) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scan := bufio.NewScanner(r); scan.Scan(); {
			lines <- scan.Text()
		}
	}()
	return lines
}

func defaultCerts() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "greenroom-examples", "certs")
}

// serve starts a System and makes it a node, runs the example, and stops both.
func (e Example) serve(ctx context.Context, o Options, stdout, stderr io.Writer) (err error) {
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	sys, err := actor.NewSystem(actor.SystemOptions{Logger: log})
	if err != nil {
		return err
	}
	options := remote.Options{Name: o.Name, Listen: o.Listen, TLS: remote.DevTLS(o.Certs), DownAfter: downAfter}
	if o.Peer != "" {
		options.Peers = []string{o.Peer}
	}
	n, err := remote.Start(sys, options)
	if err != nil {
		return errors.Join(err, sys.Close())
	}
	fmt.Fprintf(stdout, "%s listens at %s, Ctrl-C ends\n", o.Name, n.Addr())

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-n.Done(): // another node has its name
			cancel()
		case <-ctx.Done():
		}
	}()
	if o.Peer != "" {
		complain := time.AfterFunc(complainAfter, func() {
			if !slices.ContainsFunc(n.Peers(), func(p remote.PeerInfo) bool { return p.Status == remote.PeerUp }) {
				fmt.Fprintf(stderr, "%s: no node is reached at %s; it is tried on. Is one running there, with the same -certs?\n", e.Name, o.Peer)
			}
		})
		defer complain.Stop()
	}
	if err = e.Run(ctx, n, o); ctx.Err() != nil {
		err = nil // whatever it was doing: it was asked to end
	}
	late, done := context.WithTimeout(context.Background(), grace)
	defer done()
	err = cmp.Or(err, n.Err())
	stopped := n.Stop(late)
	if errors.Is(stopped, actor.ErrNodeDown) { // a peer has left at the same time: what was for it is in the dead letters
		fmt.Fprintf(stderr, "%s: %v\n", e.Name, stopped)
		stopped = nil
	}
	return errors.Join(err, stopped, sys.Stop(late))
}
