package strictjson

import (
	"strconv"
	"strings"
)

// cursor steps through a document that Check has accepted, so it proves nothing again.
type cursor struct {
	data []byte
	pos  int
}

func (c *cursor) space() {
	for c.pos < len(c.data) && c.data[c.pos] <= ' ' {
		c.pos++
	}
}

// peek returns the first byte of the next value, 0 at the end.
func (c *cursor) peek() byte {
	c.space()
	if c.pos >= len(c.data) {
		return 0
	}
	return c.data[c.pos]
}

// str reads a string and returns it with its quotes.
func (c *cursor) str() []byte {
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

// skip passes over one value.
func (c *cursor) skip() {
	depth := 0
	for {
		switch c.peek() {
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

// members calls visit for each member of the object at the cursor, with the cursor at the member's value; visit passes
// over that value, or returns false to end the walk. It reports whether the walk came to its end.
func (c *cursor) members(visit func(nameAt int, name string) bool) bool {
	for c.pos++; c.peek() == '"'; {
		at := c.pos
		member := decode(c.str())
		c.space()
		c.pos++ // the colon
		c.space()
		if !visit(at, member) {
			return false
		}
		if c.peek() == ',' {
			c.pos++
		}
	}
	c.pos++
	return true
}

// items is members for the array at the cursor.
func (c *cursor) items(visit func(i int) bool) bool {
	c.pos++
	for i := 0; c.peek() != ']' && c.peek() != 0; i++ {
		if !visit(i) {
			return false
		}
		if c.peek() == ',' {
			c.pos++
		}
	}
	c.pos++
	return true
}

// Locate returns the byte offset of the value at a path such as "members[2].name" in a document that Check accepts;
// false where there is no such value. The empty path is the whole document.
func Locate(data []byte, path string) (int64, bool) {
	c := &cursor{data: data}
	for path != "" {
		var found bool
		if rest, ok := strings.CutPrefix(path, "["); ok {
			number, after, closed := strings.Cut(rest, "]")
			want, err := strconv.Atoi(number)
			if !closed || err != nil || c.peek() != '[' {
				return 0, false
			}
			path = strings.TrimPrefix(after, ".")
			found = !c.items(func(i int) bool { return i != want && pass(c) })
		} else {
			if c.peek() != '{' {
				return 0, false
			}
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			want := path[:end]
			path = strings.TrimPrefix(path[end:], ".")
			found = !c.members(func(_ int, member string) bool { return member != want && pass(c) })
		}
		if !found {
			return 0, false
		}
	}
	if c.peek() == 0 {
		return 0, false
	}
	return int64(c.pos), true
}

func pass(c *cursor) bool {
	c.skip()
	return true
}
