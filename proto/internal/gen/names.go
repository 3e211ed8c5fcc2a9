package gen

import (
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// reserved are the names that actor.Ref gives to every typed ref. An rpc of such a name would hide the method or field that
// it has from there.
var reserved = map[string]bool{
	"Alive": true, "Any": true, "AnyRef": true, "Current": true, "Deliver": true, "Drain": true, "Fire": true, "ID": true, "Interrupt": true, "IsZero": true,
	"Kill": true, "Node": true, "Proto": true, "Queued": true, "Ref": true, "Remote": true, "Resume": true, "Send": true, "Shutdown": true,
	"Stop": true, "String": true, "System": true, "Takes": true, "Wait": true,
}

// base is what the Go names of a service are made of: its name without the word Service at the end.
func base(service *protogen.Service) string {
	if trimmed := strings.TrimSuffix(service.GoName, "Service"); trimmed != "" {
		return trimmed
	}
	return service.GoName
}

// goNames are the exported names that a service needs in its package.
func goNames(base string) []string {
	return []string{
		base + "Server", base + "Message", base + "Behaviour", "Persistent" + base + "Behaviour",
		"Spawn" + base, base + "Ref", base + "RefOf", base + "Service", base + "Factory",
	}
}

// names are the Go names of a package, each with what has it, the first one first.
type names map[string][]protoreflect.Descriptor

// namesOf collects what the schemas of one Go package declare there.
func namesOf(plugin *protogen.Plugin, path protogen.GoImportPath) names {
	all := names{}
	for _, file := range plugin.Files {
		if file.GoImportPath != path {
			continue
		}
		all.enums(file.Enums)
		all.extensions(file.Extensions)
		all.messages(file.Messages)
	}
	for _, file := range plugin.Files {
		if file.GoImportPath != path {
			continue
		}
		for _, service := range file.Services {
			for _, name := range goNames(base(service)) {
				all.add(name, service.Desc)
			}
		}
	}
	return all
}

func (n names) add(name string, d protoreflect.Descriptor) { n[name] = append(n[name], d) }

func (n names) enums(enums []*protogen.Enum) {
	for _, enum := range enums {
		n.add(enum.GoIdent.GoName, enum.Desc)
		for _, value := range enum.Values {
			n.add(value.GoIdent.GoName, value.Desc)
		}
	}
}

func (n names) extensions(extensions []*protogen.Extension) {
	for _, extension := range extensions {
		n.add("E_"+extension.GoIdent.GoName, extension.Desc)
	}
}

func (n names) messages(messages []*protogen.Message) {
	for _, message := range messages {
		n.add(message.GoIdent.GoName, message.Desc)
		for _, oneof := range message.Oneofs {
			for _, field := range oneof.Fields {
				n.add(field.GoIdent.GoName, field.Desc)
			}
		}
		n.enums(message.Enums)
		n.extensions(message.Extensions)
		n.messages(message.Messages)
	}
}
