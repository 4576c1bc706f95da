package plan

import (
	"encoding/json"
	"reflect"
	"unsafe"

	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/jsonmask"
)

// deepest is how many values may stand within each other: those of a value that holds itself have no end.
const deepest = 1000

// masker masks one value. Masked strings stand in common blocks, so that a list of thousands costs a few allocations.
type masker struct {
	clearance label.Grade
	block     []byte
	deep      bool
}

// mask masks v, which is settable and ours, but for what it refers to: that is copied before it is changed.
func (m *masker) mask(n *node, v reflect.Value, depth int) {
	if depth > deepest {
		m.deep = true
		return
	}
	switch n.form {
	case structure:
		for _, f := range n.above[m.clearance] {
			if v := v.Field(f.index); f.node.form == text {
				m.text(f.node, v)
			} else {
				m.mask(f.node, v, depth+1)
			}
		}
	case text:
		m.text(n, v)
	case slice:
		m.slice(n, v, depth)
	case array:
		for i := range v.Len() {
			m.mask(n.elem, v.Index(i), depth+1)
		}
	case pointer:
		switch {
		case v.IsNil():
		case n.elem.form <= embedded && n.elem.tag.Mask.Drops():
			v.SetZero()
		default:
			shown := reflect.New(n.elem.typ)
			shown.Elem().Set(v.Elem())
			m.mask(n.elem, shown.Elem(), depth+1)
			v.Set(shown)
		}
	case mapping:
		m.mapping(n, v, depth)
	case embedded:
		m.embedded(n, v)
	default:
		v.SetZero()
	}
}

func (m *masker) text(n *node, v reflect.Value) {
	s := v.String()
	if s == "" {
		return
	}
	if n.tag.Mask.Drops() {
		v.SetZero()
		return
	}
	// No mask makes a text longer, but for that which hides its length.
	if need := max(len(s), 16); cap(m.block)-len(m.block) < need {
		m.block = make([]byte, 0, max(need, min(2*cap(m.block), 32<<10), 64))
	}
	begin := len(m.block)
	m.block = n.tag.Mask.Append(m.block, s)
	shown := m.block[begin:]
	v.SetString(unsafe.String(unsafe.SliceData(shown), len(shown))) // nobody writes there again
}

func (m *masker) slice(n *node, v reflect.Value, depth int) {
	if v.Len() == 0 {
		return
	}
	shown := reflect.MakeSlice(n.typ, v.Len(), v.Len())
	reflect.Copy(shown, v)
	for i := range shown.Len() {
		m.mask(n.elem, shown.Index(i), depth+1)
	}
	v.Set(shown)
}

func (m *masker) mapping(n *node, v reflect.Value, depth int) {
	if v.IsNil() {
		return
	}
	if !m.clearance.Clears(n.tag.Grade) {
		v.SetZero()
		return
	}
	shown := reflect.MakeMapWithSize(n.typ, v.Len())
	each := reflect.New(n.elem.typ).Elem()
	for it := v.MapRange(); it.Next(); {
		each.Set(it.Value())
		m.mask(n.elem, each, depth+1)
		shown.SetMapIndex(it.Key(), each)
	}
	v.Set(shown)
}

// embedded shows embedded JSON with the numbers in it masked; JSON that can't be read is dropped.
func (m *masker) embedded(n *node, v reflect.Value) {
	if n.tag.Mask != label.MaskDetect || v.Len() == 0 {
		v.SetZero()
		return
	}
	shown, err := jsonmask.Detecting().Append(nil, v.Bytes())
	if err != nil {
		v.SetZero()
		return
	}
	v.Set(reflect.ValueOf(json.RawMessage(shown)))
}
