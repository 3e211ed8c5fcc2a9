package remote

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// messageType is a type of message that this process has sent or received.
type messageType struct {
	name   string
	number uint32 // in this process, from 1
	mt     protoreflect.MessageType
	elem   reflect.Type // the struct of a generated message, nil for others
}

// types are those of the process. They are as many as the program has, at most maxTypes.
var types struct {
	byGo   sync.Map // reflect.Type of a generated message: *messageType
	byName sync.Map // full name: *messageType
	count  atomic.Uint32
	mu     sync.Mutex
}

// maxTypes bounds the types of messages that are told apart, here and on a lane.
const maxTypes = 1 << 16

var dynamic = reflect.TypeFor[*dynamicpb.Message]()

// typeOf finds the type of m. Cost: one look into a sync.Map; callers remember the last one.
func typeOf(m proto.Message) (*messageType, error) {
	rt := reflect.TypeOf(m)
	if rt != dynamic {
		if t, ok := types.byGo.Load(rt); ok {
			return t.(*messageType), nil
		}
	}
	t, err := typeNamed(m.ProtoReflect().Descriptor().FullName())
	if err == nil && rt != dynamic {
		types.byGo.Store(rt, t)
	}
	return t, err
}

// typeNamed is the type of that name, if the program knows it.
func typeNamed(name protoreflect.FullName) (*messageType, error) {
	if t, ok := types.byName.Load(string(name)); ok {
		return t.(*messageType), nil
	}
	mt, err := protoregistry.GlobalTypes.FindMessageByName(name)
	if err != nil {
		return nil, fmt.Errorf("remote: message type %q: %w: %w", name, ErrUnknownType, errNotLinked)
	}
	types.mu.Lock()
	defer types.mu.Unlock()
	if t, ok := types.byName.Load(string(name)); ok {
		return t.(*messageType), nil
	}
	if types.count.Load() >= maxTypes {
		return nil, fmt.Errorf("remote: more than %d types of messages: %w", maxTypes, ErrLimit)
	}
	t := &messageType{name: string(name), number: types.count.Add(1), mt: mt, elem: structOf(mt)}
	types.byName.Store(t.name, t)
	return t, nil
}

// structOf is the struct of which generated code makes messages of type mt, nil if it is none of generated code's.
func structOf(mt protoreflect.MessageType) reflect.Type {
	rt := reflect.TypeOf(mt.Zero().Interface())
	if rt == dynamic || rt.Kind() != reflect.Pointer || rt.Elem().Kind() != reflect.Struct {
		return nil
	}
	if m, ok := reflect.TypeAssert[proto.Message](reflect.New(rt.Elem())); !ok || m.ProtoReflect().Type() != mt {
		return nil // such a message does not know its type by itself
	}
	return rt.Elem()
}

var errNotLinked = errors.New("no schema of that name is linked into this program")

// shapeOf is how a type is made up: what decides whether two sides understand each other's bytes.
func shapeOf(d protoreflect.MessageDescriptor) *greenroomv1.Shape {
	s := &greenroomv1.Shape{Name: string(d.FullName())}
	fields := d.Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		field := &greenroomv1.Field{Number: uint32(f.Number()), Kind: uint32(f.Kind()), Repeated: f.Cardinality() == protoreflect.Repeated}
		if m := f.Message(); m != nil {
			field.TypeName = string(m.FullName())
		}
		s.Fields = append(s.Fields, field)
	}
	slices.SortFunc(s.Fields, func(a, b *greenroomv1.Field) int { return cmp.Compare(a.GetNumber(), b.GetNumber()) })
	return s
}

// digestOf is the digest of a shape.
func digestOf(s *greenroomv1.Shape) uint64 {
	h := fnv.New64a()
	for _, f := range s.GetFields() {
		_, _ = fmt.Fprintf(h, "%d %d %t %s;", f.GetNumber(), f.GetKind(), f.GetRepeated(), f.GetTypeName())
	}
	return h.Sum64()
}

// schemas are all types that the program knows, sorted by name: what a Hello tells. Types may be registered after init (package
// dynamicpb's users do that), so it is made anew when their number has changed.
var schemas struct {
	sync.Mutex
	n    int
	list []*greenroomv1.Schema
}

func knownSchemas() []*greenroomv1.Schema {
	schemas.Lock()
	defer schemas.Unlock()
	if n := protoregistry.GlobalTypes.NumMessages(); n != schemas.n {
		schemas.n = n
		schemas.list = schemas.list[:0:0]
		protoregistry.GlobalTypes.RangeMessages(func(mt protoreflect.MessageType) bool {
			if d := mt.Descriptor(); !d.IsMapEntry() && len(schemas.list) < maxTypes {
				schemas.list = append(schemas.list, &greenroomv1.Schema{Name: string(d.FullName()), Digest: digestOf(shapeOf(d))})
			}
			return true
		})
		slices.SortFunc(schemas.list, func(a, b *greenroomv1.Schema) int { return cmp.Compare(a.GetName(), b.GetName()) })
	}
	return schemas.list
}

// understanding is what is known of a peer's types.
type understanding struct {
	same    atomic.Bool // it knows the same types as this program: the usual case, of which nothing more is kept
	mu      sync.Mutex
	theirs  map[string]uint64 // digests; nil until the Hello
	differ  map[string]bool   // digests differ, and how is not known yet
	faults  map[string]string // why a type cannot be used
	lacking sync.Map          // *messageType: error, of those asked about
}

// hello takes the peer's schemas, and returns the shapes that it should be told: of types that it has another digest of.
func (u *understanding) hello(theirs []*greenroomv1.Schema) *greenroomv1.Shapes {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.theirs, u.differ, u.faults = nil, nil, nil
	u.lacking.Clear()
	same := slices.EqualFunc(theirs, knownSchemas(), sameSchema)
	u.same.Store(same)
	if same {
		return &greenroomv1.Shapes{}
	}
	u.theirs = make(map[string]uint64, len(theirs))
	for _, s := range theirs {
		u.theirs[s.GetName()] = s.GetDigest()
	}
	u.differ, u.faults = make(map[string]bool), make(map[string]string)
	shapes := &greenroomv1.Shapes{}
	for _, s := range knownSchemas() {
		if digest, ok := u.theirs[s.GetName()]; ok && digest != s.GetDigest() {
			u.differ[s.GetName()] = true
			if t, err := typeNamed(protoreflect.FullName(s.GetName())); err == nil {
				shapes.Shapes = append(shapes.Shapes, shapeOf(t.mt.Descriptor()))
			}
		}
	}
	return shapes
}

func sameSchema(a, b *greenroomv1.Schema) bool {
	return a.GetName() == b.GetName() && a.GetDigest() == b.GetDigest()
}

// compare takes the peer's shapes and returns the faults: fields that both have and that are not the same.
func (u *understanding) compare(shapes *greenroomv1.Shapes) map[string]string {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, theirs := range shapes.GetShapes() {
		t, err := typeNamed(protoreflect.FullName(theirs.GetName()))
		if err != nil || !u.differ[theirs.GetName()] {
			continue
		}
		delete(u.differ, theirs.GetName())
		ours := make(map[uint32]*greenroomv1.Field)
		for _, f := range shapeOf(t.mt.Descriptor()).GetFields() {
			ours[f.GetNumber()] = f
		}
		for _, f := range theirs.GetFields() {
			if mine := ours[f.GetNumber()]; mine != nil && !proto.Equal(mine, f) {
				u.faults[t.name] = fmt.Sprintf("its field %d is %s here and %s there", f.GetNumber(), describe(mine), describe(f))
				break
			}
		}
	}
	u.lacking.Clear()
	return maps.Clone(u.faults)
}

func describe(f *greenroomv1.Field) string {
	s := protoreflect.Kind(int8(f.GetKind())).String() //nolint:gosec // a kind that is none has a text, too
	if f.GetTypeName() != "" {
		s += " " + f.GetTypeName()
	}
	if f.GetRepeated() {
		s = "repeated " + s
	}
	return s
}

// accepts returns nil if the peer understands messages of type t, as far as is known.
func (u *understanding) accepts(t *messageType) error {
	if u.same.Load() {
		return nil
	}
	if err, ok := u.lacking.Load(t); ok {
		err, _ := err.(error)
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.theirs == nil {
		return nil // the Hello is still to come
	}
	err := u.examine(t.mt.Descriptor(), map[protoreflect.FullName]bool{})
	if err == nil {
		u.lacking.Store(t, nil)
	} else {
		u.lacking.Store(t, err)
	}
	return err
}

// examine looks at a type and those in it. The caller holds the lock.
func (u *understanding) examine(d protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) error {
	name := d.FullName()
	if seen[name] {
		return nil
	}
	seen[name] = true
	if _, ok := u.theirs[string(name)]; !ok && !d.IsMapEntry() {
		if len(seen) > 1 {
			return nil // a type within one that it knows otherwise: its digest has told
		}
		return fmt.Errorf("remote: %s: %w", name, ErrUnknownType)
	}
	if why := u.faults[string(name)]; why != "" {
		return fmt.Errorf("remote: %s: %w: %s", name, ErrUnknownType, why)
	}
	fields := d.Fields()
	for i := range fields.Len() {
		if m := fields.Get(i).Message(); m != nil {
			if err := u.examine(m, seen); err != nil {
				return err
			}
		}
	}
	return nil
}
