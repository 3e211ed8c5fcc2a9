package tcplink

import (
	"encoding/binary"
	"errors"
	"io"
	"strings"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

const (
	frameWelcome byte = iota
	frameDatagram
	frameClose
	frameAsk
	frameReset
)

var errFrame = errors.New("remote: the peer sends frames that make no sense")

// frame is one of the control connection.
type frame struct {
	kind byte
	body []byte // 64 KiB at most
}

func (f frame) bytes() []byte {
	b := binary.BigEndian.AppendUint16([]byte{f.kind}, uint16(len(f.body))) //nolint:gosec // bodies are short
	return append(b, f.body...)
}

func readFrame(r io.Reader) (f frame, err error) {
	var head [3]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return f, err
	}
	f.kind, f.body = head[0], make([]byte, binary.BigEndian.Uint16(head[1:]))
	_, err = io.ReadFull(r, f.body)
	return f, err
}

// id is the body of frames about a stream.
func id(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func closeBody(code uint64, text string) []byte {
	return append(id(code), text[:min(len(text), 1000)]...)
}

func closeError(body []byte) error {
	if len(body) < 8 {
		return errFrame
	}
	return &link.CloseError{Code: binary.BigEndian.Uint64(body), Text: strings.ToValidUTF8(string(body[8:]), "?")}
}
