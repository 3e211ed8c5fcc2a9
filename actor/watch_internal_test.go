package actor

import (
	"slices"
	"testing"
)

// LINK-4: those who are linked are told in the order in which their links were made.
func TestLinksAreToldInOrder(t *testing.T) {
	links := map[AnyRef]link{}
	var want []AnyRef
	for i := range uint64(100) {
		r := AnyRef{id: i * 7919 % 101}
		want = append(want, r)
		links[r] = link{id: i + 1}
	}
	if got := inOrderOfLinks(links); !slices.Equal(got, want) {
		t.Fatal(got)
	}
}
