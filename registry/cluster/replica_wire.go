package cluster

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// What replicas tell each other, on the wire: a byte 1, then sections, each a protobuf field 1 that holds
//
//	1 node         string   whose names and memberships these are
//	2 incarnation  varint   and of which incarnation
//	3 from         varint   the version that the operations below follow; absent in a whole state
//	4 version      varint   the version of a whole state, plus 1; absent in a delta
//	5 operation    message, repeated: the entries of a whole state, or one operation for each version after from
//
// An operation is: 1 what (varint, an opKind), 2 name (string), 3 id (varint), 4 type (string), 5 stamp (varint), 6 node (varint).
// Fields that are not known are skipped. The fields of a section's head come before its operations.

const (
	replicaFormat = 1
	// MaxStateBytes bounds what one replica sends another at once.
	MaxStateBytes = 16 << 20
	// MaxDeltaBytes bounds one delta, so that it fits into a packet beside other things.
	MaxDeltaBytes = 1000
	// maxCount bounds versions and Lamport times, so that a peer cannot make them wrap around.
	maxCount = 1 << 62
)

type opKind uint8

const (
	opClaim opKind = iota + 1
	opRelease
	opEnter
	opExit
)

// op is one operation of a node on what it publishes. In a whole state only claims and memberships occur.
type op struct {
	kind  opKind
	name  string
	actor Actor
	stamp uint64 // with opClaim
}

func appendOp(b []byte, o op) []byte {
	body := appendUint(nil, 1, uint64(o.kind))
	body = appendText(body, 2, o.name)
	body = appendUint(body, 3, o.actor.ID)
	body = appendText(body, 4, o.actor.Type)
	body = appendUint(body, 5, o.stamp)
	body = appendUint(body, 6, o.actor.Node)
	return protowire.AppendBytes(protowire.AppendTag(b, 5, protowire.BytesType), body)
}

func decodeOp(b []byte) (op, error) {
	var o op
	var name, kind []byte
	err := fields(b, func(num int, n uint64, text []byte) error {
		switch num {
		case 1:
			if n > uint64(opExit) {
				return fmt.Errorf("%w: operation %d is not known", errMalformed, n)
			}
			o.kind = opKind(n)
		case 2:
			name = text
		case 3:
			o.actor.ID = n
		case 4:
			kind = text
		case 5:
			o.stamp = n
		case 6:
			o.actor.Node = n
		}
		return nil
	})
	switch {
	case err != nil:
		return op{}, err
	case o.kind == 0 || len(name) > MaxNameBytes || len(kind) > MaxNameBytes || o.stamp > maxCount:
		return op{}, errMalformed
	}
	o.name, o.actor.Type = string(name), string(kind)
	if err := checkName(o.name); err != nil {
		return op{}, err
	}
	return o, checkType(o.actor.Type)
}

// head is what a section says of itself.
type head struct {
	node          string
	incarnation   uint64
	whole         bool
	from, version uint64 // of a delta: what it follows and where it leads; of a whole state version alone
	ops           int
}

// readHead looks at a section and counts its operations, but does not decode them, so that what is not news costs little.
func readHead(b []byte) (head, error) {
	var h head
	var node []byte
	err := fields(b, func(num int, n uint64, text []byte) error {
		switch num {
		case 1:
			node = text
		case 2:
			h.incarnation = n
		case 3:
			h.from = n
		case 4:
			h.whole, h.version = n > 0, n-1
		case 5:
			h.ops++
		}
		return nil
	})
	switch {
	case err != nil:
		return head{}, err
	case len(node) > MaxNodeBytes || h.incarnation == 0 || h.ops > MaxEntries || h.from > maxCount || (h.whole && (h.version > maxCount || h.from > 0)):
		return head{}, errMalformed
	}
	h.node = string(node)
	if !h.whole {
		if len(b) > MaxDeltaBytes || h.ops == 0 {
			return head{}, errMalformed
		}
		h.version = h.from + uint64(h.ops)
	}
	return h, checkNode(h.node)
}

// readOps decodes the operations of a section whose head was read.
func readOps(b []byte, h head) ([]op, error) {
	ops := make([]op, 0, h.ops)
	err := fields(b, func(num int, _ uint64, text []byte) error {
		if num != 5 {
			return nil
		}
		o, err := decodeOp(text)
		if err == nil && h.whole && o.kind != opClaim && o.kind != opEnter {
			err = errMalformed
		}
		ops = append(ops, o)
		return err
	})
	return ops, err
}

// appendHead begins a section with its head; from is for deltas, version for whole states.
func appendHead(b []byte, h head) []byte {
	b = appendText(b, 1, h.node)
	b = appendUint(b, 2, h.incarnation)
	if h.whole {
		return appendUint(b, 4, h.version+1)
	}
	return appendUint(b, 3, h.from)
}

func appendSection(b, section []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, 1, protowire.BytesType), section)
}
