// Package remote makes nodes of Systems: they reach each other's actors over QUIC, and the actors notice no difference.
//
//	you call                                    what it does
//	Start(sys, Options)                         makes a System a node; DevTLS, DirTLS and FilesTLS are where its certificate comes from
//	Node.Peer, Peers, Connect, Ignore           who else is there; WatchPeers tells an actor of changes
//	actor.Ref: Send, Deliver, Call, Fire, ...   as within a process: refs travel in messages (Ref.Proto, System.RefFromProto)
//	Register, RegisterFunc                      behaviours and functions that peers may start here
//	Spawn, SpawnMonitor, SpawnEach, Run, Child  starts them on other nodes; a Client holds together what it has started
//	Lookup, Locate                              who has a name on another node
//	Node.Claim, JoinGroup, Group; Find, Await   names and groups of the whole cluster; WatchName and WatchGroup tell an actor of changes
//	Publish, OpenChannel                        channels that span nodes
//	Node.SendFile, DeleteFile, StatFile         files of other nodes
//	Node.Stats, Collect                         what passed, for ledgers and Prometheus
//	Node.Stop                                   waits until everything has arrived, and leaves
//
//	we call back                                when
//	Policy                                      before a peer may do something
//	FileOptions.Allow                           before a peer may do something with a file
//	RegisterOptions.Allow, and what is          before a peer may start a behaviour, and when it does
//	registered
//
// # What holds between nodes
//
// Between two living incarnations messages of one sender to one receiver arrive in order and once, whatever happens to the links
// between them, as long as none of the two is silent for Options.DownAfter. Then each side declares the other down: who watches an actor
// there gets a Down with ReasonNodeDown, calls fail with ErrNodeDown, and messages of which it is not known whether they arrived become dead
// letters with DeadNodeDown. A node that comes back, or starts anew under the same name, begins with a clean sheet, and never gets
// what was meant for the life before.
//
//	Fire      may be lost, or come late; costs least, never waits
//	Send      arrives once, in order, while both nodes live; nil means that it is accepted here
//	Deliver   is Send that waits until the message is in the receiver's mailbox, or says why not
//	Call      is handled: the answer says so
//
// A full window suspends those who send to that peer, and a receiver that does not keep up those who send to it. docs/SEMANTICS.md has the guarantees (REM), docs/SECURITY.md what is defended, and
// docs/ARCHITECTURE.md how it works.
package remote
