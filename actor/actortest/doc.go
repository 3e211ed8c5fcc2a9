// Package actortest is for tests of actors: Systems that must end clean, probes that say what they got, and scenarios that
// run under many seeds in virtual time.
//
//	you call                             what it does
//	New                                  a System for one test; at the test's end it must stop with nothing left over
//	NewProbe                             an actor that keeps what it gets, for Expect and its like
//	ExpectDown                           waits for an actor's end and tells how it was
//	Explore                              runs a scenario under n seeds and names the seed that fails
//	Replay                               runs it twice under one seed and names the first step that differs
//
//	we call back                         when
//	the scenario of Explore and Replay   once for each run, in a testing/synctest bubble of its own
//	the function of Probe.ExpectFunc     with one message, in the goroutine of the test
//
// # Seeds
//
// Under a seed a System takes one step after another: it draws, by the seed alone, which actor goes on next, or which
// goroutine outside of actors has its turn to send, call, spawn or stop. An actor may have to give way to others after each
// message and each send. The same seed gives the same run; another one gives another order. Time is that of package
// testing/synctest: it moves only when everybody waits, so that hours pass in a moment, and a step takes a nanosecond.
//
// What is to run the same way twice must not depend on what the seed does not rule:
//   - the order of a map, a random number, a counter that outlives the run, a select with several ready cases;
//   - the real world: the network, files, processes, and goroutines started outside the scenario;
//   - memory that a behaviour shares with a goroutine: what a step wakes runs beside the rest of that step.
//
// A goroutine waits for its turn, so it should hold no sync.Mutex while it sends that a behaviour locks too. Context.Block
// runs its function in place: no actor goes on meanwhile, and goroutines need no turn. To wait until nothing is left to do,
// call System.Quiesce: synctest.Wait returns between two steps.
//
// The guarantees, numbered, are in docs/SEMANTICS.md.
package actortest
