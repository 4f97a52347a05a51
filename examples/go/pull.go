package main

// A client of celeriac's pull protocol. It needs the standard library only.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	wait  = 20 // seconds of one long poll
	pause = time.Second
)

// Event is a CloudEvent.
type Event struct {
	SpecVersion string          `json:"specversion"`
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Subject     string          `json:"subject,omitempty"`
	CausationID string          `json:"causationid,omitempty"`
	Data        json.RawMessage `json:"data,omitempty"`
}

// Delivery is one attempt at one event.
type Delivery struct {
	Entry   string `json:"entry"`
	Attempt int    `json:"attempt"`
	Event   Event  `json:"event"`
}

// Dead dead-letters the delivery at once.
type Dead struct{ Reason string }

func (dead Dead) Error() string { return dead.Reason }

// RetryAfter retries the delivery, not before After.
type RetryAfter struct {
	Reason string
	After  time.Duration
}

func (retry RetryAfter) Error() string { return retry.Reason }

// Gateway is a celeriac gateway.
type Gateway struct {
	URL, Token string
	client     http.Client
}

// Handle processes an event. Its context ends when the lease was lost: another attempt has begun.
type Handle func(ctx context.Context, event Event, attempt int) error

// Emit emits an event. Repeated with the same id, it is one event.
func (gateway *Gateway) Emit(ctx context.Context, event Event) error {
	event.SpecVersion = "1.0"
	status, body, err := gateway.request(ctx, "POST", "/events", "application/cloudevents+json", event)
	if err == nil && status != http.StatusAccepted {
		err = fmt.Errorf("emit %s: %d %s", event.Type, status, body)
	}
	return err
}

// Run handles deliveries, `concurrency` of them at once, until the context ends.
func (gateway *Gateway) Run(ctx context.Context, id string, registration any, concurrency int, handle Handle) error {
	path := "/v1/handlers/" + id
	lease, err := gateway.register(ctx, path, registration)
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	failed := make(chan error, concurrency)
	for n := 0; n < concurrency; n++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for ctx.Err() == nil {
				deliveries, err := gateway.fetch(ctx, path, registration)
				if err != nil {
					failed <- err
					return
				}
				for _, delivery := range deliveries {
					gateway.deliver(path, delivery, lease, handle)
				}
			}
		}()
	}
	group.Wait()
	close(failed)
	return <-failed
}

func (gateway *Gateway) register(ctx context.Context, path string, registration any) (time.Duration, error) {
	for ctx.Err() == nil {
		status, body, err := gateway.request(ctx, "PUT", path, "application/json", registration)
		if err == nil && status == http.StatusOK {
			var answer struct{ Lease float64 }
			err := json.Unmarshal(body, &answer)
			return time.Duration(answer.Lease * float64(time.Second)), err
		}
		if err == nil && !isTemporary(status) {
			return 0, fmt.Errorf("register: %d %s", status, body)
		}
		time.Sleep(pause)
	}
	return 0, nil
}

func (gateway *Gateway) fetch(ctx context.Context, path string, registration any) ([]Delivery, error) {
	status, body, err := gateway.request(ctx, "POST", path+"/fetch", "application/json", map[string]int{"limit": 1, "wait": wait})
	switch {
	case ctx.Err() != nil:
		return nil, nil
	case err == nil && status == http.StatusOK:
		var answer struct{ Deliveries []Delivery }
		err := json.Unmarshal(body, &answer)
		return answer.Deliveries, err
	case err == nil && status == http.StatusNotFound: // the bus has lost the registration
		_, err := gateway.register(ctx, path, registration)
		return nil, err
	case err == nil && !isTemporary(status): // 410: an operator has removed the handler
		return nil, fmt.Errorf("fetch: %d %s", status, body)
	}
	time.Sleep(pause)
	return nil, nil
}

func (gateway *Gateway) deliver(path string, delivery Delivery, lease time.Duration, handle Handle) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	reference := map[string]any{"entry": delivery.Entry, "attempt": delivery.Attempt}
	go func() {
		renewal := time.NewTicker(lease / 3)
		defer renewal.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-renewal.C:
				status, _, err := gateway.request(ctx, "POST", path+"/renew", "application/json", reference)
				if err == nil && status == http.StatusConflict {
					cancel()
				}
			}
		}
	}()
	began := time.Now()
	err := handle(ctx, delivery.Event, delivery.Attempt)
	if ctx.Err() != nil {
		return
	}
	result := outcome(err)
	result["entry"], result["attempt"] = delivery.Entry, delivery.Attempt
	result["took"] = time.Since(began).Seconds()
	gateway.complete(path, result, began.Add(lease))
}

func outcome(err error) map[string]any {
	var dead Dead
	var retry RetryAfter
	switch {
	case err == nil:
		return map[string]any{"outcome": "processed"}
	case errors.As(err, &dead):
		return map[string]any{"outcome": "dead", "error": map[string]string{"type": "Dead", "message": dead.Reason}}
	case errors.As(err, &retry):
		return map[string]any{"outcome": "failed", "error": retry.Reason, "retry_after": retry.After.Seconds()}
	}
	return map[string]any{"outcome": "failed", "error": err.Error()}
}

// complete reports a result. It is repeated until it is answered, or until the lease is over.
func (gateway *Gateway) complete(path string, result map[string]any, until time.Time) {
	for {
		status, body, err := gateway.request(context.Background(), "POST", path+"/complete", "application/json", result)
		if err == nil && !isTemporary(status) {
			if status != http.StatusOK {
				log.Printf("%s: %d %s", path, status, body)
			}
			return
		}
		if time.Now().After(until) {
			return
		}
		time.Sleep(pause)
	}
}

func (gateway *Gateway) request(ctx context.Context, method, path, contentType string, body any) (int, []byte, error) {
	content, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, (wait+10)*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(gateway.URL, "/")+path, bytes.NewReader(content))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Authorization", "Bearer "+gateway.Token)
	request.Header.Set("Content-Type", contentType)
	response, err := gateway.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

func isTemporary(status int) bool { return status == http.StatusTooManyRequests || status >= 500 }
