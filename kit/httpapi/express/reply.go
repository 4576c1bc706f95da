package express

import (
	"bytes"
	"net/http"
	"strconv"
	"time"
)

// reply is an answer in memory, which leaves in one piece.
type reply struct {
	header http.Header
	status int
	body   []byte
	out    bytes.Buffer
	date   []byte
	second int64 // of date
}

// reset prepares for the next answer.
func (w *reply) reset() {
	if cap(w.body) > keep {
		w.body = nil
	}
	if w.out.Cap() > keep {
		w.out = bytes.Buffer{}
	}
	clear(w.header)
	w.status, w.body = 0, w.body[:0]
	w.out.Reset()
}

// keep is how much memory a connection keeps for answers.
const keep = 16 << 10

// Header implements http.ResponseWriter.
func (w *reply) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *reply) WriteHeader(status int) {
	if w.status == 0 && status >= 200 { // informational answers are not sent
		w.status = status
	}
}

// Write implements http.ResponseWriter.
func (w *reply) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if bodiless(w.status) {
		return 0, http.ErrBodyNotAllowed
	}
	w.body = append(w.body, p...)
	return len(p), nil
}

func bodiless(status int) bool {
	return status == http.StatusNoContent || status == http.StatusNotModified
}

// ours are the fields that a handler has no say in.
var ours = map[string]bool{"Connection": true, "Content-Length": true, "Trailer": true, "Transfer-Encoding": true}

// finish returns the answer.
func (w *reply) finish(now time.Time, last bool) []byte {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	out := append(w.out.AvailableBuffer(), "HTTP/1.1 "...)
	out = append(append(strconv.AppendInt(out, int64(w.status), 10), ' '), http.StatusText(w.status)...)
	out = append(out, "\r\n"...)
	if w.header["Date"] == nil {
		out = append(append(append(out, "Date: "...), w.now(now)...), "\r\n"...)
	}
	if len(w.body) > 0 && w.header["Content-Type"] == nil {
		out = append(append(append(out, "Content-Type: "...), http.DetectContentType(w.body)...), "\r\n"...)
	}
	if !bodiless(w.status) {
		out = append(strconv.AppendInt(append(out, "Content-Length: "...), int64(len(w.body)), 10), "\r\n"...)
	}
	if last {
		out = append(out, "Connection: close\r\n"...)
	}
	w.out.Write(out)
	_ = w.header.WriteSubset(&w.out, ours) // a buffer takes all
	w.out.WriteString("\r\n")
	w.out.Write(w.body)
	return w.out.Bytes()
}

// now returns a date as HTTP writes it.
func (w *reply) now(t time.Time) []byte {
	if second := t.Unix(); second != w.second {
		w.date, w.second = t.UTC().AppendFormat(w.date[:0], http.TimeFormat), second
	}
	return w.date
}
