// Package recordio promises to read flat records from files of any size in a memory of one record, and to know of each
// where it stands: NDJSON, a JSON array of objects, CSV with a header line, and XML with an element a record.
//
// Reading has two steps, so that the second can be done by many at once and in another encoding. A [Splitter] cuts the
// stream into the bytes of single records; [Parse] reads the values of one. A record that can't be parsed spoils no
// other: only what makes the rest unreadable is an error of the Splitter. Its [State] between two records is all that is
// needed to go on later from the same byte.
//
// CSV, NDJSON and XML may be split while they are still GB 18030, GBK or GB 2312: the bytes of the marks do not occur
// within a character there. A JSON array may not, for { and } do; it is decoded first.
package recordio

import (
	"fmt"

	"github.com/qiongdev/qiong/kit/errs"
)

// Format is how records are written.
type Format string

// The formats.
const (
	NDJSON Format = "ndjson" // a JSON object a line
	JSON   Format = "json"   // an array of objects
	CSV    Format = "csv"    // RFC 4180, the first line names the columns
	XML    Format = "xml"    // <rows><row><name>value</name>…</row>…</rows>
)

// Known reports whether f is one of the formats.
func (f Format) Known() bool {
	switch f {
	case NDJSON, JSON, CSV, XML:
		return true
	}
	return false
}

// Value is what a record has for a column. Absent and null are one: not Set.
type Value struct {
	Text []byte // unescaped; a number or truth value as it is written
	Set  bool
}

// Columns are the names that records may have, with their places.
type Columns struct {
	names []string
	at    map[string]int
}

// NewColumns returns the columns with these names, each once.
func NewColumns(names ...string) *Columns {
	c := &Columns{names: names, at: make(map[string]int, len(names))}
	for i, n := range names {
		c.at[n] = i
	}
	return c
}

// Len returns how many there are.
func (c *Columns) Len() int { return len(c.names) }

// Names returns their names in order.
func (c *Columns) Names() []string { return c.names }

// Codes of errors.
const (
	CodeSyntax  = "record.syntax"  // the record is not of its format
	CodeUnknown = "record.unknown" // it has a column that is not among the names
	CodeTwice   = "record.twice"   // it has a column twice
	CodeNested  = "record.nested"  // a value is an object, an array or an element of its own
	CodeBroken  = "record.broken"  // the file can't be read on from here
	CodeTooLong = "record.too-long"
)

// bad is an error about one record, at an offset within it.
func bad(code string, offset int, zh, en string) error {
	return errs.New(errs.Invalid, zh, en).WithCode(code).WithOffset(int64(offset))
}

// broken is an error after which nothing more can be read, at an offset of the file.
func broken(offset int64, zh, en string, args ...any) error {
	return errs.New(errs.Invalid, fmt.Sprintf(zh, args...), fmt.Sprintf(en, args...)).WithCode(CodeBroken).WithOffset(offset)
}
