package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	pb "github.com/greenroom-go/greenroom/examples/service/servicev1"
	"github.com/greenroom-go/greenroom/supervisor"
)

const (
	maxTop       = 10_000 // words that one answer holds
	maxNameBytes = 200    // of a document
	excerptBytes = 200    // of a dead document's text that /deadletters shows
)

const help = `A word count on actors.

POST /documents?name=NAME   count the text in the body: curl --data-binary @FILE 'localhost:8080/documents?name=FILE'
GET  /top?n=10              the most frequent words; &format=text or json, or Accept: application/json
GET  /stats                 what was counted, refused and quarantined, and the ledger of all messages
GET  /tree                  the actors, what each does, and how often it was restarted
GET  /events                what happened lately: restarts, documents tried again, swaps
GET  /deadletters           messages that nobody handled: documents that made a worker panic, and why
GET  /metrics               for Prometheus
GET  /healthz               200 while documents are taken, else 503
`

func (s *service) handler() http.Handler {
	// The gate bounds the bodies in memory: a post that does not get through waits in its connection, unread.
	gate := make(chan struct{}, s.opts.inflight)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, help) })
	mux.HandleFunc("POST /documents", func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > s.opts.maxBytes {
			s.refuseLarge(w) // before its client is told to go on and sends it
			return
		}
		select {
		case gate <- struct{}{}:
			defer func() { <-gate }()
			s.postDocument(w, r)
		case <-r.Context().Done():
			s.allowAnswer(w)
			writeError(w, http.StatusServiceUnavailable, context.Cause(r.Context())) // silence would be a 200
		}
	})
	mux.HandleFunc("GET /top", s.getTop)
	mux.HandleFunc("GET /stats", s.getStats)
	mux.HandleFunc("GET /tree", s.getTree)
	mux.HandleFunc("GET /events", s.getEvents)
	mux.HandleFunc("GET /deadletters", s.getDeadLetters)
	mux.HandleFunc("GET /healthz", s.getHealth)
	mux.Handle("GET /metrics", s.metrics())
	return mux
}

func (s *service) postDocument(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	if len(name) > maxNameBytes || !utf8.ValidString(name) {
		writeError(w, http.StatusBadRequest, fmt.Errorf("name must be UTF-8 text of at most %d bytes", maxNameBytes))
		return
	}
	if name == "" {
		name = "unnamed"
	}
	body, ok := s.readBody(w, r)
	if !ok {
		return
	}
	reply, err := s.ingest(name, string(body))
	s.allowAnswer(w)
	if err != nil {
		writeError(w, statusOf(err), explain(name, err))
		return
	}
	writeJSON(w, struct {
		Name     string `json:"name"`
		Words    uint64 `json:"words"`
		Distinct uint64 `json:"distinct"`
	}{name, reply.Words, reply.Distinct})
}

// readBody reads a document, or answers why not. The client's time begins here, however long the post has waited.
func (s *service) readBody(w http.ResponseWriter, r *http.Request) (body []byte, ok bool) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(s.opts.patience)) // it fails if the connection is broken, as reading will
	forget := context.AfterFunc(r.Context(), func() { _ = control.SetReadDeadline(time.Now()) })
	defer forget()
	s.allowAnswer(w) // that the client should go on is one already
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.opts.maxBytes))
	s.allowAnswer(w)
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return body, true
	case errors.As(err, &tooLarge):
		s.refuseLarge(w)
		return nil, false
	}
	s.unread.Add(1)
	switch {
	case errors.Is(context.Cause(r.Context()), errEnding): // any failure to read ends the context too, but not for this cause
		writeError(w, http.StatusServiceUnavailable, errEnding)
	case errors.Is(err, os.ErrDeadlineExceeded):
		writeError(w, http.StatusRequestTimeout, fmt.Errorf("the document did not arrive within %v; the flag -patience sets the limit", s.opts.patience))
	default:
		writeError(w, http.StatusBadRequest, fmt.Errorf("read the body: %w", err))
	}
	return nil, false
}

// allowAnswer has a client's time to take an answer begin now: it is no fault of the client how long that took to find.
func (s *service) allowAnswer(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.opts.patience))
}

func (s *service) refuseLarge(w http.ResponseWriter) {
	s.refused.Add(1)
	w.Header().Set("Connection", "close") // what is left of the body is not worth reading
	writeError(w, http.StatusRequestEntityTooLarge,
		fmt.Errorf("the document is larger than %d bytes; the flag -max-bytes sets the limit", s.opts.maxBytes))
}

// statusOf says which HTTP status a failed ingestion or question has.
func statusOf(err error) int {
	var refused refusedError
	var panicked *actor.PanicError
	switch {
	case errors.As(err, &refused):
		return http.StatusBadRequest
	case errors.As(err, &panicked):
		return http.StatusInternalServerError
	case errors.Is(err, actor.ErrStopped), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// explain says what became of a document that was not counted.
func explain(name string, err error) error {
	if panicked, ok := errors.AsType[*actor.PanicError](err); ok {
		return fmt.Errorf("document %q made its worker panic: %v; it is quarantined, see /deadletters, "+
			"and the worker goes on with the next one", name, panicked.Value)
	}
	return fmt.Errorf("document %q was not counted: %w", name, err)
}

func (s *service) getTop(w http.ResponseWriter, r *http.Request) {
	n := 10
	if text := r.URL.Query().Get("n"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1 || n > maxTop {
			writeError(w, http.StatusBadRequest, fmt.Errorf("n is %q: it must be a number from 1 to %d", text, maxTop))
			return
		}
	}
	format, err := formatOf(r)
	if err != nil {
		writeError(w, http.StatusBadRequest, err)
		return
	}
	top, err := s.top(r.Context(), n)
	s.allowAnswer(w)
	if err != nil {
		writeError(w, statusOf(err), err)
		return
	}
	if format == "text" {
		var text strings.Builder
		for _, c := range top.Words {
			fmt.Fprintf(&text, "%8d %s\n", c.Count, c.Word)
		}
		writeText(w, http.StatusOK, text.String())
		return
	}
	type count struct {
		Word  string `json:"word"`
		Count uint64 `json:"count"`
	}
	counts := []count{}
	for _, c := range top.Words {
		counts = append(counts, count{c.Word, c.Count})
	}
	writeJSON(w, struct {
		Documents uint64  `json:"documents"`
		Words     uint64  `json:"words"`
		Distinct  uint64  `json:"distinct"`
		Top       []count `json:"top"`
	}{top.Documents, top.WordsTotal, top.WordsDistinct, counts})
}

// stats is the answer of /stats.
type stats struct {
	Documents   uint64  `json:"documents"`
	Words       uint64  `json:"words"`
	Distinct    uint64  `json:"distinct"`
	Refused     uint64  `json:"refused"`
	Quarantined uint64  `json:"quarantined"`
	GivenUp     uint64  `json:"given_up"`
	Waiting     int64   `json:"waiting"`
	Restarts    uint64  `json:"restarts"`
	TriedAgain  uint64  `json:"tried_again"`
	Killed      uint64  `json:"killed"`
	Behaviour   string  `json:"shard_behaviour"`
	Seconds     float64 `json:"uptime_seconds"`
	Ledger      string  `json:"ledger"`
}

func (s *service) getStats(w http.ResponseWriter, r *http.Request) {
	sums, err := s.top(r.Context(), 0)
	s.allowAnswer(w)
	if err != nil {
		writeError(w, statusOf(err), err)
		return
	}
	writeJSON(w, stats{
		Documents:   sums.Documents,
		Words:       sums.WordsTotal,
		Distinct:    sums.WordsDistinct,
		Refused:     s.refused.Load(),
		Quarantined: s.quarantined.Load(),
		GivenUp:     s.givenUp(),
		Waiting:     s.pending.Load(),
		Restarts:    s.restarted.Load(),
		TriedAgain:  s.again.Load(),
		Killed:      s.killed.Load(),
		Behaviour:   s.mode.Load().name,
		Seconds:     time.Since(s.started).Seconds(),
		Ledger:      s.sys.Ledger().String(),
	})
}

// deadLetter is one entry of /deadletters.
type deadLetter struct {
	Reason   string `json:"reason"`
	Error    string `json:"error,omitempty"`
	To       string `json:"to"`
	Message  string `json:"message"`
	Document string `json:"document,omitempty"`
	Bytes    int    `json:"bytes,omitempty"`
	Excerpt  string `json:"excerpt,omitempty"`
}

func (s *service) getDeadLetters(w http.ResponseWriter, _ *http.Request) {
	letters := []deadLetter{}
	for _, l := range s.sys.DeadLetters() {
		letters = append(letters, describe(l))
	}
	writeJSON(w, letters)
}

func describe(l actor.DeadLetter) deadLetter {
	d := deadLetter{Reason: l.Reason.String(), To: l.To.String(), Message: string(proto.MessageName(l.Message))}
	if l.Err != nil {
		d.Error = l.Err.Error()
	}
	if m, ok := l.Message.(*pb.IngestRequest); ok {
		d.Document, d.Bytes, d.Excerpt = m.Name, len(m.Text), shorten(m.Text, excerptBytes)
	}
	return d
}

func (s *service) getTree(w http.ResponseWriter, r *http.Request) {
	var text strings.Builder
	err := drawTree(r.Context(), &text, s.tree, "service", "")
	s.allowAnswer(w)
	if err != nil {
		writeError(w, statusOf(err), err)
		return
	}
	writeText(w, http.StatusOK, text.String())
}

// drawTree writes a line for a supervisor, and one for each of its children, with theirs below.
func drawTree(ctx context.Context, text *strings.Builder, sup supervisor.Supervisor, name, indent string) error {
	children, err := sup.Children(ctx)
	if err != nil {
		return fmt.Errorf("ask the supervisor of %s: %w", name, err)
	}
	if indent == "" {
		fmt.Fprintln(text, name)
	}
	for i, c := range children {
		branch, below := "├── ", "│   "
		if i == len(children)-1 {
			branch, below = "└── ", "    "
		}
		fmt.Fprintf(text, "%s%s%-10s %v, %v, restarts %d\n", indent, branch, c.ID, c.Kind, c.Status, c.Restarts)
		if c.Kind != supervisor.KindTree || c.Status != supervisor.Running {
			continue
		}
		if tree, err := sup.Tree(ctx, c.ID); err == nil {
			if err := drawTree(ctx, text, tree, c.ID, indent+below); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *service) getEvents(w http.ResponseWriter, r *http.Request) {
	var recent *pb.RecentResponse
	err := untilAnswered(r.Context(), func() (actor.AnyRef, error) {
		stats, err := s.statsRef()
		if err == nil {
			recent, err = stats.Recent(r.Context(), &pb.RecentRequest{})
		}
		return stats.AnyRef, err
	}, nil)
	s.allowAnswer(w)
	if err != nil {
		writeError(w, statusOf(err), err)
		return
	}
	var text strings.Builder
	for _, e := range recent.Events {
		fmt.Fprintln(&text, inWords(e))
	}
	writeText(w, http.StatusOK, text.String())
}

func (s *service) getHealth(w http.ResponseWriter, _ *http.Request) {
	if s.taking.Err() != nil || s.failed.Err() != nil {
		writeText(w, http.StatusServiceUnavailable, "ending\n")
		return
	}
	writeText(w, http.StatusOK, "ok\n")
}

// metrics serves the metrics of the actors, of the service and of the Go process from a registry of its own.
func (s *service) metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.sys, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for outcome, n := range map[string]interface{ Load() uint64 }{
		"counted":     &s.counted,
		"refused":     &s.refused,
		"quarantined": &s.quarantined,
		"unread":      &s.unread,
		"given_up":    &s.abandoned,
	} {
		registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name:        "wordcount_documents_total",
			Help:        "Documents by what became of them.",
			ConstLabels: prometheus.Labels{"outcome": outcome},
		}, func() float64 { return float64(n.Load()) }))
	}
	for _, c := range []struct {
		name, help string
		n          *atomic.Uint64
	}{
		{"wordcount_restarts_total", "Restarts of parts of the service by their supervisors.", &s.restarted},
		{"wordcount_documents_tried_again_total", "Times that a document was counted again because its worker had ended.", &s.again},
		{"wordcount_killed_total", "Actors that -chaos has killed.", &s.killed},
		{"wordcount_swaps_total", "Times that the behaviour of the shards was replaced.", &s.swapped},
	} {
		registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: c.name, Help: c.help},
			func() float64 { return float64(c.n.Load()) }))
	}
	registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "wordcount_documents_waiting",
			Help: "Documents that somebody waits for.",
		}, func() float64 { return float64(s.pending.Load()) }),
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

// formatOf says whether an answer should be "text" or "json": as the query has it, else as the header has it.
func formatOf(r *http.Request) (string, error) {
	switch format := r.URL.Query().Get("format"); {
	case format == "text", format == "json":
		return format, nil
	case format != "":
		return "", fmt.Errorf("format is %q: it must be text or json", format)
	case strings.Contains(r.Header.Get("Accept"), "application/json"):
		return "json", nil
	}
	return "text", nil
}

// What cannot be written to a client that is gone is nobody's loss, so the writers below drop errors.

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

func writeError(w http.ResponseWriter, status int, err error) {
	writeText(w, status, err.Error()+"\n")
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(value)
}
