package load

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// server answers 201, or 429 to every third, and keeps the keys it has seen.
func server(t *testing.T) (addr string, keys *sync.Map) {
	t.Helper()
	keys = &sync.Map{}
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != `{"a":1}` || r.Header.Get("Authorization") != "Bearer t" {
			t.Errorf("got %q, %v, %v", body, r.Header, err)
		}
		if _, twice := keys.LoadOrStore(r.Header.Get("Idempotency-Key"), true); twice {
			t.Errorf("the key %s came twice", r.Header.Get("Idempotency-Key"))
		}
		if n.Add(1)%3 == 0 {
			w.Header().Set("Content-Length", "0")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		w.Header().Set("Content-Length", "20000")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, strings.Repeat("x", 20_000)) // more than the reader's buffer
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), keys
}

func TestClosed(t *testing.T) {
	addr, keys := server(t)
	var count Count
	var key atomic.Int64
	s, err := Closed(t.Context(), addr, Post(addr, "/x", "t", []byte(`{"a":1}`)), 4, 50*time.Millisecond, nil, &count, &key)
	if err != nil {
		t.Fatal(err)
	}
	seen := int64(0)
	keys.Range(func(any, any) bool { seen++; return true })
	if s.Ops == 0 || s.Ops != seen || count.Of(201)+count.Of(429) != seen || count.Of(429) != seen/3 {
		t.Errorf("%d operations, the server saw %d; %d times 201, %d times 429", s.Ops, seen, count.Of(201), count.Of(429))
	}
}

func TestAnAnswerOfUnknownLengthIsRefused(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
	}))
	defer s.Close()
	addr := s.Listener.Addr().String()
	c, err := Dial(addr, Post(addr, "/", "", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if status, err := c.Do(1); err == nil {
		t.Errorf("got %d", status)
	}
}

func TestOpenSendsAllThatIsDue(t *testing.T) {
	var seen atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := http.StatusCreated
		if seen.Add(1)%4 == 0 {
			status = http.StatusTooManyRequests
		}
		w.Header().Set("Content-Length", "2")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "{}")
	}))
	defer s.Close()
	addr := s.Listener.Addr().String()
	var count Count
	var key atomic.Int64
	sample, err := Open(t.Context(), addr, Post(addr, "/x", "", nil), 8, 1000, 100*time.Millisecond, nil, &count, &key)
	if err != nil {
		t.Fatal(err)
	}
	if sample.Ops != 100 || seen.Load() != 100 || count.Of(201) != 75 || count.Others(201) != "25 answered 429; " {
		t.Errorf("%+v; the server saw %d; %d, %q", sample, seen.Load(), count.Of(201), count.Others(201))
	}
	if sample.Seconds < 0.099 {
		t.Errorf("100 requests at 1000 a second took %v s", sample.Seconds)
	}
}
