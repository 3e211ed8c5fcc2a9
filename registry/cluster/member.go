package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// MaxNodeBytes bounds the name of a node.
const MaxNodeBytes = 128

// MaxRecordBytes bounds what Gossip spreads of a member beside its name: incarnation, address, load and tags, encoded.
const MaxRecordBytes = 512

var (
	// ErrBadMember answers a member that cannot be one: its name or address is not valid.
	ErrBadMember = errors.New("cluster: not a valid member")
	// ErrRecordTooLarge answers a member whose address and tags do not fit into MaxRecordBytes.
	ErrRecordTooLarge = errors.New("cluster: the member's record is too large")
	// ErrNameTaken answers a node whose name another living node has, and a claim to a name that another actor has.
	ErrNameTaken = errors.New("cluster: the name is taken")
	// ErrNotStarted answers what is asked of a Membership before Start or after its end.
	ErrNotStarted = errors.New("cluster: not started, or over")
	// ErrNoSeeds means that no node could be reached.
	ErrNoSeeds = errors.New("cluster: no other node could be reached")
)

// Member is a node of the cluster.
type Member struct {
	// Name is who it is: no two living members have the same.
	Name string
	// Incarnation tells the node from its predecessors of the same name: a later one has a greater one. Zero, given to Start, means
	// the time of the start in nanoseconds; in a fixed list it means that it is not known.
	Incarnation uint64
	// Addr is where the node takes connections from other nodes, "host:port".
	Addr string
	// GossipAddr is where it takes gossip, "ip:port"; Gossip fills it in.
	GossipAddr string
	// Load is how much it has to do, in units of the program's own.
	Load uint32
	// Tags are what else others should know of it.
	Tags map[string]string
}

// String is the name and the incarnation.
func (m Member) String() string { return fmt.Sprintf("%s#%x", m.Name, m.Incarnation) }

// Equal reports whether the two say the same.
func (m Member) Equal(o Member) bool {
	return m.Name == o.Name && m.Incarnation == o.Incarnation && m.Addr == o.Addr && m.GossipAddr == o.GossipAddr &&
		m.Load == o.Load && maps.Equal(m.Tags, o.Tags)
}

func (m Member) clone() Member {
	m.Tags = maps.Clone(m.Tags)
	return m
}

// check finds what is wrong with a member.
func (m Member) check() error {
	if err := checkNode(m.Name); err != nil {
		return err
	}
	if err := checkAddr(m.Addr); err != nil {
		return fmt.Errorf("%w: %q has the address %.80q, and others need one that they can dial (host:port): %w", ErrBadMember, m.Name, m.Addr, err)
	}
	return nil
}

func checkNode(name string) error {
	if name == "" || len(name) > MaxNodeBytes || !utf8.ValidString(name) {
		return fmt.Errorf("%w: the name %.40q has %d bytes, and a node's name is valid UTF-8 of 1 to %d", ErrBadMember, name, len(name), MaxNodeBytes)
	}
	return nil
}

func checkAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if host == "" {
		return errors.New("the host is missing")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errors.New("the port is not between 1 and 65535")
	}
	return nil
}

// Kind is what an Event tells.
type Kind uint8

// What happened to a member.
const (
	Joined    Kind = iota + 1 // it is a member now, or was one when the telling began
	Updated                   // its record has changed, its incarnation has not
	Left                      // it has left on purpose
	Failed                    // it no longer answers, or a new incarnation has taken its place
	Displaced                 // the last event: this node is no member any more, because the one that the event names has its name
)

// String names the kind.
func (k Kind) String() string {
	switch k {
	case Joined:
		return "joined"
	case Updated:
		return "updated"
	case Left:
		return "left"
	case Failed:
		return "failed"
	case Displaced:
		return "displaced"
	}
	return "unknown"
}

// Event tells of a member.
type Event struct {
	Kind   Kind   // what happened
	Member Member // to whom; with Left and Failed what was known last
}

// Membership knows who is a member, and makes this node one.
// Any goroutine may use it, but Leave and Close must not be called by the function that is told of events.
type Membership interface {
	// Start makes this node a member and looks for others by what discovery finds, at once and then from time to time; nil means
	// that others come by themselves or by Join. That nobody is found is no error.
	// tell is told of each other member: first those known already, then each change, in order, one at a time. Each member is
	// joined before anything else and left or failed before it is joined again, also when it has restarted unnoticed. Changes that
	// follow each other faster than tell returns may be told as one. tell may use the Membership, but holds up all later events.
	// Errors: ErrNameTaken (a living node has the name), ErrBadMember, ErrRecordTooLarge, ctx's own; what cannot be bound. After an
	// error the Membership is over. It starts once.
	Start(ctx context.Context, self Member, discovery Discovery, tell func(Event)) error
	// Join looks for members at these addresses. Errors: ErrNoSeeds (none answered; what each said is wrapped), ErrNotStarted.
	Join(ctx context.Context, seeds []string) error
	// Update changes this node's load and tags. Errors: ErrRecordTooLarge, ErrNotStarted.
	Update(load uint32, tags map[string]string) error
	// Self is this node's own record, zero before Start.
	Self() Member
	// Members are all members that are known, this node among them, in the order of their names; none before Start and after the end.
	Members() []Member
	// Leave takes this node out of the cluster, tells the others, and ends as Close does. When ctx is done it waits no longer for
	// the others to be told; they find out by themselves.
	Leave(ctx context.Context) error
	// Close ends without a word. Nothing is told after it has returned. The others find out by themselves.
	Close() error
}

// record is what gossip carries of a member beside its name and where it gossips.
//
// On the wire: a byte 1, then protobuf fields: 1 supersedes (varint), 2 addr (string), 3 load (varint), 4 a tag, as often as
// there are any, itself 1 key, 2 value (strings), 5 leaving (varint, 1). Unknown fields are skipped.
type record struct {
	Member

	supersedes uint64 // nodes of this name up to this incarnation were asked, and did not answer
	leaving    bool
}

const recordFormat = 1

func (r record) encode() ([]byte, error) {
	b := []byte{recordFormat}
	b = appendUint(b, 1, r.supersedes)
	b = appendText(b, 2, r.Addr)
	b = appendUint(b, 3, uint64(r.Load))
	for _, key := range slices.Sorted(maps.Keys(r.Tags)) {
		tag := appendText(appendText(nil, 1, key), 2, r.Tags[key])
		b = protowire.AppendBytes(protowire.AppendTag(b, 4, protowire.BytesType), tag)
	}
	if r.leaving {
		b = appendUint(b, 5, 1)
	}
	if len(b) > MaxRecordBytes {
		return nil, fmt.Errorf("%w: address and tags of %q take %d bytes, and %d are the most: shorten the tags", ErrRecordTooLarge, r.Name, len(b), MaxRecordBytes)
	}
	return b, nil
}

// fits checks that the record can be spread, whatever is added to it later.
func (r record) fits() error {
	r.supersedes, r.leaving = math.MaxUint64, true
	_, err := r.encode()
	return err
}

func (m Member) nodeKey() nodeKey { return nodeKey{m.Name, m.Incarnation} }

var errMalformed = errors.New("malformed")

// decodeRecord reads what encode has written. Its size bounds what is allocated.
func decodeRecord(b []byte) (record, error) {
	var r record
	if len(b) > MaxRecordBytes || len(b) == 0 || b[0] != recordFormat {
		return r, fmt.Errorf("cluster: a member's record of %d bytes is of no known format", len(b))
	}
	err := fields(b[1:], func(num int, n uint64, text []byte) error {
		switch num {
		case 1:
			r.supersedes = n
		case 2:
			r.Addr = string(text)
		case 3:
			r.Load = uint32(n)
		case 4:
			return r.tag(text)
		case 5:
			r.leaving = n == 1
		}
		return nil
	})
	if err == nil {
		err = checkAddr(r.Addr)
	}
	if err != nil {
		return record{}, fmt.Errorf("cluster: a member's record: %w", err)
	}
	return r, nil
}

func (r *record) tag(b []byte) error {
	var key, value string
	err := fields(b, func(num int, _ uint64, text []byte) error {
		switch num {
		case 1:
			key = string(text)
		case 2:
			value = string(text)
		}
		return nil
	})
	if r.Tags == nil {
		r.Tags = map[string]string{}
	}
	r.Tags[key] = value
	return err
}

// fields gives each field of a protobuf message to f: a varint as n, a string or message as text, which is part of b.
func fields(b []byte, f func(num int, n uint64, text []byte) error) error {
	for len(b) > 0 {
		num, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return errMalformed
		}
		b = b[size:]
		var n uint64
		var text []byte
		switch kind {
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			text, size = protowire.ConsumeBytes(b)
		default:
			size = protowire.ConsumeFieldValue(num, kind, b)
		}
		if size < 0 {
			return errMalformed
		}
		b = b[size:]
		if kind != protowire.VarintType && kind != protowire.BytesType {
			continue
		}
		if err := f(int(num), n, text); err != nil {
			return err
		}
	}
	return nil
}

func appendUint(b []byte, num protowire.Number, n uint64) []byte {
	if n == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), n)
}

func appendText(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

// gossipName is what gossip calls an incarnation of a node, so that it takes no two for one.
func gossipName(node string, incarnation uint64) string {
	return fmt.Sprintf("%s#%x", node, incarnation)
}

func parseGossipName(s string) (node string, incarnation uint64, err error) {
	i := strings.LastIndexByte(s, '#')
	if i < 0 {
		return "", 0, fmt.Errorf("%w: %.80q names no incarnation", ErrBadMember, s)
	}
	incarnation, err = strconv.ParseUint(s[i+1:], 16, 64)
	if err != nil || incarnation == 0 || s != gossipName(s[:i], incarnation) {
		return "", 0, fmt.Errorf("%w: %.80q names no incarnation", ErrBadMember, s)
	}
	return s[:i], incarnation, checkNode(s[:i])
}

// holder picks the member among the living nodes of one name: the oldest of those that none has found dead. Nil if there are none.
func holder(living map[uint64]record) *record {
	var dead uint64
	for _, r := range living {
		dead = max(dead, min(r.supersedes, r.Incarnation-1))
	}
	var first *record
	for _, r := range living {
		if r.Incarnation > dead && (first == nil || r.Incarnation < first.Incarnation) {
			first = &r
		}
	}
	return first
}
