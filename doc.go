// Package greenroom is the root of Greenroom, an actor runtime for Go. It holds no code, only the tests that keep the
// repository's shape; programs import the packages below it.
//
//	mailbox      queues; they know nothing of actors
//	actor        the System, actors and their mailboxes, the executor, timers, locks, calls
//	supervisor   restart policy and hot-swap roll-out
//	registry     names, groups and cluster membership
//	ionet        sockets, files and pipes for actors
//	remote       nodes over QUIC
//	dcp          computations shipped to nodes
//	proto        the schemas, their generated Go, and the code generator
//
// docs/ARCHITECTURE.md is the map, docs/SEMANTICS.md the list of guarantees.
package greenroom
