package scenario

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// check is something that must be true of an answer.
type check struct {
	status   []int
	field    field
	equals   *string
	contains []byte
	lacks    []byte
}

// check compiles one check.
func (c *compiler) check(i, n int, d *CheckDef, r *request) {
	set := 0
	for _, is := range []bool{d.Status != nil, d.JSON != "", d.Contains != "", d.Lacks != ""} {
		if is {
			set++
		}
	}
	field := parseField(d.JSON)
	if set != 1 || d.Equals != nil && d.JSON == "" || d.JSON != "" && field == nil {
		c.find("一项检查只能是 status、json（可带 equals）、contains、lacks 之一", "a check is one of status, json (perhaps with equals), contains, lacks", "requests", i, "checks", n)
		return
	}
	r.checks = append(r.checks, check{d.Status, field, d.Equals, []byte(d.Contains), []byte(d.Lacks)})
	r.needsBody = r.needsBody || d.Status == nil
}

// expects reports whether an answer is as the checks say.
func (r *request) expects(status int, body []byte) bool {
	checked := false
	for i := range r.checks {
		c := &r.checks[i]
		switch {
		case c.status != nil:
			checked = true
			if !slices.Contains(c.status, status) {
				return false
			}
		case c.field != nil:
			value := c.field.text(body)
			if value == nil || c.equals != nil && string(value) != *c.equals {
				return false
			}
		case len(c.contains) > 0:
			if !bytes.Contains(body, c.contains) {
				return false
			}
		case bytes.Contains(body, c.lacks):
			return false
		}
	}
	return checked || r.grpc && status == 0 || !r.grpc && status < 400
}

// field is the path of a field in JSON: names and indices.
type field []step

type step struct {
	name  string
	index int // -1 for a name
}

// parseField reads a path such as result.items[0].id; nil where it is none.
func parseField(path string) field {
	var f field
	for name := range strings.SplitSeq(path, ".") {
		name, rest, indexed := strings.Cut(name, "[")
		if name == "" && (!indexed || len(f) > 0) {
			return nil
		}
		if name != "" {
			f = append(f, step{name, -1})
		}
		for indexed {
			var digits string
			digits, rest, _ = strings.Cut(rest, "]")
			n, err := strconv.Atoi(digits)
			if err != nil || n < 0 {
				return nil
			}
			f = append(f, step{index: n})
			if rest == "" {
				break
			}
			if rest[0] != '[' {
				return nil
			}
			rest = rest[1:]
		}
	}
	return f
}

// text returns what the field says: the text of a string, the JSON of anything else; nil where it is not there. A name
// that stands alone, at the beginning of an object, is found without decoding the rest.
func (f field) text(body []byte) []byte {
	if len(f) == 1 && f[0].index < 0 {
		if v, ok := quick(body, f[0].name); ok {
			return v
		}
	}
	for _, s := range f {
		if s.index >= 0 {
			var items []json.RawMessage
			if json.Unmarshal(body, &items) != nil || s.index >= len(items) {
				return nil
			}
			body = items[s.index]
			continue
		}
		var members map[string]json.RawMessage
		if json.Unmarshal(body, &members) != nil {
			return nil
		}
		if body = members[s.name]; body == nil {
			return nil
		}
	}
	var s string
	if json.Unmarshal(body, &s) == nil && len(body) > 0 && body[0] == '"' {
		return []byte(s)
	}
	return bytes.TrimSpace(body)
}

// quick finds a member whose value is a plain string, where it is the first of an object: {"name":"value",…
func quick(body []byte, name string) ([]byte, bool) {
	n := len(name)
	if len(body) < n+6 || body[0] != '{' || body[1] != '"' || string(body[2:2+n]) != name || string(body[2+n:5+n]) != `":"` {
		return nil, false
	}
	value := body[5+n:]
	end := bytes.IndexByte(value, '"')
	if end < 0 || bytes.IndexByte(value[:end], '\\') >= 0 {
		return nil, false
	}
	return value[:end], true
}
