package actor

import (
	"container/list"
	"context"
	"slices"
	"sync"
)

// latch opens once and stays open. Actors and goroutines may wait for it; an actor holds no slot meanwhile. The zero value
// is closed; do not copy after use. What was done before open happens before what follows wait.
type latch struct {
	mu     sync.Mutex
	opened bool
	done   chan struct{} // made for the first goroutine that waits
	actors []*Context
}

func (l *latch) isOpen() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.opened
}

func (l *latch) open() {
	l.mu.Lock()
	if l.opened {
		l.mu.Unlock()
		return
	}
	l.opened = true
	if l.done != nil {
		close(l.done)
	}
	actors := l.actors
	l.actors = nil
	l.mu.Unlock()
	for _, ctx := range actors {
		ctx.sys.rouse(nil, ctx.cell)
	}
}

// wait returns nil once the latch is open, even if ctx is done by then.
func (l *latch) wait(ctx context.Context) error {
	if l.isOpen() {
		return nil
	}
	w, err := enter(ctx)
	defer w.leave()
	if err != nil {
		return err
	}
	if w.c != nil {
		return l.suspend(&w)
	}
	select {
	case <-l.opening():
		return nil
	case <-ctx.Done():
		if l.isOpen() {
			return nil
		}
		return ctx.Err()
	}
}

func (l *latch) opening() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.opened {
		return closedChan
	}
	if l.done == nil {
		l.done = make(chan struct{})
	}
	return l.done
}

func (l *latch) suspend(w *waiting) error {
	l.mu.Lock()
	l.actors = append(l.actors, w.ctx)
	l.mu.Unlock()
	defer l.forget(w.ctx)
	for !l.isOpen() {
		if err := w.sleep(waitPark); err != nil {
			if l.isOpen() {
				return nil
			}
			return err
		}
	}
	return nil
}

func (l *latch) forget(ctx *Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.actors, ctx); i >= 0 {
		l.actors = slices.Delete(l.actors, i, i+1)
	}
}

// turnstile is a number of places that are taken and given back, first come, first served, by actors and goroutines alike. A
// place belongs to a piece of work rather than to who took it: anybody may give it back.
type turnstile struct {
	mu     sync.Mutex
	free   int
	line   list.List // of *ticket
	closed error
}

type ticket struct {
	latch
	granted bool // guarded by turnstile.mu
}

// tryTake takes a place if one is free and nobody waits for it.
func (p *turnstile) tryTake(full error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed != nil:
		return p.closed
	case p.free == 0:
		return full
	}
	p.free--
	return nil
}

// take waits under ctx for a place.
func (p *turnstile) take(ctx context.Context) error {
	p.mu.Lock()
	if p.closed != nil || p.free > 0 {
		defer p.mu.Unlock()
		if p.closed == nil {
			p.free--
		}
		return p.closed
	}
	t := new(ticket)
	e := p.line.PushBack(t)
	p.mu.Unlock()
	kept := false
	defer func() {
		if !kept {
			p.leave(e, t) // also when a kill ends the wait
		}
	}()
	if err := t.wait(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	kept = true
	if !t.granted {
		return p.closed
	}
	return nil
}

// leave takes who gave up out of the line; a place that was granted to it meanwhile goes to the next.
func (p *turnstile) leave(e *list.Element, t *ticket) {
	p.mu.Lock()
	granted := t.granted
	if !granted {
		p.line.Remove(e)
	}
	p.mu.Unlock()
	if granted {
		p.give()
	}
}

// give gives a place back, to the first in line if there is one.
func (p *turnstile) give() {
	p.mu.Lock()
	e := p.line.Front()
	if e == nil {
		p.free++
		p.mu.Unlock()
		return
	}
	t := p.line.Remove(e).(*ticket)
	t.granted = true
	p.mu.Unlock()
	t.open()
}

// close refuses everybody from now on, those in line included, with err.
func (p *turnstile) close(err error) {
	p.mu.Lock()
	var line []*ticket
	if p.closed == nil {
		p.closed = err
		for e := p.line.Front(); e != nil; e = p.line.Front() {
			line = append(line, p.line.Remove(e).(*ticket)) // one by one: leave must find that its element is out
		}
	}
	p.mu.Unlock()
	for _, t := range line {
		t.open()
	}
}

// waiting is how many stand in line.
func (p *turnstile) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.line.Len()
}
