//go:build !(arm64 || (amd64 && (linux || darwin || freebsd)))

package actor

import (
	"bytes"
	"runtime"
	"strconv"
)

// getg returns the number of the calling goroutine, read from the head of its stack trace ("goroutine 7 [running]:").
// The portable fallback of the assembly version, at about a microsecond.
func getg() uintptr {
	var buf [64]byte
	fields := bytes.Fields(buf[:runtime.Stack(buf[:], false)])
	if len(fields) < 2 {
		return 0
	}
	id, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return uintptr(id)
}
