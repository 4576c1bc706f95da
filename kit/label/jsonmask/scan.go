package jsonmask

import (
	"bytes"

	"github.com/qiongdev/qiong/kit/errs"
)

// scan is one stream of documents under way. Between two calls of run it knows all that the grammar needs; what has not
// been consumed, the caller brings again with more behind it.
type scan struct {
	m       *Masker
	phase   phase
	state   uint16   // the automaton's, of the innermost open object or array, or of the document
	object  bool     // the innermost is an object
	value   uint16   // the automaton's state of the value that follows
	stack   []uint32 // the outer ones: twice the state, and one for an object
	offset  int64    // of what run is given, in the stream
	text    []byte   // scratch: an unescaped string
	shown   []byte   // scratch: a masked one
	closing phase    // what follows the long string that we are in
	guesses [64]guess
	turn    uint // the guess for the next name
}

// phase is what the grammar wants next.
type phase uint8

const (
	wantDocument phase = iota // or the end of the stream
	wantValue                 // of a member, or an item after a comma
	wantItem                  // or the end of the array that has begun
	wantMember                // or the end of the object that has begun
	wantName                  // of a member after a comma
	wantColon
	wantComma  // or the end of the object or array
	inPassed   // within a string that is too long to be kept, and passes
	inDropped  // within one that has been masked
	inDetected // within one that is looked through in pieces
)

// longest is how much of a token is kept until its end is known. Longer strings are seen in pieces; a longer number is
// an error.
const longest = 64 << 10

func (s *scan) reset() {
	s.phase, s.state, s.object, s.value, s.stack, s.offset = wantDocument, 0, false, 0, s.stack[:0], 0
}

// run appends what becomes of src to dst, and returns how much of src it has consumed: all but for a token that src may
// not hold whole. Where final is true nothing follows src.
//
// What passes is copied in the longest pieces possible: src[done:i] is what was read and not copied yet.
func (s *scan) run(dst, src []byte, final bool) ([]byte, int, error) {
	done, i := 0, 0
	if s.phase >= inPassed && len(src) > 0 {
		var whole bool
		if dst, i, whole = s.piece(dst, src, final); !whole {
			if final {
				return dst, i, s.truncated(len(src))
			}
			s.offset += int64(i)
			return dst, i, nil
		}
		done, s.phase = i, s.closing
	}
	for i < len(src) {
		c := src[i]
		if c <= ' ' {
			if c != ' ' && c != '\n' && c != '\t' && c != '\r' {
				return dst, i, s.syntax(i)
			}
			i++
			continue
		}
		switch s.phase {
		case wantComma:
			switch {
			case c == ',':
				s.phase, s.value = wantValue, s.state
				if s.object {
					s.phase = wantName
				}
			case c == '}' && s.object, c == ']' && !s.object:
				s.pop()
			default:
				return dst, i, s.syntax(i)
			}
			i++
			continue
		case wantColon:
			if c != ':' {
				return dst, i, s.syntax(i)
			}
			s.phase = wantValue
			i++
			continue
		case wantName, wantMember:
			if c != '"' {
				if c != '}' || s.phase == wantName {
					return dst, i, s.syntax(i)
				}
				s.pop()
				i++
				continue
			}
			var whole bool
			if dst, done, i, whole = s.members(dst, src, done, i); !whole {
				return s.pause(dst, src, done, i, final)
			}
			continue
		}
		// A value.
		act := s.m.states[s.value].act
		switch {
		case c == '"':
			end, escaped := stringEnd(src, i+1)
			if end < 0 {
				return s.pause(dst, src, done, i, final)
			}
			if act != actPass {
				var hit bool
				if dst, hit = s.string(dst, src[done:i], src[i+1:end], escaped, act); hit {
					done = end + 1
				}
			}
			i = end + 1
			s.close()
			if s.object && i+1 < len(src) && src[i] == ',' && s.phase == wantComma { // as nearly always
				s.phase = wantName
				i++
			}
		case c == '{' || c == '[':
			if len(s.stack) >= s.m.o.MaxDepth {
				return dst, i, errs.Newf(errs.Invalid, "嵌套超过 %d 层", "nested deeper than %d levels", s.m.o.MaxDepth).
					WithCode("json.depth").WithOffset(s.offset + int64(i))
			}
			s.push(c == '{')
			i++
		case c == ']' && s.phase == wantItem:
			s.pop()
			i++
		default:
			end := scalarEnd(src, i)
			if end == len(src) && !final {
				return s.pause(dst, src, done, i, final)
			}
			if !scalar(src[i:end]) {
				return dst, i, s.syntax(i)
			}
			if act != actPass {
				var hit bool
				if dst, hit = s.scalar(dst, src[done:i], src[i:end], act); hit {
					done = end
				}
			}
			i = end
			s.close()
		}
	}
	return s.rest(dst, src, done, final)
}

// members reads the name at i with its colon, and goes on as long as the value is a scalar and another member follows at
// once, as nearly always: within this loop nothing of the state need be kept. It returns false where src does not hold
// the name that it has come to whole.
func (s *scan) members(dst, src []byte, done, i int) (_ []byte, copied, at int, whole bool) {
	m := s.m
	next := m.next[int(s.state)*(len(m.names.list)+1):]
	for {
		g := &s.guesses[s.turn%uint(len(s.guesses))]
		s.turn++
		symbol := g.symbol
		if n := int(g.n); n > 0 && len(src)-i > n && string(src[i:i+n]) == string(g.text[:n]) {
			i += n
		} else {
			end, escaped := stringEnd(src, i+1)
			if end < 0 {
				return dst, done, i, false
			}
			name, hit := src[i+1:end], false
			if m.o.Detect {
				if dst, hit = s.detect(dst, src[done:i], name, escaped); hit {
					done = end + 1
				}
			}
			if escaped {
				s.text = unescape(s.text[:0], name)
				name = s.text
			}
			symbol = m.names.symbol(name)
			if end+2 >= len(src) || src[end+1] != ':' {
				s.value, s.phase = next[symbol], wantColon
				return dst, done, end + 1, true
			}
			if g.n = 0; !hit && !escaped && end+2-i <= len(g.text) {
				g.n, g.symbol = uint8(copy(g.text[:], src[i:end+2])), symbol
			}
			i = end + 2
		}
		value := next[symbol]
		after, quoted := member(src, i)
		if after == 0 {
			s.value, s.phase = value, wantValue
			return dst, done, i, true
		}
		if act := m.states[value].act; act != actPass {
			dst, done = s.shownMember(dst, src, done, i, after, quoted, act)
		}
		i, s.phase = after+1, wantName
	}
}

// guess is a name that stood at the same turn in an object before, with its quotes and colon. Objects in a list have the
// same members in the same order, as a rule: comparing with what is expected costs less than finding where a name ends.
type guess struct {
	symbol uint16
	n      uint8
	text   [29]byte
}

// member returns where the scalar at i ends, if a comma and a name follow it at once, and whether it is a string, without
// or with escapes; 0 where it is no scalar or something else follows.
func member(src []byte, i int) (end int, quoted quoting) {
	switch c := src[i]; {
	case c == '"':
		var escaped bool
		if end, escaped = stringEnd(src, i+1); end < 0 {
			return 0, bare
		}
		end++
		if quoted = plain; escaped {
			quoted = escapes
		}
	case c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-':
		if end = scalarEnd(src, i); !scalar(src[i:end]) {
			return 0, bare
		}
	}
	if end+1 >= len(src) || src[end] != ',' || src[end+1] != '"' {
		return 0, bare
	}
	return end, quoted
}

type quoting uint8

const (
	bare quoting = iota
	plain
	escapes
)

// shownMember appends what becomes of the scalar src[i:end], which does not pass, after what passes before it.
func (s *scan) shownMember(dst, src []byte, done, i, end int, quoted quoting, act uint16) ([]byte, int) {
	var hit bool
	if quoted == plain && act >= actMask {
		// Copied with what passes before it, and masked there.
		all := append(dst, src[done:end]...)
		if n, ok := s.m.masks[act-actMask].Shorten(all[len(all)-(end-i)+1 : len(all)-1]); ok {
			return append(all[:len(all)-(end-i)+1+n], '"'), end
		}
	}
	if quoted == bare {
		dst, hit = s.scalar(dst, src[done:i], src[i:end], act)
	} else {
		dst, hit = s.string(dst, src[done:i], src[i+1:end-1], quoted == escapes, act)
	}
	if hit {
		return dst, end
	}
	return dst, done
}

// rest ends a run that has read all of src.
func (s *scan) rest(dst, src []byte, done int, final bool) ([]byte, int, error) {
	dst = append(dst, src[done:]...)
	if final && s.phase != wantDocument {
		return dst, len(src), s.truncated(len(src))
	}
	s.offset += int64(len(src))
	return dst, len(src), nil
}

// pause ends a run before the token at i, which src does not hold whole. A string that has grown too long to be kept is
// let in, to be seen in pieces.
func (s *scan) pause(dst, src []byte, done, i int, final bool) ([]byte, int, error) {
	if final {
		return dst, i, s.truncated(len(src))
	}
	dst = append(dst, src[done:i]...)
	s.offset += int64(i)
	if len(src)-i < longest {
		return dst, i, nil
	}
	if src[i] != '"' {
		return dst, i, s.syntax(0)
	}
	return s.long(dst), i + 1, nil
}

// long begins a long string: a name, or a value.
func (s *scan) long(dst []byte) []byte {
	s.offset++
	act := actPass
	switch {
	case s.phase != wantName && s.phase != wantMember:
		act = s.m.states[s.value].act
		s.close()
		s.closing = s.phase
	default: // no rule has so long a name
		if s.m.o.Detect {
			act = actDetect
		}
		s.value = s.m.next[int(s.state)*(len(s.m.names.list)+1)]
		s.closing = wantColon
	}
	switch act {
	case actPass:
		s.phase = inPassed
		return append(dst, '"')
	case actDetect:
		s.phase = inDetected
		return append(dst, '"')
	}
	s.phase = inDropped
	if mask := s.m.masks[act-actMask]; mask.Drops() {
		return append(dst, "null"...)
	}
	return append(dst, `"******"`...)
}

func (s *scan) push(object bool) {
	outer := uint32(s.state) << 1
	if s.object {
		outer |= 1
	}
	s.stack = append(s.stack, outer)
	s.state, s.object, s.phase, s.turn = s.value, object, wantItem, uint(s.value)*16
	if object {
		s.phase = wantMember
	}
}

func (s *scan) pop() {
	outer := s.stack[len(s.stack)-1]
	s.stack = s.stack[:len(s.stack)-1]
	s.state, s.object = uint16(outer>>1), outer&1 != 0
	s.close()
}

// close sets what follows a value.
func (s *scan) close() {
	s.phase, s.value = wantComma, s.state
	if len(s.stack) == 0 {
		s.phase = wantDocument
	}
}

func (s *scan) syntax(at int) *errs.Error {
	return invalid(s.offset+int64(at), "json.syntax", "此处不符合 JSON 语法", "JSON does not allow this here")
}

func (s *scan) truncated(at int) *errs.Error {
	return invalid(s.offset+int64(at), "json.truncated", "JSON 文档不完整", "the JSON document ends too early")
}

// scalarEnd returns where a number or a literal ends.
func scalarEnd(src []byte, i int) int {
	for i < len(src) {
		switch c := src[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c == '-', c == '+', c == '.', c == 'E':
			i++
		default:
			return i
		}
	}
	return i
}

// scalar reports whether b is a number, true, false or null.
func scalar(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	switch b[0] {
	case 't':
		return string(b) == "true"
	case 'f':
		return string(b) == "false"
	case 'n':
		return string(b) == "null"
	}
	return numeric(b)
}

// numeric reports whether b is a number after RFC 8259.
func numeric(b []byte) bool {
	b = bytes.TrimPrefix(b, []byte("-"))
	whole := digits(b)
	if whole == 0 || whole > 1 && b[0] == '0' {
		return false
	}
	if b = b[whole:]; len(b) > 0 && b[0] == '.' {
		n := digits(b[1:])
		if n == 0 {
			return false
		}
		b = b[1+n:]
	}
	if len(b) > 0 && (b[0] == 'e' || b[0] == 'E') {
		if b = b[1:]; len(b) > 0 && (b[0] == '+' || b[0] == '-') {
			b = b[1:]
		}
		n := digits(b)
		return n > 0 && n == len(b)
	}
	return len(b) == 0
}

// digits returns how many digits b begins with.
func digits(b []byte) int {
	for i, c := range b {
		if c < '0' || c > '9' {
			return i
		}
	}
	return len(b)
}
