package mailbox

import "testing"

// TestDepths: a take counts once, in the bucket of everything that queued up since the last one.
func TestDepths(t *testing.T) {
	for _, tt := range []struct{ depth, bucket int }{{1, 0}, {2, 1}, {3, 2}, {4, 2}, {5, 3}, {8, 3}, {9, 4}, {1024, 10}, {1025, 11}} {
		var q MPSC[int]
		var pool Pool[int]
		producer, consumer := NewCache(&pool), NewCache(&pool)
		for i := range tt.depth {
			q.Push(producer, i)
		}
		for ok := true; ok; {
			_, ok = q.Pop(consumer)
		}
		want := Depths{Elems: uint64(tt.depth)}
		want.Takes[tt.bucket] = 1
		if got := *consumer.Depths(); got != want {
			t.Errorf("a take of %d: %v, want one in bucket %d", tt.depth, got, tt.bucket)
		}
		if got := *producer.Depths(); got != (Depths{}) {
			t.Errorf("a producer's cache counted takes: %v", got)
		}
	}
	var d Depths
	d.note(1 << 40)
	if d.Takes[DepthBuckets-1] != 1 {
		t.Errorf("a take beyond all buckets: %v, want it in the last one", d)
	}
}
