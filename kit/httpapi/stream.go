package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

const (
	heartbeat     = 15 * time.Second // below the idle limits of common proxies
	eventDeadline = 10 * time.Second // a client that takes no bytes for so long is gone
)

// LastEventID returns the id of the last event that a reconnecting client has seen; empty for a new one.
func LastEventID(r *http.Request) string { return r.Header.Get("Last-Event-ID") }

// Send writes one server-sent event: its id (may be empty: the client's last id stays), its name (may be empty:
// "message"), and data in JSON. It returns an error once the client is gone. It may be called from many goroutines.
type SendFunc = func(id, event string, data any) error

// Stream answers r with server-sent events (text/event-stream) for as long as produce runs. Every event leaves at once
// and has its own write deadline; a comment every 15 s keeps the connection known to be alive. The context that produce
// gets ends when the client goes and when the server drains (see [NewServer]); produce then returns, and the client
// comes back to the successor with Last-Event-ID. An error that produce returns before its context ended is sent as an
// event named "problem". Of the data of each event a caller sees what they are cleared for. Stream itself returns an error only where it could not begin.
func Stream(w http.ResponseWriter, r *http.Request, produce func(ctx context.Context, send SendFunc) error) error {
	s := &stream{w: w, control: http.NewResponseController(w)}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx
	_ = s.control.SetReadDeadline(time.Time{})
	if err := s.write([]byte("retry: 2000\n\n")); err != nil {
		return errs.Wrap(err, errs.Unavailable, "无法建立事件流", "the event stream could not begin")
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	if drain, ok := r.Context().Value(drainKey{}).(context.Context); ok {
		defer context.AfterFunc(drain, func() { cancel(errDraining) })()
	}
	beaten := make(chan struct{})
	go func() {
		defer close(beaten)
		s.beat(ctx, cancel)
	}()
	ex := exchangeOf(r.Context())
	err := produce(ctx, func(id, event string, data any) (err error) {
		if ex != nil && ex.gate != nil && ex.gate.Plan() != nil {
			if data, err = ex.pass.Show(data); err != nil {
				return err
			}
		}
		return s.send(ctx, id, event, data)
	})
	if err != nil && ctx.Err() == nil {
		_ = s.send(ctx, "", "problem", ProblemOf(err, langOf(r), traceOf(r.Context())))
	}
	cancel(nil)
	<-beaten
	return nil
}

var errDraining = errors.New("the server is draining")

// stream writes events one at a time.
type stream struct {
	mu      sync.Mutex
	w       http.ResponseWriter
	control *http.ResponseController
	buf     bytes.Buffer
}

func (s *stream) send(ctx context.Context, id, event string, data any) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if strings.ContainsAny(id, "\r\n\x00") || strings.ContainsAny(event, "\r\n") {
		return errors.New("httpapi: an event's id or name would break its line")
	}
	body, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf.Reset()
	if id != "" {
		s.buf.WriteString("id: " + id + "\n")
	}
	if event != "" {
		s.buf.WriteString("event: " + event + "\n")
	}
	s.buf.WriteString("data: ")
	s.buf.Write(body) // JSON of encoding/json stands on one line
	s.buf.WriteString("\n\n")
	return s.writeLocked(s.buf.Bytes())
}

func (s *stream) write(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writeLocked(p)
}

func (s *stream) writeLocked(p []byte) error {
	// A writer without deadlines (a test's) still gets its bytes.
	if err := s.control.SetWriteDeadline(time.Now().Add(eventDeadline)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := s.w.Write(p); err != nil {
		return err
	}
	return s.control.Flush()
}

// beat sends a comment now and then, and ends the stream where that fails.
func (s *stream) beat(ctx context.Context, cancel context.CancelCauseFunc) {
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := s.write([]byte(": \n\n")); err != nil {
				cancel(err)
				return
			}
		}
	}
}
