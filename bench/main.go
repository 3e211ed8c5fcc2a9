// Command bench does the same work with Greenroom and with a floor, in turns, and says how they compare.
//
//	go run ./bench -list
//	go run ./bench -short
//	go run ./bench -run pingpong,count -procs 1,2 -repeat 5 -json bench-results.json -plot bench.svg
//
// The floor is what somebody who knows Go would write without Greenroom: goroutines and channels, sensibly buffered,
// nothing allocated needlessly. Both sides carry protobuf messages: one that is allocated beforehand and shared
// read-only, so that the runtime's own cost shows; with -fresh also one for each send. The Greenroom side calls nothing
// that a user of the actor package could not call.
package main

import (
	"os"

	"github.com/greenroom-go/greenroom/bench/internal/far"
	"github.com/greenroom-go/greenroom/bench/internal/harness"
)

func main() {
	if far.Is(os.Args[1:]) {
		os.Exit(far.Main(farSides(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(harness.Main(suite(), os.Args[1:], os.Stdout, os.Stderr))
}
