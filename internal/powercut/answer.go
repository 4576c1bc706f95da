package powercut

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

// Answer is something that was promised to somebody on a socket.
type Answer struct {
	Call
	ID string
}

// Answers finds writes to sockets that the pattern matches from their first byte on; its first group is the ID. From
// the beginning of such a write on, somebody may have heard of it.
func Answers(calls []Call, pattern *regexp.Regexp) []Answer {
	var all []Answer
	for _, c := range calls {
		if c.Name != "write" || strings.HasPrefix(c.Path, "/") {
			continue
		}
		if at := pattern.FindSubmatchIndex(c.Data); at != nil && at[0] == 0 {
			all = append(all, Answer{c, string(c.Data[at[2]:at[3]])})
		}
	}
	return all
}

// Kept returns nil where the ID was first written to the file at path, and that was synced, before the answer began.
func (a Answer) Kept(calls []Call, path string) error {
	written := Never
	for _, c := range calls {
		switch {
		case c.Begin > a.Begin:
		case c.Path != path:
		case written == Never && strings.Contains(c.Name, "write") && bytes.Contains(c.Data, []byte(a.ID)):
			written = c.End
		case (c.Name == "fsync" || c.Name == "fdatasync") && c.Begin > written && c.End < a.Begin:
			return nil
		}
	}
	if written == Never {
		return fmt.Errorf("%s was answered in line %d and had not been written", a.ID, a.Begin)
	}
	return fmt.Errorf("%s was answered in line %d, and what was written by line %d had not been synced", a.ID, a.Begin, written)
}
