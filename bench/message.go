package main

import (
	"github.com/greenroom-go/greenroom/bench/internal/harness"
	benchv1 "github.com/greenroom-go/greenroom/proto/greenroom/bench/v1"
)

// message is what both sides send.
type message = benchv1.Number

// messages hands out the message for each send: always the same one, or with -fresh a new one.
type messages struct {
	shared *message
	fresh  bool
}

func newMessages(r *harness.Run) messages {
	return messages{shared: &message{Value: 1}, fresh: r.Fresh}
}

func (m *messages) next() *message {
	if m.fresh {
		return &message{Value: 1}
	}
	return m.shared
}
