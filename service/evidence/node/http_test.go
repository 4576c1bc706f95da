package node

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Who comes when all places are taken is told when to come back, in both languages.
func TestBusy(t *testing.T) {
	n := &Node{log: slog.New(slog.DiscardHandler), intake: make(chan struct{}, 1)}
	release, entered := make(chan struct{}), make(chan struct{})
	full := n.limited(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(entered); <-release }), make(chan struct{}, 1))
	go full.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/notes", nil))
	<-entered
	n.intake <- struct{}{}
	for name, h := range map[string]http.Handler{"requests": full, "transactions": n.answering(n.submit)} {
		for accept, words := range map[string]string{"zh": "请求过多，请稍后再试", "en": "too many requests; try again later"} {
			r := httptest.NewRequest("POST", "/submit", nil)
			r.Header.Set("Accept-Language", accept)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != 429 || w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), words) {
				t.Errorf("%s: %d, retry after %q: %s", name, w.Code, w.Header().Get("Retry-After"), w.Body)
			}
		}
	}
	close(release)
}

// While an import may replace the log nobody reads it.
func TestNothingIsServedBeforeTheLogIsSteady(t *testing.T) {
	n := &Node{log: slog.New(slog.DiscardHandler)}
	h := n.handler(context.Background())
	for _, path := range []string{"/checkpoint", "/notes", "/tile/0/000.p/1", "/policy"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 503 || w.Header().Get("Retry-After") != "1" {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}
