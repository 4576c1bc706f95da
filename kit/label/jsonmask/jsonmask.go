// Package jsonmask masks JSON that others made, as it passes: by path, and by recognizing numbers that name a person or
// an organization.
//
// It reads no document into memory: what it does not mask it copies byte by byte, so that numbers keep their digits and
// objects their order, and chunks may end anywhere, within a code point or an escape. Escapes hide nothing: values and
// names are compared as what they say. Names of members are compared without regard to the case of ASCII letters, as
// many readers do. Input that is not JSON is an error, and nothing of the offending token has been let out by then.
package jsonmask

import (
	"strings"
	"sync"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
)

// Rule says what becomes of the values at a path, and of all within them.
type Rule struct {
	// Path is names of members with dots between: "*" stands for any one member, "**" for any number of them, also
	// none. Arrays are looked through: items.phone is the phone of every item, and the empty path is the whole document.
	Path string
	Mask label.Mask // the zero Mask is label.MaskDrop
	Pass bool       // show the values as they are, and do not look for numbers in them
}

// Options say what a Masker does. The zero Options let everything pass.
type Options struct {
	Rules     []Rule     // where several match a value, the first counts
	Otherwise label.Mask // for values that no rule matches; none lets them pass, or be looked at
	Detect    bool       // look for numbers in values that no rule matches, and in the names of members
	MaxDepth  int        // of objects and arrays within each other; default 512
}

// Masker masks documents after fixed rules. It may be used by many at once.
type Masker struct {
	o      Options
	states []state
	next   []uint16 // state by state × symbol
	names  names
	masks  []label.Mask
	idle   sync.Pool // *scan
}

// New returns a Masker. Rules with a malformed path, or more of them than can be followed at once, are errors of kind
// Invalid.
func New(o Options) (*Masker, error) {
	if o.MaxDepth <= 0 {
		o.MaxDepth = 512
	}
	m := &Masker{o: o}
	if err := m.compile(); err != nil {
		return nil, err
	}
	m.idle.New = func() any { return &scan{m: m} }
	return m, nil
}

// Detecting returns the Masker that looks for numbers everywhere.
var Detecting = sync.OnceValue(func() *Masker {
	m, err := New(Options{Detect: true})
	if err != nil {
		panic("jsonmask: " + err.Error()) // there is no rule that could be wrong
	}
	return m
})

// Append appends src, one or more whole documents, to dst with what is to be masked masked. Where src is not JSON, the
// error is of kind Invalid with the offset, and dst comes back as it was. It allocates nothing where dst has room.
func (m *Masker) Append(dst, src []byte) ([]byte, error) {
	s := m.idle.Get().(*scan)
	defer m.idle.Put(s)
	s.reset()
	base := len(dst)
	dst, _, err := s.run(dst, src, true)
	if err != nil {
		return dst[:base], err
	}
	return dst, nil
}

func invalid(at int64, code, zh, en string) *errs.Error {
	return errs.New(errs.Invalid, zh, en).WithCode(code).WithOffset(at)
}

// segments splits a path.
func segments(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	all := strings.Split(path, ".")
	for _, s := range all {
		if s == "" || strings.Contains(s, "*") && s != "*" && s != "**" {
			return nil, errs.New(errs.Invalid, "路径应为以点分隔的成员名，* 代表任一成员，** 代表任意多层",
				"a path is names with dots between, * for any one and ** for any number").WithCode("jsonmask.path")
		}
	}
	return all, nil
}
