package harness

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// RSS returns the bytes of this process that are resident in memory now.
func RSS() (uint64, error) {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(data)
	if len(fields) < 2 {
		return 0, fmt.Errorf("/proc/self/statm reads %q", data)
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if err != nil {
		return 0, err
	}
	return pages * uint64(os.Getpagesize()), nil
}

// PeakRSS returns the most bytes of this process that were ever resident at once.
func PeakRSS() (uint64, error) {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(data) {
		rest, ok := bytes.CutPrefix(line, []byte("VmHWM:"))
		if !ok {
			continue
		}
		fields := bytes.Fields(rest)
		if len(fields) != 2 || string(fields[1]) != "kB" {
			return 0, fmt.Errorf("/proc/self/status has %q", line)
		}
		kb, err := strconv.ParseUint(string(fields[0]), 10, 64)
		return kb << 10, err
	}
	return RSS()
}
