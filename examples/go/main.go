// The service `parcel`: it books a parcel for each order, and emits `parcel.booked`.
package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	gateway := &Gateway{URL: os.Getenv("GATEWAY_URL"), Token: os.Getenv("GATEWAY_TOKEN")}
	lease, err := strconv.ParseFloat(os.Getenv("LEASE"), 64)
	if err != nil {
		lease = 30 // seconds
	}
	registration := map[string]any{
		"patterns": []string{"order.placed"}, "retries": 8, "backoff": 0.2, "max_backoff": 5, "lease": lease,
		"description": "Book parcels.",
	}
	err = gateway.Run(ctx, "parcel.book", registration, 4, func(ctx context.Context, event Event, _ int) error {
		return book(ctx, gateway, event)
	})
	if err != nil {
		log.Fatal(err)
	}
}

func book(ctx context.Context, gateway *Gateway, event Event) error {
	request, err := http.NewRequestWithContext(ctx, "PUT", os.Getenv("BACKEND_URL"), bytes.NewReader(event.Data))
	if err != nil {
		return err
	}
	request.Header.Set("X-Event-Id", event.ID)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	switch {
	case response.StatusCode == http.StatusTooManyRequests:
		seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
		return RetryAfter{"the carrier is busy", time.Duration(seconds) * time.Second}
	case response.StatusCode == http.StatusBadRequest:
		return Dead{fmt.Sprintf("the carrier refuses %s", event.Type)}
	case response.StatusCode >= 300:
		return fmt.Errorf("the carrier answers %d", response.StatusCode)
	}
	// The id depends on the event only: a repeated attempt emits the same event, which is one event.
	return gateway.Emit(ctx, Event{
		ID: event.ID + ".booked", Source: "parcel", Type: "parcel.booked",
		Subject: event.Subject, CausationID: event.ID, Data: event.Data,
	})
}
