package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
)

// profileVar names the directory that processes write their processor profiles to, in their environment.
const profileVar = "GREENROOM_BENCH_PROFILE"

// Profile takes a profile of this process's processor time until stop, if the run was asked for that (-profile). The file bears the
// name and the process's number.
func Profile(name string) (stop func(), err error) {
	dir := os.Getenv(profileVar)
	if dir == "" {
		return func() {}, nil
	}
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%s-%d.pprof", strings.ReplaceAll(name, "/", "-"), os.Getpid())))
	if err != nil {
		return nil, fmt.Errorf("-profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	}, nil
}
