// Package cluster knows which nodes there are, and which names and groups span them.
//
//	you call                                   we call back
//	Discovery.Seeds                            - (Static, DNS)
//	Membership.Start                           the function that is told of each Event, one at a time
//	Membership.Join, Update, Members, Leave    - (Gossip, StaticMembership)
//	Names.Claim                                the function that is told that the name was lost to another node
//	Names.Watch, WatchGroup                    the function that is told of each change, one at a time
//	Names.Release, Lookup, Enter, Exit, Group  - (Replica)
//
// Three small interfaces, because they are answered by different things: where to find the first nodes (a list, DNS, the API of
// an orchestrator), who is a member (gossip, a fixed list, a store with leases), and who has a name that the whole cluster knows.
// This package knows neither actors nor connections: whoever has both, package remote, gives it numbers and addresses.
//
// # Two nodes of one name
//
// A node is its name and its incarnation, which is greater each time that it starts. Of several living nodes of one name the one
// that came first, that of the lowest incarnation, is the member; the others are nobody to anyone. A node that finds its name taken
// asks whoever has it. If that one answers, the newcomer gives up with ErrNameTaken, or with a Displaced event if it had started
// already because a partition hid the other. If it does not answer it is a predecessor that died without a word, and the newcomer
// says so in its record; from then on it is the member everywhere, without waiting for the predecessor to be found dead.
//
// # Two claims of one name
//
// Each node publishes its own claims and memberships, and nobody else changes them, so that copies differ only in how new they are.
// Who has a name follows from what all members publish: the claim with the lowest Lamport time, and among equals the first node in
// the order of their names. Who claims a name that it knows to be taken is refused, so that two claims of one name are made only
// by nodes that do not hear each other. When they do, the node of the lesser claim withdraws it and its owner is told.
// What a node has published goes with it when it fails or leaves.
package cluster
