package actor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/mailbox"
)

// scrape is one reading of a registry: each sample by its name and labels but system, as in "actors_ended_total panic".
// Histograms give name_count and name_sum.
type scrape map[string]float64

func scrapeOf(t testing.TB, sys *actor.System) scrape {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(sys); err != nil {
		t.Fatal(err)
	}
	got, err := gather(reg)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func gather(from prometheus.Gatherer) (scrape, error) {
	families, err := from.Gather()
	got := scrape{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "greenroom_")
			for _, l := range m.GetLabel() {
				if l.GetName() != "system" {
					name += " " + l.GetValue() //nolint:perfsprint // one label
				}
			}
			if h := m.GetHistogram(); h != nil {
				got[name+"_count"], got[name+"_sum"] = float64(h.GetSampleCount()), h.GetSampleSum()
			} else {
				got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() // it is one of them
			}
		}
	}
	return got, err
}

func (s scrape) want(t testing.TB, want scrape) {
	t.Helper()
	for name, v := range want {
		if got, there := s[name]; !there || got != v {
			t.Errorf("%s: %v (there: %v), want %v", name, got, there, v)
		}
	}
}

func quiesce(t testing.TB, sys *actor.System) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := sys.Quiesce(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestMetricsLint: names, units and help texts are as Prometheus wants them.
func TestMetricsLint(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(newSystem(t))
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if n, err := testutil.GatherAndCount(reg); n < 40 || err != nil {
		t.Errorf("%d samples, %v", n, err)
	}
}

// unhurried keeps the watchdog from starting spare slots where a busy machine is slow.
var unhurried = actor.SystemOptions{Workers: 2, StuckAfter: time.Hour}

// METER-1: a little of everything runs, and at rest the metrics say what happened, as the ledger does.
func TestMetricsAgreeWithLedger(t *testing.T) {
	sys := newSystem(t, unhurried)
	bg := context.Background()
	errBoom := errors.New("boom")
	handle := func(_ *actor.Context, m *num) error {
		switch m.Value {
		case 1:
			return errBoom
		case 2:
			panic("boom")
		}
		return nil
	}
	send := func(r actor.Ref[*num], values ...int64) {
		t.Helper()
		for _, v := range values {
			if err := r.Send(bg, &num{Value: v}); err != nil {
				t.Fatal(err)
			}
		}
	}
	calm := actor.MustSpawn(sys, actor.Handler(handle))
	send(calm, 0, 0, 0)
	failing, panicking := actor.MustSpawn(sys, actor.Handler(handle)), actor.MustSpawn(sys, actor.Handler(handle))
	send(failing, 1)
	send(panicking, 2)
	killed := actor.MustSpawn(sys, actor.Handler(handle))
	killed.Kill()
	sleeper := actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*num]) error { return ctx.Sleep(time.Hour) })
	full := actor.MustSpawn(sys, sleeper, actor.Options{Mailbox: actor.Mailbox{Capacity: 2, Overflow: mailbox.DropNewest}})
	send(full, 0, 0, 0, 0, 0)
	waiting := actor.MustSpawn(sys, sleeper)
	send(waiting, 0, 0, 0, 0)
	quiesce(t, sys)
	if err := failing.Send(bg, &num{}); !errors.Is(err, actor.ErrStopped) {
		t.Fatalf("send to an actor that has ended: %v", err)
	}

	l := sys.Ledger()
	if !l.Exact || !l.Balanced() {
		t.Fatalf("ledger: %v", l)
	}
	got := scrapeOf(t, sys)
	got.want(t, scrape{
		"messages_sent_total": float64(l.Sent), "messages_handled_total": float64(l.Handled), "messages_dropped_total": float64(l.Dropped),
		"messages_returned_total": float64(l.Returned), "messages_queued": float64(l.Queued),
		"messages_dead_total failed": float64(l.ByReason[actor.DeadFailed]), "messages_dead_total panic": float64(l.ByReason[actor.DeadPanic]),
	})
	got.want(t, scrape{
		"messages_sent_total": 14, "messages_handled_total": 3, "messages_dropped_total": 3, "messages_returned_total": 1, "messages_queued": 6,
		"messages_dead_total failed": 1, "messages_dead_total panic": 1, "messages_dead_total stopped": 0,
		"actors idle": 1, "actors waiting": 2, "actors running": 0, "actors_runnable": 0, "actors_blocking": 0, "actors_spawned_total": 6,
		"actors_ended_total error": 1, "actors_ended_total panic": 1, "actors_ended_total killed": 1, "actors_ended_total normal": 0,
		"timers_pending": 2, "waits_total": 2, "slots running": 0, "slots blocked": 0, "slots stuck": 0, "spare_slots": 0, "spare_slots_limit": 256,
		"mailbox_depth_sum": 5,
	})
	if got["slots idle"] != got["workers"] || got["carriers"] < 2 || got["turns_total"] < 3 || got["parks_total"] < 1 {
		t.Errorf("executor: %v", got)
	}
}

// METER-6: each take of a mailbox is counted, and one message in 64 has its latency measured.
func TestMetricsHistograms(t *testing.T) {
	sys := newSystem(t, unhurried)
	const n = 6400
	sink := actor.MustSpawn(sys, actor.Handler(func(*actor.Context, *num) error { return nil }))
	source := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
		for range n {
			if err := sink.Send(ctx, m); err != nil {
				return err
			}
		}
		return nil
	}))
	if err := source.Send(context.Background(), &num{}); err != nil {
		t.Fatal(err)
	}
	quiesce(t, sys)
	got := scrapeOf(t, sys)
	got.want(t, scrape{"mailbox_depth_sum": n + 1, "messages_handled_total": n + 1})
	if c := got["mailbox_depth_count"]; c < 2 || c > n+1 {
		t.Errorf("%v takes of %d messages", c, n)
	}
	if c := got["message_latency_seconds_count"]; c < n/64 || c > n/64+2 {
		t.Errorf("%v of %d messages measured, want 1 in 64 of each slot's", c, n)
	}
	if sum := got["message_latency_seconds_sum"]; sum <= 0 || sum > 600 {
		t.Errorf("they waited for %v s in all", sum)
	}
}

// METER-7: what holds a slot shows in its state, and in that of the actor.
func TestMetricsOfBusySlots(t *testing.T) {
	sys := newSystem(t, actor.SystemOptions{Workers: 1})
	var spin atomic.Bool
	spin.Store(true)
	in, release := make(chan struct{}), make(chan struct{})
	actor.MustSpawn(sys, actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*num]) error {
		return ctx.Block(func() { close(in); <-release })
	}))
	<-in
	blocked := scrapeOf(t, sys)
	blocked.want(t, scrape{"actors_blocking": 1, "actors running": 1, "slots blocked": 1, "slots idle": 0, "actors idle": 0})
	actor.MustSpawn(sys, actor.Routine(func(*actor.Context, *actor.Inbox[*num]) error {
		for spin.Load() {
		}
		return nil
	}))
	// Its slot is taken for the spinner, which gets stuck on it, and the echo needs a spare one.
	echo := actor.MustSpawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error { return ctx.Reply(m) }))
	if _, err := actor.Call[*num](context.Background(), echo, &num{}); err != nil {
		t.Fatal(err)
	}
	got := scrapeOf(t, sys)
	got.want(t, scrape{"actors_blocking": 1, "slots blocked": 0, "workers": 1, "actors_spawned_total": 3, "watchdog_retakes_total": 1})
	for _, name := range []string{"slots stuck", "spare_slots", "watchdog_trips_total", "actors waiting", "actors running"} {
		if got[name] < 1 { // a busy machine may make other slots look stuck too
			t.Errorf("%s: %v, want at least 1", name, got[name])
		}
	}
	spin.Store(false)
	close(release)
	quiesce(t, sys)
	scrapeOf(t, sys).want(t, scrape{
		"actors_blocking": 0, "actors idle": 1, "actors waiting": 0, "actors running": 0, "slots stuck": 0, "slots blocked": 0,
		"slots running": 0, "actors_ended_total normal": 2,
	})
}

// METER-5: two Systems share a registry, told apart by their names, which must differ and be text.
func TestMetricsOfTwoSystems(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	shop, unnamed := newSystem(t, actor.SystemOptions{Name: "shop"}), newSystem(t)
	for _, sys := range []*actor.System{shop, unnamed} {
		if err := reg.Register(sys); err != nil {
			t.Fatal(err)
		}
	}
	actor.MustSpawn(shop, actor.Handler(func(*actor.Context, *num) error { return nil }))
	quiesce(t, shop)
	if want := fmt.Sprintf("%016x", unnamed.NodeID()); shop.Name() != "shop" || unnamed.Name() != want {
		t.Errorf("names %q and %q, want shop and %s", shop.Name(), unnamed.Name(), want)
	}
	lines := []string{
		"# HELP greenroom_actors_spawned_total Actors spawned.",
		"# TYPE greenroom_actors_spawned_total counter",
		`greenroom_actors_spawned_total{system="` + unnamed.Name() + `"} 0`,
		`greenroom_actors_spawned_total{system="shop"} 1`, "",
	}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(strings.Join(lines, "\n")), "greenroom_actors_spawned_total"); err != nil {
		t.Error(err)
	}
	var twice prometheus.AlreadyRegisteredError
	if err := reg.Register(newSystem(t, actor.SystemOptions{Name: "shop"})); !errors.As(err, &twice) {
		t.Errorf("a second shop: %v", err)
	}
	if _, err := actor.NewSystem(actor.SystemOptions{Name: "\xff"}); err == nil || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("a name that is no text: %v", err)
	}
}

// METER-2: actors work, block, fail, come and go, and the System stops: meanwhile no scrape fails, no counter goes down, no gauge
// is negative.
func TestMetricsUnderLoad(t *testing.T) {
	sys := newSystem(t, actor.SystemOptions{Workers: 2, StuckAfter: time.Millisecond, Grace: 10 * time.Second})
	const rounds = 300
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() { churn(t, sys, rounds) })
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(sys)
	done := make(chan struct{})
	var scrapers sync.WaitGroup
	for range 2 {
		scrapers.Go(func() { watchCounters(t, reg, done) })
	}
	load.Wait()
	if err := sys.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	close(done)
	scrapers.Wait()
}

// churn spawns short-lived actors that echo, sleep, block and panic.
func churn(t *testing.T, sys *actor.System, rounds int) {
	for i := range rounds {
		r, err := actor.Spawn(sys, actor.Handler(func(ctx *actor.Context, m *num) error {
			switch m.Value % 4 {
			case 0:
				if err := ctx.Sleep(10 * time.Microsecond); err != nil {
					return err
				}
			case 1:
				if err := ctx.Block(func() {}); err != nil {
					return err
				}
			case 2:
				panic("boom")
			}
			return ctx.Reply(m)
		}))
		if err != nil {
			t.Error(err)
			return
		}
		_, err = actor.Call[*num](context.Background(), r, &num{Value: int64(i)})
		if failed := i%4 == 2; failed != (err != nil) {
			t.Errorf("round %d: %v", i, err)
		}
		r.Stop()
	}
}

// watchCounters scrapes again and again, and once more when all is done.
func watchCounters(t *testing.T, reg prometheus.Gatherer, done <-chan struct{}) {
	before := scrape{}
	for last := false; ; {
		now, err := gather(reg)
		if err != nil {
			t.Error(err)
			return
		}
		for name, v := range now {
			if counts := strings.Contains(name, "_total") || strings.HasSuffix(name, "_count"); v < 0 || counts && v < before[name] {
				t.Errorf("%s: %v after %v", name, v, before[name])
			}
		}
		before = now
		if last {
			return
		}
		select {
		case <-done:
			last = true
		default:
		}
	}
}

// METER-3: a System that has ended keeps its counters and has nothing else left.
func TestMetricsOfClosedSystem(t *testing.T) {
	sys := newSystem(t)
	sleeper := actor.Routine(func(ctx *actor.Context, _ *actor.Inbox[*num]) error { return ctx.Sleep(time.Hour) })
	const n = 1000 // more than the stacks that are kept for reuse
	for range n {
		actor.MustSpawn(sys, sleeper)
	}
	quiesce(t, sys)
	scrapeOf(t, sys).want(t, scrape{"actors waiting": n, "carriers": n, "timers_pending": n})
	if err := sys.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	scrapeOf(t, sys).want(t, scrape{
		"actors idle": 0, "actors waiting": 0, "actors running": 0, "actors_runnable": 0, "actors_blocking": 0, "carriers": 0,
		"slots running": 0, "slots idle": 0, "slots blocked": 0, "slots stuck": 0, "spare_slots": 0, "timers_pending": 0,
		"actors_spawned_total": n, "actors_ended_total shutdown": n,
	})
}

// TestMetricsOfSeededSystem: a deterministic System has the same metrics.
func TestMetricsOfSeededSystem(t *testing.T) {
	sys := newSystem(t, actor.SystemOptions{Seed: 1})
	r := actor.MustSpawn(sys, actor.Handler(func(*actor.Context, *num) error { return nil }))
	if err := r.Send(context.Background(), &num{}); err != nil {
		t.Fatal(err)
	}
	quiesce(t, sys)
	scrapeOf(t, sys).want(t, scrape{"workers": 1, "messages_handled_total": 1, "actors idle": 1, "actors_runnable": 0, "mailbox_depth_count": 1})
}

// METER-4: a scrape of many actors costs what one of few does.
func TestMetricsCost(t *testing.T) {
	allocs := func(actors int) float64 {
		sys := newSystem(t, actor.SystemOptions{Workers: 2})
		handler := actor.Handler(func(*actor.Context, *wrapperspb.StringValue) error { return nil })
		for range actors {
			actor.MustSpawn(sys, handler)
		}
		quiesce(t, sys)
		into := make(chan prometheus.Metric, 256)
		return testing.AllocsPerRun(20, func() {
			sys.Collect(into)
			for len(into) > 0 {
				<-into
			}
		})
	}
	few, many := allocs(1), allocs(20000)
	if few > 800 || many > few+10 {
		t.Errorf("a scrape allocates %v times with one actor, %v times with 20,000", few, many)
	}
}

func BenchmarkCollect(b *testing.B) {
	for _, actors := range []int{1, 100000} {
		b.Run(fmt.Sprintf("actors=%d", actors), func(b *testing.B) {
			sys := newSystem(b)
			handler := actor.Handler(func(*actor.Context, *num) error { return nil })
			for range actors {
				actor.MustSpawn(sys, handler)
			}
			into := make(chan prometheus.Metric, 256)
			b.ReportAllocs()
			for b.Loop() {
				sys.Collect(into)
				for len(into) > 0 {
					<-into
				}
			}
		})
	}
}
