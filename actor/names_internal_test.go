package actor

import (
	"context"
	"errors"
	"hash/maphash"
	"testing"

	"github.com/puzpuzpuz/xsync/v3"
	"google.golang.org/protobuf/types/known/emptypb"
)

// seam has something happen in the midst of a look-up: before the n-th time that a map is asked for a key.
type seam struct {
	seed maphash.Seed
	key  string
	n    int
	do   func()
}

func (s *seam) before(n int, key string, do func()) { s.n, s.key, s.do = n, key, do }

func (s *seam) hash(key string, _ uint64) uint64 {
	if key == s.key && s.do != nil {
		if s.n--; s.n == 0 {
			do := s.do
			s.do = nil
			do()
		}
	}
	return maphash.String(s.seed, key)
}

// seamed is a System whose names can be changed in the midst of a look-up.
func seamed(t *testing.T) (*System, *seam) {
	t.Helper()
	sys, err := NewSystem()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sys.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	s := &seam{seed: maphash.MakeSeed()}
	sys.names.table = xsync.NewMapOfWithHasher[string, holder](s.hash)
	return sys, s
}

func idle(sys *System) Ref[*emptypb.Empty] {
	return MustSpawn(sys, Handler(func(*Context, *emptypb.Empty) error { return nil }))
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}

// NAME-4: an alias that is moved from one living actor's name to another's is nobody's at no moment, whatever becomes of the first name.
func TestAliasIsNeverNobodys(t *testing.T) {
	sys, s := seamed(t)
	names := sys.Names()
	a, b := idle(sys), idle(sys)
	toB := func() {
		must(t, names.Bind("b", b.AnyRef), names.Alias("alias", "b"), names.Unbind("a", a.AnyRef))
	}
	toA := func() {
		must(t, names.Bind("a", a.AnyRef), names.Alias("alias", "a"), names.Unbind("b", b.AnyRef))
	}
	for what, c := range map[string]struct {
		meanwhile func()
		want      Ref[*emptypb.Empty]
	}{
		"to b":          {toB, b},
		"to b and to a": {func() { toB(); s.before(1, "b", toA) }, a}, // while b, where the look-up goes on, is looked at
	} {
		for _, typed := range []bool{false, true} {
			must(t, names.Bind("a", a.AnyRef), names.Alias("alias", "a"))
			s.before(1, "a", c.meanwhile)
			var got AnyRef
			var err error
			if typed {
				var ref Ref[*emptypb.Empty]
				ref, err = LookupRef[*emptypb.Empty](sys, "alias")
				got = ref.AnyRef
			} else {
				got, _ = sys.Lookup("alias")
			}
			s.do = nil
			if got != c.want.AnyRef || err != nil {
				t.Errorf("%s, typed %v: %v, %v, want %v", what, typed, got, err, c.want)
			}
			must(t, names.Unalias("alias"))
			_ = names.Unbind("a", a.AnyRef)
			_ = names.Unbind("b", b.AnyRef)
		}
	}
}

// NAME-8: what is wrong is said of the holder that was found, not of one that has come since.
func TestTypedLookupMeetsRegister(t *testing.T) {
	sys, s := seamed(t)
	names := sys.Names()
	a := idle(sys)
	for n := range 4 {
		s.before(n, "a", func() { must(t, names.Bind("a", a.AnyRef)) })
		switch ref, err := LookupRef[*emptypb.Empty](sys, "a"); {
		case err == nil && ref == a:
		case errors.Is(err, ErrNoName):
		default:
			t.Errorf("%v, %v, where it comes before look %d", ref, err, n)
		}
		s.do = nil
		_ = names.Unbind("a", a.AnyRef)
	}
}
