package rpc

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
)

// Service describes a generated service to code that knows it by its name only. It is read-only.
type Service struct {
	// Name is the service's in the schema, with its package: "shop.v1.OrderService".
	Name string
	// Methods are the service's, in the order of the schema.
	Methods []Method
	// Mailbox is what the schema asks for; the zero value if it does not.
	Mailbox actor.Mailbox
}

// Method describes one rpc.
type Method struct {
	// Name is the rpc's in the schema.
	Name string
	// Kind says who streams.
	Kind Kind
	// Request is a nil message of the type that the actor takes. It tells the methods of a service apart.
	Request proto.Message
	// Response is a nil message of the type that the actor answers with, or streams; nothing if it is OneWay.
	Response proto.Message
	// Timeout is the schema's, NoTimeout if it has none.
	Timeout time.Duration
}

// Kind says who streams in an rpc, and whether it is answered.
type Kind uint8

// The kinds of rpc. All but a OneWay are calls.
const (
	Unary           Kind = iota // a request and its response
	OneWay                      // a request alone
	ServerStreaming             // a request and a stream of responses
	ClientStreaming             // a stream of requests and a response
	BidiStreaming               // a stream each way
)

// String names the kind in lower case.
func (k Kind) String() string {
	names := [...]string{"unary", "one-way", "server stream", "client stream", "bidi stream"}
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}

// Factory spawns a service by its name: what a node keeps of each service that others may have it start.
type Factory struct {
	// Service says which one it is.
	Service *Service
	// Spawn starts an actor of the service, as actor.Spawn does; at most one Options may be given.
	Spawn func(from actor.Spawner, o ...actor.Options) (actor.AnyRef, error)
}
