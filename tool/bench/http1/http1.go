// Package http1 reads HTTP/1.1 answers from pieces of a stream, as they come: a Parser keeps what one answer still lacks,
// copies nothing that came whole, and refuses what two readers could frame differently. It promises to be held to limits
// by any stream: a head of at most MaxHead bytes, a body of at most MaxBody where it is kept.
//
// It frames by RFC 9112, section 6: Content-Length, chunked, or until the connection closes; interim answers (1xx) are
// passed over. Both framings in one answer, two different lengths, and transfer codings other than chunked are errors.
package http1

import (
	"bytes"
	"errors"
)

// The limits.
const (
	MaxHead = 64 << 10
	MaxBody = 1 << 20 // of what is kept; the rest is counted and dropped
	maxLine = 256     // of a chunk's size with its extensions
)

// The errors. They never hold what the server sent.
var (
	ErrHead    = errors.New("the head of the answer is malformed")
	ErrFraming = errors.New("the answer does not say clearly where it ends")
	ErrLimit   = errors.New("the head of the answer is too long")
	ErrChunk   = errors.New("a chunk of the answer is malformed")
)

// Parser reads one answer after the other. The zero value is ready.
type Parser struct {
	Status int
	Close  bool   // the server closes the connection after this answer
	Keep   bool   // set before an answer: its body is kept in Body
	NoBody bool   // set before an answer: it is to a HEAD request
	Body   []byte // of the last answer, where it was kept; overwritten by the next
	Size   int64  // bytes of its body

	state state
	left  int64  // of the body or chunk
	head  []byte // carried over while it is incomplete
}

type state uint8

const (
	inHead state = iota
	inLength
	untilClose
	chunkSize
	chunkData
	chunkEnd
	inTrailer
)

// Reset forgets what was begun, for a new connection.
func (p *Parser) Reset() {
	p.state, p.left, p.head = inHead, 0, p.head[:0]
}

// Begun reports whether part of an answer has been read.
func (p *Parser) Begun() bool { return p.state != inHead || len(p.head) > 0 }

// Feed reads from data up to the end of the answer. It returns how many bytes it took, and whether the answer is whole.
// Where it is not, all were taken.
func (p *Parser) Feed(data []byte) (n int, whole bool, err error) {
	if p.state == inHead {
		var ended bool
		if n, ended, err = p.readHead(data); err != nil || !ended {
			return n, false, err
		}
		if p.state == inHead { // no body
			return n, true, nil
		}
	}
	used, whole, err := p.readBody(data[n:])
	if whole {
		p.state = inHead
	}
	return n + used, whole, err
}

// End tells that the stream ended, and returns whether the answer under way thereby is whole.
func (p *Parser) End() bool {
	whole := p.state == untilClose
	p.Reset()
	return whole
}

var blank = []byte("\r\n\r\n")

// readHead takes the head. ended is false where it is not whole yet; the state afterwards says what follows.
func (p *Parser) readHead(data []byte) (used int, ended bool, err error) {
	for {
		head, n, err := p.wholeHead(data[used:])
		used += n
		if err != nil || head == nil {
			return used, false, err
		}
		interim, err := p.parseHead(head)
		p.head = p.head[:0]
		if err != nil {
			return used, false, err
		}
		if !interim {
			return used, true, nil
		}
	}
}

// wholeHead returns the head up to its blank line, from data alone where it came whole.
func (p *Parser) wholeHead(data []byte) (head []byte, n int, err error) {
	if len(p.head) == 0 {
		if i := bytes.Index(data, blank); i >= 0 {
			if i > MaxHead {
				return nil, 0, ErrLimit
			}
			return data[:i+2], i + 4, nil
		}
		if len(data) > MaxHead {
			return nil, 0, ErrLimit
		}
		p.head = append(p.head, data...)
		return nil, len(data), nil
	}
	before := len(p.head)
	p.head = append(p.head, data[:min(len(data), MaxHead+4-before)]...)
	i := bytes.Index(p.head[max(0, before-3):], blank)
	if i < 0 {
		if len(p.head) > MaxHead {
			return nil, 0, ErrLimit
		}
		return nil, len(data), nil
	}
	end := max(0, before-3) + i + 4
	return p.head[:end-2], end - before, nil
}

// readBody takes what is there of the body.
func (p *Parser) readBody(data []byte) (n int, ended bool, err error) {
	for n < len(data) {
		switch p.state {
		case inLength, chunkData:
			take := int(min(p.left, int64(len(data)-n)))
			p.keep(data[n : n+take])
			n += take
			if p.left -= int64(take); p.left > 0 {
				return n, false, nil
			}
			if p.state == inLength {
				return n, true, nil
			}
			p.state, p.head = chunkEnd, p.head[:0]
		case untilClose:
			p.keep(data[n:])
			return len(data), false, nil
		default:
			line, used, err := p.line(data[n:])
			n += used
			if err != nil || line == nil {
				return n, false, err
			}
			ended, err := p.chunkLine(line)
			p.head = p.head[:0]
			if err != nil || ended {
				return n, ended, err
			}
		}
	}
	return n, false, nil
}

// line returns a line without its end; nil where it is not whole yet.
func (p *Parser) line(data []byte) ([]byte, int, error) {
	limit := maxLine
	if p.state == inTrailer {
		limit = MaxHead
	}
	i := bytes.IndexByte(data, '\n')
	if i < 0 {
		if p.head = append(p.head, data...); len(p.head) > limit {
			return nil, 0, ErrChunk
		}
		return nil, len(data), nil
	}
	line := data[:i+1]
	if len(p.head) > 0 {
		p.head = append(p.head, line...)
		line = p.head
	}
	if len(line) > limit+2 || len(line) < 2 || line[len(line)-2] != '\r' {
		return nil, i + 1, ErrChunk
	}
	return line[:len(line)-2], i + 1, nil
}

// chunkLine reads the line with the size of a chunk, the empty one after its data, or one of the trailer.
func (p *Parser) chunkLine(line []byte) (ended bool, err error) {
	switch p.state {
	case chunkEnd:
		if len(line) != 0 {
			return false, ErrChunk
		}
		p.state = chunkSize
	case chunkSize:
		size, ok := hex(line)
		if !ok {
			return false, ErrChunk
		}
		p.state, p.left = chunkData, size
		if size == 0 {
			p.state = inTrailer
		}
	case inTrailer:
		return len(line) == 0, nil
	}
	return false, nil
}

// hex reads the size of a chunk, which extensions may follow.
func hex(line []byte) (int64, bool) {
	var v int64
	digits := 0
	for _, c := range line {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		case c == ';' || c == ' ' || c == '\t':
			return v, digits > 0
		default:
			return 0, false
		}
		if digits++; digits > 15 {
			return 0, false
		}
		v = v<<4 | int64(c)
	}
	return v, digits > 0
}

func (p *Parser) keep(data []byte) {
	p.Size += int64(len(data))
	if p.Keep {
		p.Body = append(p.Body, data[:min(len(data), MaxBody-len(p.Body))]...)
	}
}
