package actor

import (
	"context"
	"database/sql"
	"errors"
)

// SQLConn is what SerialDB needs of package database/sql: *sql.Conn, one connection, or *sql.DB, which picks one for each call.
type SQLConn interface {
	// ExecContext runs a statement that returns no rows.
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	// QueryContext runs a statement that returns rows.
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	// BeginTx starts a transaction.
	BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error)
}

// ErrInCall answers a call of a SerialDB from inside another one of it: it would wait for itself. Use what the function was given.
var ErrInCall = errors.New("actor: the call is made inside another one of the same SerialDB: use its connection or transaction")

// SerialDB runs database calls one after another, in the order they were made, on a Pool: at most one goroutine of the Pool is
// ever busy with it. An actor that waits for a call holds no slot; any other goroutine blocks. Any goroutine may use it.
//
// ctx bounds each call, its waiting for its turn included. When it ends first the call returns its error, and the statement, if it
// runs, is cancelled through the driver: whether it took effect is then unknown, as always with database/sql. The next call starts
// when this one has really ended. A panic in a function passed to it comes back as *PanicError. It opens and closes nothing: close
// the connection after the last call. The zero value answers every call with an error.
type SerialDB struct {
	pool *Pool
	conn SQLConn
	turn turnstile
}

// NewSerialDB makes a SerialDB of a connection and the Pool that its calls run on.
func NewSerialDB(p *Pool, conn SQLConn) (*SerialDB, error) {
	if !p.made() || conn == nil {
		return nil, errors.New("actor: NewSerialDB needs a pool made by NewPool and a connection")
	}
	return &SerialDB{pool: p, conn: conn, turn: turnstile{free: 1}}, nil
}

// serialKey marks the contexts of the calls of one SerialDB.
type serialKey struct{ db *SerialDB }

// serially runs f on the pool when it is this call's turn.
func serially[T any](ctx context.Context, db *SerialDB, f func(ctx context.Context, conn SQLConn) (T, error)) (v T, err error) {
	switch {
	case isNil(ctx):
		return v, ErrNilContext
	case db == nil || db.pool == nil:
		return v, errors.New("actor: this SerialDB is nil or zero: make one with NewSerialDB")
	}
	if ctx.Value(serialKey{db}) != nil {
		return v, ErrInCall
	}
	if err := db.turn.take(ctx); err != nil {
		return v, err
	}
	passed := false
	defer func() {
		if !passed {
			db.turn.give()
		}
	}()
	fut, err := submit(ctx, db.pool, func(ctx context.Context) (T, error) {
		return f(context.WithValue(ctx, serialKey{db}, true), db.conn)
	}, true, db.turn.give)
	if err != nil {
		return v, err
	}
	passed = true
	return fut.Wait(ctx)
}

// Do runs f with the connection to itself: for prepared statements, batches, and whatever else Exec, Query and Tx do not cover.
// f runs on the pool's goroutine and must not keep the connection.
func (db *SerialDB) Do(ctx context.Context, f func(ctx context.Context, conn SQLConn) error) error {
	if f == nil {
		return errors.New("actor: Do needs a function to run with the connection")
	}
	_, err := serially(ctx, db, func(ctx context.Context, conn SQLConn) (struct{}, error) {
		return struct{}{}, f(ctx, conn)
	})
	return err
}

// Exec runs a statement that returns no rows.
func (db *SerialDB) Exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return serially(ctx, db, func(ctx context.Context, conn SQLConn) (sql.Result, error) {
		return conn.ExecContext(ctx, query, args...)
	})
}

// Query runs a statement and returns all its rows, each made a T by scan. The rows are read to their end on the pool: none stays
// open, whatever fails. An error of scan ends the query.
func Query[T any](ctx context.Context, db *SerialDB, scan func(rows *sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	if scan == nil {
		return nil, errors.New("actor: Query needs a function that makes a value of a row")
	}
	return serially(ctx, db, func(ctx context.Context, conn SQLConn) ([]T, error) {
		rows, err := conn.QueryContext(ctx, query, args...)
		if err != nil {
			return nil, err
		}
		return readAll(rows, scan)
	})
}

func readAll[T any](rows *sql.Rows, scan func(rows *sql.Rows) (T, error)) (all []T, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// Tx runs f in a transaction: it commits if f returns nil, and rolls back if f returns an error, panics or ends its goroutine. opts
// may be nil. No other call comes in between.
func (db *SerialDB) Tx(ctx context.Context, opts *sql.TxOptions, f func(ctx context.Context, tx *sql.Tx) error) error {
	if f == nil {
		return errors.New("actor: Tx needs a function to run in the transaction")
	}
	return db.Do(ctx, func(ctx context.Context, conn SQLConn) (err error) {
		tx, err := conn.BeginTx(ctx, opts)
		if err != nil {
			return err
		}
		committing := false
		defer func() {
			if !committing {
				err = errors.Join(err, tx.Rollback())
			}
		}()
		if err := f(ctx, tx); err != nil {
			return err
		}
		committing = true
		return tx.Commit()
	})
}
