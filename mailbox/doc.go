// Package mailbox holds the queues that actors read from. It knows nothing of actors and imports only the standard library.
//
//	you call                             what it does
//	MPSC.Push, Bounded.Push, ...         enqueue from any goroutine; the outcome says whether the consumer must be woken
//	Pop                                  the consumer's next element, in order
//	Idle                                 the consumer goes to sleep, unless something came in between
//	Wake                                 claim a sleeping consumer without pushing anything
//	Close                                refuse all later pushes and hand back what is still queued
//
// Every queue has the same life: it is idle (empty, and nobody is running its consumer) or busy (somebody is). The one
// Push or Wake that finds it idle is told Wake and has to get the consumer to run; every other one is told Queued. The
// consumer Pops until there is nothing left and calls Idle; a push that came in between makes Idle return false, and the
// consumer goes on. So no wake-up is lost and none is given twice.
//
// The guarantees, numbered, are in docs/SEMANTICS.md.
package mailbox
