package remote_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/greenroom-go/greenroom/actor"
	"github.com/greenroom-go/greenroom/remote"
)

// TestFiles sends, describes and deletes a file of another node, over QUIC (FILE-1, FILE-2).
func TestFiles(t *testing.T) {
	certs, root := t.TempDir(), t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	node := func(o remote.Options) *remote.Node {
		sys, err := actor.NewSystem()
		if err != nil {
			t.Fatal(err)
		}
		o.TLS = remote.DevTLS(certs)
		n, err := remote.Start(sys, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = n.Stop(context.Background())
			_ = sys.Close()
		})
		return n
	}
	keeper := node(remote.Options{Name: "keeper", Files: remote.FileOptions{Root: root, MaxFileBytes: 1 << 20}, Policy: remote.Policy{
		Grant: func(peer string, roles remote.Roles) remote.Roles {
			if peer == "stranger" {
				return roles &^ remote.MayFiles
			}
			return roles
		},
	}})
	sender := node(remote.Options{Name: "sender", Peers: []string{keeper.Addr()}})
	stranger := node(remote.Options{Name: "stranger", Peers: []string{keeper.Addr()}})
	for _, n := range []*remote.Node{sender, stranger} {
		if _, err := n.Peer(ctx, "keeper"); err != nil {
			t.Fatal(err)
		}
	}
	content := bytes.Repeat([]byte("green room "), 30000)
	var last int64
	r, err := sender.SendFile(ctx, "keeper", bytes.NewReader(content), remote.SendOptions{
		Name: "reports/day.txt", Size: int64(len(content)), Progress: func(done, _ int64) { last = done },
	})
	if err != nil || r.Sent != int64(len(content)) || last != r.Sent {
		t.Fatalf("%+v, %v, progress %d", r, err, last)
	}
	if got, err := os.ReadFile(filepath.Join(root, "reports", "day.txt")); err != nil || !bytes.Equal(got, content) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if r, err = sender.SendFile(ctx, "keeper", bytes.NewReader(content), remote.SendOptions{Name: "reports/day.txt", Size: int64(len(content))}); err != nil || !r.AlreadyThere {
		t.Fatalf("%+v, %v", r, err)
	}
	if i, err := sender.StatFile(ctx, "keeper", "reports/day.txt", true); err != nil || i.SHA256 != r.SHA256 {
		t.Fatalf("%+v, %v", i, err)
	}
	for name, want := range map[string]error{"../out.txt": remote.ErrFileName, "none.txt": remote.ErrFileNotFound} {
		if err := sender.DeleteFile(ctx, "keeper", name); !errors.Is(err, want) {
			t.Errorf("delete %s: %v", name, err)
		}
	}
	if err := stranger.DeleteFile(ctx, "keeper", "reports/day.txt"); !errors.Is(err, remote.ErrRefused) {
		t.Errorf("without the role: %v", err)
	}
	if err := keeper.DeleteFile(ctx, "sender", "any"); !errors.Is(err, remote.ErrFileRefused) {
		t.Errorf("where no files are taken: %v", err)
	}
	if err := sender.DeleteFile(ctx, "nobody", "any"); !errors.Is(err, remote.ErrNoPeer) {
		t.Errorf("of an unknown peer: %v", err)
	}
	big := make([]byte, 1<<20+1)
	if _, err := sender.SendFile(ctx, "keeper", bytes.NewReader(big), remote.SendOptions{Name: "big", Size: int64(len(big))}); !errors.Is(err, remote.ErrFileTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if err := sender.DeleteFile(ctx, "keeper", "reports/day.txt"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "reports")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the empty directory: %v", err)
	}
}
