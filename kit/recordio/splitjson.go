package recordio

import (
	"bytes"
	"io"
)

// element returns the next element of a JSON array, from its first byte to its last.
func (s *Splitter) element() (Segment, error) {
	for {
		c, err := s.next()
		switch {
		case err == io.EOF && s.state.Ended:
			return Segment{}, io.EOF
		case err == io.EOF:
			return Segment{}, broken(s.state.Offset, "文件不完整：数组未结束", "the file ends within the array")
		case err != nil:
			return Segment{}, err
		case s.state.Ended:
			return Segment{}, broken(s.state.Offset, "数组之后还有内容", "something follows the array")
		case !s.state.Inside:
			if c != '[' {
				return Segment{}, broken(s.state.Offset, "应为 JSON 数组", "must be a JSON array")
			}
			s.skip(1)
			s.state.Inside = true
		case c == ']' && !s.state.Comma:
			s.skip(1)
			s.state.Ended = true
		case c == ',' && s.state.Some && !s.state.Comma:
			s.skip(1)
			s.state.Comma = true
		case c == '{' && s.state.Some == s.state.Comma:
			n, err := s.object()
			if err != nil {
				return Segment{}, err
			}
			s.state.Some, s.state.Comma = true, false
			return s.take(n)
		default:
			return Segment{}, broken(s.state.Offset, "数组中应为以逗号分隔的对象", "an array of objects with commas between them is wanted")
		}
	}
}

// next returns the first unread byte that is no blank, without reading it.
func (s *Splitter) next() (byte, error) {
	for {
		b := s.unread()
		if s.state.Offset == 0 && s.state.Line == 0 && len(b) < len(bom) && !s.eof {
			if err := s.fill(); err != nil && err != io.EOF {
				return 0, err
			}
			continue
		}
		if s.state.Offset == 0 && bytes.HasPrefix(b, bom) {
			s.skip(len(bom))
			continue
		}
		n := len(b) - len(bytes.TrimLeft(b, " \t\r\n"))
		s.skip(n)
		if n < len(b) {
			return b[n], nil
		}
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
}

// object returns the length of the object that begins at the first unread byte.
func (s *Splitter) object() (int, error) {
	depth, inString, escaped := 0, false, false
	for i := 0; ; {
		for b := s.unread(); i < len(b); i++ {
			switch c := b[i]; {
			case escaped:
				escaped = false
			case inString:
				escaped, inString = c == '\\', c != '"'
			case c == '"':
				inString = true
			case c == '{' || c == '[':
				depth++
			case c == '}' || c == ']':
				if depth--; depth == 0 {
					return i + 1, nil
				}
			}
		}
		if err := s.fill(); err == io.EOF {
			return 0, broken(s.state.Offset, "文件不完整：对象未结束", "the file ends within an object")
		} else if err != nil {
			return 0, err
		}
	}
}
