package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// comeback bounds how long the cluster may take to get over a kill before the program calls it broken.
const comeback = 30 * time.Second

// makeChaos kills a node that has shards, each -every, and starts it again under the same name: by turns when its shards live elsewhere,
// and at once, before anybody can have noticed. It sees to it that one node is down at a time: two nodes at once would lose nothing
// either, but of two there might be none left.
func (c *cluster) makeChaos(ctx context.Context) error {
	if c.opts.every == 0 {
		return nil
	}
	random := rand.New(rand.NewPCG(c.opts.seed, 0))
	tick := time.NewTicker(c.opts.every)
	defer tick.Stop()
	for atOnce := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		hosts := c.board.hosts()
		if len(hosts) == 0 {
			continue
		}
		err := c.killAndRestart(ctx, hosts[random.IntN(len(hosts))], atOnce)
		atOnce = !atOnce
		switch {
		case ctx.Err() != nil:
			return nil // the end comes in between
		case err != nil:
			return err
		}
	}
}

func (c *cluster) killAndRestart(ctx context.Context, name string, atOnce bool) error {
	ctx, cancel := context.WithTimeout(ctx, comeback)
	defer cancel()
	life := c.board.kill(name, atOnce, c.processes[name].kill)
	if !atOnce {
		if err := c.board.await(ctx, func(b *board) bool { return b.left(name) }); err != nil {
			return fmt.Errorf("the shards of %s were not started elsewhere within %v of its kill", name, comeback)
		}
	}
	if err := c.startProcess(name); err != nil {
		return err
	}
	if err := c.board.await(ctx, func(b *board) bool { return b.revived(name, life) }); err != nil {
		return fmt.Errorf("%s did not come back within %v of its kill", name, comeback)
	}
	return nil
}
