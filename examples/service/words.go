package main

import (
	"container/heap"
	"hash/fnv"
	"iter"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	pb "github.com/greenroom-go/greenroom/examples/service/servicev1"
)

// maxWordBytes bounds a word. A longer run of letters is counted by its first maxWordBytes bytes.
const maxWordBytes = 64

// split yields each word of text as it is written there: a run of letters, digits and inner apostrophes.
func split(text string) iter.Seq[string] {
	inside := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || r == '\'' }
	return func(yield func(word string) bool) {
		for field := range strings.FieldsFuncSeq(text, func(r rune) bool { return !inside(r) }) {
			if word := shorten(strings.Trim(field, "'"), maxWordBytes); word != "" && !yield(word) {
				return
			}
		}
	}
}

// shorten cuts s to at most limit bytes, between two runes.
func shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// shardOf says which of n shards a word belongs to.
func shardOf(word string, n int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(word)) // a hash takes every byte
	return int(h.Sum32() % uint32(n))
}

// before is the order of answers: the most frequent first, those of equal count in the order of their bytes.
func before(a, b *pb.WordCount) bool {
	if a.Count != b.Count {
		return a.Count > b.Count
	}
	return a.Word < b.Word
}

// best keeps the first n of the words that it is offered, in a heap whose root is the one to go next.
type best struct {
	words []*pb.WordCount
	n     int
}

func (b *best) Len() int           { return len(b.words) }
func (b *best) Less(i, j int) bool { return before(b.words[j], b.words[i]) }
func (b *best) Swap(i, j int)      { b.words[i], b.words[j] = b.words[j], b.words[i] }
func (b *best) Push(w any)         { b.words = append(b.words, w.(*pb.WordCount)) }
func (b *best) Pop() any {
	last := len(b.words) - 1
	w := b.words[last]
	b.words = b.words[:last]
	return w
}

func (b *best) offer(w *pb.WordCount) {
	switch {
	case b.n <= 0:
	case len(b.words) < b.n:
		heap.Push(b, w)
	case before(w, b.words[0]):
		b.words[0] = w
		heap.Fix(b, 0)
	}
}

// ranked returns what was kept, the first first.
func (b *best) ranked() []*pb.WordCount {
	slices.SortFunc(b.words, func(x, y *pb.WordCount) int {
		if before(x, y) {
			return -1
		}
		return 1
	})
	return b.words
}
