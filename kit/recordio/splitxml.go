package recordio

import (
	"bytes"
	"io"
)

// xml returns the next element of a record, from its opening tag to the end of its closing one.
func (s *Splitter) xml() (Segment, error) {
	for {
		c, err := s.next()
		switch {
		case err == io.EOF && s.state.Ended:
			return Segment{}, io.EOF
		case err == io.EOF:
			return Segment{}, broken(s.state.Offset, "文件不完整：根元素未结束", "the file ends within its root element")
		case err != nil:
			return Segment{}, err
		case c != '<':
			return Segment{}, broken(s.state.Offset, "记录之间只能有空白", "only blanks may stand between records")
		}
		n, err := s.markup(0)
		if err != nil {
			return Segment{}, err
		}
		tag := s.unread()[:n]
		switch {
		case tag[1] == '?' || bytes.HasPrefix(tag, commentOpen):
			s.skip(n)
		case tag[1] == '!':
			return Segment{}, broken(s.state.Offset, "不接受文档类型声明", "document type declarations are not taken")
		case s.state.Ended:
			return Segment{}, broken(s.state.Offset, "根元素之后还有内容", "something follows the root element")
		case !s.state.Inside && tag[1] != '/':
			s.state.Inside, s.state.Root = true, string(tagName(tag))
			s.state.Ended = selfClosing(tag)
			s.skip(n)
		case tag[1] == '/' && s.state.Inside && string(tagName(tag)) == s.state.Root:
			s.skip(n)
			s.state.Ended = true
		case tag[1] != '/' && string(tagName(tag)) == s.opt.Row:
			n, err := s.whole(n, selfClosing(tag))
			if err != nil {
				return Segment{}, err
			}
			return s.take(n)
		default:
			return Segment{}, broken(s.state.Offset, "应为 <%s> 元素", "a <%s> element is wanted", s.opt.Row)
		}
	}
}

var commentOpen, cdataOpen = []byte("<!--"), []byte("<![CDATA[")

// tagName returns the name within a tag.
func tagName(tag []byte) []byte {
	name := bytes.TrimPrefix(tag[1:], []byte{'/'})
	if i := bytes.IndexAny(name, " \t\r\n/>"); i >= 0 {
		name = name[:i]
	}
	return name
}

func selfClosing(tag []byte) bool { return tag[len(tag)-2] == '/' }

// whole returns the length of the element whose opening tag is the first n unread bytes.
func (s *Splitter) whole(n int, closed bool) (int, error) {
	for depth := 1; !closed && depth > 0; {
		i, err := s.find(n, '<')
		if err != nil {
			return 0, err
		}
		if n, err = s.markup(i); err != nil {
			return 0, err
		}
		switch tag := s.unread()[i:n]; {
		case tag[1] == '?' || tag[1] == '!':
		case tag[1] == '/':
			depth--
		case !selfClosing(tag):
			depth++
		}
	}
	return n, nil
}

// markup returns where the tag, comment, instruction or CDATA section ends that begins at the unread byte at.
func (s *Splitter) markup(at int) (int, error) {
	for len(s.unread()) < at+len(cdataOpen) && !s.eof {
		if err := s.fill(); err != nil && err != io.EOF {
			return 0, err
		}
	}
	switch b := s.unread()[at:]; {
	case bytes.HasPrefix(b, commentOpen):
		return s.closing(at+len(commentOpen), "-->")
	case bytes.HasPrefix(b, cdataOpen):
		return s.closing(at+len(cdataOpen), "]]>")
	case bytes.HasPrefix(b, []byte("<?")):
		return s.closing(at+2, "?>")
	case len(b) < 3:
		return 0, s.cut()
	}
	for i, quote := at+1, byte(0); ; i++ {
		if i >= len(s.unread()) {
			if err := s.fill(); err == io.EOF {
				return 0, s.cut()
			} else if err != nil {
				return 0, err
			}
		}
		switch c := s.unread()[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>' && i > at+1:
			return i + 1, nil
		case c == '<' || c == '>':
			return 0, broken(s.state.Offset+int64(i), "标签不完整", "a tag is not closed")
		}
	}
}

func (s *Splitter) cut() error {
	return broken(s.state.Offset, "文件不完整：标签未结束", "the file ends within markup")
}

// find returns the place of the next unread c, from at on. c is no byte that ends a wide character.
func (s *Splitter) find(at int, c byte) (int, error) {
	for {
		if i := bytes.IndexByte(s.unread()[at:], c); i >= 0 {
			return at + i, nil
		}
		at = len(s.unread())
		if err := s.fill(); err == io.EOF {
			return 0, broken(s.state.Offset, "文件不完整：记录未结束", "the file ends within a record")
		} else if err != nil {
			return 0, err
		}
	}
}

// closing returns the place behind the mark, from at on.
func (s *Splitter) closing(at int, mark string) (int, error) {
	for {
		for b := s.unread(); at+len(mark) <= len(b); {
			switch {
			case string(b[at:at+len(mark)]) == mark:
				return at + len(mark), nil
			case s.opt.Wide && b[at] >= 0x81 && b[at+1] >= '0' && b[at+1] <= '9':
				at += 4
			case s.opt.Wide && b[at] >= 0x81:
				at += 2
			default:
				at++
			}
		}
		if err := s.fill(); err == io.EOF {
			return 0, s.cut()
		} else if err != nil {
			return 0, err
		}
	}
}
