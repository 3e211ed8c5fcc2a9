package udpproxy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/conditions"
	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/link/quiclink"
	"github.com/greenroom-go/greenroom/remote/internal/udpproxy"
	"github.com/greenroom-go/greenroom/remote/remotetest/linktest"
)

func proxy(t *testing.T, target string) *udpproxy.Proxy {
	t.Helper()
	p, err := udpproxy.Listen(target, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// echo is a socket that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = c.Close()
		<-done
	})
	go func() {
		defer close(done)
		b := make([]byte, 2000)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(b[:n], from)
		}
	}()
	return c.LocalAddr().String()
}

func client(t *testing.T, p *udpproxy.Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("udp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// ask sends a byte and waits for it to come back.
func ask(t *testing.T, c net.Conn, b byte) time.Duration {
	t.Helper()
	began := time.Now()
	if _, err := c.Write([]byte{b}); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 2000)
	if n, err := c.Read(got); err != nil || n != 1 || got[0] != b {
		t.Fatalf("read %v, %v", got[:n], err)
	}
	return time.Since(began)
}

func TestProxy(t *testing.T) {
	p := proxy(t, echo(t))
	one, two := client(t, p), client(t, p)
	ask(t, one, 1)
	ask(t, two, 2)
	p.Set(conditions.Conditions{Latency: 20 * time.Millisecond})
	if d := ask(t, one, 3); d < 40*time.Millisecond {
		t.Errorf("there and back took %v", d)
	}
	p.Set(conditions.Conditions{})
	p.SetDown(conditions.Conditions{Duplicate: 1})
	ask(t, one, 4)
	b := make([]byte, 2000)
	if n, err := one.Read(b); n != 1 || err != nil || b[0] != 4 {
		t.Errorf("instead of the duplicate came %v, %v", b[:n], err)
	}
	p.SetDown(conditions.Conditions{})
	p.Block(true, false)
	if _, err := one.Write([]byte{5}); err != nil {
		t.Fatal(err)
	}
	for p.Counts().Up.Lost == 0 { // it is lost, not only late
		runtime.Gosched()
	}
	p.Block(false, false)
	ask(t, two, 6)
	if c := p.Counts(); c.Up.Received < 6 || c.Up.Delivered < 5 || c.Down.Delivered < 6 || c.Injected != 0 {
		t.Errorf("counted %+v", c)
	}
	p.Inject(2)
	if c := p.Counts(); c.Injected != 8 {
		t.Errorf("counted %+v", c)
	}
	if _, err := two.Read(b); err != nil {
		t.Errorf("no garbage: %v", err)
	}
}

// TestQUIC moves data over a lossy proxy while garbage is injected both ways.
func TestQUIC(t *testing.T) {
	ca := linktest.NewAuthority(t)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	nodes := map[string]*quiclink.Transport{}
	for _, name := range []string{"a", "b"} {
		tr, err := quiclink.Listen("127.0.0.1:0", ca.Node(t, name), quiclink.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tr.Close() })
		nodes[name] = tr
	}
	p := proxy(t, nodes["b"].Addr().String())
	p.Set(conditions.Conditions{Latency: 2 * time.Millisecond, Loss: 0.03, Duplicate: 0.03, Reorder: 0.03})
	here, err := nodes["a"].Dial(ctx, p.Addr(), "b")
	if err != nil {
		t.Fatal(err)
	}
	there, err := nodes["b"].Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	out, err := here.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	sent := make(chan error, 1)
	go func() {
		var err error
		for rest := data; err == nil && len(rest) > 0; rest = rest[1<<14:] {
			p.Inject(3)
			_, err = out.Write(rest[:1<<14])
		}
		sent <- errors.Join(err, out.Close())
	}()
	in, err := there.Accept(ctx)
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
	if c := p.Counts(); c.Up.Lost == 0 || c.Injected == 0 {
		t.Errorf("counted %+v", c)
	}
	p.Set(conditions.Conditions{})
	if err := here.Close(1, "done"); err != nil {
		t.Error(err)
	}
	<-there.Done()
	if _, ok := errors.AsType[*link.CloseError](there.Cause()); !ok {
		t.Errorf("the cause is %v", there.Cause())
	}
}
