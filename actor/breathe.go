package actor

import (
	"os"
	"runtime"
	"time"
)

const (
	goSlice   = 50 * time.Microsecond  // a worker lets other goroutines run at least this often
	pollSlice = 250 * time.Microsecond // and makes Go look at its network poller at least this often
	restSlice = 500 * time.Microsecond // the first while another worker rests
	hogSlice  = 5 * time.Millisecond   // a goroutine that keeps a worker away for this long computes and computes
)

// breathe lets the rest of the process run. Gosched is not enough for goroutines that wait for the network: Go looks at its
// poller only when it finds nothing runnable, and a worker that yields is runnable. So now and then the worker waits for a
// byte from a pipe of its own: Go has to poll to get it going again, and finds whatever else is ready.
func (s *slot) breathe() {
	now := s.lastNow
	if now-s.goNow < goSlice || s.ex.seeded != nil {
		return
	}
	rests := s.ex.nIdle.Load() > 0
	if rests && now-s.goNow < restSlice {
		return // Go has a processor that polls and runs others. A Gosched would have it fetch this worker.
	}
	s.away()
	switch {
	case rests:
		runtime.Gosched()
	case now-s.pollNow >= pollSlice:
		s.pollNow = now
		s.lung.breathe()
	default:
		runtime.Gosched()
	}
	s.lastNow = s.ex.now()
	s.beat.Store(int64(s.lastNow))
	s.goNow = s.lastNow
	if long := s.lastNow - now; long >= hogSlice {
		s.goNow += min(long, 4*hogSlice) // its turn is as long: else such a goroutine would have the processor nearly to itself
	}
}

// lung is a pipe that a worker sends itself bytes through. It is made at the first breath; without one (no descriptors left)
// a breath is a Gosched.
type lung struct {
	r, w   *os.File
	ask    chan struct{}
	failed bool
}

func (l *lung) breathe() {
	if l.r == nil && !l.open() {
		runtime.Gosched()
		return
	}
	var b [1]byte
	l.ask <- struct{}{}
	if _, err := l.r.Read(b[:]); err != nil {
		l.failed = true
	}
}

func (l *lung) open() bool {
	if l.failed {
		return false
	}
	r, w, err := os.Pipe()
	if err != nil {
		l.failed = true
		return false
	}
	l.r, l.w, l.ask = r, w, make(chan struct{}, 1)
	go func() {
		for range l.ask {
			if _, err := w.Write([]byte{0}); err != nil {
				return
			}
		}
	}()
	return true
}

// close ends the helper goroutine; the worker must be gone or at rest.
func (l *lung) close() {
	if l.r == nil {
		return
	}
	close(l.ask)
	_ = l.r.Close()
	_ = l.w.Close()
	l.r, l.w, l.failed = nil, nil, true
}
