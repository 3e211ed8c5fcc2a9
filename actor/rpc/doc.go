// Package rpc is what the code that protoc-gen-greenroom generates runs on: streams, and the description of a service to
// those who know it by its name only. How to write a service is in docs/SERVICES.md.
//
//	you call                                       we call back
//	Sender.Send, TrySend, Keep, Close              the method of a server stream, with its Sender
//	Receiver.Receive, All                          the method of a client stream, with its Receiver
//	ClientStream.Send, CloseAndReceive, Cancel
//	BidiStream.Send, CloseSend, Receive, All
//	Factory.Spawn                                  the function that makes the implementation
//	Migrate                                        the function that makes a new one of an old one
//
//	generated code calls                           for
//	Behave, BehavePersistent, Answer, Unexpected   the behaviour of a service
//	ServeStream, ServeClientStream, ServeBidiStream
//	Stream, OpenClientStream, OpenBidiStream       the methods of a typed ref
//	WithTimeout, WithMailbox                       options of the schema
//
// # Streams
//
// Each direction of a stream is an actor of its own, a child of the service. The writer sends it items and may be [Window] of
// them ahead of the reader; then it waits for room, an actor without a slot. The reader pulls them one by one. All of it goes
// by ordinary messages and calls, so the ledger accounts for it, and an item that is never read becomes a dead letter.
//
// A stream ends with the service's incarnation. It also ends when its reader goes: the writer's next Send answers [ErrGone].
// A cycle of actors that wait for each other by way of a stream is not found as one of calls is: give streams a deadline.
package rpc
