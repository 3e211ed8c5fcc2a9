package quiclink

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// gate decides how many strangers get a handshake.
//
// What it refuses costs one packet and no state. Addresses that may be forged use up nothing once proofs of them are asked for, so that
// a flood of forged ones does not keep others out.
type gate struct {
	options Options
	count   func(func(*Stats))
	logger  *slog.Logger
	*gateState
}

type gateState struct {
	running sync.WaitGroup // one for each connection that came in

	mu       sync.Mutex // guards what follows
	inGate   int
	tokens   float64
	filled   time.Time // when tokens was true
	logged   time.Time
	unlogged int
}

// visit is one handshake that a stranger has begun.
type visit struct {
	once sync.Once
	addr net.Addr
}

type visitKey struct{}

var (
	errTooFast      = errors.New("HandshakesPerSecond are used up")
	errTooMany      = errors.New("MaxHandshakes are in progress")
	errDialTimeout  = errors.New("the handshake did not complete within HandshakeTimeout")
	errGateRefusing = errors.New("refused")
)

func newGate(options Options, count func(func(*Stats))) gate {
	return gate{options: options, count: count, logger: options.Logger, gateState: &gateState{
		tokens: float64(options.HandshakesPerSecond),
		filled: time.Now(),
	}}
}

// mustRetry is quic.Transport's VerifySourceAddress.
func (g *gate) mustRetry(net.Addr) bool {
	g.mu.Lock()
	g.fill()
	retry := g.inGate >= g.options.RetryAbove || g.tokens < float64(g.options.HandshakesPerSecond)/2
	g.mu.Unlock()
	if retry {
		g.count(func(s *Stats) { s.Retried++ })
	}
	return retry
}

// enter is quic.Transport's ConnContext: its error refuses the connection.
func (g *gate) enter(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	if err := g.admit(); err != nil {
		g.count(func(s *Stats) { s.Refused++ })
		g.log("a connection was refused", info.RemoteAddr, err)
		return nil, errGateRefusing
	}
	v := &visit{addr: info.RemoteAddr}
	g.running.Add(1)
	context.AfterFunc(ctx, func() {
		defer g.running.Done()
		if g.out(v) {
			g.count(func(s *Stats) { s.Failed++ })
			g.log("a handshake has failed", v.addr, plain(context.Cause(ctx)))
		}
	})
	return context.WithValue(ctx, visitKey{}, v), nil
}

func (g *gate) admit() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fill()
	switch {
	case g.inGate >= g.options.MaxHandshakes:
		return errTooMany
	case g.tokens < 1:
		return errTooFast
	}
	g.tokens--
	g.inGate++
	return nil
}

// fill adds the tokens that have come due.
func (g *gate) fill() {
	now := time.Now()
	rate := float64(g.options.HandshakesPerSecond)
	g.tokens = min(rate, g.tokens+rate*now.Sub(g.filled).Seconds())
	g.filled = now
}

// leave says that the handshake of that connection is complete.
func (g *gate) leave(ctx context.Context) {
	if v, ok := ctx.Value(visitKey{}).(*visit); ok {
		g.out(v)
	}
}

// out reports whether v was still inside.
func (g *gate) out(v *visit) bool {
	first := false
	v.once.Do(func() {
		first = true
		g.mu.Lock()
		defer g.mu.Unlock()
		g.inGate--
	})
	return first
}

func (g *gate) inside() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inGate
}

// log logs once a second at most; what strangers do must not fill the disk.
func (g *gate) log(what string, addr net.Addr, err error) {
	g.mu.Lock()
	now := time.Now()
	if now.Sub(g.logged) < time.Second {
		g.unlogged++
		g.mu.Unlock()
		return
	}
	unlogged := g.unlogged
	g.logged, g.unlogged = now, 0
	g.mu.Unlock()
	g.logger.LogAttrs(context.Background(), slog.LevelWarn, "remote: a stranger", slog.String("what", what),
		slog.String("addr", addr.String()), slog.String("reason", err.Error()), slog.Int("unlogged", unlogged))
}

func (g *gate) wait() { g.running.Wait() }
