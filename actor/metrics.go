package actor

import (
	"math/bits"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/greenroom-go/greenroom/mailbox"
)

var _ prometheus.Collector = (*System)(nil)

// Describe sends the descriptions of everything that Collect measures. It is for a prometheus.Registry to call.
func (sys *System) Describe(to chan<- *prometheus.Desc) {
	for _, d := range sys.metrics.described() {
		to <- d
	}
}

// Collect makes a System a prometheus.Collector: a program registers it once and serves the registry. Every metric has the
// label system, which is SystemOptions.Name, so that several Systems go into one registry; two of the same name do not.
// There is no label for single actors.
//
//	greenroom_actors{state}                  living actors: idle, waiting, running
//	greenroom_actors_spawned_total           actors spawned
//	greenroom_actors_restarted_total         incarnations of actors that followed another one
//	greenroom_actors_ended_total{reason}     actors ended: normal, shutdown, error, panic, killed
//	greenroom_actors_runnable                actors that have something to do and wait for a slot
//	greenroom_actors_blocking                actors in Block or Offload
//	greenroom_messages_sent_total            messages accepted by a mailbox, and replies
//	greenroom_messages_handled_total         messages that a behaviour has dealt with
//	greenroom_messages_dead_total{reason}    dead letters, by DeadReason
//	greenroom_messages_dropped_total         messages discarded by the overflow policy of a mailbox
//	greenroom_messages_returned_total        messages refused with an error, never accepted
//	greenroom_messages_queued                messages in a mailbox or stash, or in hand
//	greenroom_message_latency_seconds        from Send to the start of handling: histogram
//	greenroom_mailbox_depth                  how full actors found their mailboxes: histogram
//	greenroom_turns_total                    turns that actors brought to their end
//	greenroom_waits_total                    waits in the middle of a message, or of a routine for its next one
//	greenroom_steals_total                   times a slot took actors from another one
//	greenroom_parks_total                    times a worker found nothing to do and went to rest
//	greenroom_carriers                       stacks: in use by running and waiting actors, and kept for reuse
//	greenroom_workers                        slots that the System runs on (SystemOptions.Workers)
//	greenroom_slots{state}                   slots there are: running, idle, blocked, stuck
//	greenroom_spare_slots                    slots beyond the workers, started for those that are stuck
//	greenroom_spare_slots_limit              how many of them there may be (SystemOptions.MaxSpare)
//	greenroom_watchdog_trips_total           slots found stuck: their behaviours neither waited nor returned
//	greenroom_watchdog_retakes_total         slots taken from a behaviour in Block and given to another worker
//	greenroom_timers_pending                 timers that have not fired
//	greenroom_timers_fired_total             timers that have
//	greenroom_channels                       channels that are not closed
//	greenroom_channel_subscriptions          subscriptions to them, of actors and channels
//
// What the figures mean: counters are kept by each slot and published when it looks at its clock or goes to rest, so they
// are up to one look old (128 messages, or one long behaviour), never go down, and are exact when the System is at rest;
// then they agree with Ledger. The states of actors come from counters too, not from a walk: an actor waits while it keeps
// a stack off stage, also when its wait is over and it queues for a slot, and when its slot was taken from it in Block; a slot
// that looks for work counts as running an actor; idle is the rest. Latency is sampled, 1 of 64 messages of a sender. It
// starts when the sender's slot last looked at its clock, mostly less than 50 us before the send, but as long before it as the
// sender's behaviour has run by then. Depth counts each take of an actor from an unbounded mailbox: what had queued up since
// its last one.
//
// Any goroutine may call it, at any time, also during Stop and after Close; then the gauges are 0 and the counters stay.
// Cost: linear in the number of slots, whatever the number of actors and messages (TestMetricsCost); a worker that goes to
// rest or wakes up meanwhile waits for it, in the order of a microsecond for each slot.
func (sys *System) Collect(to chan<- prometheus.Metric) {
	r := sys.read()
	descs := sys.metrics.described()
	for i, f := range families {
		f.read(&r, func(label string, v float64) {
			labels := []string{label}
			if f.label == "" {
				labels = nil
			}
			to <- prometheus.MustNewConstMetric(descs[i], f.kind, v, labels...)
		})
	}
	to <- sys.metrics.latency.metric(descs[len(families)], latencyBuckets, 1e6)
	to <- sys.metrics.depth.metric(descs[len(families)+1], depthBuckets, 1)
}

// reading is the System at one moment, as far as anybody can tell without stopping it.
type reading struct {
	tally                    tally
	living, waiting, running int64
	runnable, blocking       int64
	carriers                 int64
	workers, maxSpare, spare int
	slots                    [slotMask + 1]int
	trips, retakes, fired    uint64
	pending                  int
	channels                 int
	subscriptions            int64
}

func (sys *System) read() reading {
	ex := sys.ex
	r := reading{workers: ex.workers, maxSpare: ex.maxSpare}
	r.pending, r.fired = ex.timers.pending(), ex.timers.fired.Load()
	if ex.seeded != nil {
		r.runnable = ex.seeded.queued()
	}
	open := !sys.closed.Load()
	ex.mu.Lock()
	// Under the lock no slot retires, so that its counts are read neither twice nor not at all.
	r.tally = sys.count()
	if open {
		r.countSlots(ex)
	}
	ex.mu.Unlock()
	r.trips, r.retakes = ex.dog.trips.Load(), ex.dog.retakes.Load()
	r.blocking, r.carriers = int64(ex.nBlocked.Load()), ex.nCarriers.Load()
	r.living = sys.living.Load()
	r.channels, r.subscriptions = sys.channels.count(), sys.channels.subs.Load()
	// A slot may have published what another one has not yet: none of these may look negative.
	r.waiting = min(max(int64(r.tally.suspended+r.retakes), 0), r.living)
	r.running = min(r.running, r.living-r.waiting)
	return r
}

// countSlots looks at each slot. The caller holds ex.mu.
func (r *reading) countSlots(ex *executor) {
	for _, s := range ex.all() {
		r.slots[s.status.Load()&slotMask]++
		r.runnable += s.queued()
	}
	r.spare = max(ex.live-ex.workers, 0)
	r.runnable += ex.shared.n.Load() + ex.system.n.Load()
	r.running = int64(ex.live - r.slots[slotIdle])
	if ex.reserved.state() != slotIdle {
		r.running++
	}
}

// queued counts the actors in the slot's own queues.
func (s *slot) queued() int64 {
	n := int64(s.ringLen())
	if s.lifo.Load() != nil {
		n++
	}
	return n
}

func (sd *seeded) queued() int64 {
	sd.mu.Lock()
	defer sd.mu.Unlock()
	return int64(len(sd.runnable))
}

// inMailboxes is what was sent and has come to no end.
func (t *tally) inMailboxes() uint64 {
	ended := t.handled + t.dropped
	for _, n := range t.dead {
		ended += n
	}
	return max(t.sent, ended) - ended
}

// family is one metric but the histograms: a name, what it tells, and how to read it.
type family struct {
	name  string
	label string // "" for none
	kind  prometheus.ValueType
	help  string
	read  func(r *reading, put func(label string, v float64))
}

// single reads a metric without a label.
func single[N int | int64 | uint64](f func(r *reading) N) func(*reading, func(string, float64)) {
	return func(r *reading, put func(string, float64)) { put("", float64(f(r))) }
}

// families lists every metric but the histograms. Names and units follow the conventions of Prometheus.
var families = []family{
	{
		"actors", "state", prometheus.GaugeValue,
		"Living actors: idle ones have no stack, waiting ones keep theirs until they go on, running ones hold a slot.",
		func(r *reading, put func(string, float64)) {
			put("idle", float64(r.living-r.waiting-r.running))
			put("waiting", float64(r.waiting))
			put("running", float64(r.running))
		},
	},
	{
		"actors_spawned_total", "", prometheus.CounterValue, "Actors spawned.",
		single(func(r *reading) uint64 { return r.tally.spawned }),
	},
	{
		"actors_restarted_total", "", prometheus.CounterValue, "Incarnations of actors that followed another one.",
		single(func(r *reading) uint64 { return r.tally.restarted }),
	},
	{
		"actors_ended_total", "reason", prometheus.CounterValue, "Actors ended, by the kind of their reason.",
		func(r *reading, put func(string, float64)) {
			for k := range ReasonNoActor {
				put(k.String(), float64(r.tally.ended[k]))
			}
		},
	},
	{
		"actors_runnable", "", prometheus.GaugeValue, "Actors that have something to do and wait for a slot.",
		single(func(r *reading) int64 { return r.runnable }),
	},
	{
		"actors_blocking", "", prometheus.GaugeValue, "Actors in Block or Offload.",
		single(func(r *reading) int64 { return r.blocking }),
	},
	{
		"messages_sent_total", "", prometheus.CounterValue, "Messages accepted by a mailbox, and replies.",
		single(func(r *reading) uint64 { return r.tally.sent }),
	},
	{
		"messages_handled_total", "", prometheus.CounterValue, "Messages that a behaviour has dealt with, and replies that a caller got.",
		single(func(r *reading) uint64 { return r.tally.handled }),
	},
	{
		"messages_dead_total", "reason", prometheus.CounterValue, "Dead letters: accepted messages that nobody handled, by the reason for it.",
		func(r *reading, put func(string, float64)) {
			for why, n := range r.tally.dead {
				if DeadReason(why) != DeadOverflow { // those are counted as dropped
					put(DeadReason(why).String(), float64(n))
				}
			}
		},
	},
	{
		"messages_dropped_total", "", prometheus.CounterValue, "Messages discarded by the overflow policy of a bounded mailbox.",
		single(func(r *reading) uint64 { return r.tally.dropped }),
	},
	{
		"messages_returned_total", "", prometheus.CounterValue, "Messages refused with an error and never accepted.",
		single(func(r *reading) uint64 { return r.tally.returned }),
	},
	{
		"messages_queued", "", prometheus.GaugeValue, "Messages in a mailbox or a stash, or in the hands of a behaviour.",
		single(func(r *reading) uint64 { return r.tally.inMailboxes() }),
	},
	{
		"turns_total", "", prometheus.CounterValue, "Turns that actors brought to their end: a turn handles some messages, or is all that a routine does.",
		single(func(r *reading) uint64 { return r.tally.turns }),
	},
	{
		"waits_total", "", prometheus.CounterValue, "Waits of actors in the middle of a message, and of routines for their next one.",
		single(func(r *reading) uint64 { return r.tally.waits }),
	},
	{
		"steals_total", "", prometheus.CounterValue, "Times a slot took runnable actors from another one.",
		single(func(r *reading) uint64 { return r.tally.steals }),
	},
	{
		"parks_total", "", prometheus.CounterValue, "Times a worker found nothing to do and went to rest.",
		single(func(r *reading) uint64 { return r.tally.parks }),
	},
	{
		"carriers", "", prometheus.GaugeValue, "Stacks that actors run on: those in use by running and waiting actors, and those kept for reuse.",
		single(func(r *reading) int64 { return r.carriers }),
	},
	{
		"workers", "", prometheus.GaugeValue, "Slots that the System was made with: how many actors run at once.",
		single(func(r *reading) int { return r.workers }),
	},
	{
		"slots", "state", prometheus.GaugeValue,
		"Slots there are: running an actor or looking for one, idle, blocked in a call of Block, stuck in a behaviour that does not return.",
		func(r *reading, put func(string, float64)) {
			put("running", float64(r.slots[slotRunning]))
			put("idle", float64(r.slots[slotIdle]))
			put("blocked", float64(r.slots[slotBlocked]))
			put("stuck", float64(r.slots[slotStuck]))
		},
	},
	{
		"spare_slots", "", prometheus.GaugeValue, "Slots beyond the workers, started because others are stuck.",
		single(func(r *reading) int { return r.spare }),
	},
	{
		"spare_slots_limit", "", prometheus.GaugeValue, "How many spare slots there may be.",
		single(func(r *reading) int { return r.maxSpare }),
	},
	{
		"watchdog_trips_total", "", prometheus.CounterValue, "Slots found stuck: their behaviours neither waited nor returned for too long.",
		single(func(r *reading) uint64 { return r.trips }),
	},
	{
		"watchdog_retakes_total", "", prometheus.CounterValue, "Slots taken from a behaviour in Block and given to another worker.",
		single(func(r *reading) uint64 { return r.retakes }),
	},
	{
		"timers_pending", "", prometheus.GaugeValue, "Timers that have not fired: messages to be sent later, and deadlines of waits.",
		single(func(r *reading) int { return r.pending }),
	},
	{
		"timers_fired_total", "", prometheus.CounterValue, "Timers that have fired.",
		single(func(r *reading) uint64 { return r.fired }),
	},
	{
		"channels", "", prometheus.GaugeValue, "Channels that are not closed.",
		single(func(r *reading) int { return r.channels }),
	},
	{
		"channel_subscriptions", "", prometheus.GaugeValue, "Subscriptions to channels: those of actors, and of channels to channels.",
		single(func(r *reading) int64 { return r.subscriptions }),
	},
}

// metrics is what the System measures beside its counters.
type metrics struct {
	name    string // the label system
	once    sync.Once
	descs   []*prometheus.Desc
	latency histogram // microseconds, sampled
	depth   histogram // messages
}

// described returns the descriptions of all families, then those of latency and depth.
func (m *metrics) described() []*prometheus.Desc {
	m.once.Do(func() {
		desc := func(name, help string, labels ...string) {
			m.descs = append(m.descs, prometheus.NewDesc("greenroom_"+name, help, labels, prometheus.Labels{"system": m.name}))
		}
		for _, f := range families {
			if f.label == "" {
				desc(f.name, f.help)
			} else {
				desc(f.name, f.help, f.label)
			}
		}
		desc("message_latency_seconds", "Time from sending a message to the start of its handling; 1 of "+strconv.Itoa(sampleEvery)+" messages is measured.")
		desc("mailbox_depth", "Messages that an actor found in its unbounded mailbox when it took what had queued up.")
	})
	return m.descs
}

const (
	sampleEvery    = 64 // of how many messages one carries the time when it was sent
	latencyBuckets = 27 // up to 2^26 us, 67 s
	depthBuckets   = mailbox.DepthBuckets - 1
)

// histogram counts values in buckets of powers of two: [0] is up to 1, [i] up to 2^i. Any goroutine may add to it and read it.
type histogram struct {
	buckets [32]atomic.Uint64
	sum     atomic.Uint64
}

// observe counts v, a number of whole units that something took: it took longer than v and less than v+1.
func (h *histogram) observe(v uint64) {
	h.buckets[min(bits.Len64(v), len(h.buckets)-1)].Add(1)
	h.sum.Add(v)
}

// drain moves what a consumer's cache has counted here. For the owner of the cache.
func (h *histogram) drain(d *mailbox.Depths) {
	if d.Elems == 0 {
		return
	}
	for i, n := range d.Takes {
		if n != 0 {
			h.buckets[i].Add(uint64(n))
		}
	}
	h.sum.Add(d.Elems)
	*d = mailbox.Depths{}
}

// metric renders the histogram: n buckets, the values divided by scale. What is above goes into the one without a bound.
func (h *histogram) metric(d *prometheus.Desc, n int, scale float64) prometheus.Metric {
	count, upTo := uint64(0), make(map[float64]uint64, n)
	for i := range h.buckets {
		count += h.buckets[i].Load()
		if i < n {
			upTo[float64(uint64(1)<<i)/scale] = count
		}
	}
	return prometheus.MustNewConstHistogram(d, count, float64(h.sum.Load())/scale, upTo)
}
