package files

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math"
	"time"

	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// PutOptions say what is sent, and where to. Name and From have no default.
type PutOptions struct {
	// Name is what the file is called there: slash-separated, relative to the receiver's root. Directories are made.
	Name string
	// From is the content. It is read twice: for the checksum, and to send it. An *os.File, or what else has a Stat method like it,
	// says how large it is, what mode and what time it has, and whether it changes meanwhile.
	From io.ReaderAt
	// Size is how many bytes From has, if it cannot say so itself.
	Size int64
	// Mode is the file's permission bits. Zero means those of From, or 0o644.
	Mode fs.FileMode
	// ModTime is when the file was last changed. Zero means what From says, or when it arrives.
	ModTime time.Time
	// Overwrite lets the file replace another one. One with the same content does not need to be replaced.
	Overwrite bool
	// Progress is called before the content is sent, at the end when the file is stored, and at most ten times a second between
	// them, on the goroutine that called Put. done never gets smaller.
	Progress func(done, total int64)
}

// Result is what became of a Put.
type Result struct {
	Size         int64             // the file's
	SHA256       [sha256.Size]byte // the content's
	AlreadyThere bool              // it was there, and nothing was sent
	Resumed      int64             // how much of it had arrived in earlier attempts
	Sent         int64             // how much was sent now
}

// Put sends a file, and closes the stream. If it fails with ErrInterrupted, or because ctx ended, the next Put of the same file goes on
// where it stopped. It waits as long as ctx does, for a receiver that does not answer; reading From is not interrupted.
func Put(ctx context.Context, stream io.ReadWriteCloser, o PutOptions) (Result, error) {
	var result Result
	err := use(ctx, stream, func(l *line) error {
		p := put{ctx: ctx, l: l, opts: o}
		err := p.run()
		result = p.result
		return err
	})
	if err != nil {
		return Result{}, fmt.Errorf("sending file %q: %w", o.Name, err)
	}
	return result, nil
}

// Delete deletes a file, or a symbolic link, and then the directories above it that are empty. It closes the stream.
func Delete(ctx context.Context, stream io.ReadWriteCloser, name string) error {
	request := &greenroomv1.FileRequest{Request: &greenroomv1.FileRequest_Delete{Delete: &greenroomv1.FileDelete{Name: name}}}
	answer, err := ask(ctx, stream, name, request)
	if err == nil && answer.GetDeleted() == nil {
		err = unexpected(answer)
	}
	if err != nil {
		return fmt.Errorf("deleting file %q: %w", name, err)
	}
	return nil
}

// Info is what Stat tells.
type Info struct {
	Size      int64             // in bytes
	Mode      fs.FileMode       // permission bits, and fs.ModeDir
	ModTime   time.Time         // when it was last changed
	SHA256    [sha256.Size]byte // the content's, if it was asked for
	Directory bool              // it is no file
}

// Stat tells about a file or directory. With sum it tells the checksum of a file, for which the other side reads all of it. It
// closes the stream.
func Stat(ctx context.Context, stream io.ReadWriteCloser, name string, sum bool) (Info, error) {
	request := &greenroomv1.FileRequest{Request: &greenroomv1.FileRequest_Stat{Stat: &greenroomv1.FileStat{Name: name, Sum: sum}}}
	answer, err := ask(ctx, stream, name, request)
	m := answer.GetInfo()
	if err == nil && (m == nil || m.GetSize() < 0 || sum && !m.GetDirectory() && len(m.GetSha256()) != sha256.Size) {
		err = unexpected(answer)
	}
	if err != nil {
		return Info{}, fmt.Errorf("asking about file %q: %w", name, err)
	}
	info := Info{
		Size: m.GetSize(), Mode: fs.FileMode(m.GetMode()) & fs.ModePerm, ModTime: time.Unix(0, m.GetModTimeUnixNano()),
		Directory: m.GetDirectory(),
	}
	if info.Directory {
		info.Mode |= fs.ModeDir
	}
	copy(info.SHA256[:], m.GetSha256())
	return info, nil
}

// use calls f and then closes the stream. If ctx ends that ends f, and is its error.
func use(ctx context.Context, stream io.ReadWriteCloser, f func(*line) error) error {
	if ctx.Err() != nil {
		abort(stream) // before the receiver can have done anything
		return context.Cause(ctx)
	}
	defer abort(stream)  // the receiver has answered, or is not heard: nothing is lost that is on its way
	defer stream.Close() //nolint:errcheck // as above
	defer abortWhen(ctx, stream)()
	err := f(newLine(stream, 0))
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// ask sends a request that has one answer.
func ask(ctx context.Context, stream io.ReadWriteCloser, name string, request *greenroomv1.FileRequest) (*greenroomv1.FileResponse, error) {
	var answer *greenroomv1.FileResponse
	err := use(ctx, stream, func(l *line) error {
		if err := checkName(name); err != nil {
			return err
		}
		if err := l.write(request); err != nil {
			return err
		}
		var err error
		answer, err = l.answer()
		return err
	})
	return answer, err
}

// answer reads what the receiver answers. A failure is an error.
func (l *line) answer() (*greenroomv1.FileResponse, error) {
	m := &greenroomv1.FileResponse{}
	if err := l.read(m); err != nil {
		return nil, err
	}
	if failure := m.GetFailure(); failure != nil {
		return nil, fromWire(failure)
	}
	return m, nil
}

func unexpected(answer *greenroomv1.FileResponse) error {
	return refuse(ErrProtocol, "its answer was %T", answer.GetResponse())
}

// statter is an *os.File.
type statter interface {
	Stat() (fs.FileInfo, error)
}

// put is a Put that is going on.
type put struct {
	ctx    context.Context
	l      *line
	opts   PutOptions
	before fs.FileInfo // what From was at the beginning, nil if it cannot say
	result Result
	told   time.Time // when Progress was last called
}

func (p *put) run() error {
	if err := p.describe(); err != nil {
		return err
	}
	o := p.opts
	h := sha256.New()
	if err := hashOf(p.ctx, h, o.From, o.Size); err != nil {
		return p.readFault(err)
	}
	h.Sum(p.result.SHA256[:0])
	p.result.Size = o.Size
	m := &greenroomv1.FilePut{
		Name: o.Name, Size: o.Size, Sha256: p.result.SHA256[:], Mode: uint32(o.Mode & fs.ModePerm), Overwrite: o.Overwrite,
	}
	if !o.ModTime.IsZero() {
		m.ModTimeUnixNano = new(o.ModTime.UnixNano())
	}
	if err := p.l.write(&greenroomv1.FileRequest{Request: &greenroomv1.FileRequest_Put{Put: m}}); err != nil {
		return p.lastWord(err, p.wait())
	}
	answer, err := p.l.answer()
	if err != nil {
		return err
	}
	p.progress(0)
	switch r := answer.GetResponse().(type) {
	case *greenroomv1.FileResponse_Stored:
		p.result.AlreadyThere = r.Stored.GetAlreadyThere()
		if !p.result.AlreadyThere {
			return unexpected(answer)
		}
	case *greenroomv1.FileResponse_Have:
		if err := p.send(r.Have); err != nil {
			return err
		}
	default:
		return unexpected(answer)
	}
	p.told = time.Time{}
	p.progress(o.Size)
	return nil
}

// earliest and latest are the times that can be told.
var earliest, latest = time.Unix(0, math.MinInt64), time.Unix(0, math.MaxInt64)

// describe fills in the options what From says, and checks them.
func (p *put) describe() error {
	o := &p.opts
	if err := checkName(o.Name); err != nil {
		return err
	}
	if o.From == nil {
		return errors.New("remote: there is nothing to send: set From")
	}
	if f, ok := o.From.(statter); ok {
		info, err := f.Stat()
		if err != nil {
			return fmt.Errorf("remote: %w", err)
		}
		if !info.Mode().IsRegular() {
			return errors.New("remote: only regular files can be sent")
		}
		p.before = info
		o.Size = info.Size()
		orDefault(&o.Mode, info.Mode().Perm())
		orDefault(&o.ModTime, info.ModTime())
	}
	orDefault(&o.Mode, 0o644)
	switch {
	case o.Size < 0:
		return errors.New("remote: a file has at least 0 bytes")
	case !o.ModTime.IsZero() && (o.ModTime.Before(earliest) || o.ModTime.After(latest)):
		return fmt.Errorf("remote: a file of the year %d: set another ModTime", o.ModTime.Year())
	}
	return nil
}

// send sends what the receiver does not have.
func (p *put) send(have *greenroomv1.FileHave) error {
	if have.GetSize() < 0 || have.GetSize() > p.opts.Size {
		return refuse(ErrProtocol, "the node has %d bytes of a file of %d", have.GetSize(), p.opts.Size)
	}
	h := sha256.New()
	if err := hashOf(p.ctx, h, p.opts.From, have.GetSize()); err != nil {
		return p.readFault(err)
	}
	p.result.Resumed = have.GetSize()
	if !bytes.Equal(h.Sum(nil), have.GetSha256()) {
		p.result.Resumed = 0
		h.Reset()
	}
	last := p.wait()
	defer func() { // a panic of Progress, at worst
		abort(p.l.stream)
		<-last.over
	}()
	if err := p.content(h); err != nil {
		return p.lastWord(err, last)
	}
	return last.outcome()
}

// content sends the content from where it is resumed, and how it ends. h is of what comes before.
func (p *put) content(h hash.Hash) error {
	at := p.result.Resumed
	start := &greenroomv1.FileStart{Offset: at}
	if err := p.l.write(&greenroomv1.FileRequest{Request: &greenroomv1.FileRequest_Start{Start: start}}); err != nil {
		return err
	}
	for at < p.opts.Size {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		buf := p.l.content()
		buf = buf[:min(int64(len(buf)), p.opts.Size-at)]
		err := readAt(p.opts.From, buf, at)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return p.abandon()
		}
		if err != nil {
			return p.readFault(err)
		}
		h.Write(buf)
		if err := p.l.flushContent(len(buf)); err != nil {
			return err
		}
		at += int64(len(buf))
		p.result.Sent += int64(len(buf))
		p.progress(at)
	}
	if !bytes.Equal(h.Sum(nil), p.result.SHA256[:]) || p.touched() {
		return p.abandon()
	}
	return p.l.write(&greenroomv1.FileRequest{Request: &greenroomv1.FileRequest_End{End: &greenroomv1.FileEnd{}}})
}

// touched reports whether From says that it has changed.
func (p *put) touched() bool {
	if p.before == nil {
		return false
	}
	after, err := p.opts.From.(statter).Stat()
	return err != nil || after.Size() != p.before.Size() || !after.ModTime().Equal(p.before.ModTime())
}

// abandon has the receiver forget what was sent. Its answer, ErrChanged, is waited for.
func (p *put) abandon() error {
	return p.l.write(&greenroomv1.FileRequest{Request: &greenroomv1.FileRequest_Abandon{Abandon: &greenroomv1.FileAbandon{}}})
}

func (p *put) readFault(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return refuse(ErrChanged, "it has less than %d bytes now", p.opts.Size)
	}
	return fmt.Errorf("remote: reading it: %w", err)
}

// progress calls Progress, unless it was called a moment ago.
func (p *put) progress(done int64) {
	if now := time.Now(); p.opts.Progress != nil && now.Sub(p.told) >= 100*time.Millisecond {
		p.told = now
		p.opts.Progress(done, p.opts.Size)
	}
}

// last is the receiver's last answer, which may be a failure in the middle of the content.
type last struct {
	over   chan struct{} // closed when it is there
	answer *greenroomv1.FileResponse
	err    error
}

// wait reads the last answer. A failure aborts the stream, and so a write that waits.
func (p *put) wait() *last {
	w := &last{over: make(chan struct{})}
	go func() {
		defer close(w.over)
		if w.answer, w.err = p.l.answer(); w.err != nil {
			abort(p.l.stream)
		}
	}()
	return w
}

// outcome waits for it.
func (w *last) outcome() error {
	<-w.over
	if w.err == nil && w.answer.GetStored() == nil {
		return unexpected(w.answer)
	}
	return w.err
}

// lastWord is the receiver's reason, if there is one, for a write that has failed with err. The stream may have broken on the way there
// only, so that it is not waited for long.
func (p *put) lastWord(err error, w *last) error {
	if errors.Is(err, ErrInterrupted) {
		timer := time.AfterFunc(time.Second, func() { abort(p.l.stream) })
		defer timer.Stop()
	} else { // ours
		abort(p.l.stream)
	}
	<-w.over
	if _, told := errors.AsType[*refusal](w.err); told {
		return w.err
	}
	return err
}
