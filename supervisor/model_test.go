package supervisor_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	"github.com/greenroom-go/greenroom/supervisor"
)

// model is a supervisor as OTP's rules have it: each method is one event, and says what should be observed. A child of a dynamic
// supervisor is named by its number.
type model struct {
	strategy  supervisor.Strategy
	auto      supervisor.AutoShutdown
	intensity int
	period    time.Duration
	now       time.Duration
	kids      []modelKid
	restarts  []time.Duration
	ended     bool
}

type modelKid struct {
	id          string
	class       supervisor.Restart
	significant bool
	running     bool
}

func (m *model) find(id string) int {
	return slices.IndexFunc(m.kids, func(k modelKid) bool { return k.id == id })
}

func (m *model) add(k modelKid) []string {
	if m.find(k.id) >= 0 {
		return []string{"exists"}
	}
	k.running = true
	m.kids = append(m.kids, k)
	return []string{"started " + k.id}
}

func (m *model) terminate(id string) []string {
	i := m.find(id)
	if i < 0 {
		return []string{"no child"}
	}
	var out []string
	if m.kids[i].running {
		out = append(out, "stopped "+id)
	}
	m.kids[i].running = false
	m.forgetTemporary(i)
	return out
}

func (m *model) forgetTemporary(i int) {
	if m.kids[i].class == supervisor.Temporary || m.strategy == supervisor.Dynamic && !m.kids[i].running {
		m.kids = slices.Delete(m.kids, i, i+1)
	}
}

func (m *model) restart(id string) []string {
	i := m.find(id)
	switch {
	case i < 0:
		return []string{"no child"}
	case m.kids[i].running:
		return []string{"running"}
	}
	m.kids[i].running = true
	return []string{"started " + id}
}

func (m *model) remove(id string) []string {
	i := m.find(id)
	switch {
	case i < 0:
		return []string{"no child"}
	case m.kids[i].running:
		return []string{"running"}
	}
	m.kids = slices.Delete(m.kids, i, i+1)
	return nil
}

// exit is the end of a child by itself, or by somebody who is not its supervisor.
func (m *model) exit(id string, normal bool) []string {
	i := m.find(id)
	if i < 0 || !m.kids[i].running {
		return nil
	}
	k := m.kids[i]
	m.kids[i].running = false
	out := []string{"ended " + id}
	if k.class == supervisor.Temporary || k.class == supervisor.Transient && normal {
		m.forgetTemporary(i)
		out = append(out, "given_up "+id)
		if k.significant && (m.auto == supervisor.AnySignificant || m.auto == supervisor.AllSignificant && !slices.ContainsFunc(m.kids, func(k modelKid) bool { return k.significant && k.running })) {
			return append(append(out, "shut_down "+id), m.stop()...)
		}
		return out
	}
	m.restarts = slices.DeleteFunc(append(m.restarts, m.now), func(at time.Duration) bool { return m.now-at > m.period })
	if len(m.restarts) > m.intensity {
		return append(append(out, "escalated "+id), m.stop()...)
	}
	from, to := i, i+1
	switch m.strategy {
	case supervisor.OneForAll:
		from, to = 0, len(m.kids)
	case supervisor.RestForOne:
		to = len(m.kids)
	default: // it alone
	}
	for j := to - 1; j >= from; j-- {
		if m.kids[j].running {
			out = append(out, "stopped "+m.kids[j].id)
			m.kids[j].running = false
		}
		if j != i && m.kids[j].class == supervisor.Temporary {
			m.kids = slices.Delete(m.kids, j, j+1)
			to--
			if j < i {
				i--
			}
		}
	}
	out = append(out, "restarting "+id)
	for j := from; j < to; j++ {
		m.kids[j].running = true
		out = append(out, "started "+m.kids[j].id)
	}
	return out
}

func (m *model) stop() []string {
	m.ended = true
	var out []string
	for _, k := range slices.Backward(m.kids) {
		if k.running {
			out = append(out, "stopped "+k.id)
		}
	}
	m.kids = nil
	return out
}

// subject is a supervisor beside its model.
type subject struct {
	t     *testing.T
	sys   *actor.System
	trace trace
	sup   supervisor.Supervisor
	ids   map[actor.AnyRef]string // of a dynamic supervisor's children
	refs  map[string]actor.AnyRef
}

// observed is what was told since the last time.
func (r *subject) observed(m *model) []string {
	settled(r.t, r.sys)
	r.trace.mu.Lock()
	defer r.trace.mu.Unlock()
	var out []string
	for _, e := range r.trace.events {
		id := e.Child
		if m.strategy == supervisor.Dynamic {
			id = r.ids[e.Ref]
		}
		out = append(out, fmt.Sprintf("%v %s", e.Kind, id))
	}
	r.trace.events = nil
	if m.ended && m.strategy == supervisor.Dynamic { // they are stopped all at once
		slices.Sort(out)
	}
	return out
}

// outcome turns an answer into what the model says of it.
func outcome(t *testing.T, err error) []string {
	t.Helper()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, supervisor.ErrExists):
		return []string{"exists"}
	case errors.Is(err, supervisor.ErrNoChild):
		return []string{"no child"}
	case errors.Is(err, supervisor.ErrRunning):
		return []string{"running"}
	}
	t.Errorf("unexpected error: %v", err)
	return nil
}

// SUP-1 SUP-3 SUP-5 SUP-8: random sequences of ends and requests, for each strategy, against a model of OTP's rules.
func TestModel(t *testing.T) {
	for _, strategy := range strategies {
		t.Run(strategy.String(), func(t *testing.T) {
			for seed := range uint64(few(60)) {
				synctest.Test(t, func(t *testing.T) {
					compareWithModel(t, strategy, seed)
				})
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

func compareWithModel(t *testing.T, strategy supervisor.Strategy, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, uint64(strategy)))
	m := &model{strategy: strategy, intensity: 1 + rng.IntN(4), period: 5 * time.Second, auto: supervisor.AutoShutdown(rng.IntN(3))}
	r := &subject{t: t, sys: actortest.New(t, actor.SystemOptions{Seed: seed + 1}), ids: map[actor.AnyRef]string{}, refs: map[string]actor.AnyRef{}}
	spec := supervisor.Spec{Strategy: strategy, Intensity: m.intensity, AutoShutdown: m.auto, Observe: r.trace.observe}
	draw := func(id string) modelKid {
		k := modelKid{id: id, class: classes[rng.IntN(3)]}
		k.significant = m.auto != supervisor.Never && k.class != supervisor.Permanent && rng.IntN(3) == 0
		return k
	}
	childOf := func(k modelKid) supervisor.Child {
		c := child(k.id, k.class)
		c.Significant = k.significant
		return c
	}
	var want []string
	template := draw("template")
	if strategy == supervisor.Dynamic {
		spec.Children = []supervisor.Child{childOf(template)}
	} else {
		for i := range 1 + rng.IntN(4) {
			k := draw(strconv.Itoa(i))
			spec.Children = append(spec.Children, childOf(k))
			want = append(want, m.add(k)...)
		}
	}
	r.sup = start(t, r.sys, spec)
	check := func(step string) {
		t.Helper()
		got := r.observed(m)
		if m.ended && strategy == supervisor.Dynamic {
			slices.Sort(want)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d: after %s (-model +supervisor):\n%s", seed, step, diff)
		}
	}
	check("the start")
	for n := range 30 {
		if m.ended {
			break
		}
		id := strconv.Itoa(rng.IntN(6))
		var step string
		switch op := rng.IntN(10); {
		case op < 5:
			how := exits[rng.IntN(len(exits))]
			step = "end " + id + " " + how
			want = m.exit(id, how == "normal" || how == "shutdown" || how == "stopped")
			r.end(id, how)
		case op == 5:
			step, want = r.add(m, draw(id), template, n, childOf)
		case op == 6:
			step, want = "terminate "+id, m.terminate(id)
			want = r.answer(want, r.terminate(strategy, id))
		case op == 7 && strategy != supervisor.Dynamic:
			step, want = "restart "+id, m.restart(id)
			_, err := r.sup.Restart(t.Context(), id)
			want = r.answer(want, err)
		case op == 8 && strategy != supervisor.Dynamic:
			step, want = "delete "+id, m.remove(id)
			want = r.answer(want, r.sup.Delete(t.Context(), id))
		default:
			d := time.Duration(rng.IntN(4000)) * time.Millisecond
			step, want = fmt.Sprintf("pass %v", d), nil
			m.now += d
			pass(d)
		}
		check(step)
		r.compare(m)
	}
	if !m.ended {
		want = m.stop()
		if err := r.sup.Stop(t.Context()); err != nil {
			t.Errorf("seed %d: stop: %v", seed, err)
		}
		check("stop")
	}
	if r.sup.Ref().Alive() {
		t.Errorf("seed %d: the supervisor is alive", seed)
	}
}

// answer checks an answer against what the model said of it, and returns what should be observed.
func (r *subject) answer(want []string, err error) []string {
	r.t.Helper()
	if got := outcome(r.t, err); got != nil {
		if diff := cmp.Diff(want, got); diff != "" {
			r.t.Errorf("answer (-model +supervisor):\n%s", diff)
		}
		return nil
	}
	return want
}

func (r *subject) add(m *model, k, template modelKid, n int, childOf func(modelKid) supervisor.Child) (string, []string) {
	if m.strategy != supervisor.Dynamic {
		want := m.add(k)
		_, err := r.sup.Add(r.t.Context(), childOf(k))
		return "add " + k.id, r.answer(want, err)
	}
	if m.find(k.id) >= 0 {
		return "nothing", nil
	}
	template.id = k.id
	want := m.add(template)
	ref, err := r.sup.Spawn(r.t.Context(), nil)
	if err != nil {
		r.t.Errorf("spawn %d: %v", n, err)
	}
	r.ids[ref], r.refs[k.id] = k.id, ref
	return "spawn " + k.id, want
}

func (r *subject) end(id, how string) {
	ref, ok := r.refs[id]
	if !ok {
		ref, _ = r.sup.Lookup(r.t.Context(), id)
	}
	if !ref.IsZero() {
		end(r.t.Context(), ref, how)
	}
}

func (r *subject) terminate(strategy supervisor.Strategy, id string) error {
	if strategy == supervisor.Dynamic {
		return r.sup.TerminateRef(r.t.Context(), r.refs[id])
	}
	return r.sup.Terminate(r.t.Context(), id)
}

// compare holds the children against the model's.
func (r *subject) compare(m *model) {
	r.t.Helper()
	if m.ended {
		return
	}
	infos, err := r.sup.Children(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	count, err := r.sup.Count(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	var want, got []string
	running := 0
	for _, k := range m.kids {
		status := supervisor.Gone
		if k.running {
			status = supervisor.Running
			running++
		}
		want = append(want, fmt.Sprintf("%s %v", k.id, status))
	}
	for _, i := range infos {
		id := i.ID
		if m.strategy == supervisor.Dynamic {
			id = r.ids[i.Ref]
		}
		got = append(got, fmt.Sprintf("%s %v", id, i.Status))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Fatalf("children (-model +supervisor):\n%s", diff)
	}
	if count.Active != running {
		r.t.Fatalf("%d are active, want %d", count.Active, running)
	}
}
