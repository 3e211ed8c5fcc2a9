// Command greenroom is what people do with a cluster from a terminal.
//
//	greenroom cert cluster -dir certs alpha beta gamma
//	greenroom cert -h
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // the command line is wrong
)

// command is one that can be called by name. Those that have others below them run one of these.
type command struct {
	name    string
	args    string // what follows the name
	summary string
	help    string // what -h says beside the flags
	below   []command
	run     func(c *call) error
}

// root is everything.
func root() command {
	return command{name: "greenroom", summary: "look after a cluster of nodes", below: []command{certCommand()}}
}

// call is one run of a command.
type call struct {
	path   string // the names up to here
	cmd    command
	flags  *flag.FlagSet
	args   []string
	stdout io.Writer
}

// usageError is a fault of the command line.
type usageError struct{ error }

func misused(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run is the command: it returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	c := &call{path: "greenroom", cmd: root(), args: args, stdout: stdout}
	err := c.find()
	if err == nil {
		c.flags = flag.NewFlagSet(c.path, flag.ContinueOnError)
		c.flags.SetOutput(io.Discard)
		err = c.cmd.run(c)
	}
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, flag.ErrHelp):
		c.help(stdout)
		return exitOK
	case errors.As(err, &usage):
		say(stderr, "%s: %v\nRun %s -h for help.\n", c.path, err, c.path)
		return exitUsage
	default:
		say(stderr, "%s: %v\n", c.path, err)
		return exitFailed
	}
}

// find goes down to the command that the arguments name.
func (c *call) find() error {
	for c.cmd.below != nil {
		if len(c.args) == 0 {
			return misused("which of its commands? They are %s", c.names())
		}
		name := c.args[0]
		if name == "-h" || name == "--help" || name == "-help" || name == "help" {
			return flag.ErrHelp
		}
		if !c.enter(name) {
			return misused("there is no command %.80q: there are %s", name, c.names())
		}
	}
	return nil
}

func (c *call) enter(name string) bool {
	for _, below := range c.cmd.below {
		if below.name == name {
			c.path, c.cmd, c.args = c.path+" "+name, below, c.args[1:]
			return true
		}
	}
	return false
}

func (c *call) names() string {
	var names []string
	for _, below := range c.cmd.below {
		names = append(names, below.name)
	}
	return strings.Join(names, ", ")
}

// parse reads the flags, wherever they stand, and leaves the other arguments in args.
func (c *call) parse() error {
	var others []string
	for args := c.args; ; {
		if err := c.flags.Parse(args); errors.Is(err, flag.ErrHelp) {
			return err
		} else if err != nil {
			return usageError{err}
		}
		if args = c.flags.Args(); len(args) == 0 {
			break
		}
		others, args = append(others, args[0]), args[1:]
	}
	c.args = others
	return nil
}

// isSet reports whether a flag was given.
func (c *call) isSet(name string) bool {
	set := false
	c.flags.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

func (c *call) help(w io.Writer) {
	var text strings.Builder
	fmt.Fprintf(&text, "%s: %s\n\n", c.path, c.cmd.summary)
	if c.cmd.below != nil {
		for _, below := range c.cmd.below {
			fmt.Fprintf(&text, "  %s %-8s %s\n", c.path, below.name, below.summary)
		}
	} else {
		fmt.Fprintf(&text, "  %s %s\n", c.path, c.cmd.args)
	}
	if c.cmd.help != "" {
		fmt.Fprintf(&text, "\n%s\n", strings.TrimSpace(c.cmd.help))
	}
	if c.flags != nil {
		var flags strings.Builder
		c.flags.SetOutput(&flags)
		c.flags.PrintDefaults()
		if flags.Len() > 0 {
			text.WriteString("\nFlags:\n" + flags.String())
		}
	}
	say(w, "%s", text.String())
}

// say writes to a terminal; where that fails there is nowhere to say so.
func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
