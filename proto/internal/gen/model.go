package gen

import (
	"fmt"
	"strings"
	"time"
)

// model is what the template renders: one file of generated code.
type model struct {
	Source   string // the schema's path
	Package  string // of Go
	Imports  [][]string
	Services []service
}

// service is one service of the schema.
type service struct {
	Name    string // in the schema
	Full    string // with its package
	Base    string // what its Go names are made of
	Sealed  string // the method that seals its messages
	Comment string // the schema's, as lines of text
	Mailbox string // a Go expression, or nothing
	Methods []method
}

// method is one rpc.
type method struct {
	Name       string // in the schema
	GoName     string
	Comment    string
	Deprecated bool
	Kind       string // a constant of package rpc, without the package
	Request    string // Go types, without the star
	Response   string // nothing if the rpc is one way
	Wait       time.Duration
}

// Timeout is the Go expression for the rpc's timeout.
func (m method) Timeout() string {
	if m.Wait == 0 {
		return "rpc.NoTimeout"
	}
	return expression(m.Wait)
}

// expression writes a duration as a person would.
func expression(d time.Duration) string {
	for _, unit := range []struct {
		name string
		d    time.Duration
	}{{"time.Hour", time.Hour}, {"time.Minute", time.Minute}, {"time.Second", time.Second}, {"time.Millisecond", time.Millisecond}, {"time.Microsecond", time.Microsecond}} {
		switch {
		case d == unit.d:
			return unit.name
		case d%unit.d == 0:
			return fmt.Sprintf("%d * %s", d/unit.d, unit.name)
		}
	}
	return fmt.Sprintf("%d * time.Nanosecond", d)
}

// Signature is what the implementation's method takes and returns.
func (m method) Signature() string {
	switch m.Kind {
	case "OneWay":
		return fmt.Sprintf("(ctx *actor.Context, req *%s)", m.Request)
	case "ServerStreaming":
		return fmt.Sprintf("(ctx *actor.Context, req *%s, out *rpc.Sender[*%s]) error", m.Request, m.Response)
	case "ClientStreaming":
		return fmt.Sprintf("(ctx *actor.Context, in *rpc.Receiver[*%s]) (*%s, error)", m.Request, m.Response)
	case "BidiStreaming":
		return fmt.Sprintf("(ctx *actor.Context, in *rpc.Receiver[*%s], out *rpc.Sender[*%s]) error", m.Request, m.Response)
	}
	return fmt.Sprintf("(ctx *actor.Context, req *%s) (*%s, error)", m.Request, m.Response)
}

// Doc is the comment of the rpc, for the interface.
func (m method) Doc() string { return comment(m.lines()) }

// RefDoc is the comment of the rpc with how to use it, for the typed ref.
func (m method) RefDoc() string { return comment(m.lines(m.use())) }

func (m method) lines(more ...string) []string {
	text := m.Comment
	if text == "" {
		text = m.GoName + " is the rpc " + m.Name + "."
	}
	if m.Deprecated {
		more = append(more, "Deprecated: the schema says so.")
	}
	lines := strings.Split(text, "\n")
	for _, paragraph := range more {
		lines = append(append(lines, ""), wrapped(paragraph)...)
	}
	return lines
}

// use says how the method of a typed ref behaves.
func (m method) use() string {
	bound := ""
	if m.Wait != 0 {
		bound = fmt.Sprintf("; all of it may take %v, or less if ctx ends earlier", m.Wait)
	}
	switch m.Kind {
	case "OneWay":
		return "It does not wait for the service: nil means that req is in its mailbox."
	case "ServerStreaming":
		return "Each loop over what it returns calls the service, and one that ends early ends the stream" + bound + "."
	case "ClientStreaming":
		return "The stream must be ended by CloseAndReceive, by Cancel, or by ctx" + bound + "."
	case "BidiStreaming":
		return "The stream must be ended by the last answer of Receive, by Cancel, or by ctx" + bound + "."
	}
	if m.Wait != 0 {
		return fmt.Sprintf("It waits as actor.Call does, for %v, or less if ctx ends earlier.", m.Wait)
	}
	return "It waits as actor.Call does."
}

// ServerDoc is the comment of the interface to implement.
func (s service) ServerDoc() string {
	lines := wrapped(fmt.Sprintf("%sServer is what implements %s: one value for each incarnation of an actor.", s.Base, s.Name))
	if s.Comment != "" {
		lines = append(append(lines, ""), strings.Split(s.Comment, "\n")...)
	}
	lines = append(append(lines, ""), wrapped("Methods run in the actor, one at a time: their state needs no lock. An error that one "+
		"returns is its caller's, and the actor goes on; a panic ends the actor.")...)
	return comment(lines)
}

// width is how long a line of a comment may be.
const width = 110

// wrapped breaks a paragraph into lines.
func wrapped(paragraph string) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(paragraph) {
		if line != "" && len("// ")+len(line)+len(" ")+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return append(lines, line)
}

// comment makes Go comment lines of text.
func comment(lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		if line = strings.TrimRight(line, " \t\r"); line == "" {
			b.WriteString("//\n")
			continue
		}
		b.WriteString("// " + line + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}
