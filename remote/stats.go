package remote

import (
	"cmp"
	"slices"
	"sync/atomic"
)

// PeerStats is what has passed between this node and one life of a peer, whatever sessions and links it took. While both live, what one
// side has Sent the other has Received as soon as nothing is Queued: see Queued. Replies, signals and Downs are in the frames, and not
// among the messages.
type PeerStats struct {
	// Peer is the peer's name, empty if that is not known.
	Peer string
	// Incarnation is which life of it.
	Incarnation uint64
	// Sent are the messages for it that were accepted here: of Send, Call and Deliver.
	Sent uint64
	// Confirmed are those of them that it has received.
	Confirmed uint64
	// Lost are those of them of which that is not known, since it was declared down: dead letters here.
	Lost uint64
	// Received are the messages that came from it.
	Received uint64
	// Dead are those of them that became dead letters here.
	Dead uint64
	// Returned are those of them that no mailbox took and whose sender was told.
	Returned uint64
	// Suspended is how often a sender had to wait: for room in the window, or for a receiver that had paused its senders.
	Suspended uint64
	// FramesOut and BytesOut are what was written to its links: whole frames with their headers, those included that were sent again, and
	// what is said on control streams. What QUIC and TLS add is not in them.
	FramesOut, BytesOut uint64
	// FramesIn and BytesIn are what was read, control streams left out.
	FramesIn, BytesIn uint64
}

// Queued are the messages that were accepted and neither confirmed nor given up yet.
func (p PeerStats) Queued() uint64 {
	done := p.Confirmed + p.Lost
	if done > p.Sent { // a message is confirmed between the readings
		return 0
	}
	return p.Sent - done
}

// Stats tells what has passed between this node and each of its peers, by name and incarnation. The figures of one peer are read one after
// the other, while others go on sending.
func (n *Node) Stats() []PeerStats {
	if n.none() {
		return nil
	}
	n.mu.Lock()
	fars := make([]*incarnation, 0, len(n.fars))
	for _, far := range n.fars {
		fars = append(fars, far)
	}
	n.mu.Unlock()
	list := make([]PeerStats, len(fars))
	for i, far := range fars {
		list[i] = far.stats()
		list[i].Peer, list[i].Incarnation = far.name(), far.id
	}
	slices.SortFunc(list, func(a, b PeerStats) int {
		return cmp.Or(cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Incarnation, b.Incarnation))
	})
	return list
}

// counters are for a session that begins. Those of the oldest are added up when there are many.
func (far *incarnation) counters() *counters {
	c := new(counters)
	if n := len(far.tallies); n >= maxTallies {
		far.tallies[1].addTo(far.tallies[0])
		far.tallies = slices.Delete(far.tallies, 1, 2)
	} else if n == 0 {
		far.tallies = append(far.tallies, new(counters)) // the sum of those that are gone
	}
	far.tallies = append(far.tallies, c)
	return c
}

// maxTallies is how many sessions of an incarnation are counted one by one. What is counted later for an older one is not seen.
const maxTallies = 16

func (far *incarnation) stats() PeerStats {
	sum := new(counters)
	far.mu.Lock()
	for _, c := range far.tallies {
		c.addTo(sum)
	}
	far.mu.Unlock()
	return sum.stats()
}

// addTo adds what c has counted to what sum has.
func (c *counters) addTo(sum *counters) {
	sum.confirmed.Add(c.confirmed.Load()) // before sent, as Queued has it
	sum.lost.Add(c.lost.Load())
	sum.sent.Add(c.sent.Load())
	sum.suspended.Add(c.suspended.Load())
	sum.framesOut.Add(c.framesOut.Load())
	sum.bytesOut.Add(c.bytesOut.Load())
	sum.received.Add(c.received.Load())
	sum.dead.Add(c.dead.Load())
	sum.returned.Add(c.returned.Load())
	sum.framesIn.Add(c.framesIn.Load())
	sum.bytesIn.Add(c.bytesIn.Load())
}

// counters are a session's part of the ledger, and its traffic.
type counters struct {
	sent      atomic.Uint64 // messages that were accepted
	confirmed atomic.Uint64 // of them, those that the other side has received
	lost      atomic.Uint64 // of them, those that it had not when it was declared down
	suspended atomic.Uint64 // times that a sender had to wait
	framesOut atomic.Uint64
	bytesOut  atomic.Uint64

	_        [64]byte      // what is above senders write, what is below readers
	received atomic.Uint64 // from the other side
	dead     atomic.Uint64 // of them, those that became dead letters here
	returned atomic.Uint64 // of them, those whose sender was told that they were not taken
	framesIn atomic.Uint64
	bytesIn  atomic.Uint64
}

// wrote takes note of bytes that were handed to a link, and of how many frames they are.
func (c *counters) wrote(frames, bytes int) {
	c.framesOut.Add(uint64(frames))
	c.bytesOut.Add(uint64(bytes))
}

// read takes note of a frame.
func (c *counters) read(bytes int) {
	c.framesIn.Add(1)
	c.bytesIn.Add(uint64(bytes))
}

func (c *counters) stats() PeerStats {
	return PeerStats{
		Confirmed: c.confirmed.Load(), Lost: c.lost.Load(), Sent: c.sent.Load(), Received: c.received.Load(), Dead: c.dead.Load(),
		Returned: c.returned.Load(), Suspended: c.suspended.Load(), FramesOut: c.framesOut.Load(), BytesOut: c.bytesOut.Load(),
		FramesIn: c.framesIn.Load(), BytesIn: c.bytesIn.Load(),
	}
}
