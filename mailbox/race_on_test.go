//go:build race

package mailbox

// Under the race detector a sync.Pool forgets on purpose, so nothing can be said about allocations.
const raceEnabled = true
