package simlink_test

import (
	"io"
	"testing"

	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/link/simlink"
)

// BenchmarkStream moves 16 KiB at a time over a perfect network; it says what simulations cost, in real time.
func BenchmarkStream(b *testing.B) {
	n := simlink.New(1)
	nodeA, nodeB := n.Node(addrA, link.Identity{Name: "a"}), n.Node(addrB, link.Identity{Name: "b"})
	defer func() { _ = nodeA.Close() }()
	defer func() { _ = nodeB.Close() }()
	la, err := nodeA.Dial(b.Context(), addrB, "b")
	if err != nil {
		b.Fatal(err)
	}
	lb, err := nodeB.Accept(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	out, err := la.Open(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	chunk, read := make([]byte, 16<<10), make(chan int64)
	go func() {
		in, err := lb.Accept(b.Context())
		if err != nil {
			b.Error(err)
			close(read)
			return
		}
		n, _ := io.Copy(io.Discard, in)
		read <- n
	}()
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := out.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
	_ = out.Close()
	if n := <-read; n != int64(b.N)*int64(len(chunk)) {
		b.Errorf("read %d bytes", n)
	}
}
