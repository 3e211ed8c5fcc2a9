package simnet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/conditions"
	"github.com/greenroom-go/greenroom/remote/internal/link/quiclink"
	"github.com/greenroom-go/greenroom/remote/internal/simnet"
	"github.com/greenroom-go/greenroom/remote/remotetest/linktest"
)

const addrA, addrB = "10.0.0.1:7000", "10.0.0.2:7000"

func sockets(t *testing.T, n *simnet.Network) (a, b *simnet.Conn) {
	t.Helper()
	a, err := n.Listen(addrA)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = n.Listen(addrB); err != nil {
		t.Fatal(err)
	}
	return a, b
}

func transports(t *testing.T, n *simnet.Network) (a, b *quiclink.Transport) {
	t.Helper()
	ca := linktest.NewAuthority(t)
	socketA, socketB := sockets(t, n)
	a, err := quiclink.New(socketA, ca.Node(t, "a"), quiclink.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if b, err = quiclink.New(socketB, ca.Node(t, "b"), quiclink.Options{}); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// TestQUIC has real QUIC, with mutual TLS, move a megabyte over a bad network, in virtual time.
func TestQUIC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		n.SetAll(conditions.Conditions{Latency: 200 * time.Millisecond, Loss: 0.05})
		a, b := transports(t, n)
		defer func() { _ = a.Close() }()
		defer func() { _ = b.Close() }()
		began := time.Now()
		here, err := a.Dial(t.Context(), addrB, "b")
		if err != nil {
			t.Fatal(err)
		}
		there, err := b.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if here.Peer().Name != "b" || there.Peer().Name != "a" {
			t.Errorf("the peers are %v and %v", here.Peer(), there.Peer())
		}
		data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		out, err := here.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sent := make(chan error)
		go func() {
			_, err := out.Write(data)
			sent <- errors.Join(err, out.Close())
		}()
		in, err := there.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(in)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		t.Logf("%v of virtual time", time.Since(began))
	})
}

// TestQUICDiesOfSilence has each side notice a partition on its own.
func TestQUICDiesOfSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		n.SetAll(conditions.Conditions{Latency: 10 * time.Millisecond})
		a, b := transports(t, n)
		defer func() { _ = a.Close() }()
		defer func() { _ = b.Close() }()
		here, err := a.Dial(t.Context(), addrB, "b")
		if err != nil {
			t.Fatal(err)
		}
		there, err := b.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		n.Partition(addrA, addrB)
		<-here.Done()
		<-there.Done()
		if d := time.Since(began); d < 29*time.Second || d > 35*time.Second {
			t.Errorf("dead after %v", d)
		}
		n.Heal(addrA, addrB)
		if _, err := a.Dial(t.Context(), addrB, "b"); err != nil {
			t.Error(err)
		}
	})
}

func TestConformance(t *testing.T) {
	linktest.RunInBubbles(t, func(t *testing.T) linktest.Transports {
		n := simnet.New(1)
		n.SetAll(conditions.Conditions{Latency: 5 * time.Millisecond})
		a, b := transports(t, n)
		return linktest.Transports{A: a, B: b, AddrB: addrB}
	})
}

// receive counts the datagrams that come within a second.
func receive(t *testing.T, c net.PacketConn) (got []byte) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	b := make([]byte, 100)
	for {
		n, _, err := c.ReadFrom(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return got
		}
		if err != nil || n != 1 {
			t.Fatalf("read %d bytes, %v", n, err)
		}
		got = append(got, b[0])
	}
}

func TestPackets(t *testing.T) {
	for _, c := range []struct {
		name     string
		c        conditions.Conditions
		low, top int // how many of 100 come
		ordered  bool
	}{
		{"perfect", conditions.Conditions{}, 100, 100, true},
		{"jitter", conditions.Conditions{Latency: time.Millisecond, Jitter: 100 * time.Millisecond}, 100, 100, true},
		{"loss", conditions.Conditions{Loss: 0.3}, 50, 90, true},
		{"nothing", conditions.Conditions{Loss: 1}, 0, 0, true},
		{"duplicates", conditions.Conditions{Duplicate: 0.3}, 110, 150, true},
		{"reordering", conditions.Conditions{Reorder: 0.3}, 100, 100, false},
		{"narrow", conditions.Conditions{BytesPerSecond: 29 * 40, QueueBytes: 29 * 30}, 31, 32, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := simnet.New(1)
				a, b := sockets(t, n)
				defer func() { _ = a.Close() }()
				defer func() { _ = b.Close() }()
				n.SetOneWay(addrA, addrB, c.c)
				for i := range 100 {
					if _, err := a.WriteTo([]byte{byte(i)}, b.LocalAddr()); err != nil {
						t.Fatal(err)
					}
				}
				got := receive(t, b)
				if len(got) < c.low || len(got) > c.top {
					t.Errorf("%d came, want %d to %d", len(got), c.low, c.top)
				}
				if ordered := isSorted(got); ordered != c.ordered {
					t.Errorf("in order: %v; %v", ordered, got)
				}
			})
		})
	}
}

func isSorted(b []byte) bool {
	for i := 1; i < len(b); i++ {
		if b[i] < b[i-1] {
			return false
		}
	}
	return true
}

func TestPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		a, b := sockets(t, n)
		defer func() { _ = a.Close() }()
		defer func() { _ = b.Close() }()
		n.SetAll(conditions.Conditions{Latency: 10 * time.Millisecond})
		n.PartitionOneWay(addrA, addrB)
		_, _ = a.WriteTo([]byte{1}, b.LocalAddr())
		_, _ = b.WriteTo([]byte{2}, a.LocalAddr())
		if got := receive(t, b); len(got) != 0 {
			t.Errorf("%v came through", got)
		}
		if got := receive(t, a); string(got) != "\x02" {
			t.Errorf("%v came the other way", got)
		}
		n.HealAll()
		_, _ = a.WriteTo([]byte{3}, b.LocalAddr())
		n.Partition(addrA, addrB) // while it is on its way
		if got := receive(t, b); len(got) != 0 {
			t.Errorf("%v came through", got)
		}
		if got := a.Counts(); got != (simnet.Counts{Sent: 2, Dropped: 2}) {
			t.Errorf("counted %+v", got)
		}
	})
}

// TestDialNobody has a node gone: its address answers no more.
func TestDialNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		n.SetAll(conditions.Conditions{Latency: 10 * time.Millisecond})
		a, b := transports(t, n)
		defer func() { _ = a.Close() }()
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.Dial(ctx, addrB, "b"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial: %v", err)
		}
	})
}
