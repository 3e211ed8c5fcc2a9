package remote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// errNoNode answers what is asked of a Node that Start has not made, such as the nil one that it returns with an error.
var errNoNode = errors.New("remote: no Node: make one with remote.Start, and look at its error")

// none reports whether n is no Node: nil, or not made by Start.
func (n *Node) none() bool { return n == nil || n.sys == nil }

// closeEnded closes a link whose session could not say goodbye, since the node stopped before it had the link.
func (n *Node) closeEnded(l link.Link, err error) {
	if n.ctx.Err() != nil || errors.Is(err, ErrStopped) {
		_ = l.Close(link.CodeGone, "the node is going down")
	}
}

// waitStopped waits for a Stop that is under way.
func (n *Node) waitStopped(ctx context.Context) error {
	select {
	case <-n.done:
		return nil
	default:
	}
	select {
	case <-n.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("remote: waiting for another Stop of this node: %w", ctx.Err())
	}
}

// waitWork waits for everything that runs for the node. What does not end in time, some function of the program's, runs on.
func (n *Node) waitWork(ctx context.Context) error {
	over := make(chan struct{})
	go func() {
		defer close(over)
		n.work.Wait()
	}()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
	}
	t := time.NewTimer(time.Second) // what is our own ends at once
	defer t.Stop()
	select {
	case <-over:
		return nil
	case <-t.C:
		return fmt.Errorf("remote: stop: a function that was called for this node, such as one of Policy or FileOptions.Allow, does not return: %w", ctx.Err())
	}
}
