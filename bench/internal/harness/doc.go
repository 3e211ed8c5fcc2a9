// Package harness runs benches that do the same work twice, once with Greenroom and once with a floor, and says how they
// compare. What a bench does is its own business; how it is sampled, paired and reported is decided here.
//
//	you call       Main, once, with the suite
//	we call back   each bench's Func, once per sample, in a process of its own
//
// Every sample is a process of its own: the harness starts its own executable again, with GOMAXPROCS and GOGC in the
// environment, and the child prints its figures as JSON. A fresh process has no heap, no stacks, no timers and no garbage
// collector's pace left over from the sample before, and its resident memory is its own; so no sample disturbs another,
// in whatever order they run, at the price of a few milliseconds each.
//
// The samples of both sides are interleaved, A B A B, so that a machine that drifts hits both. The ratio is computed pair
// by pair and its median taken.
package harness
