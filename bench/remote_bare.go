package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/greenroom-go/greenroom/bench/internal/far"
	"github.com/greenroom-go/greenroom/bench/internal/harness"
)

// What the floors of the remote benches are made of: bare streams of QUIC, or of TLS over TCP, between two processes, with the same
// certificates, mutual TLS 1.3 and windows as nodes have.

// bareALPN is what both sides of a floor say that they speak.
const bareALPN = "bare"

// bareTLS is a configuration for both sides, from the files that DevTLS has made for that name.
func bareTLS(dir, name string) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key"))
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("ca.pem holds no certificate")
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{bareALPN}, Certificates: []tls.Certificate{cert}, ClientCAs: roots,
		ClientAuth: tls.RequireAndVerifyClientCert, SessionTicketsDisabled: true,
		InsecureSkipVerify: true, //nolint:gosec // such certificates name nodes, not hosts: VerifyConnection does the rest
		VerifyConnection: func(state tls.ConnectionState) error {
			_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
			return err
		},
	}, nil
}

// bareQUIC is what nodes configure: quic-go's own windows, and datagrams.
func bareQUIC(idle, keepAlive time.Duration) *quic.Config {
	return &quic.Config{MaxIdleTimeout: idle, KeepAlivePeriod: keepAlive, EnableDatagrams: true, MaxIncomingStreams: 64}
}

// What a bare stream is for: its first byte.
const (
	bareSink = 's' // what comes is counted
	bareEcho = 'e' // what comes goes back
)

// bareFar is the far side of floors.
type bareFar struct {
	Dir       string        // of certificates
	TCP       bool          // TLS over TCP
	Listeners int           // how many sockets
	Idle      time.Duration // after how long without a packet a connection is dead, 0 for a minute
	KeepAlive time.Duration // how often something is sent to prevent that, 0 for never
}

// start is its Role.
func (b bareFar) start() (far.Methods, error) {
	conf, err := bareTLS(b.Dir, farName)
	if err != nil {
		return nil, err
	}
	var addrs []string
	counted := newTally()
	for range max(b.Listeners, 1) {
		addr, err := b.listen(conf, counted)
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, addr)
	}
	return far.Methods{
		"addrs":  far.Do(func(struct{}) ([]string, error) { return addrs, nil }),
		"expect": far.Do(func(n int64) (struct{}, error) { counted.expect(n); return struct{}{}, nil }),
		"await":  far.Do(func(struct{}) (struct{}, error) { counted.await(); return struct{}{}, nil }),
	}, nil
}

func (b bareFar) listen(conf *tls.Config, counted *tally) (addr string, err error) {
	if b.TCP {
		l, err := tls.Listen("tcp", "127.0.0.1:0", conf)
		if err != nil {
			return "", err
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go serveBare(c, counted)
			}
		}()
		return l.Addr().String(), nil
	}
	tr, err := bareSocket()
	if err != nil {
		return "", err
	}
	l, err := tr.Listen(conf, bareQUIC(b.Idle, b.KeepAlive))
	if err != nil {
		return "", err
	}
	go func() {
		for {
			c, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			go func() {
				for {
					s, err := c.AcceptStream(context.Background())
					if err != nil {
						return
					}
					go serveBare(s, counted)
				}
			}()
		}
	}()
	return l.Addr().String(), nil
}

func bareSocket() (*quic.Transport, error) {
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	return &quic.Transport{Conn: socket}, nil
}

// serveBare serves a stream until it ends.
func serveBare(s io.ReadWriteCloser, counted *tally) {
	defer func() { _ = s.Close() }()
	buf := make([]byte, 64<<10)
	if _, err := io.ReadFull(s, buf[:1]); err != nil {
		return
	}
	echo := buf[0] == bareEcho
	for {
		n, err := s.Read(buf)
		if err != nil {
			return
		}
		if !echo {
			counted.add(int64(n))
		} else if _, err := s.Write(buf[:n]); err != nil {
			return
		}
	}
}

// tally counts until there is as much as was expected.
type tally struct {
	mu        sync.Mutex
	enough    sync.Cond
	got, want int64
}

func newTally() *tally {
	t := &tally{}
	t.enough.L = &t.mu
	return t
}

func (t *tally) add(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.got += n; t.got >= t.want {
		t.enough.Broadcast()
	}
}

// expect says how much more is to come.
func (t *tally) expect(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.want += n
}

func (t *tally) await() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.got < t.want {
		t.enough.Wait()
	}
}

// barePeer is a far side of a floor, and the way to it.
type barePeer struct {
	far  *far.Process
	conf *tls.Config
	b    bareFar
	tr   *quic.Transport
	to   []string
	conn *quic.Conn
}

// withBare runs work with a far side of a floor.
func withBare(ctx context.Context, b bareFar, work func(p *barePeer) error) error {
	return withCertificates(ctx, func(dir string) (err error) {
		b.Dir = dir
		p := &barePeer{b: b}
		if p.conf, err = bareTLS(dir, nearName); err != nil {
			return err
		}
		if p.far, err = far.Start(ctx, bareSide, b); err != nil {
			return err
		}
		if p.tr, err = bareSocket(); err != nil {
			return errors.Join(err, p.far.Close())
		}
		if err = p.far.Call("addrs", struct{}{}, &p.to); err == nil {
			err = work(p)
		}
		return errors.Join(err, p.tr.Close(), p.far.Close())
	})
}

// dial connects to one of the far side's sockets.
func (p *barePeer) dial(ctx context.Context, i int) (*quic.Conn, error) {
	addr, err := net.ResolveUDPAddr("udp", p.to[i])
	if err != nil {
		return nil, err
	}
	return p.tr.Dial(ctx, addr, p.conf, bareQUIC(p.b.Idle, p.b.KeepAlive))
}

// open opens a stream of that kind: over QUIC all are of one connection.
func (p *barePeer) open(ctx context.Context, kind byte) (s io.ReadWriteCloser, err error) {
	switch {
	case p.b.TCP:
		s, err = (&tls.Dialer{Config: p.conf}).DialContext(ctx, "tcp", p.to[0])
	case p.conn == nil:
		if p.conn, err = p.dial(ctx, 0); err != nil {
			return nil, err
		}
		fallthrough
	default:
		s, err = p.conn.OpenStreamSync(ctx)
	}
	if err != nil {
		return nil, err
	}
	_, err = s.Write([]byte{kind})
	return s, err
}

// stream has the far side count n bytes, which are written 64 KiB at a time.
func (p *barePeer) stream(s io.Writer, n int) error {
	if err := p.far.Call("expect", n, nil); err != nil {
		return err
	}
	if err := writeAll(s, n); err != nil {
		return err
	}
	return p.far.Call("await", struct{}{}, nil)
}

func writeAll(s io.Writer, n int) error {
	buf := make([]byte, 64<<10)
	for n > 0 {
		k, err := s.Write(buf[:min(n, len(buf))])
		if err != nil {
			return fmt.Errorf("a bare stream: %w", err)
		}
		n -= k
	}
	return nil
}

// echoTimes sends payloadBytes to and fro as long as more says so, and returns how long each took, in microseconds.
func bareEchoTimes(s io.ReadWriter, more func(i int) bool) (times []float64, err error) {
	buf := make([]byte, payloadBytes)
	for i := 0; more(i); i++ {
		start := time.Now()
		if _, err := s.Write(buf); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(s, buf); err != nil {
			return nil, err
		}
		times = append(times, micros(time.Since(start)))
	}
	return times, nil
}

// bareStream is the floor of remote-send: as many bytes as frames of r.N messages have, by one stream.
func bareStream(tcp bool) harness.Func {
	return func(ctx context.Context, r *harness.Run) error {
		return withBare(ctx, bareFar{TCP: tcp}, func(p *barePeer) error {
			s, err := p.open(ctx, bareSink)
			if err != nil {
				return err
			}
			return measureStream(r, p.far, func(n int) (int, error) {
				return n * envelopeBytes, p.stream(s, n*envelopeBytes)
			})
		})
	}
}

// bareEchoes is the floor of remote-call.
func bareEchoes(tcp bool) harness.Func {
	return func(ctx context.Context, r *harness.Run) error {
		return withBare(ctx, bareFar{TCP: tcp}, func(p *barePeer) error {
			s, err := p.open(ctx, bareEcho)
			if err != nil {
				return err
			}
			return reportCalls(r, func(more func(i int) bool) ([]float64, error) { return bareEchoTimes(s, more) })
		})
	}
}

// bareLarge is the floor of the remote-large benches: a stream of as many bytes, and echoes by another stream of the same connection.
func bareLarge(row largeRow) harness.Func {
	return func(ctx context.Context, r *harness.Run) error {
		return withBare(ctx, bareFar{}, func(p *barePeer) error {
			bulk, err := p.open(ctx, bareSink)
			if err != nil {
				return err
			}
			echo, err := p.open(ctx, bareEcho)
			if err != nil {
				return err
			}
			return measureLarge(r, row, func(more func(i int) bool) ([]float64, error) { return bareEchoTimes(echo, more) },
				func(n int) error { return p.stream(bulk, n*largeBytes) })
		})
	}
}
