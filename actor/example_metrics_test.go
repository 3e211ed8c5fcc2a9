package actor_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/greenroom-go/greenroom/actor"
)

// A System is a prometheus.Collector: register it and serve the registry.
func ExampleSystem_Collect() {
	sys, err := actor.NewSystem(actor.SystemOptions{Name: "shop"})
	if err != nil {
		fmt.Println(err)
		return
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(sys)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	greet := actor.MustSpawn(sys, actor.Handler(func(_ *actor.Context, name *wrapperspb.StringValue) error {
		if name.Value == "" {
			return errors.New("nobody to greet")
		}
		return nil
	}))
	for _, name := range []string{"Ann", "Bob", ""} {
		if err := greet.Send(context.Background(), wrapperspb.String(name)); err != nil {
			fmt.Println(err)
		}
	}
	if err := sys.Quiesce(context.Background()); err != nil {
		fmt.Println(err)
	}

	page := httptest.NewRecorder()
	mux.ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for lines := bufio.NewScanner(page.Body); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "greenroom_messages_handled_total{") || strings.Contains(lines.Text(), `reason="error"`) {
			fmt.Println(lines.Text())
		}
	}
	if err := sys.Stop(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// greenroom_actors_ended_total{reason="error",system="shop"} 1
	// greenroom_messages_handled_total{system="shop"} 2
}
