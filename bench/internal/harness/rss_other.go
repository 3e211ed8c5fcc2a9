//go:build !linux

package harness

import "runtime"

// RSS returns what the Go runtime holds of the operating system's memory now: close to the resident bytes, without the
// program's text.
func RSS() (uint64, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Sys - m.HeapReleased, nil
}

// PeakRSS returns the most that the Go runtime ever asked of the operating system: an upper bound of the resident bytes.
func PeakRSS() (uint64, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Sys, nil
}
