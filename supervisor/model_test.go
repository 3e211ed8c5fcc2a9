package supervisor_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	"github.com/greenroom-go/greenroom/supervisor"
)

// model says in the simplest way what a supervisor with IDs does.
type model struct {
	strategy supervisor.Strategy
	kids     []*modelKid
}

type modelKid struct {
	ID       string
	class    supervisor.Restart
	Gone     bool
	Restarts int
	Starts   int
}

func (m *model) find(id string) *modelKid {
	for _, k := range m.kids {
		if k.ID == id {
			return k
		}
	}
	return nil
}

func (m *model) remove(k *modelKid) {
	m.kids = slices.DeleteFunc(m.kids, func(o *modelKid) bool { return o == k })
}

// ends is what an end of k does.
func (m *model) ends(k *modelKid, end int64) {
	if again := k.class == supervisor.Permanent || k.class == supervisor.Transient && abnormal(end); !again {
		if k.Gone = true; k.class == supervisor.Temporary {
			m.remove(k)
		}
		return
	}
	k.Restarts++
	group := []*modelKid{k}
	switch m.strategy {
	case supervisor.OneForAll:
		group = slices.Clone(m.kids)
	case supervisor.RestForOne:
		group = slices.Clone(m.kids[slices.Index(m.kids, k):])
	}
	for _, o := range group {
		if o != k && o.class == supervisor.Temporary {
			m.remove(o)
			continue
		}
		o.Gone = false
		o.Starts++
	}
}

// terminates is Terminate; it reports whether there is such a child.
func (m *model) terminates(k *modelKid) {
	if k.Gone = true; k.class == supervisor.Temporary {
		m.remove(k)
	}
}

// SUP-3: random sequences of ends and of calls leave a supervisor as the model says, under many seeds.
func TestModel(t *testing.T) {
	seeds := 1000
	if testing.Short() {
		seeds = 100
	}
	for _, strategy := range []supervisor.Strategy{supervisor.OneForOne, supervisor.OneForAll, supervisor.RestForOne} {
		t.Run(strategy.String(), func(t *testing.T) {
			n := 0
			actortest.Explore(t, seeds/3, func(t *testing.T, sys *actor.System) {
				n++
				playModel(t, sys, strategy, rand.New(rand.NewPCG(sys.NodeID(), uint64(strategy))))
			})
		})
	}
}

func playModel(t *testing.T, sys *actor.System, strategy supervisor.Strategy, rng *rand.Rand) {
	var s starts
	m := &model{strategy: strategy}
	spec := supervisor.Spec{Strategy: strategy, Intensity: 1 << 30}
	class := func() supervisor.Restart { return supervisor.Restart(rng.IntN(3)) }
	for i := range 3 {
		k := &modelKid{ID: fmt.Sprint("k", i), class: class(), Starts: 1}
		m.kids = append(m.kids, k)
		spec.Children = append(spec.Children, s.child(k.ID, k.class))
	}
	sup := start(t, sys, spec)
	for step := range 12 {
		id := fmt.Sprint("k", rng.IntN(5))
		k := m.find(id)
		what := ""
		switch op := rng.IntN(8); {
		case op < 4: // an end
			end := int64(endNormal) - rng.Int64N(6)
			what = "end " + ends[end]
			if k == nil || k.Gone {
				_, err := sup.Lookup(t.Context(), id)
				wantErr(t, "lookup of nobody", err, supervisor.ErrNoChild)
				break
			}
			ref := lookup(t, sup, id)
			if err := ref.Send(t.Context(), &num{Value: end}); err != nil {
				t.Errorf("step %d: %v", step, err)
			}
			m.ends(k, end)
		case op == 4:
			what = "add"
			c := class()
			_, err := sup.Add(t.Context(), s.child(id, c))
			if k != nil {
				wantErr(t, "add", err, supervisor.ErrExists)
				break
			}
			wantErr(t, "add", err, nil)
			m.kids = append(m.kids, &modelKid{ID: id, class: c, Starts: s.of(id)})
		case op == 5:
			what = "terminate"
			err := sup.Terminate(t.Context(), id)
			if k == nil {
				wantErr(t, "terminate", err, supervisor.ErrNoChild)
				break
			}
			wantErr(t, "terminate", err, nil)
			m.terminates(k)
		case op == 6:
			what = "restart"
			_, err := sup.Restart(t.Context(), id)
			switch {
			case k == nil:
				wantErr(t, "restart", err, supervisor.ErrNoChild)
			case !k.Gone:
				wantErr(t, "restart", err, supervisor.ErrRunning)
			default:
				wantErr(t, "restart", err, nil)
				k.Gone = false
				k.Starts++
			}
		default:
			what = "delete"
			err := sup.Delete(t.Context(), id)
			switch {
			case k == nil:
				wantErr(t, "delete", err, supervisor.ErrNoChild)
			case !k.Gone:
				wantErr(t, "delete", err, supervisor.ErrRunning)
			default:
				wantErr(t, "delete", err, nil)
				m.remove(k)
			}
		}
		settle(t, sys)
		compare(t, sup, m, &s, fmt.Sprintf("step %d: %s %s", step, what, id))
		if t.Failed() {
			return
		}
	}
	if err := sup.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func compare(t *testing.T, sup supervisor.Supervisor, m *model, s *starts, what string) {
	t.Helper()
	infos, err := sup.Children(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, i := range infos {
		got = append(got, fmt.Sprintf("%s gone=%v restarts=%d starts=%d", i.ID, i.Status == supervisor.Gone, i.Restarts, s.of(i.ID)))
		if i.Status == supervisor.Running {
			ref, ok := actor.TypedRef[*num](i.Ref)
			if _, err := actor.Call[*num](t.Context(), ref, &num{Value: 1}); err != nil || !ok {
				t.Errorf("%s: %s does not answer: %v", what, i.ID, err)
			}
		} else if i.Ref.Alive() {
			t.Errorf("%s: %s is gone and alive", what, i.ID)
		}
	}
	for _, k := range m.kids {
		want = append(want, fmt.Sprintf("%s gone=%v restarts=%d starts=%d", k.ID, k.Gone, k.Restarts, k.Starts))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
	counts, err := sup.Count(t.Context())
	active := 0
	for _, k := range m.kids {
		if !k.Gone {
			active++
		}
	}
	if err != nil || counts.Specs != len(m.kids) || counts.Active != active {
		t.Errorf("%s: counts %+v, %v; want %d of %d", what, counts, err, active, len(m.kids))
	}
}
