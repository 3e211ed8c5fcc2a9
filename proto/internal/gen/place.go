package gen

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Numbers of the fields that lead to a place in a schema: see SourceCodeInfo in descriptor.proto.
const (
	fileSyntax     = 12
	filePackage    = 2
	methodInput    = 2
	methodOutput   = 3
	methodOptions  = 4
	serviceOptions = 3
)

// place is where a descriptor is, or the part of it that fields leads to, as file:line:column. If the part has no place of its
// own it is that of the descriptor, and if that has none it is the file.
func place(d protoreflect.Descriptor, fields ...int32) string {
	file := d.ParentFile()
	locations := file.SourceLocations()
	base := locations.ByDescriptor(d)
	if len(fields) > 0 && base.Path != nil {
		path := slices.Concat(base.Path, fields)
		for i := range locations.Len() { // a part of the part will do: (mailbox).capacity says where the mailbox is
			if l := locations.Get(i); len(l.Path) >= len(path) && slices.Equal(l.Path[:len(path)], path) {
				base = l
				break
			}
		}
	}
	if base.Path == nil {
		return file.Path()
	}
	return at(file.Path(), base.StartLine, base.StartColumn)
}

// placeOfPackage is where a file declares its package, or else its syntax.
func placeOfPackage(file *descriptorpb.FileDescriptorProto) string {
	for _, field := range []int32{filePackage, fileSyntax} {
		for _, l := range file.GetSourceCodeInfo().GetLocation() {
			if slices.Equal(l.Path, []int32{field}) && len(l.Span) > 1 {
				return at(file.GetName(), int(l.Span[0]), int(l.Span[1]))
			}
		}
	}
	return at(file.GetName(), 0, 0)
}

// at counts lines and columns from 1, as compilers do.
func at(file string, line, column int) string { return fmt.Sprintf("%s:%d:%d", file, line+1, column+1) }
