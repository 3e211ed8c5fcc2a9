package remote_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/greenroom-go/greenroom/remote"
)

// TestMetrics: what a node measures can be scraped, and its names and units follow Prometheus.
func TestMetrics(t *testing.T) {
	dir := newCA(t, "alpha", "beta")
	alpha, _ := startLogged(t, remote.Options{Name: "alpha", TLS: remote.DirTLS(dir)})
	beta, _ := startLogged(t, remote.Options{Name: "beta", TLS: remote.DirTLS(dir), Peers: []string{alpha.Addr()}})
	if _, err := beta.Peer(t.Context(), "alpha"); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(beta); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Gather(); err != nil {
		t.Fatal(err)
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
