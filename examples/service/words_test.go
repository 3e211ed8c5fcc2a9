package main

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	pb "github.com/greenroom-go/greenroom/examples/service/servicev1"
)

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"plain", "the cat, the dog.", []string{"the", "cat", "the", "dog"}},
		{"case is kept", "The CAT", []string{"The", "CAT"}},
		{"apostrophes", "'don't' o'clock ''", []string{"don't", "o'clock"}},
		{"digits", "route 66a", []string{"route", "66a"}},
		{"other scripts", "Größe, 東京; naïve", []string{"Größe", "東京", "naïve"}},
		{"nothing", " -- \n\t.", nil},
		{"long", strings.Repeat("x", 100), []string{strings.Repeat("x", maxWordBytes)}},
		{"long between runes", "x" + strings.Repeat("ö", 50), []string{"x" + strings.Repeat("ö", (maxWordBytes-1)/2)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, slices.Collect(split(c.text))); diff != "" {
				t.Errorf("words (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzSplit(f *testing.F) {
	f.Add("the cat, the dog's")
	f.Add("\xff'ö")
	f.Fuzz(func(t *testing.T, text string) {
		for word := range split(text) {
			if word == "" || len(word) > maxWordBytes {
				t.Fatalf("%q has the word %q", text, word)
			}
			if utf8.ValidString(text) && !utf8.ValidString(word) {
				t.Fatalf("%q has the broken word %q", text, word)
			}
		}
	})
}

func TestShortenKeepsWhatFits(t *testing.T) {
	for _, c := range []struct {
		s     string
		limit int
		want  string
	}{{"ab", 2, "ab"}, {"abc", 2, "ab"}, {"ö", 1, ""}, {"aö", 2, "a"}, {"", 0, ""}, {"\x80\x80", 1, ""}} {
		if got := shorten(c.s, c.limit); got != c.want {
			t.Errorf("shorten(%q, %d) = %q, want %q", c.s, c.limit, got, c.want)
		}
	}
}

// TestBestAgainstSorting offers words in an awkward order and compares with sorting them all.
func TestBestAgainstSorting(t *testing.T) {
	var all []*pb.WordCount
	for i := range 200 {
		all = append(all, &pb.WordCount{Word: strings.Repeat("a", i*37%200+1), Count: uint64(i * i % 11)})
	}
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b *pb.WordCount) int {
		if before(a, b) {
			return -1
		}
		return 1
	})
	for _, n := range []int{0, 1, 7, 200, 300} {
		b := best{n: n}
		for _, w := range all {
			b.offer(w)
		}
		want := sorted[:min(n, len(sorted))]
		got := b.ranked()
		if !slices.Equal(want, got) {
			t.Errorf("the first %d are wrong: %d words", n, len(got))
		}
	}
}
