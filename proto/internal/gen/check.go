package gen

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
)

// checker makes the model of one file and collects what is wrong with it.
type checker struct {
	plugin  *protogen.Plugin
	file    *protogen.File
	names   names
	imports *imports
	faults  []error
}

// fault notes what is wrong with d, at the part of it that fields leads to.
func (c *checker) fault(d protoreflect.Descriptor, fields []int32, format string, args ...any) {
	c.faults = append(c.faults, fmt.Errorf("%s: %s", place(d, fields...), fmt.Sprintf(format, args...)))
}

func (c *checker) model() *model {
	c.imports = newImports()
	c.imports.use(contextPackage)
	c.imports.use(protoPackage)
	c.imports.use(actorPackage)
	c.imports.use(rpcPackage)
	m := &model{Source: c.file.Desc.Path(), Package: string(c.file.GoPackageName)}
	for _, s := range c.file.Services {
		m.Services = append(m.Services, c.service(s))
	}
	m.Imports = c.imports.groups()
	return m
}

func (c *checker) service(s *protogen.Service) service {
	b := base(s)
	out := service{
		Name: string(s.Desc.Name()), Full: string(s.Desc.FullName()), Base: b, Sealed: lower(b) + "Message",
		Comment: text(s.Comments.Leading), Mailbox: c.mailbox(s),
	}
	c.checkNames(s)
	if len(s.Methods) == 0 {
		c.fault(s.Desc, nil, "service %s has no rpc: its actors could take no message", s.Desc.Name())
	}
	requests := map[protoreflect.FullName]*protogen.Method{}
	methods := map[string]*protogen.Method{}
	for _, m := range s.Methods {
		c.checkRequest(m, requests)
		c.checkMethodName(m, methods)
		out.Methods = append(out.Methods, c.method(m))
	}
	return out
}

// checkNames finds the names that the service needs and that something else in its Go package has.
func (c *checker) checkNames(s *protogen.Service) {
	for _, name := range goNames(base(s)) {
		first := c.names[name][0]
		if _, isService := first.(protoreflect.ServiceDescriptor); isService && first != s.Desc {
			c.fault(s.Desc, nil, "service %s needs the same Go names as service %s (%s), such as %s: rename one of them",
				s.Desc.Name(), first.Name(), place(first), name)
			return
		}
		if first != s.Desc {
			c.fault(s.Desc, nil, "service %s needs the Go name %s, which %s has already (%s): rename one of them",
				s.Desc.Name(), name, first.FullName(), place(first))
		}
	}
}

func (c *checker) checkMethodName(m *protogen.Method, seen map[string]*protogen.Method) {
	if reserved[m.GoName] {
		c.fault(m.Desc, nil, "rpc %s: every ref has a %s of its own, from actor.Ref: give the rpc another name", m.Desc.Name(), m.GoName)
	}
	if first := seen[m.GoName]; first != nil {
		c.fault(m.Desc, nil, "rpc %s has the same Go name, %s, as rpc %s (%s): rename one of them", m.Desc.Name(), m.GoName, first.Desc.Name(), place(first.Desc))
		return
	}
	seen[m.GoName] = m
}

// checkRequest holds that the request is a message that the service's mailbox can be typed by.
func (c *checker) checkRequest(m *protogen.Method, seen map[protoreflect.FullName]*protogen.Method) {
	request := m.Input
	if request.GoIdent.GoImportPath != c.file.GoImportPath {
		c.fault(m.Desc, []int32{methodInput}, "rpc %s takes a %s, of the Go package %s: requests type the service's mailbox, so they must be declared in its own package, %s",
			m.Desc.Name(), request.Desc.FullName(), request.GoIdent.GoImportPath, c.file.GoImportPath)
		return
	}
	if first := seen[request.Desc.FullName()]; first != nil {
		c.fault(m.Desc, []int32{methodInput}, "rpc %s takes a %s, as rpc %s does (%s): each needs a request of its own, which tells them apart in the mailbox",
			m.Desc.Name(), request.Desc.Name(), first.Desc.Name(), place(first.Desc))
		return
	}
	seen[request.Desc.FullName()] = m
}

func (c *checker) method(m *protogen.Method) method {
	out := method{
		Name: string(m.Desc.Name()), GoName: m.GoName, Comment: text(m.Comments.Leading), Kind: c.kind(m),
		Request: m.Input.GoIdent.GoName, Wait: c.timeout(m),
	}
	if out.Kind != "OneWay" {
		out.Response = c.goType(m.Output)
	}
	if o, ok := m.Desc.Options().(interface{ GetDeprecated() bool }); ok {
		out.Deprecated = o.GetDeprecated()
	}
	for _, streamed := range []*protogen.Message{m.Input, m.Output} {
		if out.Kind != "Unary" && isOfStreams(streamed) {
			c.fault(m.Desc, nil, "rpc %s streams a %s, which streams themselves are made with", m.Desc.Name(), streamed.Desc.FullName())
		}
	}
	if out.Kind == "ServerStreaming" {
		c.imports.use(iterPackage)
	}
	return out
}

// isOfStreams reports whether a message is one of those of stream.proto.
func isOfStreams(m *protogen.Message) bool {
	return m.Desc.ParentFile().Path() == greenroomv1.File_greenroom_v1_stream_proto.Path()
}

func (c *checker) kind(m *protogen.Method) string {
	oneWay := proto.GetExtension(m.Desc.Options(), greenroomv1.E_OneWay).(bool)
	up, down := m.Desc.IsStreamingClient(), m.Desc.IsStreamingServer()
	if !oneWay {
		return map[[2]bool]string{{true, true}: "BidiStreaming", {true, false}: "ClientStreaming", {false, true}: "ServerStreaming", {}: "Unary"}[[2]bool{up, down}]
	}
	at := option(greenroomv1.E_OneWay)
	if up || down {
		c.fault(m.Desc, at, "rpc %s is one_way and a stream: nobody would wait for the items", m.Desc.Name())
	}
	if m.Output.Desc.Fields().Len() > 0 {
		c.fault(m.Desc, []int32{methodOutput}, "rpc %s is one_way, so its response is never sent, but %s has fields: return google.protobuf.Empty",
			m.Desc.Name(), m.Output.Desc.FullName())
	}
	return "OneWay"
}

// option is the way from a method to one of its options.
func option(x protoreflect.ExtensionType) []int32 {
	return []int32{methodOptions, int32(x.TypeDescriptor().Number())}
}

// timeout reads the rpc's option, 0 if there is none.
func (c *checker) timeout(m *protogen.Method) time.Duration {
	d, _ := proto.GetExtension(m.Desc.Options(), greenroomv1.E_Timeout).(*durationpb.Duration)
	if d == nil {
		return 0
	}
	at := option(greenroomv1.E_Timeout)
	switch err := d.CheckValid(); {
	case proto.GetExtension(m.Desc.Options(), greenroomv1.E_OneWay).(bool):
		c.fault(m.Desc, at, "rpc %s is one_way and has a timeout: it waits for nothing", m.Desc.Name())
	case err != nil:
		c.fault(m.Desc, at, "rpc %s has a timeout that is no duration: seconds %d, nanos %d", m.Desc.Name(), d.Seconds, d.Nanos)
	case d.AsDuration() <= 0:
		c.fault(m.Desc, at, "rpc %s has a timeout of %v: it must be positive", m.Desc.Name(), d.AsDuration())
	case d.AsDuration() == math.MaxInt64:
		c.fault(m.Desc, at, "rpc %s has a timeout of more than 292 years: leave it out", m.Desc.Name())
	default:
		c.imports.use(timePackage)
		return d.AsDuration()
	}
	return 0
}

// mailbox is the Go expression for the mailbox that the service asks for, or nothing.
func (c *checker) mailbox(s *protogen.Service) string {
	m, _ := proto.GetExtension(s.Desc.Options(), greenroomv1.E_Mailbox).(*greenroomv1.Mailbox)
	if m == nil {
		return ""
	}
	at := []int32{serviceOptions, int32(greenroomv1.E_Mailbox.TypeDescriptor().Number())}
	policy, err := policyOf(m.Overflow)
	switch {
	case m.Capacity == 0:
		c.fault(s.Desc, at, "service %s has a mailbox option without a capacity: say how many messages it holds, or leave the option out for an unbounded one",
			s.Desc.Name())
		return ""
	case m.Capacity > math.MaxInt32:
		c.fault(s.Desc, at, "service %s has a mailbox of capacity %d: at most %d are possible", s.Desc.Name(), m.Capacity, math.MaxInt32)
		return ""
	case err != nil:
		c.fault(s.Desc, at, "service %s has a mailbox with %v", s.Desc.Name(), err)
		return ""
	case policy == "":
		return fmt.Sprintf("actor.Mailbox{Capacity: %d}", m.Capacity)
	}
	c.imports.use(mailboxPackage)
	return fmt.Sprintf("actor.Mailbox{Capacity: %d, Overflow: mailbox.%s}", m.Capacity, policy)
}

// policyOf is the constant of package mailbox, nothing for the one that needs no mention.
func policyOf(o greenroomv1.Overflow) (string, error) {
	switch o {
	case greenroomv1.Overflow_OVERFLOW_UNSPECIFIED, greenroomv1.Overflow_OVERFLOW_REJECT:
		return "", nil
	case greenroomv1.Overflow_OVERFLOW_SUSPEND:
		return "Suspend", nil
	case greenroomv1.Overflow_OVERFLOW_DROP_NEWEST:
		return "DropNewest", nil
	case greenroomv1.Overflow_OVERFLOW_DROP_OLDEST:
		return "DropOldest", nil
	}
	return "", errors.New("an unknown overflow policy")
}

// goType is a message's Go type as this file writes it.
func (c *checker) goType(m *protogen.Message) string {
	path := m.GoIdent.GoImportPath
	if path == c.file.GoImportPath {
		return m.GoIdent.GoName
	}
	name := c.plugin.FilesByPath[m.Desc.ParentFile().Path()].GoPackageName
	return c.imports.other(path, name) + "." + m.GoIdent.GoName
}

// text is a schema's comment without its slashes.
func text(c protogen.Comments) string {
	lines := strings.Split(strings.Trim(string(c), "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, " ")
	}
	return strings.Join(lines, "\n")
}

// lower is s with its first letter in lower case.
func lower(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToLower(r)) + s[n:]
}
