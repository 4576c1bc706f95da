package scenario

import (
	"math/rand/v2"
	"strconv"

	"github.com/qiongdev/qiong/tool/bench/load"
)

// Stream draws the requests of one part of the load. It is a load.Source.
type Stream struct {
	program *Program
	part    int
	parts   int
	random  *rand.Rand
	values  [][]byte // of the slots
	feeds   []feedState
	scratch []byte
	body    []byte
	drawn   drawn
	kept    *Kept // may be nil
}

// drawn is the request that was drawn last.
type drawn struct {
	s *Stream
	*request
	kind int
}

// Stream returns the source of part i of parts. Parts of one seed draw the same again. What requests want kept of their
// answers goes to kept, which is of this part alone; nil drops it.
func (p *Program) Stream(i, parts int, seed uint64, kept *Kept) *Stream {
	s := &Stream{program: p, part: i, parts: parts, random: rand.New(rand.NewPCG(seed, uint64(i)+1)), kept: kept}
	s.values = make([][]byte, p.values)
	s.feeds = make([]feedState, len(p.feeds))
	for n, slots := range p.slots {
		s.feeds[n].slots = slots
	}
	return s
}

// Next implements load.Source.
func (s *Stream) Next() load.Request {
	kind := 0
	if len(s.program.requests) > 1 {
		kind = pick(s.random, s.program.weights)
	}
	r := &s.program.requests[kind]
	s.draw(r)
	s.drawn = drawn{s, r, kind}
	return &s.drawn
}

// draw draws the values of a request.
func (s *Stream) draw(r *request) {
	for _, n := range r.feeds {
		s.program.feeds[n].draw(s, &s.feeds[n])
	}
}

// Judge implements load.Source.
func (s *Stream) Judge(kind, status int, body, tag []byte) bool {
	r := &s.program.requests[kind]
	if r.call != nil && r.needsBody {
		body = r.call.decode(body)
	}
	ok := r.expects(status, body)
	if r.keep != nil && s.kept != nil && (r.grpc && status == 0 || status >= 200 && status < 300) {
		if id := r.keep.field.text(body); len(id) > 0 {
			s.kept.add(tag, id)
		} else {
			ok = false // acknowledged, and nobody can say what
		}
	}
	return ok
}

// write appends a template with the values that were drawn.
func (s *Stream) write(dst []byte, parts []part, how escape) []byte {
	for i := range parts {
		if p := &parts[i]; p.slot < 0 {
			dst = append(dst, p.text...)
		} else {
			dst = how(dst, s.values[p.slot])
		}
	}
	return dst
}

// Kind implements load.Request.
func (d *drawn) Kind() int { return d.kind }

// Method implements load.Request.
func (d *drawn) Method() string { return d.method }

// Path implements load.Request.
func (d *drawn) Path() string { return string(d.s.write(nil, d.path, asURL)) }

// NeedsBody implements load.Request.
func (d *drawn) NeedsBody() bool { return d.needsBody }

// Header implements load.Request.
func (d *drawn) Header(each func(k, v string)) {
	for _, h := range d.headers {
		each(h.name, string(d.s.write(nil, h.value, asField)))
	}
}

// AppendTag implements load.Request.
func (d *drawn) AppendTag(dst []byte) []byte {
	if d.keep == nil {
		return dst
	}
	return d.s.write(dst, d.keep.key, asIs)
}

// AppendBody implements load.Request.
func (d *drawn) AppendBody(dst []byte) []byte {
	if d.call == nil {
		return d.s.write(dst, d.body, d.bodyEscape)
	}
	d.s.body = d.s.write(d.s.body[:0], d.body, asJSON)
	dst, _ = d.call.encode(dst, d.s.body) // it was tried before; a message that a value makes wrong is sent empty
	return dst
}

// AppendHTTP1 implements load.Request. The head is compiled up to the values that change; only where the body has some
// is its length counted anew.
func (d *drawn) AppendHTTP1(dst []byte) []byte {
	s := d.s
	dst = append(dst, d.method...)
	dst = append(dst, ' ')
	dst = s.write(dst, d.path, asURL)
	dst = s.write(dst, d.head, asField)
	if d.fixedBody != nil {
		return append(dst, d.fixedBody...)
	}
	s.body = d.AppendBody(s.body[:0])
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(s.body)), 10)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, s.body...)
}
