package cluster_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/greenroom-go/greenroom/registry/cluster"
)

func TestStaticMembership(t *testing.T) {
	a, b, c := member("a", 0), member("b", 0), member("c", 0)
	s, err := cluster.NewStaticMembership(c, a, b)
	wantErr(t, "make", err, nil)
	wantErr(t, "join before Start", s.Join(t.Context(), nil), cluster.ErrNotStarted)
	var told []cluster.Event
	wantErr(t, "start", s.Start(t.Context(), member("b", 3), nil, func(e cluster.Event) { told = append(told, e) }), nil)
	if got := fmt.Sprint(told); got != fmt.Sprint([]cluster.Event{{Kind: cluster.Joined, Member: c}, {Kind: cluster.Joined, Member: a}}) {
		t.Errorf("told %s", got)
	}
	wantErr(t, "update", s.Update(4, map[string]string{"k": "v"}), nil)
	if got := fmt.Sprint(s.Members()); got != fmt.Sprint([]cluster.Member{a, s.Self(), c}) || s.Self().Load != 4 || s.Self().Incarnation != 3 {
		t.Errorf("members %s", got)
	}
	wantErr(t, "join", s.Join(t.Context(), nil), nil)
	wantErr(t, "start again", s.Start(t.Context(), a, nil, nil), cluster.ErrNotStarted)
	wantErr(t, "leave", s.Leave(t.Context()), nil)
	if s.Members() != nil {
		t.Error("there are members after the end")
	}
	wantErr(t, "update after the end", s.Update(1, nil), cluster.ErrNotStarted)

	_, err = cluster.NewStaticMembership(a, a)
	wantErr(t, "twice the same", err, cluster.ErrNameTaken)
	_, err = cluster.NewStaticMembership(cluster.Member{Name: "a"})
	wantErr(t, "no address", err, cluster.ErrBadMember)
	other, err := cluster.NewStaticMembership()
	wantErr(t, "empty", err, nil)
	wantErr(t, "start nobody", other.Start(t.Context(), cluster.Member{}, nil, nil), cluster.ErrBadMember)
	done, cancel := context.WithCancel(t.Context())
	cancel()
	wantErr(t, "start in vain", other.Start(done, a, nil, nil), context.Canceled)
}
