package actor

// Wait is one step of a chain of actors that wait for each other: see System.Waits.
type Wait struct {
	For     AnyRef // whom the one before waits for
	Version uint64 // of that: it is another one once the wait was over in between
}

// Waits follows the chain of actors that wait for each other from the System's actor from: the callee of its call, or the owner of
// the lock that it waits for, whom that one waits for, and so on. The chain ends with origin, with an actor of another node, or with one that waits
// for nobody, for several, or for something else; and after at most limit steps. Package remote goes on from node to node with it.
func (sys *System) Waits(from, origin AnyRef, limit int) []Wait {
	var chain []Wait
	for len(chain) < limit {
		a := from.cell()
		if a == nil || from.node != sys.node || a.ctl.Load()&(ctlStop|ctlKill|ctlInterrupt) != 0 {
			return chain // it has ended, or its wait is about to end
		}
		ctx := a.ctx.Load()
		if ctx == nil || ctx.Self() != from {
			return chain
		}
		c := ctx.car.Load()
		if c == nil {
			return chain
		}
		to, version := c.waitsFor(from)
		if to.node == nil {
			return chain
		}
		chain = append(chain, Wait{to, version})
		if to == origin {
			return chain
		}
		from = to
	}
	return chain
}

// Caller is the calling actor, the zero ref for a goroutine or another node; version is that of its wait.
func (r RemoteCall) Caller() (caller AnyRef, version uint64) {
	c := r.ref.c
	if c.car == nil || !c.waiting(r.ref.seq) {
		return AnyRef{}, 0
	}
	caller = AnyRef{c.sys.node, c.from.Load()}
	_, version = c.edge(caller)
	return caller, version
}
