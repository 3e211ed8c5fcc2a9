package supervisor_test

import (
	"math"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/supervisor"
)

// BenchmarkRestart is a crash and a restart of a child with a backlog of messages that crash it.
func BenchmarkRestart(b *testing.B) {
	sys, err := actor.NewSystem()
	if err != nil {
		b.Fatal(err)
	}
	left, done := b.N, make(chan struct{})
	sup, err := supervisor.Start(b.Context(), sys, supervisor.Spec{Intensity: math.MaxInt, Period: time.Second, Children: []supervisor.Child{{
		ID: "child", Start: supervisor.Actor(actor.Handler(func(*actor.Context, *text) error {
			if left--; left == 0 {
				close(done)
			}
			panic("boom")
		})),
	}}})
	if err != nil {
		b.Fatal(err)
	}
	ref, err := supervisor.Ref[*text](b.Context(), sup, "child")
	if err != nil {
		b.Fatal(err)
	}
	m := wrapperspb.String("crash")
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if err := ref.Send(b.Context(), m); err != nil {
			b.Fatal(err)
		}
	}
	<-done
	b.StopTimer()
	if err := sys.Stop(b.Context()); err != nil {
		b.Fatal(err)
	}
}
