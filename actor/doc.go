// Package actor is an actor runtime: actors with typed mailboxes, run by a bounded executor on as many slots as there are
// processors. An idle handler actor is 128 bytes; any behaviour may wait anywhere, in plain sequential code.
//
//	you call                                   we call back
//	NewSystem, System.Stop, Join, Quiesce      hooks given to AtExit, in Stop
//	Spawn, SpawnMonitor, Become                the behaviour (Handler, Stateful, Routine), OnStart, OnExit
//	Ref.Send, Deliver, Call, Forward           the handler with the message; Reply ends the Call
//	NewChannel, Channel.Send, Subscribe        the transform, in the sender's turn
//	Inbox.All, Receive, Select                 the match function, in the routine's own goroutine
//	Monitor, Link, TrapExit, Wait              the function that makes a message of a Down, in the watcher's turn
//	Context.Sleep, Suspend, Block, Offload     the blocking function
//	SendAfter, SendEvery
//	Mutex, Cond, Event, Semaphore
//	RunScope, NewRouter, NewPool, NewSerialDB  the child, the routee's behaviour, the job
//	SubscribeDeadLetters, Ledger, Collect      the subscriber, where a message dies
//	SpawnWatched, Expect                       for package remote: who is told of the end
//	Names, AtEnd, OpenFeed, Part               for packages built on this one: who watches a name, the hook, the adapter of an event
//
// A Context belongs to one actor and to the goroutine that runs its behaviour; see Context. What is promised is numbered in
// docs/SEMANTICS.md, how it works is in docs/ARCHITECTURE.md, and why so in docs/RATIONALE.md.
package actor
