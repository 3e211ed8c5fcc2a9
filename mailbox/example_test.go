package mailbox_test

import (
	"fmt"

	"github.com/greenroom-go/greenroom/mailbox"
)

// The one push that finds the queue idle is told to get the consumer to run; the consumer runs until Idle says yes.
func ExampleMPSC() {
	var q mailbox.MPSC[string]
	var pool mailbox.Pool[string]
	cache := mailbox.NewCache(&pool)

	fmt.Println(q.Push(cache, "one"))
	fmt.Println(q.Push(cache, "two"))
	for {
		e, ok := q.Pop(cache)
		if ok {
			fmt.Println(e)
		} else if q.Idle() {
			break
		}
	}
	// Output:
	// wake
	// queued
	// one
	// two
}

func ExampleBounded() {
	q, err := mailbox.NewBounded[string](2, mailbox.DropOldest)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range []string{"one", "two", "three"} {
		out, oldest, evicted := q.Push(e)
		fmt.Printf("%s: %v, evicted %v %q\n", e, out, evicted, oldest)
	}
	// Output:
	// one: wake, evicted false ""
	// two: queued, evicted false ""
	// three: queued, evicted true "one"
}

// A producer that finds no room waits in line; the consumer's Pop moves its element in and tells it.
func ExampleBounded_Await() {
	q, err := mailbox.NewBounded[string](1, mailbox.Suspend)
	if err != nil {
		fmt.Println(err)
		return
	}
	q.Push("one")
	fmt.Println(q.Await(&mailbox.Waiter[string]{
		Elem:  "two",
		Ready: func(out mailbox.Outcome) { fmt.Println("two is", out) },
	}))
	fmt.Println(q.Pop())
	fmt.Println(q.Pop())
	// Output:
	// full true
	// two is queued
	// one true
	// two true
}

func ExamplePriority() {
	q, err := mailbox.NewPriority(func(e string) int { return len(e) }, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range []string{"one", "three", "two"} {
		q.Push(e)
	}
	q.Close(func(e string) { fmt.Println(e) })
	// Output:
	// three
	// one
	// two
}
