package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	pb "github.com/greenroom-go/greenroom/examples/cluster/clusterv1"
	"github.com/greenroom-go/greenroom/remote"
	"github.com/greenroom-go/greenroom/supervisor"
)

// cluster is the program's own side: the node home with the tree, and the processes of the other nodes.
type cluster struct {
	opts   options
	stderr io.Writer
	certs  string
	sys    *actor.System
	home   *remote.Node
	tree   supervisor.Supervisor
	posts  []post
	board  *board

	processes map[string]*process // by name; main, then chaos, then main again have it

	watch  sync.WaitGroup
	failed context.Context // ends when something is broken
	fail   context.CancelCauseFunc
}

// startGrace is how long the nodes may take to start.
const startGrace = 30 * time.Second

// endGrace is how long what is under way at the end may take to be acknowledged and compared.
const endGrace = 30 * time.Second

func runCluster(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	c := &cluster{opts: o, stderr: &locked{to: stderr}, posts: make([]post, o.shards), processes: make(map[string]*process)}
	c.failed, c.fail = context.WithCancelCause(context.Background())
	c.board = newBoard(o, stdout)
	defer func() { err = errors.Join(err, c.stop()) }()
	if err := c.start(ctx); err != nil {
		return err
	}
	c.board.start()
	acknowledged, err := c.work(ctx)
	if err != nil {
		return err
	}
	end, cancel := context.WithTimeout(c.failed, endGrace)
	defer cancel()
	held, err := c.settle(end)
	c.board.stop()
	if err != nil {
		return c.why(err)
	}
	proof, err := prove(acknowledged, held)
	if err == nil {
		fmt.Fprintln(stdout, proof)
	}
	return err
}

// start starts the nodes, and when all are up the tree.
func (c *cluster) start(ctx context.Context) (err error) {
	ctx, cancel := c.until(ctx, startGrace)
	defer cancel()
	if c.certs, err = os.MkdirTemp("", "greenroom-cluster-"); err != nil {
		return err
	}
	if c.sys, c.home, err = startNode(homeName, c.certs, logTo(&prefixed{to: c.stderr, prefix: homeName + ": "}, c.opts.verbose)); err != nil {
		return err
	}
	for i := range c.opts.nodes {
		if err := c.startProcess(nodeName(i)); err != nil {
			return err
		}
	}
	for i := range c.opts.nodes {
		if _, err := c.home.Peer(ctx, nodeName(i)); err != nil {
			return c.why(fmt.Errorf("node %s did not start: %w", nodeName(i), err))
		}
	}
	if c.tree, err = supervisor.Start(ctx, c.sys, c.spec()); err != nil {
		return c.why(err)
	}
	c.watch.Go(c.watchTree)
	return nil
}

// until returns a context that ends with ctx, when something is broken, and after that time.
func (c *cluster) until(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, d)
	stop := context.AfterFunc(c.failed, cancel)
	return ctx, func() { stop(); cancel() }
}

// why is what is broken, if something is, and else err.
func (c *cluster) why(err error) error {
	if cause := context.Cause(c.failed); cause != nil {
		return cause
	}
	return err
}

func (c *cluster) startProcess(name string) error {
	p, err := startProcess(name, c.certs, c.home.Addr(), c.opts.verbose, c.stderr, c.fail)
	if err == nil {
		c.processes[name] = p
	}
	return err
}

// work has documents produced and nodes killed until -for is over, and returns what was acknowledged. Then nobody waits for an
// answer any more.
func (c *cluster) work(ctx context.Context) (*tally, error) {
	taking, stop := c.until(ctx, c.opts.runFor)
	defer stop()
	working, giveUp := context.WithCancel(c.failed)
	defer giveUp()
	var chaos, producers sync.WaitGroup
	chaos.Go(func() {
		if err := c.makeChaos(taking); err != nil {
			c.fail(err)
		}
	})
	all := make([]*tally, c.opts.shards*producersPerShard)
	for i := range all {
		shard := i % c.opts.shards
		to, err := c.keeperRef(taking, shard)
		if err != nil {
			c.fail(err)
			break
		}
		producers.Go(func() {
			var err error
			if all[i], err = c.produce(taking, working, i, shard, to); err != nil {
				c.fail(err)
			}
		})
	}
	<-taking.Done()
	grace := time.AfterFunc(endGrace, giveUp)
	defer grace.Stop()
	chaos.Wait()
	producers.Wait()
	if err := c.why(nil); err != nil {
		return nil, err
	}
	sum := newTally(c.opts.shards)
	for _, t := range all {
		sum.add(t)
	}
	return sum, nil
}

// keeperRef finds a shard's keeper.
func (c *cluster) keeperRef(ctx context.Context, shard int) (pb.KeeperRef, error) {
	keepers, err := c.tree.Tree(ctx, "keepers")
	if err != nil {
		return pb.KeeperRef{}, err
	}
	ref, err := supervisor.Ref[pb.KeeperMessage](ctx, keepers, keeperName(shard))
	return pb.KeeperRef{Ref: ref}, err
}

// settle returns what each shard holds.
func (c *cluster) settle(ctx context.Context) ([]*pb.State, error) {
	var held []*pb.State
	for i := range c.opts.shards {
		ref, err := c.keeperRef(ctx, i)
		if err != nil {
			return nil, err
		}
		answer, err := ref.Settle(ctx, &pb.SettleRequest{})
		if err != nil {
			return nil, fmt.Errorf("what %s holds is not known: %w", shardName(i), err)
		}
		held = append(held, answer.GetState())
	}
	return held, nil
}

// stop ends whatever was started.
func (c *cluster) stop() (err error) {
	c.board.stop()
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	if c.tree != (supervisor.Supervisor{}) {
		_ = c.tree.Stop(ctx) // a node that is down just now has not answered
	}
	if c.home != nil {
		err = stopNode(c.sys, c.home)
	}
	c.watch.Wait()
	var all sync.WaitGroup
	for _, p := range c.processes {
		all.Go(p.stop)
	}
	all.Wait()
	return errors.Join(err, os.RemoveAll(c.certs))
}

// locked is a writer for several goroutines.
type locked struct {
	mu sync.Mutex
	to io.Writer
}

// Write implements io.Writer.
func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(b)
}
