package remote

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// theirSchemas are what a peer's Hello tells that differs from this program in the types that change is called with.
func theirSchemas(change func(s *greenroomv1.Schema) (keep bool)) (list []*greenroomv1.Schema) {
	for _, s := range knownSchemas() {
		if c := proto.CloneOf(s); change(c) {
			list = append(list, c)
		}
	}
	return list
}

// TestTypesAreCompared: types that the two sides know differently are found when they meet: added fields do no harm, a field that is another
// one has messages refused that hold it, however deep, and so does a type that the other side does not know (REM-30).
func TestTypesAreCompared(t *testing.T) {
	const (
		other = "google.protobuf.StringValue"
		ref   = "greenroom.v1.Ref"
		gone  = "google.protobuf.BytesValue"
	)
	var u understanding
	sorts := func(m proto.Message) error {
		mt, err := typeOf(m)
		if err != nil {
			t.Fatal(err)
		}
		return u.accepts(mt)
	}
	if err := sorts(wrapperspb.Bool(true)); err != nil {
		t.Errorf("before the Hello: %v", err)
	}
	if shapes := u.hello(knownSchemas()); len(shapes.GetShapes()) != 0 || sorts(wrapperspb.String("")) != nil {
		t.Errorf("of the same types: %v", shapes)
	}
	shapes := u.hello(theirSchemas(func(s *greenroomv1.Schema) bool {
		if s.GetName() == other || s.GetName() == ref {
			s.Digest++
		}
		return s.GetName() != gone
	}))
	var told []string
	for _, s := range shapes.GetShapes() {
		told = append(told, s.GetName())
	}
	if slices.Sort(told); !slices.Equal(told, []string{other, ref}) {
		t.Errorf("it is told of %v", told)
	}
	if err := sorts(wrapperspb.Bytes(nil)); !errors.Is(err, ErrUnknownType) {
		t.Errorf("a type that the peer does not know: %v", err)
	}
	shape := func(name string, change func(s *greenroomv1.Shape)) *greenroomv1.Shape {
		for _, s := range shapes.GetShapes() {
			if s.GetName() == name {
				s = proto.CloneOf(s)
				change(s)
				return s
			}
		}
		t.Fatalf("no shape of %s", name)
		return nil
	}
	faults := u.compare(&greenroomv1.Shapes{Shapes: []*greenroomv1.Shape{
		shape(other, func(s *greenroomv1.Shape) { s.Fields[0].Kind++ }),
		shape(ref, func(s *greenroomv1.Shape) { s.Fields = append(s.Fields, &greenroomv1.Field{Number: 99, Kind: 5}) }),
		{Name: "nobody.has.This", Fields: []*greenroomv1.Field{{Number: 1, Kind: 1}}},
	}})
	if len(faults) != 1 || !strings.Contains(faults[other], "field 1 is string here") {
		t.Errorf("the faults are %v", faults)
	}
	if err := sorts(wrapperspb.String("")); !errors.Is(err, ErrUnknownType) || !strings.Contains(err.Error(), "field 1") {
		t.Errorf("a type that is another one there: %v", err)
	}
	for _, m := range []proto.Message{&greenroomv1.Ref{}, &greenroomv1.Failure{}, wrapperspb.Bool(true)} {
		if err := sorts(m); err != nil {
			t.Errorf("%T: %v", m, err)
		}
	}
	shapes = u.hello(theirSchemas(func(s *greenroomv1.Schema) bool {
		if s.GetName() == ref {
			s.Digest++
		}
		return true
	}))
	u.compare(&greenroomv1.Shapes{Shapes: []*greenroomv1.Shape{shape(ref, func(s *greenroomv1.Shape) { s.Fields[1].Repeated = true })}})
	if err := sorts(&greenroomv1.Failure{}); !errors.Is(err, ErrUnknownType) || !strings.Contains(err.Error(), ref) {
		t.Errorf("a type with such a one in it: %v", err)
	}
	if err := sorts(wrapperspb.String("")); err != nil {
		t.Errorf("one that is the same again: %v", err)
	}
}
