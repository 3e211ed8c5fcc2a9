package tcplink

import (
	"errors"
	"strings"
	"testing"

	"github.com/greenroom-go/greenroom/remote/remotetest/linktest"
)

func listen(t *testing.T, c Credentials) *Transport {
	t.Helper()
	tr, err := Listen("127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestConformance(t *testing.T) {
	ca := linktest.NewAuthority(t)
	linktest.Run(t, func(t *testing.T) linktest.Transports {
		a, b := listen(t, ca.Node(t, "a")), listen(t, ca.Node(t, "b"))
		return linktest.Transports{A: a, B: b, AddrB: b.Addr().String()}
	})
}

func TestRefusals(t *testing.T) {
	ca, other := linktest.NewAuthority(t), linktest.NewAuthority(t)
	picky := ca.Node(t, "b")
	picky.Refuse = errors.New("not today")
	b, c := listen(t, ca.Node(t, "b")), listen(t, picky)
	a, stranger := listen(t, ca.Node(t, "a")), listen(t, other.Node(t, "a"))
	for _, tr := range []*Transport{a, b, c, stranger} {
		defer func() { _ = tr.Close() }()
	}
	for _, test := range []struct {
		from, to *Transport
		want     string
	}{{a, c, "not today"}, {stranger, b, "unknown authority"}} {
		if _, err := test.from.Dial(t.Context(), test.to.Addr().String(), "b"); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Dial: %v, want it to say %q", err, test.want)
		}
	}
}
