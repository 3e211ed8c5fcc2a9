package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

func nodeName(i int) string { return fmt.Sprintf("n%d", i+1) }

// board is what is known of the cluster, for those who look at it and those who wait for something: a picture on a terminal, else
// a line for each change.
type board struct {
	opts     options
	out      io.Writer
	terminal bool

	mu       sync.Mutex
	changed  chan struct{} // closed at the next change
	began    time.Time     // zero: nothing is shown yet
	nodes    []nodeNote
	shards   []shardNote
	kills    int
	moves    []time.Duration // from a kill to the first document that the shard's successor has confirmed
	again    int             // documents that were counted again
	events   []string        // the last ones
	drawn    int             // lines of the picture that is on the terminal
	shown    string          // the nodes as they were printed last
	shownSum uint64          // how many documents were acknowledged then
	shownAt  time.Time

	end     context.CancelFunc
	painter sync.WaitGroup
}

// nodeNote is what is known of a node.
type nodeNote struct {
	name        string
	state       string
	incarnation uint64
	ups         int // how often it came up
}

// shardNote is what is known of a shard. What is not atomic belongs to the board's lock.
type shardNote struct {
	board *board
	name  string

	waiting atomic.Int64  // documents that producers wait for
	acked   atomic.Uint64 // documents

	node     string    // "" for none
	before   string    // the node before
	killedAt time.Time // when that was killed, zero if it was not
	restarts int
	replayed int // documents that the last restore had counted again
}

const (
	nodeUp     = "up"
	nodeDown   = "down"
	nodeKilled = "killed" // and not declared down yet
)

func newBoard(o options, out io.Writer) *board {
	b := &board{opts: o, out: out, terminal: isTerminal(out) && !o.verbose, changed: make(chan struct{}), nodes: make([]nodeNote, o.nodes), shards: make([]shardNote, o.shards)}
	for i := range b.nodes {
		b.nodes[i] = nodeNote{name: nodeName(i), state: nodeDown}
	}
	for i := range b.shards {
		b.shards[i].board, b.shards[i].name = b, shardName(i)
	}
	return b
}

// isTerminal reports whether a picture can be drawn.
func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok || os.Getenv("TERM") == "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// update changes something, under the lock, and wakes those who wait.
func (b *board) update(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
	close(b.changed)
	b.changed = make(chan struct{})
}

// await waits, under ctx, until something holds.
func (b *board) await(ctx context.Context, holds func(*board) bool) error {
	for {
		b.mu.Lock()
		done, changed := holds(b), b.changed
		b.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (b *board) node(name string) *nodeNote {
	i := slices.IndexFunc(b.nodes, func(n nodeNote) bool { return n.name == name })
	if i < 0 {
		return &nodeNote{} // of nobody
	}
	return &b.nodes[i]
}

// shardsOn lists the shards of a node, "" for those of none.
func (b *board) shardsOn(node string) (all []*shardNote) {
	for i := range b.shards {
		if b.shards[i].node == node {
			all = append(all, &b.shards[i])
		}
	}
	return all
}

// hosts are the nodes that are up and have shards.
func (b *board) hosts() (names []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.nodes {
		if n.state == nodeUp && len(b.shardsOn(n.name)) > 0 {
			names = append(names, n.name)
		}
	}
	return names
}

// left reports whether all shards live, and none on that node.
func (b *board) left(node string) bool { return len(b.shardsOn(node))+len(b.shardsOn("")) == 0 }

// revived reports whether the node is up in another life than that.
func (b *board) revived(node string, life uint64) bool {
	n := b.node(node)
	return n.state == nodeUp && n.incarnation != life
}

// kill has a node killed, and returns which life of it that was.
func (b *board) kill(node string, atOnce bool, kill func()) (life uint64) {
	b.update(func() {
		n := b.node(node)
		n.state, life = nodeKilled, n.incarnation
		b.kills++
		var lost []string
		now := time.Now()
		for _, s := range b.shardsOn(node) {
			s.killedAt = now
			lost = append(lost, s.name)
		}
		when := "its shards live elsewhere"
		if atOnce {
			when = "it is dead"
		}
		b.say("%s is killed, with %s; it is started again as soon as %s", node, strings.Join(lost, ", "), when)
	})
	kill()
	return life
}

// peer notes what home has been told of a node.
func (b *board) peer(node string, incarnation uint64, up bool) {
	b.update(func() {
		n := b.node(node)
		switch {
		case up:
			n.state, n.incarnation = nodeUp, incarnation
			if n.ups++; n.ups > 1 {
				b.say("%s is up again", node)
			}
		case n.incarnation == incarnation:
			n.state = nodeDown
			b.say("%s is declared down", node)
		}
	})
}

// homeless notes that a shard has ended.
func (b *board) homeless(i int) {
	b.update(func() {
		s := &b.shards[i]
		s.before, s.node = s.node, ""
		s.restarts++
	})
}

// placed notes where a shard was started.
func (b *board) placed(i int, node string) { b.update(func() { b.shards[i].node = node }) }

// restoring notes how many documents a shard counts that another one has counted before.
func (s *shardNote) restoring(documents int) { s.board.update(func() { s.replayed = documents }) }

// acknowledged counts a document; first tells that the shard was restored before it.
func (s *shardNote) acknowledged(first bool) {
	s.acked.Add(1)
	if !first {
		return
	}
	b := s.board
	b.update(func() {
		if s.before == "" {
			return // the first one of all
		}
		s.replayed-- // the document that has just been acknowledged was among them
		b.again += s.replayed
		since := ""
		if !s.killedAt.IsZero() {
			took := time.Since(s.killedAt)
			b.moves = append(b.moves, took)
			since = fmt.Sprintf(", %v after the kill", took.Round(time.Millisecond))
			s.killedAt = time.Time{}
		}
		b.say("%s counts again%s: it went from %s to %s, and counted %d documents anew", s.name, since, s.before, s.node, s.replayed)
	})
}

// shownEvents is how many of the last events are below the picture.
const shownEvents = 6

// say tells of a change.
func (b *board) say(format string, args ...any) {
	line := b.clock() + fmt.Sprintf(format, args...)
	if !b.terminal && !b.began.IsZero() {
		fmt.Fprintln(b.out, line)
	}
	if b.events = append(b.events, line); len(b.events) > shownEvents {
		b.events = b.events[1:]
	}
}

// clock is how long it has been going on.
func (b *board) clock() string {
	if b.began.IsZero() {
		return "  0.00s  "
	}
	return fmt.Sprintf("%6.2fs  ", time.Since(b.began).Seconds())
}

// start begins to show what is known.
func (b *board) start() {
	ctx, end := context.WithCancel(context.Background())
	every := time.Second
	if b.terminal {
		every = 200 * time.Millisecond
	}
	b.mu.Lock()
	b.began = time.Now()
	b.shownAt, b.end = b.began, end
	b.mu.Unlock()
	b.paint()
	b.painter.Go(func() {
		for pause(ctx, every) == nil {
			b.paint()
		}
	})
}

// stop shows it for the last time, with the sums. A board that does not show anything is left as it is.
func (b *board) stop() {
	if b.end == nil {
		return
	}
	b.end()
	b.end = nil
	b.painter.Wait()
	b.paint()
	b.mu.Lock()
	defer b.mu.Unlock()
	fmt.Fprintln(b.out, b.summary())
}

// sum is how many documents were acknowledged.
func (b *board) sum() (documents uint64) {
	for i := range b.shards {
		documents += b.shards[i].acked.Load()
	}
	return documents
}

func (b *board) summary() string {
	took := time.Since(b.began)
	line := fmt.Sprintf("%d documents were acknowledged in %.1fs, %.0f a second; %d kills", b.sum(), took.Seconds(), float64(b.sum())/took.Seconds(), b.kills)
	if len(b.moves) == 0 {
		return line
	}
	slices.Sort(b.moves)
	ms := func(i int) time.Duration { return b.moves[i].Round(time.Millisecond) }
	return line + fmt.Sprintf("\n%d times a shard was lost and counted again elsewhere, %v to %v after the kill, half of them within %v; %d documents were counted anew",
		len(b.moves), ms(0), ms(len(b.moves)-1), ms(len(b.moves)/2), b.again)
}

// paint shows the picture, or the line of it if that has changed.
func (b *board) paint() {
	b.mu.Lock()
	defer b.mu.Unlock()
	sum, now := b.sum(), time.Now()
	rate := 0.0
	if passed := now.Sub(b.shownAt).Seconds(); passed > 0 {
		rate = float64(sum-b.shownSum) / passed
	}
	if b.terminal {
		b.draw(sum)
		return
	}
	if line := b.line(); line != b.shown {
		fmt.Fprintf(b.out, "%s%s   %d documents, %.0f a second\n", b.clock(), line, sum, rate)
		b.shown, b.shownSum, b.shownAt = line, sum, now
	}
}

// line is which shards live where.
func (b *board) line() string {
	var parts []string
	for _, n := range b.nodes {
		if n.state != nodeUp {
			parts = append(parts, n.name+" "+n.state)
			continue
		}
		var numbers []string
		for _, s := range b.shardsOn(n.name) {
			numbers = append(numbers, strings.TrimPrefix(s.name, "shard-"))
		}
		parts = append(parts, fmt.Sprintf("%s [%s]", n.name, strings.Join(numbers, " ")))
	}
	return strings.Join(parts, "  ")
}

// shownShards bounds the lines of the picture.
const shownShards = 16

// draw draws the picture over the one before.
func (b *board) draw(sum uint64) {
	var p strings.Builder
	fmt.Fprintf(&p, "%sof %v   %d kills   %d documents, %.0f a second\n\n", b.clock(), b.opts.runFor, b.kills, sum, float64(sum)/time.Since(b.began).Seconds())
	for _, n := range b.nodes {
		fmt.Fprintf(&p, "  %-4s %-7s %-4s", n.name, n.state, fmt.Sprintf("x%d", n.ups))
		for _, s := range b.shardsOn(n.name) {
			p.WriteString(" " + s.name)
		}
		p.WriteString("\n")
	}
	fmt.Fprintf(&p, "\n  %-10s %-5s %8s %13s %9s\n", "shard", "node", "waiting", "acknowledged", "restarts")
	for i := range b.shards[:min(len(b.shards), shownShards)] {
		s := &b.shards[i]
		fmt.Fprintf(&p, "  %-10s %-5s %8d %13d %9d\n", s.name, s.node, s.waiting.Load(), s.acked.Load(), s.restarts)
	}
	if more := len(b.shards) - shownShards; more > 0 {
		fmt.Fprintf(&p, "  and %d more\n", more)
	}
	p.WriteString("\n" + strings.Join(b.events, "\n") + "\n")
	text := p.String()
	if b.drawn > 0 {
		fmt.Fprintf(b.out, "\x1b[%dA\x1b[J", b.drawn) // up to its first line, and clear what is below
	}
	fmt.Fprint(b.out, "\x1b[?7l"+text+"\x1b[?7h") // long lines are cut off: wrapped, they would count as two
	b.drawn = strings.Count(text, "\n")
}
