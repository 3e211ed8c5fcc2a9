package remote_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/remote"
	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/wire"
)

// stranger plays a node by hand, over a link whose handshake went well.
type stranger struct {
	*world
	l     link.Link
	ctl   link.Stream
	r     *bufio.Reader
	hello *greenroomv1.Hello // the other side's
	lane  [6]link.Stream
	next  [6]uint64
	to    uint64 // an actor that takes texts
}

// stranger dials a.
func (w *world) stranger(name string, to *member, ref actor.AnyRef) *stranger {
	w.Helper()
	addr := name + ":9"
	l, err := w.net.Node(addr, identity(name)).Dial(w.patient(), to.addr, to.Name())
	if err != nil {
		w.Fatal(err)
	}
	s := &stranger{world: w, l: l, to: ref.ID()}
	if s.ctl, err = l.Open(w.patient()); err != nil {
		w.Fatal(err)
	}
	s.r = bufio.NewReader(s.ctl)
	return s
}

// put writes to a stream; the other side may have closed it.
func (s *stranger) put(st io.Writer, b ...[]byte) { _, _ = st.Write(slices.Concat(b...)) }

func delimited(m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return append(binary.AppendUvarint(nil, uint64(len(b))), b...)
}

func (s *stranger) say(m *greenroomv1.Control) { s.put(s.ctl, delimited(m)) }

// helloOf is a good Hello.
func helloOf(name string) *greenroomv1.Hello {
	return &greenroomv1.Hello{
		MinVersion: 1, MaxVersion: 1, Name: name, Incarnation: 4711, MaxMessage: 1 << 20, Granted: 15, Window: 1 << 20,
		Schemas: []*greenroomv1.Schema{{Name: "google.protobuf.StringValue", Digest: 1}},
	}
}

func saysHello(h *greenroomv1.Hello) *greenroomv1.Control {
	return &greenroomv1.Control{What: &greenroomv1.Control_Hello{Hello: h}}
}

func saysResume(r *greenroomv1.Resume) *greenroomv1.Control {
	return &greenroomv1.Control{What: &greenroomv1.Control_Resume{Resume: r}}
}

func saysAck(n ...uint64) *greenroomv1.Control {
	return &greenroomv1.Control{What: &greenroomv1.Control_Ack{Ack: &greenroomv1.Ack{Received: n}}}
}

// hear reads what the other side says.
func (s *stranger) hear() *greenroomv1.Control {
	s.Helper()
	n, err := binary.ReadUvarint(s.r)
	if err != nil {
		s.Fatal(err)
	}
	b := make([]byte, n)
	var m greenroomv1.Control
	if _, err := io.ReadFull(s.r, b); err != nil {
		s.Fatal(err)
	}
	if err := proto.Unmarshal(b, &m); err != nil {
		s.Fatal(err)
	}
	return &m
}

// joins makes a session as any node does.
func (s *stranger) joins(name string) {
	s.Helper()
	s.put(s.ctl, []byte{'C'}, delimited(saysHello(helloOf(name))))
	s.hello = s.hear().GetHello()
	s.say(saysResume(&greenroomv1.Resume{Session: 99, Received: make([]uint64, 5)}))
	if s.hear().GetResume() == nil {
		s.Fatal("no resume")
	}
}

// frame writes a frame with these bytes to a lane.
func (s *stranger) frame(lane int, b []byte) {
	s.Helper()
	s.open(lane)
	head := make([]byte, wire.FrameHeader)
	binary.LittleEndian.PutUint32(head, uint32(len(b)))           //nolint:gosec // small
	binary.LittleEndian.PutUint32(head[4:], uint32(s.next[lane])) //nolint:gosec // small
	s.next[lane]++
	s.put(s.lane[lane], head, b)
}

func (s *stranger) open(lane int) {
	s.Helper()
	if s.lane[lane] != nil {
		return
	}
	st, err := s.l.Open(context.Background())
	if err != nil {
		return // it is closed already
	}
	s.lane[lane] = st
	s.put(st, []byte{'L', byte(lane)}) //nolint:gosec // small
}

// send writes an envelope to a lane.
func (s *stranger) send(lane int, e wire.Envelope, payload ...byte) {
	s.Helper()
	s.frame(lane, envelope(e, payload...))
}

func envelope(e wire.Envelope, payload ...byte) []byte {
	n := wire.NoBody
	if len(payload) > 0 || e.HasBody {
		n = len(payload)
	}
	return append(e.Append(nil, n), payload...)
}

const textType = "google.protobuf.StringValue"

func textBytes(s string) []byte {
	b, err := proto.Marshal(wrapperspb.String(s))
	if err != nil {
		panic(err)
	}
	return b
}

// garbage is what breaks the protocol, by the stage at which it does.
var garbage = map[string]func(s *stranger, name string){
	"greeting/first byte": func(s *stranger, _ string) { s.put(s.ctl, []byte{'X'}, delimited(saysHello(helloOf("x")))) },
	"greeting/length": func(s *stranger, _ string) {
		s.put(s.ctl, []byte{'C', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	},
	"greeting/overlong":   func(s *stranger, _ string) { s.put(s.ctl, []byte{'C'}, slices.Repeat([]byte{0xff}, 20)) },
	"greeting/no message": func(s *stranger, _ string) { s.put(s.ctl, []byte{'C', 5, 0xff, 0xff, 0xff, 0xff, 0xff}) },
	"greeting/no hello":   func(s *stranger, _ string) { s.put(s.ctl, []byte{'C'}, delimited(saysAck(1, 2, 3, 4, 5))) },
	"greeting/empty":      func(s *stranger, _ string) { s.put(s.ctl, []byte{'C', 0}) },
	"greeting/no incarnation": func(s *stranger, name string) {
		h := helloOf(name)
		h.Incarnation = 0
		s.put(s.ctl, []byte{'C'}, delimited(saysHello(h)))
	},
	"greeting/address": func(s *stranger, name string) {
		h := helloOf(name)
		h.Address = strings.Repeat("x", 1000)
		s.put(s.ctl, []byte{'C'}, delimited(saysHello(h)))
	},
	"resume/none": func(s *stranger, name string) {
		s.put(s.ctl, []byte{'C'}, delimited(saysHello(helloOf(name))))
		s.say(saysAck(0, 0, 0, 0, 0))
	},
	"resume/lanes": func(s *stranger, name string) {
		s.put(s.ctl, []byte{'C'}, delimited(saysHello(helloOf(name))))
		s.say(saysResume(&greenroomv1.Resume{Session: 1, Received: make([]uint64, 7)}))
	},
	"resume/no session": func(s *stranger, name string) {
		s.put(s.ctl, []byte{'C'}, delimited(saysHello(helloOf(name))))
		s.say(saysResume(&greenroomv1.Resume{Received: make([]uint64, 5)}))
	},
	"resume/received": func(s *stranger, name string) {
		s.put(s.ctl, []byte{'C'}, delimited(saysHello(helloOf(name))))
		s.say(saysResume(&greenroomv1.Resume{Session: 1, Received: []uint64{0, 0, 1 << 60, 0, 0}}))
	},
	"control/ack of more":   joined(func(s *stranger) { s.say(saysAck(0, 0, 0, 1, 0)) }),
	"control/ack of lanes":  joined(func(s *stranger) { s.say(saysAck(0, 0)) }),
	"control/second hello":  joined(func(s *stranger) { s.say(saysHello(helloOf("x"))) }),
	"control/second resume": joined(func(s *stranger) { s.say(saysResume(&greenroomv1.Resume{})) }),
	"control/length":        joined(func(s *stranger) { s.put(s.ctl, binary.AppendUvarint(nil, 5<<20)) }),
	"control/no message":    joined(func(s *stranger) { s.put(s.ctl, []byte{3, 0x0a, 0x50, 0x01}) }),
	"stream/kind": joined(func(s *stranger) {
		st, _ := s.l.Open(context.Background())
		s.put(st, []byte("GET / HTTP/1.1\r\n"))
	}),
	"stream/lane": joined(func(s *stranger) {
		st, _ := s.l.Open(context.Background())
		s.put(st, []byte{'L', 5})
	}),
	"stream/twice": joined(func(s *stranger) {
		for range 2 {
			st, _ := s.l.Open(context.Background())
			s.put(st, []byte{'L', 1})
		}
	}),
	"frame/length": joined(func(s *stranger) {
		s.open(1)
		s.put(s.lane[1], []byte{0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0})
	}),
	"frame/number": joined(func(s *stranger) {
		s.next[1] = 3
		s.frame(1, nil)
	}),
	"frame/cut off":         joined(func(s *stranger) { s.frame(1, []byte{100, 1, 2, 3}) }),
	"frame/varint":          joined(func(s *stranger) { s.frame(1, slices.Repeat([]byte{0xff}, 30)) }),
	"envelope/tag":          joined(func(s *stranger) { s.frame(1, []byte{2, 0xff, 0xff}) }),
	"envelope/field length": joined(func(s *stranger) { s.frame(1, []byte{3, 5<<3 | 2, 100, 1}) }),
	"envelope/route":        joined(func(s *stranger) { s.send(1, wire.Envelope{Route: 1025, To: s.to, TypeName: []byte(textType)}) }),
	"envelope/huge route":   joined(func(s *stranger) { s.send(1, wire.Envelope{Route: 1<<32 - 1, To: s.to, TypeName: []byte(textType)}) }),
	"envelope/no route":     joined(func(s *stranger) { s.send(1, wire.Envelope{Route: 7}) }),
	"envelope/no type":      joined(func(s *stranger) { s.send(1, wire.Envelope{Route: 7, To: s.to}) }),
	"envelope/kind":         joined(func(s *stranger) { s.send(1, wire.Envelope{Kind: 99, To: s.to}) }),
	"envelope/failure": joined(func(s *stranger) {
		s.send(1, wire.Envelope{Kind: greenroomv1.Kind_KIND_EXIT, To: s.to, Failure: []byte{0xff}})
	}),
	"envelope/answer in a lane": joined(func(s *stranger) {
		s.send(1, wire.Envelope{Kind: greenroomv1.Kind_KIND_REPLY, To: 1, ID: 1, TypeName: []byte(textType), HasBody: true})
	}),
	"envelope/message among answers": joined(func(s *stranger) { s.send(0, wire.Envelope{To: s.to, TypeName: []byte(textType), HasBody: true}) }),
	"piece/no size":                  joined(func(s *stranger) { s.send(1, piece(1, 0), 1) }),
	"piece/size":                     joined(func(s *stranger) { s.send(1, piece(1, 1<<40), 1) }),
	"piece/nothing":                  joined(func(s *stranger) { s.send(1, piece(1, 100)) }),
	"piece/more": joined(func(s *stranger) {
		s.send(1, piece(1, 100), make([]byte, 60)...)
		s.send(1, piece(1, 0), make([]byte, 60)...)
	}),
	"piece/no envelope": joined(func(s *stranger) { s.send(1, piece(1, 10), slices.Repeat([]byte{0xff}, 10)...) }),
	"piece/of pieces": joined(func(s *stranger) {
		inner := envelope(piece(2, 10), 1)
		s.send(1, piece(1, uint64(len(inner))), inner...)
	}),
	"piece/many": joined(func(s *stranger) {
		for i := range 10_000 {
			s.send(1, piece(uint64(i), 1<<20), 1) //nolint:gosec // small
		}
	}),
	"gone/many": joined(func(s *stranger) {
		s.say(&greenroomv1.Control{What: &greenroomv1.Control_Gone{Gone: &greenroomv1.Gone{Ids: make([]uint64, 5000)}}})
	}),
	"watch/twice": joined(func(s *stranger) {
		s.send(1, wire.Envelope{Kind: greenroomv1.Kind_KIND_WATCH, To: s.to, ID: 1, From: 5})
		s.send(1, wire.Envelope{Kind: greenroomv1.Kind_KIND_WATCH, To: s.to, ID: 1, From: 5})
	}),
}

func piece(id, size uint64) wire.Envelope {
	return wire.Envelope{Kind: greenroomv1.Kind_KIND_PIECE, ID: id, Size: size}
}

func joined(f func(s *stranger)) func(s *stranger, name string) {
	return func(s *stranger, name string) {
		s.joins(name)
		f(s)
	}
}

// TestGarbage has a peer break the protocol at each stage: its link is closed with a word about why, and nobody else notices (REM-26).
func TestGarbage(t *testing.T) {
	for name, do := range garbage {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 1, func(w *world) {
				a, b := w.pair()
				v := victim(a)
				there := at(b, v)
				bs := b.session(a)
				s := w.stranger("x", a, v.Any())
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				do(s, "x")
				<-s.l.Done()
				runtime.ReadMemStats(&after)
				var closed *link.CloseError
				if err := s.l.Cause(); !errors.As(err, &closed) || closed.Code != 3 || closed.Text == "" {
					w.Errorf("the link was closed with %v", err)
				}
				if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
					w.Errorf("%d bytes were allocated", n)
				}
				pass(time.Second)
				if n := a.Malformed(); n != 1 || !w.log.says(`msg="a peer breaks the protocol: its link is closed" node=a peer=x`) {
					w.Errorf("%d links were counted as malformed", n)
				}
				if got, err := ask(w.patient(), there, "still"); got != "re: still" || err != nil || bs.Ended() != nil {
					w.Errorf("another peer: %q, %v; %v", got, err, bs.Ended())
				}
				for _, p := range a.Peers() {
					if p.Name == "x" && p.Status == remote.PeerUp {
						w.Error("the peer is up still")
					}
				}
			})
		})
	}
}

// TestRefusedGreetings has peers greet in ways that are no breach but cannot be accepted: they are told why (REM-26).
func TestRefusedGreetings(t *testing.T) {
	for what, change := range map[string]func(h *greenroomv1.Hello, a *member){
		"protocol versions 7 to 9": func(h *greenroomv1.Hello, _ *member) { h.MinVersion, h.MaxVersion = 7, 9 },
		"and its certificate":      func(h *greenroomv1.Hello, _ *member) { h.Name = "y" },
		"the same node":            func(h *greenroomv1.Hello, a *member) { h.Incarnation = a.sys.NodeID() },
		"an incarnation of b":      func(h *greenroomv1.Hello, a *member) { h.Incarnation = a.Peers()[0].Incarnation },
	} {
		t.Run(what, func(t *testing.T) {
			inWorld(t, 1, func(w *world) {
				a, b := w.pair()
				s := w.stranger("x", a, actor.AnyRef{})
				h := helloOf("x")
				change(h, a)
				s.put(s.ctl, []byte{'C'}, delimited(saysHello(h)))
				<-s.l.Done()
				var closed *link.CloseError
				if err := s.l.Cause(); !errors.As(err, &closed) || closed.Code != 4 || !strings.Contains(closed.Text, what) {
					w.Errorf("the link was closed with %v", err)
				}
				if got, err := ask(w.patient(), at(a, victim(b)), "still"); got != "re: still" || err != nil {
					w.Errorf("b: %q, %v", got, err)
				}
			})
		})
	}
}

// TestStolenIncarnation has a peer say that it is an incarnation that a has refs of, and that another peer is: it gets nothing (REM-22).
func TestStolenIncarnation(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		a, b := w.pair()
		to := at(a, victim(b))
		w.net.Partition("a:1", "b:1")
		w.net.Cut("a:1", "b:1")
		holds(w, to.Send(w.patient(), wrapperspb.String("for b alone")))
		s := w.stranger("x", a, actor.AnyRef{})
		h := helloOf("x")
		h.Incarnation = b.sys.NodeID()
		s.put(s.ctl, []byte{'C'}, delimited(saysHello(h)))
		s.say(saysResume(&greenroomv1.Resume{Session: 5, Received: make([]uint64, 5)}))
		<-s.l.Done()
		w.net.Heal("a:1", "b:1")
		if got, err := ask(w.patient(), to, "x"); got != "re: x" || err != nil {
			w.Errorf("b: %q, %v", got, err)
		}
		if l := settle(w, b.sys); l.Handled < 2 {
			w.Errorf("%v", l)
		}
	})
}

// TestSilentGreeting has peers that connect and say nothing, or half of it: they are sent away (REM-26).
func TestSilentGreeting(t *testing.T) {
	for i, b := range [][]byte{nil, {'C'}, {'C', 100, 1}, slices.Concat([]byte{'C'}, delimited(saysHello(helloOf("x"))))} {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			inWorld(t, 1, func(w *world) {
				a := w.node("a")
				s := w.stranger("x", a, actor.AnyRef{})
				began := time.Now()
				s.put(s.ctl, b)
				done := make(chan struct{})
				if b != nil {
					close(done)
				} else { // it keeps the link alive
					go func() {
						defer close(done)
						for s.l.SendDatagram([]byte("x")) == nil {
							pass(time.Second)
						}
					}()
				}
				<-s.l.Done()
				between(w, "the end", began, 5*time.Second, 11*time.Second)
				<-done
			})
		})
	}
}

// TestFloods has a peer do what is allowed, without end: what it takes is bounded, and others are not disturbed (REM-26).
func TestFloods(t *testing.T) {
	for name, do := range map[string]func(s *stranger){
		"watches": func(s *stranger) {
			for i := range 200 {
				var b []byte
				for j := range 1000 {
					b = append(b, envelope(wire.Envelope{Kind: greenroomv1.Kind_KIND_WATCH, To: s.to, ID: uint64(i*1000 + j + 1), From: 5})...) //nolint:gosec // small
				}
				s.frame(1, b)
			}
		},
		"calls": func(s *stranger) {
			for i := range 100_000 {
				s.send(1, wire.Envelope{Kind: greenroomv1.Kind_KIND_CALL, To: s.to, ID: uint64(i % 70_000), From: 5, TypeName: []byte(textType)}, textBytes("x")...) //nolint:gosec // small
			}
		},
		"types": func(s *stranger) {
			for i := range 2000 {
				name := append([]byte(strings.Repeat("x", 50_000)), strconv.Itoa(i)...)
				s.send(1, wire.Envelope{To: s.to, Type: uint32(i + 1), TypeName: name, HasBody: true}) //nolint:gosec // small
			}
		},
		"pauses": func(s *stranger) {
			for i := range 10 {
				p := &greenroomv1.Pause{}
				for j := range 200_000 {
					p.Ids = append(p.Ids, uint64(i*200_000+j)) //nolint:gosec // small
				}
				s.say(&greenroomv1.Control{What: &greenroomv1.Control_Pause{Pause: p}})
			}
		},
		"whois": func(s *stranger) {
			for i := range 100_000 {
				s.say(&greenroomv1.Control{What: &greenroomv1.Control_WhoIs{WhoIs: &greenroomv1.WhoIs{Incarnation: s.hello.GetIncarnation() + uint64(i)}}}) //nolint:gosec // small
			}
		},
		"nesting": func(s *stranger) {
			b := []byte{}
			for range 10_000 { // a list in a list in a list
				b = append(binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(b))), b...)
				b = append(binary.AppendUvarint([]byte{6<<3 | 2}, uint64(len(b))), b...)
			}
			s.send(1, wire.Envelope{To: s.to, TypeName: []byte("google.protobuf.Value")}, b[:30_000]...)
			s.send(2, wire.Envelope{To: s.to, TypeName: []byte("google.protobuf.Value")}, nested(500)...)
		},
		"signals": func(s *stranger) {
			for k := range greenroomv1.Kind_KIND_PIECE {
				if k >= greenroomv1.Kind_KIND_WATCH && k != greenroomv1.Kind_KIND_STOP && k != greenroomv1.Kind_KIND_SHUTDOWN &&
					k != greenroomv1.Kind_KIND_KILL && k != greenroomv1.Kind_KIND_DRAIN {
					for i := range uint64(1000) {
						s.send(2, wire.Envelope{Kind: k, To: s.to, ID: i, From: i, Failure: []byte{8, 200, 1}})
						s.send(3, wire.Envelope{Kind: k, To: 1 << 50, ID: i + 5000, From: i})
					}
				}
			}
		},
		"messages": func(s *stranger) { // to one that takes none, each without a route
			for range 40_000 {
				s.send(1, wire.Envelope{To: s.to + 1<<40, TypeName: []byte(textType), HasBody: true}, textBytes("x")...)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 1, func(w *world) {
				a, b := w.pair()
				keeps := make([]actor.Responder, 0, 100_000)
				v := actor.MustSpawn(a.sys, actor.Handler(func(ctx *actor.Context, m *text) error {
					if !ctx.IsCall() {
						return nil
					}
					if m.GetValue() == "still" {
						return ctx.Reply(wrapperspb.String("yes"))
					}
					r, err := ctx.Responder()
					keeps = append(keeps, r)
					return err
				}))
				there := at(b, v)
				bs := b.session(a)
				s := w.stranger("x", a, v.Any())
				s.joins("x")
				go func() { // somebody reads what comes back
					_, _ = io.Copy(io.Discard, s.r)
				}()
				go func() {
					for {
						st, err := s.l.Accept(context.Background())
						if err != nil {
							return
						}
						go func() { _, _ = io.Copy(io.Discard, st) }()
					}
				}()
				done := make(chan struct{})
				go func() {
					defer close(done)
					do(s)
				}()
				for range 5 {
					if got, err := ask(w.patient(), there, "still"); got != "yes" || err != nil {
						w.Errorf("another peer: %q, %v", got, err)
					}
				}
				pass(time.Second)
				_ = s.l.Close(0, "")
				<-done
				pass(2 * downAfter)
				if bs.Ended() != nil || len(keeps) > 1<<16 {
					w.Errorf("%v; %d calls", bs.Ended(), len(keeps))
				}
				if got, err := ask(w.patient(), there, "still"); got != "yes" || err != nil {
					w.Errorf("another peer: %q, %v", got, err)
				}
			})
		})
	}
}

// nested is a google.protobuf.Value that is that deep.
func nested(depth int) []byte {
	b := []byte{2<<3 | 1, 0, 0, 0, 0, 0, 0, 0, 0}
	for range depth {
		b = append(binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(b))), b...)
		b = append(binary.AppendUvarint([]byte{6<<3 | 2}, uint64(len(b))), b...)
	}
	return b
}
