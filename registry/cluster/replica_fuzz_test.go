package cluster_test

import (
	"bytes"
	"testing"

	"github.com/greenroom-go/greenroom/registry/cluster"
)

// Any bytes give an error or a state that other replicas take.
func FuzzMerge(f *testing.F) {
	a, err := cluster.NewReplica("a", 1)
	if err != nil {
		f.Fatal(err)
	}
	for i := range uint64(3) {
		if err := a.Claim("name"+string(rune('0'+i)), cluster.Actor{ID: i, Type: "t"}, nil); err != nil {
			f.Fatal(err)
		}
		if err := a.Enter("g", cluster.Actor{ID: i}); err != nil {
			f.Fatal(err)
		}
		for _, d := range a.Deltas() {
			f.Add(d)
		}
	}
	f.Add(a.State())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, _ := cluster.NewReplica("b", 2)
		r.Appear("a", 1)
		_ = r.Claim("name1", cluster.Actor{ID: 9}, nil)
		_ = r.Merge(b)
		for _, d := range append(r.Deltas(), r.State()) {
			other, _ := cluster.NewReplica("c", 3)
			other.Appear("a", 1)
			other.Appear("b", 2)
			if err := other.Merge(d); err != nil {
				t.Errorf("a state that was merged is passed on malformed: %v", err)
			}
		}
	})
}

// Any bytes give an error or a record that is written as it was read.
func FuzzRecord(f *testing.F) {
	f.Add([]byte{1, 8, 5, 18, 5, 'a', ':', '1', '2', '3', 24, 7, 34, 6, 10, 1, 'k', 18, 1, 'v', 40, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		once, err := cluster.ReadRecord(b)
		if err != nil {
			return
		}
		twice, err := cluster.ReadRecord(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%x is written as %x, and that as %x: %v", b, once, twice, err)
		}
	})
}
