// Package registry finds actors: by name, by alias, and as members of groups.
//
//	you call                                   we call back
//	Of                                         -
//	Register, Unregister, Alias, Unalias       -
//	Lookup, Registry.Lookup                    -
//	Locate, Registry.Locate                    - (waits: an actor suspends, a goroutine blocks)
//	Join, Leave, Members, Broadcast            -
//	WatchName                                  the function that makes a message of a NameEvent, in the watcher's turn
//	WatchGroup                                 the function that makes a message of a GroupEvent, in the watcher's turn
//
// A name belongs to one living actor at a time. There is one table of names for each System: those that Register gives and those
// of actor.Options.Name are the same. A name stays with its actor over restarts and is free again at its final end, before
// anybody is told of that; a member leaves its groups at the same moment. Nothing here outlives the System, or keeps anything
// alive that is over.
//
// What is promised is numbered in docs/SEMANTICS.md (NAME, GROUP), and why it is so is in docs/RATIONALE.md.
package registry
