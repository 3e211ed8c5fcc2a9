// Package wire is the hot half of the protocol between nodes: envelopes, as greenroom.v1.Envelope describes them, written and read by
// hand. Everything else goes through the generated code.
//
//	frame    4 bytes: length of the envelopes, little-endian
//	         4 bytes: its number in the lane, the lower half, little-endian
//	         envelopes
//	envelope varint: length of the rest; the fields of greenroom.v1.Envelope
//
// Hot path. Per message: 0 allocs, no reflection; held by TestAllocs. That the bytes are those of the generated code holds
// TestSameBytes.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"google.golang.org/protobuf/encoding/protowire"

	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// FrameHeader is how many bytes the length and the number of a frame take.
const FrameHeader = 8

// PutHeader writes the header of a frame, of which more bytes follow elsewhere.
func PutHeader(frame []byte, more int, number uint64) {
	binary.LittleEndian.PutUint32(frame, uint32(len(frame)-FrameHeader+more)) //nolint:gosec // a frame is short
	binary.LittleEndian.PutUint32(frame[4:], uint32(number))                  //nolint:gosec // the lower half
}

// Header reads the header of a frame. next is the number of the frame that should come.
func Header(frame []byte, next uint64) (size int, number uint64) {
	low := binary.LittleEndian.Uint32(frame[4:])
	return int(binary.LittleEndian.Uint32(frame)), next + uint64(int64(int32(low-uint32(next)))) //nolint:gosec // the nearest number with that lower half
}

// ErrMalformed is what bytes are that are no envelope.
var ErrMalformed = errors.New("remote: malformed envelope")

// Envelope is a greenroom.v1.Envelope whose fields of bytes belong to somebody else: the reader's buffer.
type Envelope struct {
	Route    uint32           // field route
	To       uint64           // field to
	From     uint64           // field from
	Type     uint32           // field type
	TypeName []byte           // field type_name
	Kind     greenroomv1.Kind // field kind
	ID       uint64           // field id
	Left     uint64           // field left_us
	Failure  []byte           // field failure: a greenroom.v1.Failure; nil for none
	Trace    []byte           // field trace
	Size     uint64           // field size
	Payload  []byte           // field payload
	HasBody  bool             // a payload was there, be it empty
}

const (
	fieldRoute    = 1
	fieldTo       = 2
	fieldFrom     = 3
	fieldType     = 4
	fieldTypeName = 5
	fieldKind     = 6
	fieldID       = 7
	fieldLeft     = 8
	fieldFailure  = 9
	fieldTrace    = 10
	fieldSize     = 11
	fieldPayload  = 15
)

// varintLen is how many bytes v takes as a varint.
func varintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// size is how many bytes the fields take before the payload.
func (e *Envelope) size() int {
	n := 0
	if e.Route != 0 {
		n += 1 + varintLen(uint64(e.Route))
	}
	if e.To != 0 {
		n += 9
	}
	if e.From != 0 {
		n += 9
	}
	if e.Type != 0 {
		n += 1 + varintLen(uint64(e.Type))
	}
	if len(e.TypeName) != 0 {
		n += 1 + varintLen(uint64(len(e.TypeName))) + len(e.TypeName)
	}
	if e.Kind != 0 {
		n += 1 + varintLen(uint64(e.Kind))
	}
	if e.ID != 0 {
		n += 1 + varintLen(e.ID)
	}
	if e.Left != 0 {
		n += 1 + varintLen(e.Left)
	}
	if e.Failure != nil {
		n += 1 + varintLen(uint64(len(e.Failure))) + len(e.Failure)
	}
	if len(e.Trace) != 0 {
		n += 1 + varintLen(uint64(len(e.Trace))) + len(e.Trace)
	}
	if e.Size != 0 {
		n += 1 + varintLen(e.Size)
	}
	return n
}

// NoBody says that an envelope has no payload.
const NoBody = -1

// Len is how many bytes the envelope takes with a payload of that length, its own length included.
func (e *Envelope) Len(payload int) int {
	n := e.size()
	if payload != NoBody {
		n += 1 + varintLen(uint64(payload)) + payload
	}
	return varintLen(uint64(n)) + n
}

// Append appends the envelope up to its payload, of which it writes the length: the caller appends the rest. NoBody: there is none.
func (e *Envelope) Append(b []byte, payload int) []byte {
	n := e.size()
	if payload != NoBody {
		n += 1 + varintLen(uint64(payload)) + payload
	}
	b = binary.AppendUvarint(b, uint64(n))
	if e.Route != 0 {
		b = binary.AppendUvarint(append(b, fieldRoute<<3|0), uint64(e.Route))
	}
	if e.To != 0 {
		b = binary.LittleEndian.AppendUint64(append(b, fieldTo<<3|1), e.To)
	}
	if e.From != 0 {
		b = binary.LittleEndian.AppendUint64(append(b, fieldFrom<<3|1), e.From)
	}
	if e.Type != 0 {
		b = binary.AppendUvarint(append(b, fieldType<<3|0), uint64(e.Type))
	}
	if len(e.TypeName) != 0 {
		b = append(binary.AppendUvarint(append(b, fieldTypeName<<3|2), uint64(len(e.TypeName))), e.TypeName...)
	}
	if e.Kind != 0 {
		b = binary.AppendUvarint(append(b, fieldKind<<3|0), uint64(e.Kind))
	}
	if e.ID != 0 {
		b = binary.AppendUvarint(append(b, fieldID<<3|0), e.ID)
	}
	if e.Left != 0 {
		b = binary.AppendUvarint(append(b, fieldLeft<<3|0), e.Left)
	}
	if e.Failure != nil {
		b = append(binary.AppendUvarint(append(b, fieldFailure<<3|2), uint64(len(e.Failure))), e.Failure...)
	}
	if len(e.Trace) != 0 {
		b = append(binary.AppendUvarint(append(b, fieldTrace<<3|2), uint64(len(e.Trace))), e.Trace...)
	}
	if e.Size != 0 {
		b = binary.AppendUvarint(append(b, fieldSize<<3|0), e.Size)
	}
	if payload != NoBody {
		b = binary.AppendUvarint(append(b, fieldPayload<<3|2), uint64(payload))
	}
	return b
}

// Next splits the first envelope off b: its fields, and what follows it.
func Next(b []byte) (body, rest []byte, err error) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return nil, nil, fmt.Errorf("%w: it is said to be longer than its frame", ErrMalformed)
	}
	return b[k : k+int(n)], b[k+int(n):], nil
}

// Decode reads the fields of an envelope. What it does not know it passes over. Slices point into b.
func (e *Envelope) Decode(b []byte) error {
	*e = Envelope{}
	for len(b) > 0 {
		tag, k := binary.Uvarint(b)
		if k <= 0 || tag>>3 == 0 || tag>>3 > uint64(protowire.MaxValidNumber) {
			return ErrMalformed
		}
		b = b[k:]
		var v uint64
		var data []byte
		switch tag & 7 {
		case 0:
			if v, k = binary.Uvarint(b); k <= 0 {
				return ErrMalformed
			}
			b = b[k:]
		case 1:
			if len(b) < 8 {
				return ErrMalformed
			}
			v, b = binary.LittleEndian.Uint64(b), b[8:]
		case 2:
			n, k := binary.Uvarint(b)
			if k <= 0 || n > uint64(len(b)-k) {
				return ErrMalformed
			}
			data, b = b[k:k+int(n):k+int(n)], b[k+int(n):]
		default:
			k := protowire.ConsumeFieldValue(protowire.Number(tag>>3), protowire.Type(tag&7), b)
			if k < 0 {
				return ErrMalformed
			}
			b = b[k:]
			continue
		}
		switch tag {
		case fieldRoute<<3 | 0:
			e.Route = uint32(v)
		case fieldTo<<3 | 1:
			e.To = v
		case fieldFrom<<3 | 1:
			e.From = v
		case fieldType<<3 | 0:
			e.Type = uint32(v)
		case fieldTypeName<<3 | 2:
			e.TypeName = data
		case fieldKind<<3 | 0:
			e.Kind = greenroomv1.Kind(int32(v)) //nolint:gosec // as the generated code has it
		case fieldID<<3 | 0:
			e.ID = v
		case fieldLeft<<3 | 0:
			e.Left = v
		case fieldFailure<<3 | 2:
			e.Failure = data
		case fieldTrace<<3 | 2:
			e.Trace = data
		case fieldSize<<3 | 0:
			e.Size = v
		case fieldPayload<<3 | 2:
			e.Payload, e.HasBody = data, true
		}
	}
	return nil
}
