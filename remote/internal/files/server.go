package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// Options are a Server's. Root alone has no default.
type Options struct {
	// Root is the directory that files of other nodes go to. It is made if it is not there. Nothing outside of it is read or
	// written, whatever names or symbolic links lead there. One Server at a time may have it.
	Root string
	// MaxFileBytes bounds a file. Zero means 1 GiB.
	MaxFileBytes int64
	// MaxTotalBytes bounds all files below Root together, partial ones and those that are being replaced included. Zero: no bound.
	// What programs beside the Server do there is seen at the start and before somebody is refused.
	MaxTotalBytes int64
	// MaxConcurrent bounds how many requests are served at once; others are ErrBusy. Zero means 16.
	MaxConcurrent int
	// Overwrite says whether files are replaced. Zero means OverwriteIfAsked.
	Overwrite Overwrite
	// KeepPartial is how long partial files are kept after they were last written to. Zero means 24 hours.
	KeepPartial time.Duration
	// IdleTimeout is how long a peer may do nothing while it is its turn. Zero means a minute. A peer that has a part of a file reads
	// that part, to compare checksums, before it goes on.
	IdleTimeout time.Duration
	// Allow, if there is one, is asked before each request; its error is the peer's, with ErrRefused. It runs on the goroutine that
	// serves the request.
	Allow func(ctx context.Context, r Request) error
	// Log is told of files that were stored and deleted, and of what was refused. Nil: nobody is told.
	Log *slog.Logger
}

// Overwrite says whether files are replaced.
type Overwrite int

// The ways to treat files that are there already with other content.
const (
	OverwriteIfAsked Overwrite = iota // replace them if the sender says so
	OverwriteNever                    // keep them; they can still be deleted
)

// Request is what Options.Allow judges.
type Request struct {
	Peer string // who asks
	Op   Op     // for what
	Name string // which file, slash-separated, below Root
	Size int64  // of a Put
}

// Op is a kind of request.
type Op string

// The kinds of requests.
const (
	OpPut    Op = "put"    // store it
	OpDelete Op = "delete" // delete it
	OpStat   Op = "stat"   // tell about it
)

func (o Options) withDefaults() (Options, error) {
	switch {
	case o.Root == "":
		return o, errors.New("remote: files of other nodes need a directory: set Root")
	case o.MaxFileBytes < 0, o.MaxTotalBytes < 0, o.MaxConcurrent < 0, o.KeepPartial < 0, o.IdleTimeout < 0:
		return o, errors.New("remote: the limits of file transfer may not be negative")
	case o.Overwrite != OverwriteIfAsked && o.Overwrite != OverwriteNever:
		return o, fmt.Errorf("remote: there is no Overwrite %d", o.Overwrite)
	}
	orDefault(&o.MaxFileBytes, 1<<30)
	orDefault(&o.MaxConcurrent, 16)
	orDefault(&o.KeepPartial, 24*time.Hour)
	orDefault(&o.IdleTimeout, time.Minute)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

func orDefault[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}

// patience is how long a peer may take to close a stream after the last answer.
const patience = 5 * time.Second

// Server carries out what peers want done to the files below its root.
// Any goroutine may use it.
type Server struct {
	opts    Options
	root    *os.Root
	staging fs.FileInfo // of StagingDir

	write func(f *os.File, b []byte) (int, error) // (*os.File).Write; tests have disks that fail

	ctx  context.Context // ends with Close
	stop context.CancelCauseFunc
	busy sync.WaitGroup // streams being served

	mu       sync.Mutex
	closed   bool
	serving  int               // requests that were admitted
	claims   map[string]*claim // by the name of the partial file
	used     int64             // what counts against MaxTotalBytes: see quota.go
	measured time.Time         // when used was last measured
}

// NewServer opens the root, and removes partial files that are too old.
func NewServer(o Options) (*Server, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Root, 0o700); err != nil {
		return nil, fmt.Errorf("remote: the directory for files: %w", err)
	}
	root, err := os.OpenRoot(o.Root)
	if err != nil {
		return nil, fmt.Errorf("remote: the directory for files: %w", err)
	}
	s := &Server{opts: o, root: root, write: (*os.File).Write, claims: map[string]*claim{}}
	if err := s.openStaging(); err != nil {
		root.Close() //nolint:errcheck // nothing was done in it
		return nil, err
	}
	s.ctx, s.stop = context.WithCancelCause(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clean()
	s.measure()
	return s, nil
}

// Close ends what is served and waits for it. Files that were being received can be resumed by the next Server.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop(errors.New("the node takes no more files"))
	s.busy.Wait()
	return s.root.Close()
}

// Serve carries out the request that comes on the stream, and closes the stream. peer is who has proved to be on the other side.
// It returns when that is done or ctx ends; its error is what was refused or went wrong, and was logged.
func (s *Server) Serve(ctx context.Context, stream io.ReadWriteCloser, peer string) error {
	if !s.enter() {
		abort(stream)
		return refuse(ErrRefused, "the node takes no more files")
	}
	defer s.busy.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.ctx, func() { cancel(context.Cause(s.ctx)) })()
	defer stream.Close() //nolint:errcheck // what had to arrive was answered, or the stream is broken
	defer abortWhen(ctx, stream)()
	l := newLine(stream, s.opts.IdleTimeout)

	answer, err := s.admitted(func() (*greenroomv1.FileResponse, error) { return s.answer(ctx, cancel, l, peer) })
	if cause := context.Cause(ctx); cause != nil {
		err = fmt.Errorf("%w: %w", ErrInterrupted, cause)
	}
	switch {
	case errors.Is(err, ErrInterrupted):
		s.opts.Log.WarnContext(ctx, "file transfer cut short", "peer", peer, "error", err)
		abort(stream)
		return err
	case err != nil:
		s.opts.Log.WarnContext(ctx, "file request refused", "peer", peer, "error", err)
		answer = &greenroomv1.FileResponse{Response: &greenroomv1.FileResponse_Failure{Failure: toWire(err)}}
	}
	if sent := l.write(answer); sent != nil {
		abort(stream)
		return errors.Join(err, sent)
	}
	l.drain(patience)
	return err
}

// enter has Close wait, unless it was called already.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.busy.Add(1)
	}
	return !s.closed
}

// admitted calls f unless too much is going on already.
func (s *Server) admitted(f func() (*greenroomv1.FileResponse, error)) (*greenroomv1.FileResponse, error) {
	s.mu.Lock()
	if s.serving == s.opts.MaxConcurrent {
		s.mu.Unlock()
		return nil, refuse(ErrBusy, "there are %d already", s.opts.MaxConcurrent)
	}
	s.serving++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.serving--
		s.mu.Unlock()
	}()
	return f()
}

// answer reads the request and carries it out.
func (s *Server) answer(ctx context.Context, cancel context.CancelCauseFunc, l *line, peer string) (*greenroomv1.FileResponse, error) {
	var m greenroomv1.FileRequest
	if err := l.read(&m); err != nil {
		return nil, err
	}
	switch r := m.GetRequest().(type) {
	case *greenroomv1.FileRequest_Put:
		if err := s.check(ctx, Request{Peer: peer, Op: OpPut, Name: r.Put.GetName(), Size: r.Put.GetSize()}); err != nil {
			return nil, err
		}
		already, err := s.put(ctx, cancel, l, peer, r.Put)
		if err != nil {
			return nil, err
		}
		s.opts.Log.InfoContext(ctx, "file stored", "peer", peer, "name", r.Put.GetName(), "size", r.Put.GetSize(), "already", already)
		stored := &greenroomv1.FileStored{AlreadyThere: already}
		return &greenroomv1.FileResponse{Response: &greenroomv1.FileResponse_Stored{Stored: stored}}, nil
	case *greenroomv1.FileRequest_Delete:
		if err := s.check(ctx, Request{Peer: peer, Op: OpDelete, Name: r.Delete.GetName()}); err != nil {
			return nil, err
		}
		if err := s.remove(r.Delete.GetName()); err != nil {
			return nil, err
		}
		s.opts.Log.InfoContext(ctx, "file deleted", "peer", peer, "name", r.Delete.GetName())
		return &greenroomv1.FileResponse{Response: &greenroomv1.FileResponse_Deleted{Deleted: &greenroomv1.FileDeleted{}}}, nil
	case *greenroomv1.FileRequest_Stat:
		if err := s.check(ctx, Request{Peer: peer, Op: OpStat, Name: r.Stat.GetName()}); err != nil {
			return nil, err
		}
		info, err := s.stat(ctx, r.Stat.GetName(), r.Stat.GetSum())
		if err != nil {
			return nil, err
		}
		return &greenroomv1.FileResponse{Response: &greenroomv1.FileResponse_Info{Info: info}}, nil
	}
	return nil, refuse(ErrProtocol, "the first message is no request that this node knows")
}

// check holds a request's name, and asks Allow.
func (s *Server) check(ctx context.Context, r Request) error {
	if err := checkName(r.Name); err != nil {
		return err
	}
	if s.opts.Allow == nil {
		return nil
	}
	if err := s.opts.Allow(ctx, r); err != nil {
		return refuse(ErrRefused, "%s %q: %v", r.Op, r.Name, err)
	}
	return nil
}

// Refuse answers whatever is asked on a stream with ErrRefused: for a node that takes no files, or none from that peer.
func Refuse(stream io.ReadWriteCloser, why string) error {
	defer stream.Close() //nolint:errcheck // the refusal was written, or the stream is broken
	l := newLine(stream, patience)
	err := refuse(ErrRefused, "%s", why)
	if sent := l.write(&greenroomv1.FileResponse{Response: &greenroomv1.FileResponse_Failure{Failure: toWire(err)}}); sent != nil {
		abort(stream)
		return errors.Join(err, sent)
	}
	l.drain(patience)
	return err
}
