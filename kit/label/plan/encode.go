package plan

import (
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"
)

// Masking a copy and encoding that costs a third more than encoding alone: the copies are garbage. So Marshal encodes by
// the plan itself, byte for byte as encoding/json does, and hands it every value whose kind or option it does not know.

func newField(f reflect.StructField, name string, n *node) field {
	made := field{offset: f.Offset, name: name, node: n}
	_, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	for o := range strings.SplitSeq(options, ",") {
		made.omitEmpty = made.omitEmpty || o == "omitempty"
		made.foreign = made.foreign || o == "omitzero" || o == "string"
	}
	made.foreign = made.foreign || strings.ContainsFunc(name, func(r rune) bool { // encoding/json may not take the name
		return r < utf8.RuneSelf && r != '_' && r != '-' && r != '.' && !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
	})
	made.key = append(appendString(nil, name), ':')
	return made
}

// prepare makes what encoding needs, and reports whether encoding/json must do the whole: where it would choose among
// fields of one name, call methods only of what has an address, or obey options that are rare.
func (b *builder) prepare() (foreign bool) {
	for _, n := range b.nodes {
		value := n.typ.Implements(jsonMarshaler) || n.typ.Implements(textMarshaler)
		foreign = foreign || encodesItself(n.typ) && !value && n.form != pointer
		if n.form == leaf {
			zero, err := json.Marshal(reflect.Zero(n.typ).Interface())
			foreign = foreign || err != nil
			n.zero = zero
		}
		for _, f := range n.fields {
			foreign = foreign || f.foreign
		}
		if n.form == structure {
			foreign = foreign || !distinct(n, map[string]bool{}, 0)
		}
	}
	return foreign
}

// distinct reports whether no two fields of a struct, promoted ones included, have one name.
func distinct(n *node, seen map[string]bool, depth int) bool {
	for _, f := range n.fields {
		if f.name == "" {
			inner := f.node
			if inner.form == pointer {
				inner = inner.elem
			}
			if depth > 8 || !distinct(inner, seen, depth+1) {
				return false
			}
		} else if seen[f.name] {
			return false
		}
		seen[f.name] = true
	}
	return true
}

type encoder struct {
	masker
	out  []byte
	text []byte
	err  error
}

// append appends the value at p in JSON, masked.
func (e *encoder) append(dst []byte, n *node, p unsafe.Pointer, depth int) []byte {
	if depth > deepest {
		e.err = tooDeep()
		return dst
	}
	switch n.form {
	case text:
		return e.string(dst, n, *(*string)(p))
	case structure:
		begin := len(dst)
		if dst = e.fields(dst, n, p, depth); len(dst) == begin {
			return append(dst, "{}"...)
		}
		dst[begin] = '{' // where a comma stands
		return append(dst, '}')
	case slice:
		items := reflect.NewAt(n.typ, p).Elem()
		if items.IsNil() {
			return append(dst, "null"...)
		}
		return e.items(dst, n.elem, items.UnsafePointer(), items.Len(), depth)
	case array:
		return e.items(dst, n.elem, p, n.typ.Len(), depth)
	case pointer:
		to := *(*unsafe.Pointer)(p)
		if to == nil || e.drops(n.elem) {
			return append(dst, "null"...)
		}
		return e.append(dst, n.elem, to, depth+1)
	case leaf:
		if e.drops(n) {
			return append(dst, n.zero...)
		}
		if dst, ok := appendPlain(dst, n.typ, p); ok {
			return dst
		}
	}
	return e.foreign(dst, n, p, depth)
}

// drops reports whether nothing is shown of a single value.
func (e *encoder) drops(n *node) bool {
	return n.form <= embedded && n.tag.Mask.Drops() && !e.clearance.Clears(n.tag.Grade)
}

func (e *encoder) string(dst []byte, n *node, s string) []byte {
	if e.clearance.Clears(n.tag.Grade) {
		return appendString(dst, s)
	}
	e.text = n.tag.Mask.Append(e.text[:0], s)
	return appendString(dst, unsafe.String(unsafe.SliceData(e.text), len(e.text)))
}

// fields appends the fields of a struct with a comma before each.
func (e *encoder) fields(dst []byte, n *node, p unsafe.Pointer, depth int) []byte {
	for i := range n.fields {
		f := &n.fields[i]
		at := unsafe.Add(p, f.offset)
		switch {
		case f.name == "":
			inner := f.node
			if inner.form == pointer {
				if at, inner = *(*unsafe.Pointer)(at), inner.elem; at == nil {
					continue
				}
			}
			dst = e.fields(dst, inner, at, depth+1)
			continue
		case f.omitEmpty && e.empty(f.node, at):
			continue
		}
		dst = append(dst, ',')
		dst = append(dst, f.key...)
		if f.node.form == text {
			dst = e.string(dst, f.node, *(*string)(at))
		} else {
			dst = e.append(dst, f.node, at, depth+1)
		}
	}
	return dst
}

// empty reports whether the value at p is left out by omitempty, as it is shown.
func (e *encoder) empty(n *node, p unsafe.Pointer) bool {
	v := reflect.NewAt(n.typ, p).Elem()
	dropped := e.drops(n) || n.form == pointer && e.drops(n.elem) || n.form == mapping && !e.clearance.Clears(n.tag.Grade)
	switch v.Kind() {
	case reflect.Struct:
		return false
	case reflect.Array:
		return v.Len() == 0
	case reflect.String, reflect.Slice, reflect.Map:
		if v.Len() == 0 || dropped {
			return true
		}
		return n.form == embedded && !e.clearance.Clears(n.tag.Grade) && e.shown(n, *(*json.RawMessage)(p)) == nil
	}
	return dropped || v.IsZero()
}

func (e *encoder) items(dst []byte, n *node, p unsafe.Pointer, count, depth int) []byte {
	dst = append(dst, '[')
	size := n.typ.Size()
	for i := range uintptr(count) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = e.append(dst, n, unsafe.Add(p, i*size), depth+1)
	}
	return append(dst, ']')
}

// foreign has encoding/json encode a masked copy.
func (e *encoder) foreign(dst []byte, n *node, p unsafe.Pointer, depth int) []byte {
	shown := reflect.New(n.typ)
	shown.Elem().Set(reflect.NewAt(n.typ, p).Elem())
	if !e.clearance.Clears(n.grade) {
		e.block, e.deep = nil, false
		e.mask(n, shown.UnsafePointer(), depth)
		if e.deep {
			e.err = tooDeep()
			return dst
		}
	}
	b, err := json.Marshal(shown.Elem().Interface())
	if err != nil && e.err == nil {
		e.err = err
	}
	return append(dst, b...)
}

// appendPlain appends numbers and booleans that have no methods.
func appendPlain(dst []byte, t reflect.Type, p unsafe.Pointer) ([]byte, bool) {
	if t.NumMethod() > 0 && encodesItself(t) {
		return dst, false
	}
	switch t.Kind() {
	case reflect.Bool:
		return strconv.AppendBool(dst, *(*bool)(p)), true
	case reflect.Int:
		return strconv.AppendInt(dst, int64(*(*int)(p)), 10), true
	case reflect.Int8:
		return strconv.AppendInt(dst, int64(*(*int8)(p)), 10), true
	case reflect.Int16:
		return strconv.AppendInt(dst, int64(*(*int16)(p)), 10), true
	case reflect.Int32:
		return strconv.AppendInt(dst, int64(*(*int32)(p)), 10), true
	case reflect.Int64:
		return strconv.AppendInt(dst, *(*int64)(p), 10), true
	case reflect.Uint, reflect.Uintptr:
		return strconv.AppendUint(dst, uint64(*(*uint)(p)), 10), true
	case reflect.Uint8:
		return strconv.AppendUint(dst, uint64(*(*uint8)(p)), 10), true
	case reflect.Uint16:
		return strconv.AppendUint(dst, uint64(*(*uint16)(p)), 10), true
	case reflect.Uint32:
		return strconv.AppendUint(dst, uint64(*(*uint32)(p)), 10), true
	case reflect.Uint64:
		return strconv.AppendUint(dst, *(*uint64)(p), 10), true
	case reflect.Float64:
		return appendFloat(dst, *(*float64)(p))
	}
	return dst, false
}

// appendFloat appends a number of the usual size; the others are left to encoding/json, and so is what is none.
func appendFloat(dst []byte, f float64) ([]byte, bool) {
	if size := math.Abs(f); f != 0 && !(size >= 1e-6 && size < 1e21) {
		return dst, false
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64), true
}

// appendString appends s as encoding/json does, with characters escaped that HTML gives a meaning.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if safe[c] {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			dst = append(dst, s[start:i]...)
			if short := escapes[c]; short != 0 {
				dst = append(dst, '\\', short)
			} else {
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			start = i
			continue
		}
		if c >= 0xe3 && c <= 0xec && i+2 < len(s) && s[i+1]&0xc0 == 0x80 && s[i+2]&0xc0 == 0x80 { // most Han characters
			i += 3
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			dst = append(append(dst, s[start:i]...), `\ufffd`...)
			start = i + n
		case r == '\u2028' || r == '\u2029':
			dst = append(append(dst, s[start:i]...), `\u202`...)
			dst = append(dst, hex[r&15])
			start = i + n
		}
		i += n
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

var escapes = [utf8.RuneSelf]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}

// safe has the bytes that stand for themselves.
var safe = func() (t [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		t[c] = !strings.ContainsRune(`"\<>&`, rune(c))
	}
	return t
}()
