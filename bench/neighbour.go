package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/bench/internal/harness"
)

const (
	neighbourTick = 2 * time.Millisecond
	echoBytes     = 64

	// saturatingPairs keep all processors busy, and are few enough that the floor gets its echoes back at all: beside
	// 1,000 pairs of goroutines, which Go runs pair by pair for 10 ms each, a single one takes longer than a sample.
	saturatingPairs = 8
)

// besides reports how plain goroutines fare in a process that p saturates: first one that waits for a timer again and
// again, then two that echo over TCP.
func besides(ctx context.Context, r *harness.Run, p players) error {
	defer p.close()
	link, err := newEchoLink(ctx)
	if err != nil {
		return err
	}
	playing := make(chan error, 1)
	go func() {
		_, err := p.play(forEver)
		playing <- err
	}()
	late := timerLateness(r.N)
	echoes, err := link.echoTimes(time.Duration(r.N) * neighbourTick)
	p.whistle().Store(true)
	if err := errors.Join(err, <-playing, link.close()); err != nil {
		return err
	}
	r.Set("timer-p99", harness.Percentile(late, 99))
	r.Set("echo-p99", harness.Percentile(echoes, 99))
	return nil
}

// timerLateness waits n times for a timer and returns by how many microseconds each came late.
func timerLateness(n int) []float64 {
	late := make([]float64, n)
	for i := range late {
		start := time.Now()
		time.Sleep(neighbourTick)
		late[i] = micros(time.Since(start) - neighbourTick)
	}
	return late
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// echoLink is a loopback connection with a goroutine at its far end that sends back what it receives.
type echoLink struct {
	conn   net.Conn
	served chan struct{}
}

func newEchoLink(ctx context.Context) (*echoLink, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer func() { _ = listener.Close() }()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", listener.Addr().String())
	if err != nil {
		return nil, err
	}
	far, err := listener.Accept()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	link := &echoLink{conn: conn, served: make(chan struct{})}
	go func() {
		defer close(link.served)
		serveEcho(far)
	}()
	return link, nil
}

// serveEcho serves one connection until it ends. Whatever goes wrong here, the near end notices too.
func serveEcho(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	buf := make([]byte, echoBytes)
	for {
		if _, err := io.ReadFull(conn, buf); err != nil {
			return
		}
		if _, err := conn.Write(buf); err != nil {
			return
		}
	}
}

// echoTimes sends one echo after the other for the given time and returns how many microseconds each took. An echo that
// is still out when the time is over counts with what it has taken by then.
func (l *echoLink) echoTimes(d time.Duration) ([]float64, error) {
	var times []float64
	buf := make([]byte, echoBytes)
	begin := time.Now()
	if err := l.conn.SetDeadline(begin.Add(d)); err != nil {
		return nil, err
	}
	for time.Since(begin) < d {
		start := time.Now()
		if err := l.echo(buf); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, err
		}
		times = append(times, micros(time.Since(start)))
	}
	return times, nil
}

func (l *echoLink) echo(buf []byte) error {
	if _, err := l.conn.Write(buf); err != nil {
		return err
	}
	_, err := io.ReadFull(l.conn, buf)
	return err
}

func (l *echoLink) close() error {
	err := l.conn.Close()
	<-l.served
	return err
}

func neighbourChan(ctx context.Context, r *harness.Run) error {
	return besides(ctx, r, newChanPairs(saturatingPairs, newMessages(r)))
}

func neighbour(ctx context.Context, r *harness.Run) error {
	return withSystem(ctx, func(sys *actor.System) error {
		p, err := newActorPairs(ctx, sys, saturatingPairs, newMessages(r), nil)
		if err != nil {
			return err
		}
		return besides(ctx, r, p)
	})
}
