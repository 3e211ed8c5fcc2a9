package remote_test

import (
	"runtime"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/conditions"
)

func goexit() { runtime.Goexit() }

// slow slows the way between two nodes down.
func slow(w *rciWorld, a, b string, latency time.Duration) {
	for _, way := range [][2]string{{a, b}, {b, a}} {
		w.net.Set(way[0], way[1], conditions.Conditions{Latency: latency})
	}
}
