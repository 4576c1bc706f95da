package postgres

import (
	"encoding/binary"
	"fmt"
	"strings"
	"sync"

	"github.com/qiongdev/qiong/kit/sqldb"
)

// table gathers the rows of one insert statement, column by column. Columns are laid out here as the server wants them:
// pgx would walk every value by reflection and grow its buffers value by value, which at thousands of rows a second is
// most of what a program allocates.
type table struct {
	into *sqldb.Into
	sql  string
	cols []column
	args [][]byte
}

// columns sorts the rows by table, keeping the order in which tables first appear.
func (p *pool) columns(group []*job) []*table {
	var tables []*table
	for _, j := range group {
		for _, r := range j.rows {
			t := find(tables, r.Into)
			if t == nil {
				t = p.table(r)
				tables = append(tables, t)
			}
			for i, v := range r.Values {
				t.cols[i].add(v)
			}
		}
	}
	return tables
}

func find(tables []*table, into *sqldb.Into) *table {
	for _, t := range tables {
		if t.into == into {
			return t
		}
	}
	return nil
}

// table returns an empty table for rows like r, one that has served before where there is one.
func (p *pool) table(r sqldb.Insert) *table {
	kept, ok := p.tables.Load(r.Into)
	if !ok {
		kept, _ = p.tables.LoadOrStore(r.Into, &sync.Pool{})
	}
	t, ok := kept.(*sync.Pool).Get().(*table)
	if !ok {
		return newTable(r)
	}
	for i := range t.cols {
		t.cols[i].reset()
	}
	return t
}

func (p *pool) put(tables []*table) {
	for _, t := range tables {
		if kept, ok := p.tables.Load(t.into); ok && t.size() <= maxKept {
			kept.(*sync.Pool).Put(t)
		}
	}
}

const maxKept = 1 << 20 // bytes of a table worth keeping

func newTable(r sqldb.Insert) *table {
	t := &table{into: r.Into, cols: make([]column, len(r.Values)), args: make([][]byte, len(r.Values))}
	kinds := make([]string, len(r.Values))
	for i, v := range r.Values {
		k := kindOf(v)
		kinds[i] = fmt.Sprintf("$%d::%s[]", i+1, k.name)
		t.cols[i].element = k.oid
		t.cols[i].reset()
	}
	t.sql = fmt.Sprintf("INSERT INTO %s (%s) SELECT * FROM unnest(%s)",
		r.Into.Table, strings.Join(r.Into.Columns, ", "), strings.Join(kinds, ", "))
	return t
}

// arrays returns the values of all rows, an array a column.
func (t *table) arrays() [][]byte {
	for i := range t.cols {
		t.args[i] = t.cols[i].array()
	}
	return t.args
}

func (t *table) size() (n int) {
	for i := range t.cols {
		n += cap(t.cols[i].buf)
	}
	return n
}

// kind is a type of the server's that rows may hold.
type kind struct {
	name string
	oid  uint32
}

func kindOf(v any) kind {
	switch v.(type) {
	case int64, int:
		return kind{"int8", 20}
	case string:
		return kind{"text", 25}
	case []byte:
		return kind{"bytea", 17}
	}
	panic(fmt.Sprintf("postgres: a row holds a %T", v))
}

// column is an array in the server's binary form: dimensions, whether there are nulls, type of the elements, length and
// lower bound of the only dimension, and each element with its length before it, of which -1 is a null; whole numbers are
// of 32 bits.
type column struct {
	element uint32
	rows    uint32
	nulls   uint32 // 1: there are some
	buf     []byte
}

const header = 5 * 4

func (c *column) reset() {
	c.rows, c.nulls, c.buf = 0, 0, append(c.buf[:0], make([]byte, header)...)
}

func (c *column) add(v any) {
	c.rows++
	switch v := v.(type) {
	case int64:
		c.number(v)
	case int:
		c.number(int64(v))
	case string:
		c.length(len(v))
		c.buf = append(c.buf, v...)
	case []byte:
		if v == nil {
			c.nulls = 1
			c.length(-1)
			return
		}
		c.length(len(v))
		c.buf = append(c.buf, v...)
	default:
		panic(fmt.Sprintf("postgres: a row holds a %T", v))
	}
}

func (c *column) number(n int64) {
	c.length(8)
	c.buf = binary.BigEndian.AppendUint64(c.buf, uint64(n))
}

func (c *column) length(n int) {
	c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(n))
}

func (c *column) array() []byte {
	for i, n := range [...]uint32{1, c.nulls, c.element, c.rows, 1} {
		binary.BigEndian.PutUint32(c.buf[4*i:], n)
	}
	return c.buf
}
