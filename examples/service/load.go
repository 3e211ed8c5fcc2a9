package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// load is what the clients of -load were told.
type load struct {
	acknowledged, failed atomic.Uint64
}

// loadWords are what the documents of -load are made of.
var loadWords = strings.Fields(`actor behaviour call deadline envelope flow guardian handler inbox join kill ledger mailbox name order
	park queue restart spawn timer unit veto wait exit yield zero`)

// runLoad is the child that posts documents to the address, by HTTP as anybody else.
func (s *service) runLoad(address string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		client := &http.Client{
			Timeout:   2 * s.opts.patience,
			Transport: &http.Transport{MaxIdleConnsPerHost: s.opts.load},
		}
		defer client.CloseIdleConnections()
		var clients sync.WaitGroup
		for i := range s.opts.load {
			clients.Go(func() {
				for n := 0; s.taking.Err() == nil && ctx.Err() == nil; n++ {
					if err := post(client, fmt.Sprintf("http://%s/documents?name=load-%d-%d", address, i, n), someText()); err != nil {
						if s.taking.Err() != nil {
							return // cut off at the end, and not acknowledged
						}
						s.load.failed.Add(1)
						s.log.Warn("load: not acknowledged", "why", err.Error())
						_ = pause(s.taking, 100*time.Millisecond)
						continue
					}
					s.load.acknowledged.Add(1)
				}
			})
		}
		clients.Wait()
		<-ctx.Done() // not earlier: it would be started again
		return nil
	}
}

// someText has up to 100 words, some much more often than others.
func someText() string {
	var text strings.Builder
	for range 1 + rand.IntN(100) {
		text.WriteString(loadWords[min(rand.IntN(len(loadWords)), rand.IntN(len(loadWords)))])
		text.WriteByte(' ')
	}
	return text.String()
}

// post posts a document: nil means that it is acknowledged.
func post(client *http.Client, url, text string) error {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, strings.NewReader(text)) // the client has a timeout
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(response.Body)
	_ = response.Body.Close() // it was read to its end
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, strings.TrimSpace(string(answer)))
	}
	return err
}
