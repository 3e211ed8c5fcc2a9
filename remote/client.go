package remote

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
)

// ErrClientClosed answers a Spawn through a Client that was closed. If the actor was started meanwhile it has been stopped.
var ErrClientClosed = errors.New("remote: the client is closed")

// Client holds together what is started through it, on whatever nodes: all of it ends when the Client is closed, when the actor ends
// that has opened it, and when its node is declared down by those that run it (but for RegisterOptions.Outlive).
// Any goroutine may use it.
type Client struct {
	n *Node

	mu      sync.Mutex
	running map[*birth]struct{}
	changed *actor.Event // set when one has ended; nil if nobody waits for that
	closed  bool
}

// NewClient returns a Client that is nobody's: it stays open until it is closed.
func NewClient(n *Node) *Client { return &Client{n: n, running: make(map[*birth]struct{})} }

// OpenClient returns a Client of the calling actor: it is closed, without waiting, when this incarnation of the actor ends, whatever the
// reason. Errors: actor.ErrForeignGoroutine, actor.ErrEnded, actor.ErrInBlock.
func OpenClient(ctx *actor.Context, n *Node) (*Client, error) {
	c := NewClient(n)
	_, err := actor.OpenFeed(ctx, func(struct{}) proto.Message { return nil }, func(func(struct{})) (func(), error) {
		return func() { c.shut() }, nil
	})
	return c, err
}

func (c *Client) origin() (*Node, *Client) {
	if c == nil {
		return nil, nil
	}
	return c.n, c
}

// Running is how many actors that were started through the Client have not ended, as far as is known.
func (c *Client) Running() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.running)
}

// Close asks all that was started through the Client to stop, with ReasonShutdown, and waits under ctx until it has ended. If ctx ends
// first, what is left is killed, without waiting, and the error is ctx's.
func (c *Client) Close(ctx context.Context) error {
	if ctx == nil {
		return actor.ErrNilContext
	}
	c.shut()
	for {
		c.mu.Lock()
		left := slices.Collect(maps.Keys(c.running))
		if c.changed == nil {
			c.changed = new(actor.Event)
		}
		changed := c.changed
		c.mu.Unlock()
		if len(left) == 0 {
			return nil
		}
		if err := changed.Wait(ctx); err != nil {
			for _, b := range left {
				b.ref.Kill()
			}
			return fmt.Errorf("remote: close a client: %d actors had to be killed: %w", len(left), err)
		}
	}
}

// shut refuses what comes, and asks what runs to stop.
func (c *Client) shut() {
	c.mu.Lock()
	c.closed = true
	running := slices.Collect(maps.Keys(c.running))
	c.mu.Unlock()
	for _, b := range running {
		b.ref.Shutdown()
	}
}

// add takes note of an actor.
func (c *Client) add(b *birth) error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClientClosed
	}
	c.running[b] = struct{}{}
	return nil
}

// drop takes note of its end.
func (c *Client) drop(b *birth) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.running, b)
	if c.changed != nil {
		c.changed.Set()
		c.changed = nil
	}
}
