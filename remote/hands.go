package remote

import "sync"

// hands counts those who put messages of a session into mailboxes.
type hands struct {
	mu     sync.Mutex
	n      int
	idle   chan struct{} // closed when there are none, if somebody waits for that
	before *hands        // of an earlier session with the same incarnation, if there may still be some
}

// follow has h come after those of an earlier session.
func (h *hands) follow(earlier *hands) {
	for earlier != nil && earlier.none() {
		earlier = earlier.next()
	}
	h.before = earlier
}

func (h *hands) enter() {
	h.mu.Lock()
	h.n++
	h.mu.Unlock()
}

func (h *hands) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n--; h.n == 0 && h.idle != nil {
		close(h.idle)
		h.idle = nil
	}
}

func (h *hands) none() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.n == 0
}

func (h *hands) next() *hands {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.before
}

// settle waits until no message of an earlier session is on its way into a mailbox: it would get among those of this one.
func (h *hands) settle() {
	for old := h.next(); old != nil; old = old.next() {
		old.wait()
	}
	h.mu.Lock()
	h.before = nil
	h.mu.Unlock()
}

func (h *hands) wait() {
	h.mu.Lock()
	if h.n == 0 {
		h.mu.Unlock()
		return
	}
	if h.idle == nil {
		h.idle = make(chan struct{})
	}
	idle := h.idle
	h.mu.Unlock()
	<-idle
}
