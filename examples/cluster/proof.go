package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	pb "github.com/greenroom-go/greenroom/examples/cluster/clusterv1"
)

// shownFaults is how many wrong counts are told.
const shownFaults = 5

// prove compares what the shards hold with what was acknowledged: the documents of each shard, and each word over all of them.
// It returns the proof in a line, or what is wrong.
func prove(acknowledged *tally, held []*pb.State) (string, error) {
	var faults []string
	var documents, total uint64
	words := make(map[string]uint64)
	for i, state := range held {
		documents += state.GetDocuments()
		if want := acknowledged.documents[i]; state.GetDocuments() != want {
			faults = append(faults, fmt.Sprintf("%s holds %d documents, and %d were acknowledged", shardName(i), state.GetDocuments(), want))
		}
		for word, n := range state.GetWords() {
			words[word] += n
			total += n
		}
	}
	all := maps.Clone(acknowledged.words)
	maps.Copy(all, words)
	for _, word := range slices.Sorted(maps.Keys(all)) {
		if words[word] != acknowledged.words[word] {
			faults = append(faults, fmt.Sprintf("%q was counted %d times, and acknowledged %d times", word, words[word], acknowledged.words[word]))
		}
	}
	if more := len(faults) - shownFaults; more > 0 {
		faults = append(faults[:shownFaults], fmt.Sprintf("and %d more", more))
	}
	if len(faults) > 0 {
		return "", fmt.Errorf("the counts are wrong: %s", strings.Join(faults, "; "))
	}
	return fmt.Sprintf("proof: the %d shards hold %d documents and %d words, %d different: document by document and word by word what was acknowledged",
		len(held), documents, total, len(words)), nil
}
