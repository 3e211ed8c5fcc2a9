// Package supervisor keeps actors running: a tree of supervisors, each of which starts its children, restarts those that fail, and
// gives up to its own supervisor when that does not help. The words and the rules are those of Erlang/OTP's supervisor.
//
//	you call                                       we call back
//	Start, Tree, Actor, Func                       the child's behaviour, its start function, the func
//	Supervisor.Add, Restart, Terminate, Delete     Child.Decide, on a failure
//	Supervisor.Children, Count, Lookup             Spec.Observe, on every event
//	RollOut                                        RollOutOptions.Check, Progress
//	Supervisor.Stop
//
// A supervisor is data, a Spec, run by an ordinary actor on package actor's public API. A restart is no death: the child's ref, name,
// mailbox, monitors and links stay, and the message that made it fail is a dead letter. What is promised is numbered in
// docs/SEMANTICS.md.
package supervisor
