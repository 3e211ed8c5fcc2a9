package supervisor_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/actor/actortest"
	"github.com/greenroom-go/greenroom/supervisor"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts in testdata anew; then read them")

var (
	strategies = []supervisor.Strategy{supervisor.OneForOne, supervisor.OneForAll, supervisor.RestForOne, supervisor.Dynamic}
	classes    = []supervisor.Restart{supervisor.Permanent, supervisor.Transient, supervisor.Temporary}
)

// SUP-1: every strategy with every restart class and every exit: commands in, what Observe is told out. Three children, the middle one
// ends, and once more if it was restarted, which is once too often.
func TestTranscripts(t *testing.T) {
	for _, strategy := range strategies {
		for _, class := range classes {
			name := fmt.Sprintf("%v_%v", strategy, class)
			t.Run(name, func(t *testing.T) {
				var commands []string
				for _, exit := range exits {
					commands = append(commands, matrixOf(strategy, class, exit)...)
				}
				compare(t, filepath.Join("testdata", name+".txt"), commands)
			})
		}
	}
}

func matrixOf(strategy supervisor.Strategy, class supervisor.Restart, exit string) []string {
	commands := []string{fmt.Sprintf("supervisor %v", strategy)}
	if strategy == supervisor.Dynamic {
		commands = append(commands, fmt.Sprintf("child w %v", class), "start", "spawn", "spawn", "spawn", "end w/2 "+exit, "children", "end w/2 "+exit)
	} else {
		for _, id := range []string{"a", "b", "c"} {
			commands = append(commands, fmt.Sprintf("child %s %v", id, class))
		}
		commands = append(commands, "start", "end b/1 "+exit, "children", "end b/1 "+exit)
	}
	return append(commands, "stop")
}

// SUP-2 SUP-3 SUP-5 SUP-6: the stories in testdata that are no row of the matrix: their commands are read from the files.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/story_*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no stories", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var commands []string
			for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
				if command, ok := strings.CutPrefix(lines.Text(), "> "); ok {
					commands = append(commands, command)
				}
			}
			compare(t, file, commands)
		})
	}
}

// compare plays commands and holds the transcript against the file.
func compare(t *testing.T, file string, commands []string) {
	t.Helper()
	got := ""
	synctest.Test(t, func(t *testing.T) {
		got = play(t, actortest.New(t, actor.SystemOptions{Seed: 1}), commands)
	})
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -rewrite takes what is got):\n%s", file, diff)
	}
}

// stage is where commands are played.
type stage struct {
	t     *testing.T
	sys   *actor.System
	out   strings.Builder
	trace trace
	spec  supervisor.Spec
	sup   supervisor.Supervisor
	names map[actor.AnyRef]string // "b/1": the first ref of child b
	refs  map[string]actor.AnyRef
	nth   map[string]int
	over  bool
}

func play(t *testing.T, sys *actor.System, commands []string) string {
	s := &stage{t: t, sys: sys}
	for _, command := range commands {
		if strings.HasPrefix(command, "supervisor ") && s.out.Len() > 0 {
			s.out.WriteString("\n")
		}
		fmt.Fprintf(&s.out, "> %s\n", command)
		words := strings.Fields(command)
		if err := s.do(words[0], words[1:]); err != nil {
			s.print("error: %v", err)
		}
		settled(t, sys)
		s.report()
	}
	return s.out.String()
}

func (s *stage) print(format string, args ...any) {
	fmt.Fprintf(&s.out, "  "+format+"\n", args...)
}

func (s *stage) do(what string, args []string) error {
	ctx := s.t.Context()
	switch what {
	case "supervisor":
		s.names, s.refs, s.nth, s.over = map[actor.AnyRef]string{}, map[string]actor.AnyRef{}, map[string]int{}, false
		s.sup = supervisor.Supervisor{}
		s.spec = specOf(s.t, args)
		s.spec.Observe = s.trace.observe
	case "child":
		s.spec.Children = append(s.spec.Children, childOf(s.t, args))
	case "start":
		var err error
		s.sup, err = supervisor.Start(ctx, s.sys, s.spec)
		return err
	case "spawn":
		_, err := s.sup.Spawn(ctx, nil)
		return err
	case "add":
		_, err := s.sup.Add(ctx, childOf(s.t, args))
		return err
	case "restart":
		_, err := s.sup.Restart(ctx, args[0])
		return err
	case "terminate":
		if ref, ok := s.refs[args[0]]; ok {
			return s.sup.TerminateRef(ctx, ref)
		}
		return s.sup.Terminate(ctx, args[0])
	case "delete":
		return s.sup.Delete(ctx, args[0])
	case "end":
		end(ctx, s.refs[args[0]], args[1])
	case "pass":
		d, err := time.ParseDuration(args[0])
		pass(d)
		return err
	case "children":
		infos, err := s.sup.Children(ctx)
		for _, i := range infos {
			s.print("%s %v, restarts %d", s.name(i.ID, i.Ref), i.Status, i.Restarts)
		}
		return err
	case "count":
		c, err := s.sup.Count(ctx)
		s.print("%+v", c)
		return err
	case "stop":
		return s.sup.Stop(ctx)
	default:
		s.t.Fatalf("unknown command %q", what)
	}
	return nil
}

// name is "b/1" for the first ref of child b.
func (s *stage) name(id string, ref actor.AnyRef) string {
	if id == "" && !ref.IsZero() {
		id = s.spec.Children[0].ID
	}
	if ref.IsZero() {
		return id
	}
	name, ok := s.names[ref]
	if !ok {
		s.nth[id]++
		name = fmt.Sprintf("%s/%d", id, s.nth[id])
		s.names[ref], s.refs[name] = name, ref
	}
	return name
}

// report prints what was observed since the last command, and who has died for good.
func (s *stage) report() {
	s.trace.mu.Lock()
	events := s.trace.events
	s.trace.events = nil
	s.trace.mu.Unlock()
	for _, e := range events {
		line := fmt.Sprintf("%v %s", e.Kind, s.name(e.Child, e.Ref))
		switch {
		case e.Err != nil:
			line += ": " + e.Err.Error()
		case e.Kind == supervisor.Restarting && e.Delay > 0:
			line += fmt.Sprintf(" after %v", e.Delay)
		case e.Kind == supervisor.Ended || e.Kind == supervisor.Stopped || e.Kind == supervisor.StartFailed:
			line += ": " + e.Reason.String()
		}
		s.print("%s", line)
	}
	for _, name := range slices.Sorted(maps.Keys(s.refs)) {
		if ref := s.refs[name]; s.names[ref] != "" && !ref.Alive() {
			s.print("(%s is dead)", name)
			s.names[ref] = ""
		}
	}
	if ref := s.sup.Ref(); !ref.IsZero() && !ref.Alive() && !s.over {
		s.over = true
		_, err := ref.Wait(context.Background())
		var exit *actor.ExitError
		switch {
		case err == nil:
			s.print("(the supervisor has ended in good order)")
		case errors.As(err, &exit):
			s.print("(the supervisor has ended: %v)", exit.Reason.Kind)
		default:
			s.print("(the supervisor: %v)", err)
		}
	}
}

func specOf(t *testing.T, args []string) (spec supervisor.Spec) {
	t.Helper()
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		var err error
		switch key {
		case "one_for_one", "one_for_all", "rest_for_one", "dynamic":
			spec.Strategy = named(t, key, strategies...)
		case "any_significant", "all_significant":
			spec.AutoShutdown = named(t, key, supervisor.AnySignificant, supervisor.AllSignificant)
		case "intensity":
			spec.Intensity, err = strconv.Atoi(value)
		case "period":
			spec.Period, err = time.ParseDuration(value)
		default:
			err = fmt.Errorf("unknown word %q", arg)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return spec
}

// named is the value of that name.
func named[T fmt.Stringer](t *testing.T, name string, of ...T) T {
	t.Helper()
	i := slices.IndexFunc(of, func(v T) bool { return v.String() == name })
	if i < 0 {
		t.Fatalf("none is called %q", name)
	}
	return of[i]
}

func childOf(t *testing.T, args []string) supervisor.Child {
	t.Helper()
	c := supervisor.Child{ID: args[0], Restart: named(t, args[1], classes...)}
	starts, fails := 0, map[int]bool{}
	stubborn := false
	for _, arg := range args[2:] {
		key, value, _ := strings.Cut(arg, "=")
		var err error
		switch key {
		case "significant":
			c.Significant = true
		case "backoff":
			c.Backoff.Min, err = time.ParseDuration(value)
		case "shutdown":
			if c.Shutdown = supervisor.KillAtOnce; value != "kill" {
				c.Shutdown, err = time.ParseDuration(value)
			}
		case "fails": // its nth start
			for n := range strings.SplitSeq(value, ",") {
				i, err := strconv.Atoi(n)
				if err != nil {
					t.Fatal(err)
				}
				fails[i] = true
			}
		case "decide":
			d := named(t, value, supervisor.ByClass, supervisor.Again, supervisor.Resume, supervisor.GiveUp, supervisor.Escalate)
			c.Decide = func(supervisor.Failure) supervisor.Decision { return d }
		case "stubborn": // it goes on for a while when it is to stop
			stubborn = true
		default:
			err = fmt.Errorf("unknown word %q", arg)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	o := actor.Options{}
	if len(fails) > 0 {
		o.OnStart = func(*actor.Context) error {
			if starts++; fails[starts] {
				return fmt.Errorf("start %d fails", starts)
			}
			return nil
		}
	}
	if stubborn {
		o.OnExit = func(ctx *actor.Context, _ actor.Reason) {
			clean, done := ctx.Cleanup(time.Hour)
			defer done()
			var never actor.Event
			_ = never.Wait(clean)
		}
	}
	c.Start = supervisor.Actor(worker(), o)
	return c
}
