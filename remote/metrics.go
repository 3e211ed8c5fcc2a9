package remote

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/greenroom-go/greenroom/remote/internal/link/quiclink"
)

var _ prometheus.Collector = (*Node)(nil)

// metric is one thing that is measured, and how.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func newMetric(kind prometheus.ValueType, name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("greenroom_remote_"+name, help, append([]string{"node"}, labels...), nil), kind}
}

// What a Node measures.
var (
	mPeers       = newMetric(prometheus.GaugeValue, "peers", "Peers that are known.", "status")
	mSent        = newMetric(prometheus.CounterValue, "messages_sent_total", "Messages for the peer that were accepted.", "peer")
	mConfirmed   = newMetric(prometheus.CounterValue, "messages_confirmed_total", "Of those sent: received by the peer.", "peer")
	mLost        = newMetric(prometheus.CounterValue, "messages_lost_total", "Of those sent: not confirmed when the peer was declared down.", "peer")
	mUnconfirmed = newMetric(prometheus.GaugeValue, "messages_unconfirmed", "Of those sent: neither confirmed nor lost yet.", "peer")
	mReceived    = newMetric(prometheus.CounterValue, "messages_received_total", "Messages that came from the peer.", "peer")
	mDead        = newMetric(prometheus.CounterValue, "messages_dead_total", "Of those received: dead letters here.", "peer")
	mReturned    = newMetric(prometheus.CounterValue, "messages_returned_total", "Of those received: refused, and the sender told so.", "peer")
	mSuspended   = newMetric(prometheus.CounterValue, "suspensions_total", "Times that a sender had to wait for the peer.", "peer")
	mBytesOut    = newMetric(prometheus.CounterValue, "written_bytes_total", "Bytes of frames and control messages written.", "peer")
	mBytesIn     = newMetric(prometheus.CounterValue, "read_bytes_total", "Bytes of frames read.", "peer")
	mInFlight    = newMetric(prometheus.GaugeValue, "in_flight_bytes", "Bytes that were accepted and not acknowledged: WindowBytes bounds them.", "peer", "size")
	mHeld        = newMetric(prometheus.GaugeValue, "queued_bytes", "Bytes from the peer that mailboxes hold: MaxQueuedBytes bounds them.", "peer")
	mRTT         = newMetric(prometheus.GaugeValue, "round_trip_seconds", "The last round trip of a heartbeat.", "peer")
	mLinks       = newMetric(prometheus.CounterValue, "links_total", "Links that were made.")
	mDuplicates  = newMetric(prometheus.CounterValue, "duplicate_frames_total", "Frames that came again over a new link, and were dropped.")
	mMalformed   = newMetric(prometheus.CounterValue, "malformed_total", "Links that ended, and datagrams that were dropped, for a breach of the protocol.")
	mRefused     = newMetric(prometheus.CounterValue, "refused_total", "Peers that were refused after their handshake.")
	mFired       = newMetric(prometheus.CounterValue, "fired_total", "Messages that Fire has sent.")
	mFireLost    = newMetric(prometheus.CounterValue, "fire_lost_total", "Messages of Fire that were dropped, here, on either side.")
	mStrangers   = newMetric(prometheus.CounterValue, "handshakes_total", "Handshakes that others have begun.", "outcome")
	mExpires     = newMetric(prometheus.GaugeValue, "certificate_expires_seconds", "When the node's certificate expires, as Unix time.")
)

var allMetrics = []metric{
	mPeers, mSent, mConfirmed, mLost, mUnconfirmed, mReceived, mDead, mReturned, mSuspended, mBytesOut, mBytesIn, mInFlight, mHeld, mRTT,
	mLinks, mDuplicates, mMalformed, mRefused, mFired, mFireLost, mStrangers, mExpires,
}

// Describe sends the descriptions of everything that Collect measures. It is for a prometheus.Registry to call.
func (n *Node) Describe(to chan<- *prometheus.Desc) {
	for _, m := range allMetrics {
		to <- m.desc
	}
}

// Collect makes a Node a prometheus.Collector: a program registers it once, beside its System. Every metric begins with
// greenroom_remote_ and has the label node; those of one peer have the label peer, of which there are at most Options.MaxPeers, summed over the
// peer's lives.
func (n *Node) Collect(to chan<- prometheus.Metric) {
	if n.none() {
		return
	}
	send := func(m metric, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(m.desc, m.kind, v, append([]string{n.name}, labels...)...)
	}
	up, down := 0, 0
	for _, p := range n.Peers() {
		if p.Status == PeerUp {
			up++
			send(mRTT, p.RTT.Seconds(), p.Name)
		} else {
			down++
		}
	}
	send(mPeers, float64(up), "up")
	send(mPeers, float64(down), "down")
	for name, s := range n.statsByPeer() {
		send(mSent, float64(s.Sent), name)
		send(mConfirmed, float64(s.Confirmed), name)
		send(mLost, float64(s.Lost), name)
		send(mUnconfirmed, float64(s.Queued()), name)
		send(mReceived, float64(s.Received), name)
		send(mDead, float64(s.Dead), name)
		send(mReturned, float64(s.Returned), name)
		send(mSuspended, float64(s.Suspended), name)
		send(mBytesOut, float64(s.BytesOut), name)
		send(mBytesIn, float64(s.BytesIn), name)
	}
	for _, far := range n.upFars() {
		if s := far.sess.Load(); s != nil {
			name := far.name()
			send(mInFlight, float64(max(s.inflight.Load(), 0)), name, "small")
			send(mInFlight, float64(max(s.bulk.Load(), 0)), name, "long")
			send(mHeld, float64(max(s.intake.Load(), 0)), name)
		}
	}
	send(mLinks, float64(n.m.links.Load()))
	send(mDuplicates, float64(n.m.duplicates.Load()))
	send(mMalformed, float64(n.m.malformed.Load()))
	send(mRefused, float64(n.m.refused.Load()))
	send(mFired, float64(n.m.fired.Load()))
	send(mFireLost, float64(n.m.fireLost.Load()))
	if q, ok := n.tr.(*quiclink.Transport); ok {
		s := q.Stats()
		send(mStrangers, float64(s.Accepted), "accepted")
		send(mStrangers, float64(s.Failed), "failed")
		send(mStrangers, float64(s.Refused), "refused")
		send(mStrangers, float64(s.Retried), "retried")
	}
	if n.creds != nil {
		send(mExpires, float64(n.creds.Identity().NotAfter.UnixNano())/float64(time.Second))
	}
}

// statsByPeer is Stats summed over the lives of each peer. Incarnations that are nobody's yet go by the empty name.
func (n *Node) statsByPeer() map[string]PeerStats {
	sum := make(map[string]PeerStats)
	for _, s := range n.Stats() {
		t := sum[s.Peer]
		t.Sent += s.Sent
		t.Confirmed += s.Confirmed
		t.Lost += s.Lost
		t.Received += s.Received
		t.Dead += s.Dead
		t.Returned += s.Returned
		t.Suspended += s.Suspended
		t.BytesOut += s.BytesOut
		t.BytesIn += s.BytesIn
		sum[s.Peer] = t
	}
	return sum
}
