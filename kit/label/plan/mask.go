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

// mask masks the value at p, of the node's type, which is ours but for what it refers to: that is copied before it is
// changed. Fields are found by their offsets, as the compiler finds them; looking them up through reflect would cost a
// third more than the masks themselves.
func (m *masker) mask(n *node, p unsafe.Pointer, depth int) {
	if depth > deepest {
		m.deep = true
		return
	}
	switch n.form {
	case structure:
		for i := range n.above[m.clearance] {
			f := &n.above[m.clearance][i]
			if at := unsafe.Add(p, f.offset); f.node.form == text {
				m.text(f.node, (*string)(at))
			} else {
				m.mask(f.node, at, depth+1)
			}
		}
	case text:
		m.text(n, (*string)(p))
	case slice:
		m.slice(n, reflect.NewAt(n.typ, p).Elem(), depth)
	case array:
		m.items(n.elem, p, n.typ.Len(), depth)
	case pointer:
		m.pointer(n, reflect.NewAt(n.typ, p).Elem(), depth)
	case mapping:
		m.mapping(n, reflect.NewAt(n.typ, p).Elem(), depth)
	case embedded:
		raw := (*json.RawMessage)(p)
		*raw = m.shown(n, *raw)
	default:
		reflect.NewAt(n.typ, p).Elem().SetZero()
	}
}

func (m *masker) text(n *node, s *string) {
	if *s == "" {
		return
	}
	if n.tag.Mask.Drops() {
		*s = ""
		return
	}
	// No mask makes a text longer, but for that which hides its length.
	if need := max(len(*s), 16); cap(m.block)-len(m.block) < need {
		m.block = make([]byte, 0, max(need, min(2*cap(m.block), 64<<10), 64))
	}
	begin := len(m.block)
	m.block = n.tag.Mask.Append(m.block, *s)
	shown := m.block[begin:]
	*s = unsafe.String(unsafe.SliceData(shown), len(shown)) // nobody writes there again
}

// items masks count values that stand one after the other.
func (m *masker) items(n *node, p unsafe.Pointer, count, depth int) {
	size := n.typ.Size()
	for i := range uintptr(count) {
		m.mask(n, unsafe.Add(p, i*size), depth+1)
	}
}

func (m *masker) slice(n *node, v reflect.Value, depth int) {
	if v.Len() == 0 {
		return
	}
	shown := reflect.MakeSlice(n.typ, v.Len(), v.Len())
	reflect.Copy(shown, v)
	m.items(n.elem, shown.UnsafePointer(), v.Len(), depth)
	v.Set(shown)
}

func (m *masker) pointer(n *node, v reflect.Value, depth int) {
	switch {
	case v.IsNil():
	case n.elem.form <= embedded && n.elem.tag.Mask.Drops():
		v.SetZero()
	default:
		shown := reflect.New(n.elem.typ)
		shown.Elem().Set(v.Elem())
		m.mask(n.elem, shown.UnsafePointer(), depth+1)
		v.Set(shown.Convert(n.typ)) // which may be a named type
	}
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
	each := reflect.New(n.elem.typ)
	for it := v.MapRange(); it.Next(); {
		each.Elem().Set(it.Value())
		m.mask(n.elem, each.UnsafePointer(), depth+1)
		shown.SetMapIndex(it.Key(), each.Elem())
	}
	v.Set(shown)
}

// shown returns embedded JSON with the numbers in it masked; nil where it is not to be shown, or can't be read.
func (m *masker) shown(n *node, raw json.RawMessage) json.RawMessage {
	if n.tag.Mask != label.MaskDetect || len(raw) == 0 {
		return nil
	}
	shown, err := jsonmask.Detecting().Append(nil, raw)
	if err != nil {
		return nil
	}
	return shown
}
