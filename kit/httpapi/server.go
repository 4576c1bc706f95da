package httpapi

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"
)

type drainKey struct{}

// NewServer returns a server for h with limits that a public port needs: 10 s for the headers, 64 KiB of them, 60 s for
// a body to come and for an answer to be taken, 120 s of idling. Bodies and streams have deadlines of their own, set by the API. When the
// server's Shutdown begins, streams end, so that it can complete.
func NewServer(addr string, h http.Handler, log *slog.Logger) *http.Server {
	drain, cancel := context.WithCancel(context.Background())
	base := context.WithValue(context.Background(), drainKey{}, drain)
	server := &http.Server{
		Addr:              addr,
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       60 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return base },
	}
	if log != nil {
		server.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	}
	server.RegisterOnShutdown(cancel)
	return server
}

// SecureHeaders sets on every answer of next what keeps a page to itself: no foreign scripts, styles or frames, no
// sniffing, no referrer. A handler that needs another policy sets its own header.
func SecureHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		next.ServeHTTP(w, r)
	})
}

func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}
