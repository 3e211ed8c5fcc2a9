package remote

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/wire"
)

// deaf is a transport that nobody uses.
type deaf struct{}

func (deaf) Dial(context.Context, string, string) (link.Link, error) { return nil, link.ErrClosed }

func (deaf) Accept(ctx context.Context) (link.Link, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (deaf) Close() error { return nil }

// fuzzSession is a session whose peer is whoever writes the bytes, and an actor that it may reach.
func fuzzSession(f *testing.F) (*session, actor.AnyRef) {
	f.Helper()
	sys, err := actor.NewSystem()
	if err != nil {
		f.Fatal(err)
	}
	n, err := Start(sys, Options{Name: "fuzz", MaxMessageBytes: 1 << 20, WindowBytes: 1 << 20, transport: func(*Node) (link.Transport, error) { return deaf{}, nil }})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = n.Stop(ctx)
		_ = sys.Close()
	})
	to := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *wrapperspb.StringValue) error {
		if ctx.IsCall() {
			return ctx.Reply(m)
		}
		return nil
	}))
	n.mu.Lock()
	far, err := n.farLocked(77)
	n.mu.Unlock()
	if err != nil {
		f.Fatal(err)
	}
	s, err := far.session(false)
	if err != nil {
		f.Fatal(err)
	}
	s.roles.Store(uint32(link.AllRoles))
	s.beat.Stop() // nobody is silent here
	return s, to.Any()
}

// FuzzFrame: whatever comes in a frame is handed out, refused or a breach of the protocol; it is no panic.
func FuzzFrame(f *testing.F) {
	s, to := fuzzSession(f)
	out := newLaneOut(s, 1)
	for _, kind := range []greenroomv1.Kind{0, greenroomv1.Kind_KIND_CALL, greenroomv1.Kind_KIND_DELIVER, greenroomv1.Kind_KIND_RESUME} {
		t, err := typeOf(&wrapperspb.StringValue{})
		if err != nil {
			f.Fatal(err)
		}
		m := wrapperspb.String("seed")
		if err := out.message(pair{5, to.ID()}, t, &wire.Envelope{Kind: kind, ID: 9, From: 5}, m, 6); err != nil {
			f.Fatal(err)
		}
	}
	for kind := greenroomv1.Kind_KIND_REPLY; kind <= greenroomv1.Kind_KIND_FIRE; kind++ {
		e := wire.Envelope{Kind: kind, ID: 9, From: 5, Size: 40, Failure: marshalFailure(failureOf(errors.New("seed")))}
		if err := out.plain(pair{5, to.ID()}, &e); err != nil {
			f.Fatal(err)
		}
	}
	out.seal()
	for _, fr := range out.ready {
		f.Add(fr.data[wire.FrameHeader:])
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		for n := range s.in {
			l := &laneIn{s: s, n: n, in: s.node.sys.NewInbound()}
			_ = l.frame(b) // an error is a breach
		}
	})
}

// FuzzControl: whatever is said on a control stream is understood, passed over or a breach of the protocol.
func FuzzControl(f *testing.F) {
	s, to := fuzzSession(f)
	for _, m := range []*greenroomv1.Control{
		{What: &greenroomv1.Control_Hello{Hello: s.node.hello(link.AllRoles)}},
		{What: &greenroomv1.Control_Heartbeat{Heartbeat: &greenroomv1.Heartbeat{Load: 1, SentUs: 2, EchoUs: 3}}},
		{What: &greenroomv1.Control_Ack{Ack: &greenroomv1.Ack{Received: make([]uint64, lanes)}}},
		{What: &greenroomv1.Control_Pause{Pause: &greenroomv1.Pause{Ids: []uint64{to.ID()}}}},
		{What: &greenroomv1.Control_Shapes{Shapes: &greenroomv1.Shapes{Shapes: []*greenroomv1.Shape{{Name: "greenroom.v1.Ref"}}}}},
		{What: &greenroomv1.Control_WhoIs{WhoIs: &greenroomv1.WhoIs{Incarnation: 5}}},
		{What: &greenroomv1.Control_Probe{Probe: &greenroomv1.Probe{Origin: to.Proto(), Steps: []*greenroomv1.Probe_Step{{Ref: to.Proto()}}}}},
		{What: &greenroomv1.Control_Gone{Gone: &greenroomv1.Gone{Ids: []uint64{1, 2}}}},
	} {
		f.Add(appendControl(nil, m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReader(bytes.NewReader(b))
		var m greenroomv1.Control
		for {
			err := readControl(r, &m)
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return
			}
			if err == nil {
				err = s.told(&m)
			}
			if err != nil {
				return
			}
		}
	})
}
