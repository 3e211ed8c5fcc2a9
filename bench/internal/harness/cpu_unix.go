//go:build unix

package harness

import (
	"syscall"
	"time"
)

// CPUTime returns the processor time that this process has used, in user and kernel mode together.
func CPUTime() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
