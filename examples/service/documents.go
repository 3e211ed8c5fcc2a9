package main

import (
	"container/list"
	"sync"
)

// documents are the numbers of those that are being counted. The zero value has none.
type documents struct {
	mu   sync.Mutex
	last uint64
	now  list.List // of the numbers that are open, the smallest first
	at   map[uint64]*list.Element
}

// open returns a number that no document had before, and the smallest one that is open.
func (d *documents) open() (number, smallest uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at == nil {
		d.at = make(map[uint64]*list.Element)
	}
	d.last++
	d.at[d.last] = d.now.PushBack(d.last)
	return d.last, d.now.Front().Value.(uint64)
}

// close says that nobody asks for the document any more.
func (d *documents) close(number uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now.Remove(d.at[number])
	delete(d.at, number)
}
