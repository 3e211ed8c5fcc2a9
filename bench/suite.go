package main

import (
	"github.com/greenroom-go/greenroom/bench/internal/harness"
)

// suite lists the benches in the order they run.
func suite() harness.Suite {
	return harness.Suite{
		{
			Name: "idle-memory", What: "spawned handler actors, addressable by id: bytes per actor after one GC, resident and on the heap",
			N: 1_000_000, ShortN: 100_000, Rows: memoryRows(208),
			Greenroom: idleMemory, Floors: floors("goroutines that range over channels, in a slice", idleMemoryChan),
		},
		{
			Name: "idle-memory-used", What: "the same after each has handled a message",
			N: 1_000_000, ShortN: 100_000, Rows: memoryRows(260),
			Greenroom: idleMemoryUsed, Floors: floors("goroutines that range over channels, in a slice", idleMemoryUsedChan),
		},
		{
			Name: "suspended-100k/handlers", What: "handler actors that each wait for one resume message: peak resident size of the process",
			N: 100_000, ShortN: 100_000, Rows: one("MB", harness.Lower, harness.Reach{AtMost: 45}),
			Greenroom: suspendedHandlers, Floors: floors("goroutines blocked on a channel", suspendedChan),
		},
		{
			Name: "suspended-100k/routines", What: "routines suspended in the middle of a trivial body: peak resident size of the process",
			N: 100_000, ShortN: 100_000, Rows: one("MB", harness.Lower, harness.Reach{AtMost: 310}),
			Greenroom: suspendedRoutines, Floors: floors("goroutines blocked on a channel", suspendedChan),
		},
		{
			Name: "spawn", What: "spawns of a handler actor, from an actor",
			N: 1_000_000, ShortN: 100_000, Rows: one("M/s", harness.Higher, ratio(6, 0)),
			Greenroom: spawn, Floors: floors("go and a channel, from a goroutine", spawnChan),
		},
		{
			Name: "pingpong", What: "2 handler actors, a round trip", Fresh: true,
			N: 3_000_000, ShortN: 500_000, Rows: one("ns", harness.Lower, ratio(2, 3)),
			Greenroom: pingpong, Floors: floors("2 goroutines, 2 channels of 1", pingpongChan),
		},
		{
			Name: "pingpong-routine", What: "2 routines that Receive, a round trip", Fresh: true,
			N: 3_000_000, ShortN: 500_000, Rows: one("ns", harness.Lower, ratio(0.95, 1.3)),
			Greenroom: pingpongRoutine, Floors: floors("2 goroutines, 2 channels of 1", pingpongChan),
		},
		{
			Name: "pairs", What: "1,000 pairs of handler actors, a round trip", Fresh: true,
			N: 3_000_000, ShortN: 500_000, Rows: one("ns", harness.Lower, ratio(2, 3)),
			Greenroom: pairs, Floors: floors("1,000 pairs of goroutines, channels of 1", pairsChan),
		},
		{
			Name: "count", What: "1 sender, 1 receiver with an unbounded mailbox, a message", Fresh: true,
			N: 5_000_000, ShortN: 2_000_000, Rows: one("ns", harness.Lower, ratio(1.5, 3)),
			Greenroom: count, Floors: floors("a channel of 1,024", countChan),
		},
		{
			Name: "fanin", What: "1,000 senders to one receiver, a message", Fresh: true,
			N: 5_000_000, ShortN: 1_000_000, Rows: one("ns", harness.Lower, ratio(1, 2)),
			Greenroom: fanin, Floors: floors("1,000 goroutines, a channel of 1,024", faninChan),
		},
		{
			Name: "channel", What: "1 sender, 1,000 handler actors subscribed to a channel, a delivery", Fresh: true,
			N: 5_000_000, ShortN: 1_000_000, Rows: one("ns", harness.Lower, ratio(2, 0)),
			Greenroom: fanout, Floors: floors("1,000 goroutines, a channel of 16 each", fanoutChan),
		},
		{
			Name: "ring", What: "1,000 handler actors in a ring, a hop", Fresh: true,
			N: 1_000_000, ShortN: 500_000, Rows: one("ns", harness.Lower, ratio(2, 3)),
			Greenroom: ring, Floors: floors("1,000 goroutines, channels of 1", ringChan),
		},
		{
			Name: "call", What: "Call after Call from a goroutine", Fresh: true,
			N: 1_000_000, ShortN: 200_000, Rows: one("ns", harness.Lower, ratio(1, 1.5)),
			Greenroom: call, Floors: floors("a channel, with a reply channel in the request", callChan),
		},
		{
			Name: "call-inside", What: "Call after Call from an actor", Fresh: true,
			N: 1_000_000, ShortN: 200_000, Rows: one("ns", harness.Lower, ratio(2, 4)),
			Greenroom: callInside, Floors: floors("a channel, with a reply channel in the request", callChan),
		},
		{
			Name: "service-call", What: "the typed method of a generated ref, call after call, from a goroutine", Fresh: true,
			N: 1_000_000, ShortN: 200_000, Rows: one("ns", harness.Lower, ratio(1/1.1, 0)),
			Greenroom: serviceCall(spawnService), Floors: plainCall(serviceCall(spawnPlain)),
		},
		{
			Name: "service-call-inside", What: "the typed method of a generated ref, call after call, from an actor", Fresh: true,
			N: 1_000_000, ShortN: 200_000, Rows: one("ns", harness.Lower, ratio(1/1.1, 0)),
			Greenroom: serviceCallInside(spawnService), Floors: plainCall(serviceCallInside(spawnPlain)),
		},
		{
			Name: "timers", What: "routines that sleep 3 times: how late they wake, processor time per sleep",
			N: 200_000, ShortN: 20_000,
			Rows: []harness.Row{
				{Name: "p50", Unit: "us", Reach: ratio(1, 0)},
				{Name: "p99", Unit: "us", Reach: ratio(1, 0)},
				{Name: "cost", Unit: "ns", Reach: ratio(1, 0)},
			},
			Greenroom: timers, Floors: floors("goroutines in time.Sleep", timersChan),
		},
		{
			Name: "block", What: "ctx.Block around a system call of about 1 us",
			N: 1_000_000, ShortN: 100_000, Rows: one("ns", harness.Lower, ratio(0.9, 0)),
			Greenroom: block, Floors: floors("the bare call in a goroutine", blockChan),
		},
		{
			Name: "blocked", What: "round trips of n actors, in pairs, while 100 others block in ctx.Block and one spins",
			N: 10_000, ShortN: 10_000, Rows: one("M/s", harness.Higher, ratio(0.8, 0)),
			Greenroom: blocked,
			Floors: []harness.Floor{
				{Name: "alone", What: "the same actors without the blocked ones and the spinning one", Run: blockedAlone},
				{Name: "spin", What: "the same actors beside a plain goroutine that spins", Run: blockedBesideSpin},
				{Name: "chan", What: "goroutines throughout", Run: blockedChan},
			},
		},
		{
			Name: "neighbour", What: "plain goroutines beside 8 pairs that saturate the processors: lateness of a 2 ms timer, a TCP echo",
			N: 1000, ShortN: 150,
			Rows: []harness.Row{
				{Name: "timer-p99", Unit: "us", Reach: harness.Reach{AtMost: 1000, Ratio: 1}},
				{Name: "echo-p99", Unit: "us", Reach: harness.Reach{AtMost: 1000, Ratio: 1}},
			},
			Greenroom: neighbour, Floors: floors("beside pairs of goroutines", neighbourChan),
		},
		{
			Name: "scaling/procs", What: "1,000 pairs: how many times faster than at procs 1",
			N: 1_000_000, ShortN: 200_000, MinProcs: 2, Rows: one("x", harness.Higher, ratio(0.9, 0)),
			Greenroom: speedupActors,
			Floors: []harness.Floor{
				{Name: "arithmetic", What: "a loop of pure arithmetic", Run: speedupArithmetic},
				{Name: "chan", What: "pairs of goroutines", Run: speedupChan},
			},
		},
		{
			Name: "scaling/idle-million", What: "1,000 pairs among n idle actors, a round trip",
			N: 1_000_000, ShortN: 1_000_000, Rows: one("ns", harness.Lower, ratio(1/1.1, 0)),
			Greenroom: idleMillion,
			Floors: []harness.Floor{
				{Name: "alone", What: "the same pairs without the idle actors", Run: thousandAlone},
				{Name: "chan", What: "goroutines throughout", Run: idleMillionChan},
			},
		},
		{
			Name: "scaling/active-million", What: "n actors, pair by pair in shuffled order, a round trip",
			N: 1_000_000, ShortN: 1_000_000, Rows: one("ns", harness.Lower, ratio(1./3, 0)),
			Greenroom: activeMillion,
			Floors: []harness.Floor{
				{Name: "few", What: "1,000 pairs", Run: thousandAlone},
				{Name: "chan", What: "goroutines throughout", Run: activeMillionChan},
			},
		},
		{
			Name: "locate", What: "a typed Lookup by name, of actors that were spawned with theirs",
			N: 1_000_000, ShortN: 1_000_000, Rows: one("ns", harness.Lower, ratio(1, 0)),
			Greenroom: locate, Floors: []harness.Floor{{Name: "xsync", What: "a load from a plain xsync map to as many refs", Run: locateXsync}},
		},
		{
			Name: "restart", What: "from a panic to the next message handled by the restarted child of a one_for_one supervisor",
			N: 20_000, ShortN: 5_000,
			Rows:      []harness.Row{{Name: "p50", Unit: "us", Reach: ratio(0.2, 0)}, {Name: "p99", Unit: "us", Reach: harness.Reach{AtMost: 20, Ratio: 0.2}}},
			Greenroom: restart, Floors: []harness.Floor{{Name: "recover", What: "a goroutine that recovers and goes on", Run: restartByHand}},
		},
		{
			Name: "restart-rate", What: "crash after crash of one child, a cycle; 5,000 ns are 200,000 a second",
			N: 200_000, ShortN: 20_000, Rows: one("ns", harness.Lower, harness.Reach{AtMost: 5000}),
			Greenroom: restartRate, Floors: []harness.Floor{{Name: "recover", What: "a goroutine that recovers and goes on", Run: restartRateByHand}},
		},
		{
			Name: "dynamic/memory", What: "a child of a dynamic supervisor: heap bytes beyond those of a plain idle actor",
			N: 1_000_000, ShortN: 100_000, Rows: one("B", harness.Lower, harness.Reach{AtMost: 64}),
			Greenroom: dynamicMemory, Floors: []harness.Floor{{Name: "idle", What: "all bytes of a plain idle actor", Run: idleHeap}},
		},
		{
			Name: "dynamic/start", What: "children started one by one by a dynamic supervisor, a start",
			N: 1_000_000, ShortN: 100_000, Rows: one("ns", harness.Lower, harness.Reach{}),
			Greenroom: dynamicStart, Floors: []harness.Floor{{Name: "call", What: "a call to an actor that spawns one", Run: calledSpawns}},
		},
		{
			Name: "dynamic/stop", What: "the stop of a dynamic supervisor with n children, for each of them",
			N: 1_000_000, ShortN: 100_000, Rows: one("ns", harness.Lower, ratio(0.5, 0)),
			Greenroom: dynamicStop, Floors: []harness.Floor{{Name: "tenth", What: "the same with a tenth of them: 1x is linear", Run: dynamicStopTenth}},
		},
		{
			Name: "swap/idle", What: "swaps of n idle actors, one after the other, a swap",
			N: 100_000, ShortN: 100_000, Rows: one("ns", harness.Lower, harness.Reach{}),
			Greenroom: swapIdle, Floors: []harness.Floor{{Name: "call", What: "calls to them", Run: callIdle}},
		},
		{
			Name: "swap/busy", What: "1,000 actors that are never without a message of 20 us, each swapped 10 times: the longest pause, at the 99th percentile",
			N: 1000, ShortN: 300, Rows: one("us", harness.Lower, ratio(0.8, 0)),
			Greenroom: swapBusy, Floors: []harness.Floor{{Name: "alone", What: "the same actors without a swap", Run: busyUnswapped}},
		},
		{
			Name: "remote-send", What: "1 sender, 1 receiver in another process, 64 bytes of payload: whole frames, messages, bytes and processor time of each",
			N: 1_000_000, ShortN: 200_000, Rows: streamRows(),
			Greenroom: remoteStream(1, ""), Floors: remoteFloors("a bare QUIC stream, 64 KiB at a time; 72 bytes for a message", bareStream, func(tcp string) harness.Func { return remoteStream(1, tcp) }),
		},
		{
			Name: "remote-pairs", What: "100 senders, 100 receivers in another process",
			N: 1_000_000, ShortN: 200_000, Rows: pairsRows(),
			Greenroom: remoteStream(100, ""), Floors: []harness.Floor{{Name: "one", What: "1 sender, 1 receiver", Run: remoteStream(1, "")}},
		},
		{
			Name: "remote-call", What: "Call after Call of an actor in another process, from a goroutine",
			N: 20_000, ShortN: 2_000, Rows: callRows(),
			Greenroom: remoteCall(""), Floors: remoteFloors("echoes of 64 bytes by a bare QUIC stream", bareEchoes, remoteCall),
		},
		{
			Name: "remote-call-inside", What: "the same from an actor",
			N: 20_000, ShortN: 2_000, Rows: callRows(),
			Greenroom: remoteCallInside(""), Floors: remoteFloors("echoes of 64 bytes by a bare QUIC stream", bareEchoes, remoteCallInside),
		},
		{
			Name: "remote-large/bytes", What: "messages of 1 MiB to an actor in another process, while another one there is called",
			N: 500, ShortN: 100, Rows: one("MB/s", harness.Higher, ratio(0.8, 0)),
			Greenroom: remoteLarge(largeRate, ""), Floors: []harness.Floor{
				{Name: "quic", What: "a bare QUIC stream, and echoes by another one", Run: bareLarge(largeRate)},
				{Name: "tcp", What: "the same over TLS over TCP", Run: remoteLarge(largeRate, "tcp")},
			},
		},
		{
			Name: "remote-large/calls", What: "the calls beside those messages, 99th percentile",
			N: 500, ShortN: 100, Rows: one("us", harness.Lower, ratio(1./3, 0)),
			Greenroom: remoteLarge(largeCalls, ""), Floors: []harness.Floor{
				{Name: "alone", What: "the calls with nothing beside them", Run: remoteLargeAlone},
				{Name: "quic", What: "echoes by a bare QUIC stream beside another one", Run: bareLarge(largeCalls)},
				{Name: "tcp", What: "the same over TLS over TCP", Run: remoteLarge(largeCalls, "tcp")},
			},
		},
		{
			Name: "remote-channel", What: "messages to 100,000 subscribers, half of them in another process: deliveries, and network messages for each",
			N: 20_000_000, ShortN: 4_000_000, Rows: channelRows(),
			Greenroom: remoteChannel, Floors: []harness.Floor{{Name: "local", What: "all subscribers in this process", Run: localChannel}},
		},
		{
			Name: "remote-monitor", What: "n monitors on actors of a process that is killed: how much later than DownAfter the last Down comes",
			N: 100_000, ShortN: 100_000, Rows: one("ms", harness.Lower, harness.Reach{AtMost: 1000}),
			Greenroom: remoteMonitor, Floors: []harness.Floor{{Name: "quic", What: "the end of a bare QUIC connection", Run: bareMonitor}},
		},
		{
			Name: "remote-idle", What: "a node with n idle peers: memory for each, and processor time for all",
			N: 100, ShortN: 100, Rows: idleRows(),
			Greenroom: remoteIdle, Floors: []harness.Floor{
				{Name: "quic", What: "a bare QUIC connection to each", Run: bareIdle(1)},
				{Name: "quic2", What: "two to each", Run: bareIdle(2)},
			},
		},
	}
}

func one(unit string, better harness.Direction, reach harness.Reach) []harness.Row {
	return []harness.Row{{Unit: unit, Better: better, Reach: reach}}
}

func memoryRows(most float64) []harness.Row {
	return []harness.Row{{Unit: "B", Reach: harness.Reach{AtMost: most}}, {Name: "heap", Unit: "B"}}
}

func ratio(least, aim float64) harness.Reach { return harness.Reach{Ratio: least, Aim: aim} }

// floors is the floor that most benches have: goroutines and channels.
func floors(what string, run harness.Func) []harness.Floor {
	return []harness.Floor{{Name: "chan", What: what, Run: run}}
}

// plainCall is the floor of what generated code adds to a call.
func plainCall(run harness.Func) []harness.Floor {
	return []harness.Floor{{Name: "call", What: "actor.Call to a handler that does the same", Run: run}}
}

// remoteFloors are those of a bench between two processes: the same by hand, and by Greenroom over the other network.
func remoteFloors(what string, bare func(tcp bool) harness.Func, ours func(network string) harness.Func) []harness.Floor {
	return []harness.Floor{
		{Name: "quic", What: what, Run: bare(false)},
		{Name: "tls", What: "the same over TLS over TCP", Run: bare(true)},
		{Name: "tcp", What: "Greenroom over TLS over TCP", Run: ours("tcp")},
	}
}
