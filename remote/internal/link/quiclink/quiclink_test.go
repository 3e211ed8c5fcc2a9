package quiclink

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/remotetest/linktest"
)

func listen(t *testing.T, addr string, c Credentials, o Options) *Transport {
	t.Helper()
	tr, err := Listen(addr, c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return tr
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func dial(t *testing.T, from, to *Transport, peer string) (here, there link.Link) {
	t.Helper()
	here, err := from.Dial(within(t), to.Addr().String(), peer)
	if err != nil {
		t.Fatal(err)
	}
	if there, err = to.Accept(within(t)); err != nil {
		t.Fatal(err)
	}
	return here, there
}

func TestLink(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(addr, func(t *testing.T) {
			ca := linktest.NewAuthority(t)
			a, b := listen(t, addr, ca.Node(t, "a"), Options{}), listen(t, addr, ca.Node(t, "b"), Options{})
			here, there := dial(t, a, b, "b")
			if here.Peer().Name != "b" || there.Peer().Name != "a" || !here.Dialed() || there.Dialed() {
				t.Errorf("the links are %v %v and %v %v", here.Peer(), here.Dialed(), there.Peer(), there.Dialed())
			}
			out, err := here.Open(within(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := out.TryWrite([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			_ = out.Close()
			in, err := there.Accept(within(t))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(in); string(got) != "hello" || err != nil {
				t.Errorf("read %q, %v", got, err)
			}
			if err := here.Close(7, "enough"); err != nil {
				t.Error(err)
			}
			<-there.Done()
			if e, ok := errors.AsType[*link.CloseError](there.Cause()); !ok || e.Code != 7 || e.Text != "enough" {
				t.Errorf("the other side's cause is %v", there.Cause())
			}
			if !errors.Is(here.Cause(), link.ErrClosed) {
				t.Errorf("this side's cause is %v", here.Cause())
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	ca, other := linktest.NewAuthority(t), linktest.NewAuthority(t)
	b := listen(t, "127.0.0.1:0", ca.Node(t, "b"), Options{})
	picky := ca.Node(t, "picky")
	picky.Refuse = errors.New("your name is on the list of those who left")
	c := listen(t, "127.0.0.1:0", picky, Options{})
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	for _, test := range []struct {
		name string
		from *linktest.Credentials
		to   net.Addr
		peer string
		want string
	}{
		{"wrong name", ca.Node(t, "a"), b.Addr(), "x", "certificate is valid for b, not x"},
		{"dialer of another authority", other.Node(t, "a"), b.Addr(), "b", "certificate signed by unknown authority"},
		{"refused after the handshake", ca.Node(t, "a"), c.Addr(), "picky", "your name is on the list"},
		{"nobody there", ca.Node(t, "a"), silent.LocalAddr(), "b", "nothing comes from the peer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := listen(t, "127.0.0.1:0", test.from, Options{HandshakeTimeout: 2 * time.Second})
			_, err := a.Dial(within(t), test.to.String(), test.peer)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Dial: %v; want it to say %q", err, test.want)
			}
		})
	}
}

// TestNames dials by a host's name, from a socket of both families and from one of IPv4 only.
func TestNames(t *testing.T) {
	ca := linktest.NewAuthority(t)
	b := listen(t, "127.0.0.1:0", ca.Node(t, "b"), Options{})
	_, port, err := net.SplitHostPort(b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{":0", "127.0.0.1:0"} {
		a := listen(t, addr, ca.Node(t, "a"), Options{HandshakeTimeout: 5 * time.Second})
		if _, err := a.Dial(within(t), net.JoinHostPort("localhost", port), "b"); err != nil {
			t.Errorf("from %s: %v", addr, err)
		}
		for _, bad := range []string{"localhost", "localhost:no-such-service", "[::1]:x"} {
			if _, err := a.Dial(within(t), bad, "b"); err == nil {
				t.Errorf("dialed %s", bad)
			}
		}
	}
}

// TestSocketBuffers holds that quic-go gets at the file descriptor only after the buffers are set, so that it has nothing to complain of.
func TestSocketBuffers(t *testing.T) {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	socket, ok := quiet(c).(*udpSocket)
	if !ok {
		t.Fatalf("a UDP socket becomes a %T", quiet(c))
	}
	if _, err := socket.SyscallConn(); err == nil {
		t.Error("the file descriptor can be got at before the buffers are set")
	}
	if err := errors.Join(socket.SetReadBuffer(7<<20), socket.SetWriteBuffer(7<<20)); err != nil {
		t.Error(err)
	}
	if _, err := socket.SyscallConn(); err != nil {
		t.Error(err)
	}
}

func TestFit(t *testing.T) {
	long := strings.Repeat("é", 1000)
	if got := fit(long); len(got) > 600 || !strings.HasSuffix(got, "é...") {
		t.Errorf("a long text becomes %d bytes: %q", len(got), got)
	}
	ca := linktest.NewAuthority(t)
	a, b := listen(t, "127.0.0.1:0", ca.Node(t, "a"), Options{}), listen(t, "127.0.0.1:0", ca.Node(t, "b"), Options{})
	here, there := dial(t, a, b, "b")
	if err := here.Close(1<<63, long); err != nil {
		t.Error(err)
	}
	<-there.Done()
	if e, ok := errors.AsType[*link.CloseError](there.Cause()); !ok || e.Code != 1<<62-1 || e.Text != fit(long) {
		t.Errorf("the cause is %v", there.Cause())
	}
}
