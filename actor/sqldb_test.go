package actor_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/greenroom-go/greenroom/actor"
)

// fakeDB is a database of one table of numbers. "add" adds its arguments, "all" returns the numbers, "broken" rows that fail after
// the first, "wait" runs until its context ends, "boom" fails.
type fakeDB struct {
	mu      sync.Mutex
	numbers []int64
	before  []int64 // while a transaction is open: what a rollback restores
	inside  atomic.Int32
	clashed atomic.Bool
	open    atomic.Int32 // rows that nobody closed
	waits   chan struct{}
}

func (db *fakeDB) Connect(context.Context) (driver.Conn, error) { return &fakeConn{db}, nil }
func (db *fakeDB) Driver() driver.Driver                        { return nil }

// enter notes whether two calls are in the database at once.
func (db *fakeDB) enter() func() {
	if db.inside.Add(1) != 1 {
		db.clashed.Store(true)
	}
	return func() { db.inside.Add(-1) }
}

type fakeConn struct{ db *fakeDB }

func (c *fakeConn) Prepare(string) (driver.Stmt, error) { return nil, errors.New("not prepared") }
func (c *fakeConn) Close() error                        { return nil }
func (c *fakeConn) Begin() (driver.Tx, error) {
	c.db.mu.Lock()
	defer c.db.mu.Unlock()
	c.db.before = slices.Clone(c.db.numbers)
	return c, nil
}
func (c *fakeConn) Commit() error { return nil }
func (c *fakeConn) Rollback() error {
	c.db.mu.Lock()
	defer c.db.mu.Unlock()
	c.db.numbers = c.db.before
	return nil
}

func (c *fakeConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	defer c.db.enter()()
	switch query {
	case "add":
		runtime.Gosched()
		c.db.mu.Lock()
		defer c.db.mu.Unlock()
		for _, a := range args {
			c.db.numbers = append(c.db.numbers, a.Value.(int64))
		}
		return driver.RowsAffected(len(args)), nil
	case "wait":
		c.db.waits <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return nil, errBoom
}

func (c *fakeConn) QueryContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	defer c.db.enter()()
	if query == "boom" {
		return nil, errBoom
	}
	c.db.mu.Lock()
	defer c.db.mu.Unlock()
	c.db.open.Add(1)
	return &fakeRows{db: c.db, rest: slices.Clone(c.db.numbers), broken: query == "broken"}, nil
}

type fakeRows struct {
	db     *fakeDB
	rest   []int64
	read   int
	broken bool
}

func (r *fakeRows) Columns() []string { return []string{"number"} }
func (r *fakeRows) Close() error      { r.db.open.Add(-1); return nil }
func (r *fakeRows) Next(to []driver.Value) error {
	switch {
	case r.broken && r.read == 1:
		return errBoom
	case r.read == len(r.rest):
		return io.EOF
	}
	to[0] = r.rest[r.read]
	r.read++
	return nil
}

func scanNumber(rows *sql.Rows) (n int64, err error) {
	err = rows.Scan(&n)
	return n, err
}

func newSerialDB(t *testing.T) (*fakeDB, *actor.SerialDB) {
	t.Helper()
	fake := &fakeDB{waits: make(chan struct{}, 1)}
	db := sql.OpenDB(fake)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if fake.open.Load() != 0 {
			t.Errorf("%d rows are still open", fake.open.Load())
		}
		if fake.clashed.Load() {
			t.Error("two calls were in the database at once")
		}
	})
	serial, err := actor.NewSerialDB(newPool(t, actor.PoolOptions{Workers: 8}), db)
	if err != nil {
		t.Fatal(err)
	}
	return fake, serial
}

func TestSerialDBNeedsItsParts(t *testing.T) {
	if _, err := actor.NewSerialDB(nil, nil); err == nil {
		t.Error("no pool and no connection")
	}
	_, db := newSerialDB(t)
	ctx := bounded(t)
	_, err := actor.Query[int64](ctx, db, nil, "numbers")
	for what, err := range map[string]error{"Query": err, "Do": db.Do(ctx, nil), "Tx": db.Tx(ctx, nil, nil)} {
		var p *actor.PanicError
		if err == nil || errors.As(err, &p) {
			t.Errorf("%s without a function: %v", what, err)
		}
	}
}

// SQL-1: actors and goroutines call at once; no two calls are ever in the database together, and each sees its own results.
func TestSerialDBSerializes(t *testing.T) {
	sys := newSystem(t, actor.SystemOptions{Workers: 1})
	fake, db := newSerialDB(t)
	add := func(ctx context.Context, n int64) error {
		res, err := db.Exec(ctx, "add", n, n+1)
		if err != nil {
			return err
		}
		if rows, _ := res.RowsAffected(); rows != 2 {
			return fmt.Errorf("%d rows affected", rows)
		}
		all, err := actor.Query(ctx, db, scanNumber, "all")
		if err == nil && !slices.Contains(all, n+1) {
			err = fmt.Errorf("%v without %d", all, n+1)
		}
		return err
	}
	var refs []actor.AnyRef
	var goroutines sync.WaitGroup
	for i := range int64(20) {
		refs = append(refs, start(sys, func(ctx *actor.Context) error { return add(ctx, i*100) }))
		goroutines.Go(func() {
			if err := add(context.Background(), i*100+50); err != nil {
				t.Error(err)
			}
		})
	}
	goroutines.Wait()
	for _, r := range refs {
		if _, err := r.Wait(bounded(t)); err != nil {
			t.Error(err)
		}
	}
	if len(fake.numbers) != 80 {
		t.Errorf("%d numbers, want 80", len(fake.numbers))
	}
}

// SQL-2: calls run in the order in which they were made, by actors and goroutines alike.
func TestSerialDBKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := newSystem(t)
		fake, db := newSerialDB(t)
		first, cancel := context.WithCancel(t.Context())
		var calls sync.WaitGroup
		calls.Go(func() {
			if _, err := db.Exec(first, "wait"); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		<-fake.waits
		var want []int64
		for i := range int64(20) {
			add := func(ctx context.Context) error { _, err := db.Exec(ctx, "add", i); return err }
			if i%2 == 0 {
				calls.Go(func() {
					if err := add(t.Context()); err != nil {
						t.Error(err)
					}
				})
			} else {
				start(sys, func(ctx *actor.Context) error { return add(ctx) })
			}
			synctest.Wait() // until it is in line
			want = append(want, i)
		}
		cancel()
		calls.Wait()
		if err := sys.Join(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(fake.numbers, want) {
			t.Errorf("order: %v", fake.numbers)
		}
	})
}

// SQL-3, SQL-6: errors and panics come back, no rows stay open, a call inside a call is refused, and the next call works.
func TestSerialDBErrors(t *testing.T) {
	_, db := newSerialDB(t)
	ctx := bounded(t)
	if _, err := db.Exec(ctx, "add", int64(1), int64(2)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(ctx, "boom"); !errors.Is(err, errBoom) {
		t.Errorf("Exec: %v", err)
	}
	for _, query := range []string{"boom", "broken"} {
		if _, err := actor.Query(ctx, db, scanNumber, query); !errors.Is(err, errBoom) {
			t.Errorf("Query %s: %v", query, err)
		}
	}
	if _, err := actor.Query(ctx, db, func(*sql.Rows) (int, error) { return 0, errBoom }, "all"); !errors.Is(err, errBoom) {
		t.Errorf("scan fails: %v", err)
	}
	var panicked *actor.PanicError
	if _, err := actor.Query(ctx, db, func(*sql.Rows) (int, error) { panic(errBoom) }, "all"); !errors.As(err, &panicked) {
		t.Errorf("scan panics: %v", err)
	}
	if err := db.Do(ctx, func(ctx context.Context, _ actor.SQLConn) error {
		_, err := db.Exec(ctx, "add", int64(3))
		return err
	}); !errors.Is(err, actor.ErrInCall) {
		t.Errorf("a call inside a call: %v", err)
	}
	if all, err := actor.Query(ctx, db, scanNumber, "all"); err != nil || len(all) != 2 {
		t.Errorf("after the errors: %v, %v", all, err)
	}
}

// SQL-4: a transaction is committed only if its function returned nil.
func TestSerialDBTx(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func() error
		want func(err error) bool
		kept int
	}{
		{"commit", func() error { return nil }, func(err error) bool { return err == nil }, 1},
		{"error", func() error { return errBoom }, func(err error) bool { return errors.Is(err, errBoom) }, 0},
		{"panic", func() error { panic(errBoom) }, func(err error) bool {
			var p *actor.PanicError
			return errors.As(err, &p)
		}, 0},
		{"goexit", func() error { runtime.Goexit(); return nil }, func(err error) bool { return errors.Is(err, actor.ErrGoexit) }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, db := newSerialDB(t)
			err := db.Tx(bounded(t), nil, func(ctx context.Context, tx *sql.Tx) error {
				if _, err := tx.ExecContext(ctx, "add", int64(1)); err != nil {
					return err
				}
				return c.end()
			})
			if !c.want(err) {
				t.Errorf("Tx: %v", err)
			}
			if all, err := actor.Query(bounded(t), db, scanNumber, "all"); err != nil || len(all) != c.kept {
				t.Errorf("after it: %v, %v", all, err)
			}
		})
	}
}

// SQL-5: a call that is given up, by its context or by a kill, does not keep the others from their turn, whether it runs or waits.
func TestSerialDBGivenUp(t *testing.T) {
	sys := newSystem(t)
	fake, db := newSerialDB(t)
	running := start(sys, func(ctx *actor.Context) error { _, err := db.Exec(ctx, "wait"); return err })
	<-fake.waits
	waits := start(sys, func(ctx *actor.Context) error { _, err := db.Exec(ctx, "add", int64(1)); return err })
	if err := sys.Quiesce(expired(t)); err == nil {
		t.Error("at rest while a job runs for an actor")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := db.Exec(ctx, "add", int64(2)); !errors.Is(err, context.Canceled) {
		t.Errorf("under a context that is over: %v", err)
	}
	waits.Kill()
	if _, err := waits.Wait(bounded(t)); !errors.Is(err, actor.ErrKilled) {
		t.Errorf("killed while it waits for its turn: %v", err)
	}
	running.Kill()
	if _, err := running.Wait(bounded(t)); !errors.Is(err, actor.ErrKilled) {
		t.Errorf("killed while its call runs: %v", err)
	}
	if _, err := db.Exec(bounded(t), "add", int64(3)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(fake.numbers, []int64{3}) {
		t.Errorf("the table holds %v", fake.numbers)
	}
}

func ExampleSerialDB() {
	pool, _ := actor.NewPool(actor.PoolOptions{Workers: 1})
	conn := sql.OpenDB(&fakeDB{})
	db, _ := actor.NewSerialDB(pool, conn)
	ctx := context.Background()
	_, err := db.Exec(ctx, "add", int64(3), int64(4))
	all, _ := actor.Query(ctx, db, scanNumber, "all")
	fmt.Println(all, err)
	fmt.Println(pool.Close(ctx), conn.Close())
	// Output:
	// [3 4] <nil>
	// <nil> <nil>
}
