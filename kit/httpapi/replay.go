package httpapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
)

// Stored is an answer in bytes, for keeping in an idempotency row and sending again.
type Stored struct {
	Status int         `json:"status"`
	Header http.Header `json:"header,omitempty"`
	Body   []byte      `json:"body,omitempty"`
}

// Encode returns the answer of body in JSON. A nil body is none.
func Encode(status int, header http.Header, body any) (Stored, error) {
	s := Stored{Status: status, Header: header.Clone()}
	if body == nil {
		return s, nil
	}
	if s.Header == nil {
		s.Header = http.Header{}
	}
	s.Header.Set("Content-Type", "application/json")
	var err error
	if s.Body, err = json.Marshal(body); err != nil {
		return Stored{}, fmt.Errorf("encode the answer: %w", err)
	}
	return s, nil
}

// Replay is an answer in the clothes of an error: a handler that returns it is answered with Stored to the byte.
// First marks the answer's first sending; later ones carry Idempotency-Replayed: true.
type Replay struct {
	Stored
	First bool
}

// Error implements error. It says nothing of the answer.
func (r *Replay) Error() string { return fmt.Sprintf("answer already made, status %d", r.Status) }

// Send returns the error that sends s for the first time, so that the first answer and its replays are the same bytes.
func Send(s Stored) error { return &Replay{Stored: s, First: true} }

// Resend returns the error that sends s again.
func Resend(s Stored) error { return &Replay{Stored: s} }

func (r *Replay) write(w http.ResponseWriter) {
	maps.Copy(w.Header(), r.Header)
	if !r.First {
		w.Header().Set("Idempotency-Replayed", "true")
	}
	w.WriteHeader(r.Status)
	if len(r.Body) > 0 {
		_, _ = w.Write(r.Body)
	}
}
