package quiclink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/conditions"
	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/simnet"
	"github.com/greenroom-go/greenroom/remote/remotetest/linktest"
)

// city is a simulated network with a node to dial, and any number of others.
type city struct {
	*testing.T
	net  *simnet.Network
	ca   *linktest.Authority
	node *Transport
	log  journal
	last int
}

// journal is what was logged.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

const nodeAddr = "10.0.0.1:7000"

func inCity(t *testing.T, o Options, f func(c *city)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &city{T: t, net: simnet.New(1), ca: linktest.NewAuthority(t)}
		c.net.SetAll(conditions.Conditions{Latency: 10 * time.Millisecond})
		o.Logger = slog.New(slog.NewTextHandler(&c.log, nil))
		c.node = c.open(nodeAddr, c.ca.Node(t, "node"), o)
		f(c)
	})
}

func (c *city) open(addr string, credentials Credentials, o Options) *Transport {
	c.Helper()
	socket, err := c.net.Listen(addr)
	if err != nil {
		c.Fatal(err)
	}
	tr, err := New(socket, credentials, o)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = tr.Close() })
	return tr
}

// stranger is another node at an address of its own.
func (c *city) stranger(credentials Credentials) *Transport {
	c.Helper()
	return c.open(c.address(), credentials, Options{})
}

func (c *city) address() string {
	c.last++
	return fmt.Sprintf("10.1.0.%d:7000", c.last)
}

// forge begins n handshakes from addresses that the answers do not get to.
func (c *city) forge(ctx context.Context, n int) *sync.WaitGroup {
	c.Helper()
	var all sync.WaitGroup
	for range n {
		addr := c.address()
		c.net.PartitionOneWay(nodeAddr, addr)
		tr := c.open(addr, c.ca.Node(c.T, "forged"), Options{})
		all.Go(func() {
			if _, err := tr.Dial(ctx, nodeAddr, "node"); err == nil {
				c.Error("a forged address was let in")
			}
		})
	}
	return &all
}

// TestForgedAddressesKeepNobodyOut has a flood of them, beside which a node dials that is where it says.
func TestForgedAddressesKeepNobodyOut(t *testing.T) {
	inCity(t, Options{MaxHandshakes: 8, RetryAbove: 4}, func(c *city) {
		ctx, cancel := context.WithTimeout(c.Context(), 4*time.Second)
		defer cancel()
		flood := c.forge(ctx, 40)
		defer flood.Wait()
		<-time.After(100 * time.Millisecond)
		if s := c.node.Stats(); s.Handshakes != 4 || s.Retried < 36 || s.Refused != 0 {
			t.Errorf("under the flood: %+v", s)
		}
		if _, err := c.stranger(c.ca.Node(t, "a")).Dial(c.Context(), nodeAddr, "node"); err != nil {
			t.Error(err)
		}
		if s := c.node.Stats(); s.Accepted != 1 || s.Links != 1 {
			t.Errorf("after an honest node: %+v", s)
		}
		cancel()
		flood.Wait()
		<-time.After(20 * time.Second)
		if s := c.node.Stats(); s.Handshakes != 0 || s.Failed != 4 {
			t.Errorf("after the flood: %+v", s)
		}
		if got := strings.Count(c.log.String(), "\n"); got < 1 || got > 5 {
			t.Errorf("%d lines were logged:\n%s", got, c.log.String())
		}
		if !strings.Contains(c.log.String(), "10.1.0.") {
			t.Errorf("no address in the log:\n%s", c.log.String())
		}
	})
}

func TestHandshakesPerSecond(t *testing.T) {
	inCity(t, Options{HandshakesPerSecond: 5}, func(c *city) {
		in, out := 0, 0
		for range 20 {
			_, err := c.stranger(c.ca.Node(t, "a")).Dial(c.Context(), nodeAddr, "node")
			switch {
			case err == nil:
				in++
			case strings.Contains(err.Error(), "takes no connections at the moment"):
				out++
			default:
				t.Error(err)
			}
		}
		if in < 5 || in > 15 || c.node.Stats().Refused < uint64(out) {
			t.Errorf("%d got in, %d did not: %+v", in, out, c.node.Stats())
		}
		<-time.After(time.Second)
		if _, err := c.stranger(c.ca.Node(t, "a")).Dial(c.Context(), nodeAddr, "node"); err != nil {
			t.Error(err)
		}
	})
}

func TestMaxLinks(t *testing.T) {
	inCity(t, Options{MaxLinks: 2}, func(c *city) {
		var first *Transport
		for range 2 {
			first = c.stranger(c.ca.Node(t, "a"))
			if _, err := first.Dial(c.Context(), nodeAddr, "node"); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.stranger(c.ca.Node(t, "a")).Dial(c.Context(), nodeAddr, "node"); err == nil ||
			!strings.Contains(err.Error(), "as many links as it allows") {
			t.Errorf("a third dials: %v", err)
		}
		if _, err := c.node.Dial(c.Context(), "10.9.9.9:1", ""); err == nil || !strings.Contains(err.Error(), "MaxLinks") {
			t.Errorf("a third is dialed: %v", err)
		}
		if err := first.Close(); err != nil {
			t.Error(err)
		}
		<-time.After(time.Second)
		if _, err := c.stranger(c.ca.Node(t, "a")).Dial(c.Context(), nodeAddr, "node"); err != nil {
			t.Error(err)
		}
	})
}

// TestFailuresAreCounted has both kinds of refusals that come after the handshake has begun.
func TestFailuresAreCounted(t *testing.T) {
	inCity(t, Options{}, func(c *city) {
		other := linktest.NewAuthority(t)
		ours := c.ca.Node(t, "a")
		impostor := &mixed{Credentials: ours, shown: other.Node(t, "a")}
		_, err := c.stranger(impostor).Dial(c.Context(), nodeAddr, "node")
		if err == nil || !strings.Contains(err.Error(), "authority") {
			t.Errorf("Dial: %v", err)
		}
		<-time.After(2 * time.Second)
		if s := c.node.Stats(); s.Failed != 1 || s.Handshakes != 0 || s.Links != 0 {
			t.Errorf("%+v", s)
		}
		if !strings.Contains(c.log.String(), "unknown authority") {
			t.Errorf("the log does not say why:\n%s", c.log.String())
		}
	})
}

// mixed trusts like one node and shows the certificate of another.
type mixed struct {
	*linktest.Credentials
	shown *linktest.Credentials
}

// ClientTLS shows the other's certificate.
func (m *mixed) ClientTLS(alpn, peer string) *tls.Config {
	config := m.Credentials.ClientTLS(alpn, peer)
	config.Certificates = m.shown.ClientTLS(alpn, peer).Certificates
	return config
}

func TestCloseWhileDialing(t *testing.T) {
	inCity(t, Options{}, func(c *city) {
		done := make(chan error)
		go func() {
			_, err := c.node.Dial(c.Context(), "10.9.9.9:1", "")
			done <- err
		}()
		<-time.After(time.Second)
		if err := c.node.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("Dial: %v", err)
		}
	})
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{{MaxLinks: -1}, {IdleTimeout: -1}, {HandshakeTimeout: -1}, {MaxStreams: -5}} {
		if _, err := Listen("127.0.0.1:0", linktest.NewAuthority(t).Node(t, "a"), o); err == nil ||
			!strings.Contains(err.Error(), "must not be negative") {
			t.Errorf("Listen: %v", err)
		}
	}
}

// TestDatagramsDoNotWait sends many over a path that takes none.
func TestDatagramsDoNotWait(t *testing.T) {
	inCity(t, Options{}, func(c *city) {
		a := c.stranger(c.ca.Node(t, "a"))
		l, err := a.Dial(c.Context(), nodeAddr, "node")
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{1, 1000, 1100} {
			if err := l.SendDatagram(make([]byte, size)); err != nil {
				t.Errorf("%d bytes: %v", size, err)
			}
		}
		if err := l.SendDatagram(make([]byte, 1500)); !errors.Is(err, link.ErrTooLarge) {
			t.Errorf("1500 bytes: %v", err)
		}
		c.net.Partition(nodeAddr, a.Addr().String())
		began := time.Now()
		for range 1000 {
			if err := l.SendDatagram(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d > 0 {
			t.Errorf("it took %v", d)
		}
	})
}

// TestStreamsAreLimited has Open wait for the other side's permission.
func TestStreamsAreLimited(t *testing.T) {
	inCity(t, Options{MaxStreams: 2}, func(c *city) {
		l, err := c.stranger(c.ca.Node(t, "a")).Dial(c.Context(), nodeAddr, "node")
		if err != nil {
			t.Fatal(err)
		}
		var last link.Stream
		for range 2 {
			if last, err = l.Open(c.Context()); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(c.Context(), time.Second)
		defer cancel()
		if _, err := l.Open(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Open: %v", err)
		}
		last.Reset()
		there, err := c.node.Accept(c.Context())
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			s, err := there.Accept(c.Context())
			if err != nil {
				t.Fatal(err)
			}
			s.Reset()
		}
		if _, err := l.Open(c.Context()); err != nil {
			t.Error(err)
		}
	})
}
