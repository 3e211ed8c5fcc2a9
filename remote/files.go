package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote/internal/files"
	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// FileOptions say what peers with the role files may do here with files.
type FileOptions struct {
	// Root is the directory that files of peers go to: they can name, read and delete nothing outside of it, by whatever name or
	// symbolic link. It is made if it is not there. Empty: the node takes no files.
	Root string
	// MaxFileBytes bounds one file. 0 means 1 GiB.
	MaxFileBytes int64
	// MaxTotalBytes bounds all files below Root together, those in transfer included. 0: no bound.
	MaxTotalBytes int64
	// MaxConcurrent bounds how many requests are served at once; others are ErrFileBusy. 0 means 16.
	MaxConcurrent int
	// NeverOverwrite has files kept that are there, also where the sender asks for their replacement.
	NeverOverwrite bool
	// KeepPartial is how long what has arrived of a file that was cut short waits for the rest. 0 means 24 hours.
	KeepPartial time.Duration
	// Allow, if there is one, is asked before each request; its error is the peer's, with ErrFileRefused. One that panics refuses.
	Allow func(ctx context.Context, r FileRequest) error
}

// FileRequest is what FileOptions.Allow judges.
type FileRequest struct {
	Peer string // who asks
	Op   string // for what: "put", "delete" or "stat"
	Name string // which file, slash-separated, below Root
	Size int64  // of a put
}

// Errors of file transfers, on the side that asked for them, whichever side has found them.
var (
	ErrFileRefused     = files.ErrRefused     // by FileOptions.Allow, or by what the receiver's disk says
	ErrFileBusy        = files.ErrBusy        // the peer serves as many as it may
	ErrFileName        = files.ErrBadName     // not a name below the peer's Root
	ErrFileTooLarge    = files.ErrTooLarge    // larger than the peer takes
	ErrFileQuota       = files.ErrQuota       // no room left in the peer's MaxTotalBytes
	ErrFileNoSpace     = files.ErrNoSpace     // the peer's disk is full
	ErrFileExists      = files.ErrExists      // another file is there, and is not to be replaced
	ErrFileNotFound    = files.ErrNotFound    // no such file
	ErrFileChecksum    = files.ErrChecksum    // it did not arrive as it was sent
	ErrFileChanged     = files.ErrChanged     // it changed while it was sent
	ErrFileInterrupted = files.ErrInterrupted // cut short: to send it again goes on where it was
)

// SendOptions say how a file is sent.
type SendOptions struct {
	Name      string      // where it goes, slash-separated, below the peer's Root
	Size      int64       // how many bytes; for an *os.File it is found out
	Mode      fs.FileMode // permissions; 0: those of the *os.File, or 0o644
	ModTime   time.Time   // zero: that of the *os.File, or now
	Overwrite bool        // replace another file of that name
	// Progress, if there is one, is called at the start, at the end, and in between at most ten times a second. It must be quick.
	Progress func(done, total int64)
}

// FileResult says how a file got there.
type FileResult struct {
	Size         int64    // its size
	SHA256       [32]byte // its checksum, which both sides have compared
	AlreadyThere bool     // it was there: nothing was sent
	Resumed      int64    // bytes that were there from an earlier attempt
	Sent         int64    // bytes that were sent
}

// FileInfo describes a file of a peer's.
type FileInfo struct {
	Size      int64       // its size
	Mode      fs.FileMode // its permissions
	ModTime   time.Time   // when it was last changed
	SHA256    [32]byte    // its checksum, if that was asked for
	Directory bool        // it is a directory
}

// SendFile sends a file to a peer: from, usually an *os.File, is read twice, once for its checksum. A transfer that a broken link cuts
// short goes on over the next one where it was, until ctx ends or the peer is down. From an actor, call it in Offload: it blocks.
// Cost: 64 KiB at a time, and no memory beyond that.
func (n *Node) SendFile(ctx context.Context, peer string, from io.ReaderAt, o SendOptions) (FileResult, error) {
	var r files.Result
	err := n.withFiles(ctx, peer, func(st link.Stream) (err error) {
		r, err = files.Put(ctx, st, files.PutOptions{
			Name: o.Name, From: from, Size: o.Size, Mode: o.Mode, ModTime: o.ModTime, Overwrite: o.Overwrite, Progress: o.Progress,
		})
		return err
	})
	if err != nil {
		err = fmt.Errorf("remote: send file %q to %s: %w", clip(o.Name, 300), peer, err)
	}
	return FileResult(r), err
}

// DeleteFile deletes a file below the peer's Root, and the directories that are empty without it.
func (n *Node) DeleteFile(ctx context.Context, peer, name string) error {
	err := n.withFiles(ctx, peer, func(st link.Stream) error { return files.Delete(ctx, st, name) })
	if err != nil {
		err = fmt.Errorf("remote: delete file %q of %s: %w", clip(name, 300), peer, err)
	}
	return err
}

// StatFile describes a file below the peer's Root, with its checksum if sum is true.
func (n *Node) StatFile(ctx context.Context, peer, name string, sum bool) (FileInfo, error) {
	var i files.Info
	err := n.withFiles(ctx, peer, func(st link.Stream) (err error) {
		i, err = files.Stat(ctx, st, name, sum)
		return err
	})
	if err != nil {
		err = fmt.Errorf("remote: stat file %q of %s: %w", clip(name, 300), peer, err)
	}
	return FileInfo(i), err
}

// withFiles has f do one request over a stream to the peer, again if the link breaks.
func (n *Node) withFiles(ctx context.Context, peer string, f func(link.Stream) error) error {
	switch {
	case n.none():
		return errNoNode
	case ctx == nil:
		return actor.ErrNilContext
	}
	for {
		far := n.farOf(peer)
		if far == nil {
			return ErrNoPeer
		}
		s, err := far.session(false)
		if err != nil {
			return err
		}
		at, err := s.attached(ctx)
		if err != nil {
			return err
		}
		if link.Roles(s.granted.Load())&link.MayFiles == 0 {
			return fmt.Errorf("%w: %s takes no files from this node (role files)", ErrRefused, s.far)
		}
		st, err := at.l.Open(ctx)
		if err == nil {
			if _, err = st.Write([]byte{streamFiles, 0}); err == nil {
				err = f(st)
			}
		}
		if err == nil || ctx.Err() != nil || isFinal(err) || at.l.Cause() == nil {
			return err // nothing that another link would change
		}
	}
}

// isFinal reports whether an error is the other side's word, which another attempt would not change.
func isFinal(err error) bool {
	for _, e := range []error{
		files.ErrRefused, files.ErrBusy, files.ErrBadName, files.ErrTooLarge, files.ErrQuota, files.ErrNoSpace, files.ErrExists,
		files.ErrNotFound, files.ErrChecksum, files.ErrChanged, files.ErrProtocol,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// attached waits, under ctx, until the session has a link.
func (s *session) attached(ctx context.Context) (*attachment, error) {
	for {
		s.mu.Lock()
		at, ended := s.at, s.ended
		s.mu.Unlock()
		switch {
		case ended != nil:
			return nil, ended
		case at != nil && !at.isOver(s):
			return at, nil
		}
		t := time.NewTimer(redialFirst)
		select {
		case <-t.C:
		case <-s.ctx.Done():
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		}
		t.Stop()
	}
}

func (at *attachment) isOver(s *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return at.over
}

// openFiles makes the server of files, if the node takes any.
func (n *Node) openFiles() (err error) {
	o := n.opts.Files
	if o.Root == "" {
		return nil
	}
	opts := files.Options{
		Root: o.Root, MaxFileBytes: o.MaxFileBytes, MaxTotalBytes: o.MaxTotalBytes, MaxConcurrent: o.MaxConcurrent,
		KeepPartial: o.KeepPartial, Log: n.log.With(slog.String("part", "files")),
	}
	if o.NeverOverwrite {
		opts.Overwrite = files.OverwriteNever
	}
	if o.Allow != nil {
		opts.Allow = func(ctx context.Context, r files.Request) error {
			err := apart("FileOptions.Allow", func() error {
				return o.Allow(ctx, FileRequest{Peer: r.Peer, Op: string(r.Op), Name: r.Name, Size: r.Size})
			})
			if p := (*panicError)(nil); errors.As(err, &p) { // the peer need not see where
				n.log.Error("a file request is refused", "peer", r.Peer, "name", r.Name, "error", err.Error())
				err = errors.New("FileOptions.Allow panicked")
			}
			return err
		}
	}
	n.files, err = files.NewServer(opts)
	return err
}

// serveFiles serves a stream of a file transfer.
func (s *session) serveFiles(st link.Stream) error {
	switch {
	case link.Roles(s.roles.Load())&link.MayFiles == 0:
		return files.Refuse(st, s.far.String()+" has not the role files here")
	case s.node.files == nil:
		return files.Refuse(st, "this node takes no files: its Options.Files.Root is empty")
	}
	return s.node.files.Serve(s.ctx, st, s.far.name())
}
