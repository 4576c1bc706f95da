package express

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"strings"
	"sync"
)

// desk is what a connection handles requests with. A client mostly sends the header of its last request again, so that
// is kept, and only the lines that differ are read.
type desk struct {
	l       *Listener
	pattern http.Request // what all requests of the connection have in common
	request http.Request
	reply   reply
	fields  []field
	header  http.Header
	host    string
	length  int // of the body; below zero: the header has none
}

// field is one line of a header.
type field struct {
	line   []byte // as it came
	colon  int
	key    string   // canonical
	values []string // one: what the header has, but of Host
}

func newDesk(l *Listener, remote string) *desk {
	d := &desk{l: l, header: http.Header{}, reply: reply{header: http.Header{}}}
	d.pattern = *(&http.Request{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: d.header, RemoteAddr: remote}).WithContext(l.ctx)
	return d
}

var version = []byte(" HTTP/1.1\r")

// read returns the request that p is, whole, alone, and plain; nil where it is anything else. It is good until the next.
func (d *desk) read(p []byte) *http.Request {
	line, rest, ok := bytes.Cut(p, newline)
	if !ok {
		return nil
	}
	line, ok = bytes.CutSuffix(line, version)
	u := d.l.routes[string(line)]
	if !ok || u == nil {
		return nil
	}
	body, ok := d.again(rest)
	if !ok {
		body, ok = d.learn(rest)
	}
	if !ok || d.host == "" || d.length != len(body) {
		return nil
	}
	r := &d.request
	*r = d.pattern
	r.Method = string(line[:bytes.IndexByte(line, ' ')])
	r.URL, r.RequestURI, r.Host = u, u.Path, d.host
	r.ContentLength = int64(len(body))
	r.Body = http.NoBody
	if len(body) > 0 {
		r.Body = &payload{rest: body}
	}
	return r
}

var newline = []byte("\n")

// cut returns the first line of a header, and what follows it.
func cut(head []byte) (line, rest []byte, ok bool) {
	line, rest, ok = bytes.Cut(head, newline)
	if !ok || len(line) == 0 || line[len(line)-1] != '\r' {
		return nil, nil, false
	}
	return line[:len(line)-1], rest, true
}

// again reads a header that has the fields of the last one in the same order, and returns what follows it.
func (d *desk) again(head []byte) (body []byte, ok bool) {
	for i := range d.fields {
		f := &d.fields[i]
		line, rest, ok := cut(head)
		if !ok {
			return nil, false
		}
		if !bytes.Equal(line, f.line) {
			if len(line) <= f.colon || !bytes.Equal(line[:f.colon+1], f.line[:f.colon+1]) || !d.set(f, line) {
				return nil, false
			}
		}
		head = rest
	}
	line, rest, ok := cut(head)
	return rest, ok && len(line) == 0 && len(d.fields) > 0
}

// learn reads a header, and returns what follows it.
func (d *desk) learn(head []byte) (body []byte, ok bool) {
	d.fields, d.host, d.length = d.fields[:0], "", -1
	clear(d.header)
	for {
		line, rest, ok := cut(head)
		if !ok {
			return d.forget()
		}
		if len(line) == 0 {
			return rest, true
		}
		f := field{colon: bytes.IndexByte(line, ':'), values: make([]string, 1)}
		if f.colon < 1 || !token(line[:f.colon]) || len(d.fields) == maxFields {
			return d.forget()
		}
		f.key = textproto.CanonicalMIMEHeaderKey(string(line[:f.colon]))
		if _, twice := d.header[f.key]; twice || thoughtful[f.key] || f.key == "Host" && d.host != "" {
			return d.forget()
		}
		if f.key != "Host" {
			d.header[f.key] = f.values
		}
		if !d.set(&f, line) {
			return d.forget()
		}
		d.fields = append(d.fields, f)
		head = rest
	}
}

// maxFields is how many fields a plain header has at most.
const maxFields = 64

// thoughtful are the fields that change what a request means.
var thoughtful = map[string]bool{"Expect": true, "Pragma": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true}

// forget is where a header turns out not to be plain.
func (d *desk) forget() ([]byte, bool) {
	d.fields = d.fields[:0]
	return nil, false
}

// set takes in the value of a field, if it is plain.
func (d *desk) set(f *field, line []byte) bool {
	value := bytes.Trim(line[f.colon+1:], " \t")
	for _, c := range value {
		if c < ' ' && c != '\t' || c > '~' {
			return false
		}
	}
	text := string(value)
	switch f.key {
	case "Connection":
		if !strings.EqualFold(text, "keep-alive") {
			return false
		}
	case "Content-Length":
		n, ok := number(text)
		if !ok {
			return false
		}
		d.length = n
	case "Host":
		if text == "" || strings.Trim(text, hostLetters) != "" {
			return false
		}
		d.host = text
	}
	f.values[0] = text
	f.line = append(f.line[:0], line...)
	return true
}

const hostLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]"

// number reads a length of at most four digits: no request is longer.
func number(text string) (n int, ok bool) {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return 0, false
		}
		n = n*10 + int(text[i]-'0')
	}
	return n, len(text) > 0 && len(text) <= 4
}

// token reports whether name is one of a field: what is not, net/http has words for.
func token(name []byte) bool {
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// payload is the body of one request. Whoever reads it after the request has been answered gets nothing of the next.
type payload struct {
	mu   sync.Mutex
	rest []byte
	over bool
}

var errOver = errors.New("express: the request has been answered")

// Read implements io.Reader.
func (b *payload) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return 0, errOver
	}
	if len(b.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// Close implements io.Closer.
func (b *payload) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rest, b.over = nil, true
	return nil
}
