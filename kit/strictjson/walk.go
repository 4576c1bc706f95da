package strictjson

import (
	"strconv"
	"strings"
)

// Cursor steps through a document that [Check] has accepted, so it proves nothing again. A copy of it is a mark to
// come back to.
type Cursor struct {
	data []byte
	pos  int
}

// NewCursor returns a cursor at the document's value.
func NewCursor(data []byte) Cursor { return Cursor{data: data} }

func (c *Cursor) space() {
	for c.pos < len(c.data) && c.data[c.pos] <= ' ' {
		c.pos++
	}
}

// Peek returns the first byte of the next value, 0 at the end.
func (c *Cursor) Peek() byte {
	c.space()
	if c.pos >= len(c.data) {
		return 0
	}
	return c.data[c.pos]
}

// str reads the string at the cursor and returns it with its quotes.
func (c *Cursor) str() []byte {
	start := c.pos
	for i := start + 1; i < len(c.data); i++ {
		switch c.data[i] {
		case '\\':
			i++
		case '"':
			c.pos = i + 1
			return c.data[start:c.pos]
		}
	}
	c.pos = len(c.data)
	return []byte(`""`)
}

// Skip passes over the value at the cursor.
func (c *Cursor) Skip() {
	depth := 0
	for {
		switch c.Peek() {
		case 0:
			return
		case '"':
			c.str()
		case '{', '[':
			depth++
			c.pos++
			continue
		case '}', ']':
			depth--
			c.pos++
		case ',', ':':
			c.pos++
			continue
		default:
			for c.pos < len(c.data) && strings.IndexByte(",]} \t\r\n", c.data[c.pos]) < 0 {
				c.pos++
			}
		}
		if depth <= 0 {
			return
		}
	}
}

// Raw passes over the value at the cursor and returns it as it is written; [Decode] makes text of a string.
func (c *Cursor) Raw() []byte {
	c.space()
	start := c.pos
	c.Skip()
	return c.data[start:c.pos]
}

// Members calls visit for each member of the object at the cursor, with its name in quotes, where that stands, and the
// cursor at the member's value; visit passes over that value, or returns false to end the walk. It reports whether the
// walk came to its end.
func (c *Cursor) Members(visit func(nameAt int, quoted []byte) bool) bool {
	for c.pos++; c.Peek() == '"'; {
		at := c.pos
		member := c.str()
		c.space()
		c.pos++ // the colon
		c.space()
		if !visit(at, member) {
			return false
		}
		if c.Peek() == ',' {
			c.pos++
		}
	}
	c.pos++
	return true
}

// Items is Members for the array at the cursor.
func (c *Cursor) Items(visit func(i int) bool) bool {
	c.pos++
	for i := 0; c.Peek() != ']' && c.Peek() != 0; i++ {
		if !visit(i) {
			return false
		}
		if c.Peek() == ',' {
			c.pos++
		}
	}
	c.pos++
	return true
}

// Text returns the string at a path as in [Locate]; empty where there is none.
func Text(data []byte, path string) string {
	at, ok := Locate(data, path)
	if !ok || data[at] != '"' {
		return ""
	}
	c := Cursor{data: data, pos: int(at)}
	return Decode(c.str())
}

// Locate returns the byte offset of the value at a path such as "members[2].name" in a document that Check accepts;
// false where there is no such value. The empty path is the whole document.
func Locate(data []byte, path string) (int64, bool) {
	c := &Cursor{data: data}
	for path != "" {
		var found bool
		if rest, ok := strings.CutPrefix(path, "["); ok {
			number, after, closed := strings.Cut(rest, "]")
			want, err := strconv.Atoi(number)
			if !closed || err != nil || c.Peek() != '[' {
				return 0, false
			}
			path = strings.TrimPrefix(after, ".")
			found = !c.Items(func(i int) bool { return i != want && pass(c) })
		} else {
			if c.Peek() != '{' {
				return 0, false
			}
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			want := path[:end]
			path = strings.TrimPrefix(path[end:], ".")
			found = !c.Members(func(_ int, quoted []byte) bool { return Decode(quoted) != want && pass(c) })
		}
		if !found {
			return 0, false
		}
	}
	if c.Peek() == 0 {
		return 0, false
	}
	return int64(c.pos), true
}

func pass(c *Cursor) bool {
	c.Skip()
	return true
}
