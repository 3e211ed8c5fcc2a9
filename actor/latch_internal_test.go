package actor

import (
	"container/list"
	"testing"
)

// queueUp has n stand in line, as take does.
func (p *turnstile) queueUp(n int) (tickets []*ticket, places []*list.Element) {
	for range n {
		t := new(ticket)
		tickets, places = append(tickets, t), append(places, p.line.PushBack(t))
	}
	return tickets, places
}

// Who gives up in the moment in which the turnstile closes is out of the line already.
func TestLeaveMeetsClose(t *testing.T) {
	p := new(turnstile)
	tickets, places := p.queueUp(3)
	p.leave(places[1], tickets[1])
	p.close(ErrPoolClosed)
	p.leave(places[0], tickets[0])
	p.leave(places[2], tickets[2])
	if n := p.waiting(); n != 0 {
		t.Errorf("%d wait in an empty line", n)
	}
	p.give()
	if p.free != 1 {
		t.Errorf("%d places are free", p.free)
	}
	for i, want := range []bool{true, false, true} {
		if tickets[i].isOpen() != want {
			t.Errorf("ticket %d: told of the end: %v", i, !want)
		}
	}
}

// A place that was granted to one who gives up goes to the next, also when nobody new is let in any more.
func TestGrantedPlaceIsNotLost(t *testing.T) {
	p := new(turnstile)
	tickets, places := p.queueUp(2)
	p.give()
	p.leave(places[0], tickets[0])
	if !tickets[1].granted {
		t.Fatal("the place is lost")
	}
	p.close(ErrPoolClosed)
	p.leave(places[1], tickets[1])
	if p.free != 1 {
		t.Errorf("%d places are free", p.free)
	}
}
