package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// What Put, Delete and Stat fail with, whichever side has found it out.
var (
	// ErrRefused means that the receiver does not do that, or not for this node.
	ErrRefused = errors.New("remote: the node refuses it")
	// ErrBusy means that the receiver has too much to do just now: try again later.
	ErrBusy = errors.New("remote: the node serves as many files as it may")
	// ErrBadName means that a name is not one of a file below the root.
	ErrBadName = errors.New("remote: not a name that a file may have")
	// ErrTooLarge means that the file is larger than the receiver takes.
	ErrTooLarge = errors.New("remote: the file is too large")
	// ErrQuota means that the receiver takes no more files of that size, until others are deleted.
	ErrQuota = errors.New("remote: the quota for files is used up")
	// ErrNoSpace means that the receiver's disk is full.
	ErrNoSpace = errors.New("remote: the disk of the node is full")
	// ErrExists means that something else is there, which may not be overwritten.
	ErrExists = errors.New("remote: there is another file already")
	// ErrNotFound means that there is no such file.
	ErrNotFound = errors.New("remote: no such file")
	// ErrChecksum means that other bytes have arrived than were sent. Nothing is left of them; sending again starts from the beginning.
	ErrChecksum = errors.New("remote: the file did not arrive as it was sent")
	// ErrChanged means that the file has changed while it was sent. Nothing was stored.
	ErrChanged = errors.New("remote: the file has changed while it was sent")
	// ErrInterrupted means that the stream ended too early. What has arrived is kept: sending again goes on from there.
	ErrInterrupted = errors.New("remote: the transfer was cut short")
	// ErrProtocol means that the other side does not keep to the protocol.
	ErrProtocol = errors.New("remote: the other node does not keep to the protocol of file transfer")
)

// byCode is what of the errors crosses the wire.
var byCode = map[greenroomv1.FileFailureCode]error{
	greenroomv1.FileFailureCode_FILE_FAILURE_CODE_REFUSED:   ErrRefused,
	greenroomv1.FileFailureCode_FILE_FAILURE_CODE_BUSY:      ErrBusy,
	greenroomv1.FileFailureCode_FILE_FAILURE_CODE_BAD_NAME:  ErrBadName,
	greenroomv1.FileFailureCode_FILE_FAILURE_CODE_TOO_LARGE: ErrTooLarge,
	greenroomv1.FileFailureCode_FILE_FAILURE_CODE_QUOTA:     ErrQuota,
	greenroomv1.FileFailureCode_FILE_FAILURE_CODE_NO_SPACE:  ErrNoSpace,
	greenroomv1.FileFailureCode_FILE_FAILURE_CODE_EXISTS:    ErrExists,
	greenroomv1.FileFailureCode_FILE_FAILURE_CODE_NOT_FOUND: ErrNotFound,
	greenroomv1.FileFailureCode_FILE_FAILURE_CODE_CHECKSUM:  ErrChecksum,
	greenroomv1.FileFailureCode_FILE_FAILURE_CODE_CHANGED:   ErrChanged,
	greenroomv1.FileFailureCode_FILE_FAILURE_CODE_PROTOCOL:  ErrProtocol,
}

// refusal is an error that the other side is told, or has told.
type refusal struct {
	kind error // one of the above
	text string
}

func refuse(kind error, format string, args ...any) error {
	return &refusal{kind: kind, text: fmt.Sprintf(format, args...)}
}

func (r *refusal) Error() string { return r.kind.Error() + ": " + r.text }

func (r *refusal) Unwrap() error { return r.kind }

// maxText bounds the text of a failure, on both sides.
const maxText = 2048

// toWire makes of err what the other side is told. Errors of this node's own file system come as refusals too, from wrapFS.
func toWire(err error) *greenroomv1.FileFailure {
	failure := &greenroomv1.FileFailure{Code: greenroomv1.FileFailureCode_FILE_FAILURE_CODE_REFUSED, Text: err.Error()}
	for code, kind := range byCode {
		if errors.Is(err, kind) {
			failure.Code = code
		}
	}
	if r, ok := errors.AsType[*refusal](err); ok {
		failure.Text = r.text
	}
	failure.Text = printable(failure.Text)
	return failure
}

// fromWire is the error of a failure. Its text is another node's: no more than a line of it gets into logs.
func fromWire(failure *greenroomv1.FileFailure) error {
	kind, ok := byCode[failure.GetCode()]
	if !ok {
		kind = ErrRefused
	}
	return &refusal{kind: kind, text: printable(failure.GetText())}
}

func printable(text string) string {
	if len(text) > maxText {
		text = text[:maxText]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// wrapFS makes a refusal of an error of the file system, without the paths in it: peers need not know where the root is.
func wrapFS(err error, doing, name string) error {
	kind := ErrRefused
	switch {
	case diskFull(err):
		kind = ErrNoSpace
	case errors.Is(err, fs.ErrNotExist):
		kind = ErrNotFound
	}
	return refuse(kind, "%s %q: %v", doing, name, reason(err))
}

func reason(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	if link, ok := errors.AsType[*os.LinkError](err); ok {
		return link.Err
	}
	return err
}

func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || diskFullHere(err)
}
