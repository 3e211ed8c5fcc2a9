package supervisor_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	"github.com/greenroom-go/greenroom/supervisor"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts anew")

// SUP-1, SUP-2: what each strategy does about each way of ending of each class of child, as a transcript.
func TestTranscripts(t *testing.T) {
	for _, strategy := range []supervisor.Strategy{supervisor.OneForOne, supervisor.OneForAll, supervisor.RestForOne, supervisor.Dynamic} {
		for _, class := range []supervisor.Restart{supervisor.Permanent, supervisor.Transient, supervisor.Temporary} {
			t.Run(fmt.Sprintf("%v_%v", strategy, class), func(t *testing.T) {
				var tr transcript
				for end := int64(endNormal); end >= endKilled; end-- {
					tr.note("%v, %v children, b ends: %s", strategy, class, ends[end])
					scene(t, &tr, strategy, class, end)
				}
				file := filepath.Join("testdata", fmt.Sprintf("%v_%v.txt", strategy, class))
				if *rewrite {
					if err := os.WriteFile(file, []byte(tr.text()), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), tr.text()); diff != "" {
					t.Errorf("transcript (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// scene has child b of a, b, c come to an end, and then stops the supervisor.
func scene(t *testing.T, tr *transcript, strategy supervisor.Strategy, class supervisor.Restart, end int64) {
	sys := actortest.New(t)
	var s starts
	spec := supervisor.Spec{Strategy: strategy, Observe: tr.observe}
	refs := map[string]actor.Ref[*num]{}
	var sup supervisor.Supervisor
	if strategy == supervisor.Dynamic {
		spec.Children = []supervisor.Child{s.child("", class)}
		sup = start(t, sys, spec)
		for _, id := range []string{"a", "b", "c"} {
			ref, err := sup.Spawn(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			refs[id], _ = actor.TypedRef[*num](ref)
			tr.mu.Lock()
			if tr.names == nil {
				tr.names = map[actor.AnyRef]string{}
			}
			tr.names[ref] = id
			tr.mu.Unlock()
		}
	} else {
		for _, id := range []string{"a", "b", "c"} {
			spec.Children = append(spec.Children, s.child(id, class))
		}
		sup = start(t, sys, spec)
		for _, id := range []string{"a", "b", "c"} {
			refs[id] = lookup(t, sup, id)
		}
	}
	tr.note(" b is told")
	if err := refs["b"].Send(t.Context(), &num{Value: end}); err != nil {
		t.Error(err)
	}
	settle(t, sys)
	for _, id := range []string{"a", "b", "c"} {
		state := "the same ref"
		if !refs[id].Alive() {
			state = "gone"
		}
		tr.note(" %s: %s", id, state)
	}
	if strategy == supervisor.Dynamic {
		if err := sup.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		return // its children are stopped all at once: in no order
	}
	tr.note(" the supervisor is stopped")
	if err := sup.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
