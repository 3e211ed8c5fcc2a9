package cluster

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestRecordsAreReadAsWritten(t *testing.T) {
	for _, r := range []record{
		{Member: Member{Addr: "h:1"}},
		{Member: Member{Addr: "[::1]:65535", Load: math.MaxUint32, Tags: map[string]string{"": "", "k": "v", "ä": "\xff"}}, supersedes: math.MaxUint64, leaving: true},
	} {
		b, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeRecord(b)
		if err != nil || !got.Equal(r.Member) || got.supersedes != r.supersedes || got.leaving != r.leaving {
			t.Errorf("%+v is read as %+v, %v", r, got, err)
		}
		for i := range b {
			_, _ = decodeRecord(b[:i]) // an error or not, but no panic
		}
		future := append(b, 0x78, 1, 0x7d, 1, 2, 3, 4) // fields 15 of two types
		if got, err := decodeRecord(future); err != nil || !got.Equal(r.Member) {
			t.Errorf("with fields of a later version: %+v, %v", got, err)
		}
	}
	for _, b := range [][]byte{nil, {2}, {1}, {1, 18, 1, 'x'}, append([]byte{1}, make([]byte, MaxRecordBytes)...)} {
		if r, err := decodeRecord(b); err == nil {
			t.Errorf("%x is read as %+v", b, r)
		}
	}
}

func TestGossipNames(t *testing.T) {
	for _, name := range []string{"a", "a#1", "#", "ä b", strings.Repeat("x", MaxNodeBytes)} {
		for _, incarnation := range []uint64{1, math.MaxUint64} {
			got, n, err := parseGossipName(gossipName(name, incarnation))
			if got != name || n != incarnation || err != nil {
				t.Errorf("%q %d is read as %q %d, %v", name, incarnation, got, n, err)
			}
		}
	}
	for _, s := range []string{"", "a", "#1", "a#", "a#0", "a#01", "a#g", "a#-1", "a#FF", "a#11111111111111111", "\xff#1", strings.Repeat("x", MaxNodeBytes+1) + "#1"} {
		if got, n, err := parseGossipName(s); err == nil {
			t.Errorf("%q is read as %q %d", s, got, n)
		}
	}
}

// Of living nodes of one name one is the member, whatever they say of each other, and it is the oldest of those not said to be dead.
func TestHolder(t *testing.T) {
	living := func(incarnationAndDead ...uint64) map[uint64]record {
		all := map[uint64]record{}
		for i := 0; i < len(incarnationAndDead); i += 2 {
			all[incarnationAndDead[i]] = record{Member: Member{Incarnation: incarnationAndDead[i]}, supersedes: incarnationAndDead[i+1]}
		}
		return all
	}
	for _, c := range []struct {
		living map[uint64]record
		want   uint64
	}{
		{living(), 0},
		{living(3, 0), 3},
		{living(3, 0, 5, 0), 3},
		{living(3, 0, 5, 3), 5},
		{living(3, 0, 4, 0, 5, 3), 4},
		{living(3, 0, 4, 3, 5, 4), 5},
		{living(3, 9, 5, 0), 3}, // nobody says that it is dead itself, or who came later
	} {
		got := uint64(0)
		if r := holder(c.living); r != nil {
			got = r.Incarnation
		}
		if got != c.want {
			t.Errorf("of %v it is %d, want %d", c.living, got, c.want)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		var pairs []uint64
		for range 1 + rng.IntN(5) {
			pairs = append(pairs, 1+rng.Uint64N(6), rng.Uint64N(8))
		}
		if all := living(pairs...); holder(all) == nil {
			t.Fatalf("of %v nobody is the member", all)
		}
	}
}

func TestLog(t *testing.T) {
	for line, want := range map[string]string{
		"[WARN] memberlist: text\n":  `WARN gossip text=text`,
		"[ERR] memberlist: text\n":   `WARN gossip text=text`,
		"[ERROR] memberlist: text\n": `WARN gossip text=text`,
		"[INFO] memberlist: text":    `DEBUG gossip text=text`,
		"[DEBUG] text":               `DEBUG gossip text=text`,
		"text":                       `DEBUG gossip text=text`,
		"":                           `DEBUG gossip text=""`,
	} {
		var b bytes.Buffer
		log := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug}))
		if n, err := (logWriter{log}).Write([]byte(line)); n != len(line) || err != nil {
			t.Errorf("%q: %d, %v", line, n, err)
		}
		level, text, _ := strings.Cut(want, " ")
		if got := b.String(); !strings.Contains(got, fmt.Sprintf("level=%s msg=%s", level, text)) {
			t.Errorf("%q is logged as %s", line, got)
		}
	}
}
