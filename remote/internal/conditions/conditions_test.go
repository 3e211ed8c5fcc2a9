package conditions

import (
	"slices"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// arrivals sends 200 packets of 100 bytes, a millisecond apart, and says when each came, after the first was sent.
func arrivals(p *Path) (all []time.Duration) {
	for i := range 200 {
		for _, at := range p.Send(epoch.Add(time.Duration(i)*time.Millisecond), 100) {
			all = append(all, at.Sub(epoch))
		}
	}
	return all
}

func TestPathIsRepeatable(t *testing.T) {
	c := Conditions{Latency: time.Second, Jitter: time.Second, Loss: 0.2, Duplicate: 0.2, Reorder: 0.2}
	runs := map[string][]time.Duration{}
	for name, p := range map[string]*Path{
		"one": NewPath(1, "a", "b"), "again": NewPath(1, "a", "b"), "back": NewPath(1, "b", "a"), "other": NewPath(2, "a", "b"),
	} {
		p.Set(c)
		runs[name] = arrivals(p)
	}
	for name, run := range runs {
		same := len(run) == len(runs["one"])
		for i := 0; same && i < len(run); i++ {
			same = run[i] == runs["one"][i]
		}
		if same != (name == "one" || name == "again") {
			t.Errorf("%s is the same as one: %v", name, same)
		}
	}
}

func TestConditionsDrawApart(t *testing.T) {
	plain, lossy := NewPath(1, "a", "b"), NewPath(1, "a", "b")
	plain.Set(Conditions{Reorder: 0.5})
	lossy.Set(Conditions{Reorder: 0.5, Loss: 0.5})
	all, some := arrivals(plain), arrivals(lossy)
	if len(all) != 200 || len(some) < 70 || len(some) > 130 {
		t.Fatalf("%d and %d of 200 came", len(all), len(some))
	}
	for _, at := range some { // what came, came at the same time: losses moved no other draw
		found := false
		for _, other := range all {
			found = found || at == other
		}
		if !found {
			t.Errorf("one came at %v", at)
		}
	}
}

func TestSendReliably(t *testing.T) {
	p := NewPath(1, "a", "b")
	p.Set(Conditions{Latency: 10 * time.Millisecond, Loss: 0.5})
	late := 0
	for range 100 {
		if at := p.SendReliably(epoch, 100).Sub(epoch); at >= minRTO+10*time.Millisecond {
			late++
		} else if at != 10*time.Millisecond {
			t.Errorf("one came after %v", at)
		}
	}
	if late < 30 || late > 70 {
		t.Errorf("%d of 100 were late", late)
	}
	p.Set(Conditions{Loss: 1})
	if at := p.SendReliably(epoch, 100).Sub(epoch); at < time.Minute {
		t.Errorf("it comes after %v where nothing gets through", at)
	}
}

func TestBandwidth(t *testing.T) {
	p := NewPath(1, "a", "b")
	p.Set(Conditions{BytesPerSecond: 1000, QueueBytes: 1000})
	var last time.Time
	n := 0
	for range 100 {
		for _, at := range p.Send(epoch, 100) {
			n, last = n+1, at
		}
	}
	if n != 11 || last.Sub(epoch) != 1100*time.Millisecond || p.Free() != last {
		t.Errorf("%d came, the last after %v, free after %v", n, last.Sub(epoch), p.Free().Sub(epoch))
	}
}

func TestTable(t *testing.T) {
	table := NewTable(1)
	changed := table.Changed()
	slow := Conditions{Latency: time.Second}
	table.Set("a", "b", slow)
	select {
	case <-changed:
	default:
		t.Error("nobody was told of a change")
	}
	table.SetOneWay("b", "a", Conditions{})
	for _, c := range []struct {
		from, to string
		want     time.Duration
	}{{"a", "b", time.Second}, {"b", "a", 0}, {"a", "c", 0}} {
		if got := table.Path(c.from, c.to).Send(epoch, 1)[0].Sub(epoch); got != c.want {
			t.Errorf("%s to %s: %v", c.from, c.to, got)
		}
	}
	table.SetAll(slow)
	if got := table.Path("x", "y").Send(epoch, 1)[0].Sub(epoch); got != time.Second {
		t.Errorf("a new path: %v", got)
	}
	table.PartitionOneWay("x", "y")
	if !table.Path("x", "y").Blocked() || table.Path("y", "x").Blocked() || table.Path("x", "y").Send(epoch, 1) != nil {
		t.Error("a partition one way is not one")
	}
	table.HealAll()
	if table.Path("x", "y").Blocked() {
		t.Error("HealAll does not")
	}
}

func TestSchedule(t *testing.T) {
	var s Schedule[string]
	if !s.Next().IsZero() {
		t.Error("an empty schedule has a next one")
	}
	s.Add(epoch.Add(2), "third")
	s.Add(epoch.Add(1), "first")
	if s.Add(epoch.Add(1), "second") || !s.Add(epoch, "zeroth") {
		t.Error("Add does not know what is next")
	}
	var got []string
	for x, ok := s.Take(epoch.Add(1)); ok; x, ok = s.Take(epoch.Add(1)) {
		got = append(got, x)
	}
	if !slices.Equal(got, []string{"zeroth", "first", "second"}) || s.Len() != 1 || s.Next() != epoch.Add(2) {
		t.Errorf("took %v, %d left", got, s.Len())
	}
}
