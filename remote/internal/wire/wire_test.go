package wire_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/remote/internal/wire"
)

// random draws an envelope: most fields are missing in most.
func random(r *rand.Rand) wire.Envelope {
	some := func(v uint64) uint64 {
		if r.IntN(3) > 0 {
			return 0
		}
		return v >> r.IntN(64)
	}
	data := func(n int) []byte {
		if r.IntN(3) > 0 {
			return nil
		}
		return bytes.Repeat([]byte{'a'}, 1+r.IntN(n))
	}
	e := wire.Envelope{
		Route: uint32(some(r.Uint64())), To: some(r.Uint64()), From: some(r.Uint64()), Type: uint32(some(r.Uint64())), TypeName: data(300),
		Kind: greenroomv1.Kind(some(r.Uint64()) % 19), ID: some(r.Uint64()), Left: some(r.Uint64()), Trace: data(60), Size: some(r.Uint64()), Payload: data(3000),
	}
	if r.IntN(4) == 0 {
		e.Failure, _ = proto.Marshal(&greenroomv1.Failure{Text: "no"})
	}
	e.HasBody = e.Payload != nil
	return e
}

func encode(e *wire.Envelope) []byte {
	n := wire.NoBody
	if e.HasBody {
		n = len(e.Payload)
	}
	return append(e.Append(nil, n), e.Payload...)
}

// TestSameBytes: what is written by hand is what the generated code writes and reads.
func TestSameBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		e := random(r)
		m := &greenroomv1.Envelope{
			Route: e.Route, To: e.To, From: e.From, Type: e.Type, TypeName: string(e.TypeName), Kind: e.Kind, Id: e.ID, LeftUs: e.Left,
			Trace: string(e.Trace), Size: e.Size, Payload: e.Payload,
		}
		if e.Failure != nil {
			m.Failure = new(greenroomv1.Failure)
			if err := proto.Unmarshal(e.Failure, m.Failure); err != nil {
				t.Fatal(err)
			}
		}
		want, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		got := encode(&e)
		if len(got) != e.Len(map[bool]int{true: len(e.Payload), false: wire.NoBody}[e.HasBody]) {
			t.Fatalf("Len is not the length of %+v", e)
		}
		n, k := binary.Uvarint(got)
		if int(n) != len(got)-k || !bytes.Equal(got[k:], want) {
			t.Fatalf("%+v: by hand %x, generated %x", e, got[k:], want)
		}
		var back wire.Envelope
		if err := back.Decode(want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, back); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestAllocs(t *testing.T) {
	e := wire.Envelope{Route: 4000, Payload: make([]byte, 66), HasBody: true}
	b := make([]byte, 0, 200)
	if n := testing.AllocsPerRun(1000, func() { b = append(e.Append(b[:0], 66), e.Payload...) }); n != 0 {
		t.Errorf("writing allocates %v times", n)
	}
	body, _, err := wire.Next(b)
	if err != nil {
		t.Fatal(err)
	}
	var back wire.Envelope
	if n := testing.AllocsPerRun(1000, func() { err = back.Decode(body) }); n != 0 || err != nil {
		t.Errorf("reading allocates %v times, %v", n, err)
	}
	if len(b) > 72 {
		t.Errorf("a payload of 66 bytes takes %d", len(b))
	}
}

// FuzzDecode: any bytes are an envelope or an error, and what is read as one reads the same when it is written again.
func FuzzDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		e := random(r)
		f.Add(encode(&e))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			body, rest, err := wire.Next(b)
			if err != nil {
				return
			}
			var e, again wire.Envelope
			if e.Decode(body) == nil {
				out := encode(&e)
				inner, _, err := wire.Next(out)
				if err != nil || again.Decode(inner) != nil {
					t.Fatalf("%+v does not come back", e)
				}
				if len(e.TypeName) == 0 {
					e.TypeName = again.TypeName
				}
				if len(e.Trace) == 0 {
					e.Trace = again.Trace
				}
				if diff := cmp.Diff(e, again); diff != "" {
					t.Fatal(diff)
				}
			}
			b = rest
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	e := wire.Envelope{Route: 4000, Payload: make([]byte, 66), HasBody: true}
	body, _, _ := wire.Next(encode(&e))
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Decode(body); err != nil {
			b.Fatal(err)
		}
	}
}
