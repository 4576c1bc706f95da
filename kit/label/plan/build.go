package plan

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
)

// node is how values of one type are shown under one inherited tag.
type node struct {
	typ    reflect.Type
	form   form
	grade  label.Grade // of the gravest value within
	tag    label.Tag   // of a leaf; of the keys of a map
	elem   *node
	fields []field
	above  [label.Core + 1][]field // by clearance: the fields that hold something graver
	name   string                  // where a leaf is first met, for errors
	zero   []byte                  // a leaf's zero value in JSON
}

type form uint8

const (
	leaf     form = iota // dropped where it can't be shown
	text                 // a string
	embedded             // json.RawMessage
	structure
	slice
	array
	pointer
	mapping
)

type field struct {
	offset uintptr
	name   string // in JSON; empty for an embedded struct, whose fields are promoted
	node   *node

	key       []byte // name in JSON, with quotes and colon
	omitEmpty bool
	foreign   bool // it has an option that encoding/json must do
}

type nodeKey struct {
	typ reflect.Type
	tag label.Tag
}

// builder makes the nodes of one type.
type builder struct {
	catalog *label.Catalog
	nodes   []*node
	known   map[nodeKey]*node
	wrong   []*errs.Error
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
	rawMessage    = reflect.TypeFor[json.RawMessage]()
)

func encodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return t.Implements(jsonMarshaler) || t.Implements(textMarshaler) || p.Implements(jsonMarshaler) || p.Implements(textMarshaler)
}

func formOf(t reflect.Type) form {
	switch {
	case t == rawMessage:
		return embedded
	case t.Kind() == reflect.Pointer:
		return pointer
	case encodesItself(t):
		return leaf
	}
	switch t.Kind() {
	case reflect.String:
		return text
	case reflect.Struct:
		return structure
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return leaf // base64
		}
		return slice
	case reflect.Array:
		return array
	case reflect.Map:
		return mapping
	}
	return leaf
}

// node returns the node of t under an inherited tag. name is where it is met.
func (b *builder) node(t reflect.Type, inherited label.Tag, name string) *node {
	key := nodeKey{t, inherited}
	if known := b.known[key]; known != nil {
		return known
	}
	n := &node{typ: t, form: formOf(t), tag: inherited, name: name}
	b.nodes = append(b.nodes, n)
	b.known[key] = n
	if n.form != structure { // kept while under way only, so that what has no grade is listed wherever it stands
		defer delete(b.known, key)
	} else if t.Name() != "" {
		name = t.String()
	}
	switch n.form {
	case leaf, text, embedded:
		b.leaf(n)
	case structure:
		b.structure(n, inherited, name)
	case mapping:
		b.leaf(n)
		n.elem = b.node(t.Elem(), inherited, name)
	default:
		n.elem = b.node(t.Elem(), inherited, name)
	}
	return n
}

// leaf finishes a node that is one value, or the keys of a map.
func (b *builder) leaf(n *node) {
	if n.tag.Grade == label.Ungraded {
		b.fail(n.name, errs.New(errs.Internal, "未定级", "no grade"))
		return
	}
	n.grade = n.tag.Grade
	if n.form == leaf || n.form == mapping || n.form == embedded && n.tag.Mask != label.MaskDetect {
		n.tag.Mask = label.MaskDrop
	} else if n.tag.Mask.IsZero() {
		n.tag.Mask = label.MaskAll
	}
}

func (b *builder) structure(n *node, inherited label.Tag, name string) {
	inherited = b.blank(n.typ, inherited, name)
	for i := range n.typ.NumField() {
		f := n.typ.Field(i)
		said, _, ok := nameOf(f)
		if !ok {
			continue
		}
		where := name + "." + f.Name
		if !f.IsExported() && f.Type.Kind() == reflect.Pointer {
			b.fail(where, errs.New(errs.Internal, "不支持嵌入未导出类型的指针", "a pointer to an unexported type can't be embedded"))
			continue
		}
		if strings.Contains(said, "*") {
			b.fail(where, errs.New(errs.Internal, "JSON 名不得含星号", "a name in JSON can't have an asterisk"))
			continue
		}
		tag := inherited
		if own, ok := b.tag(f, where); ok {
			tag = raised(own, inherited)
		}
		n.fields = append(n.fields, newField(f, said, b.node(f.Type, tag, where)))
	}
}

// blank returns what the blank field of a struct type says of all fields, within what is inherited.
func (b *builder) blank(t reflect.Type, inherited label.Tag, name string) label.Tag {
	for i := range t.NumField() {
		if f := t.Field(i); f.Name == "_" {
			if tag, ok := b.tag(f, name+"._"); ok {
				inherited = raised(tag, inherited)
			}
		}
	}
	return inherited
}

// nameOf returns a field's name in JSON, which is empty for an embedded struct whose fields are promoted; false for
// fields that JSON does not hold.
func nameOf(f reflect.StructField) (name string, promoted, ok bool) {
	tag := f.Tag.Get("json")
	name, _, _ = strings.Cut(tag, ",")
	promoted = f.Anonymous && name == "" && structOf(f.Type) && !encodesItself(f.Type)
	switch {
	case tag == "-" || !f.IsExported() && !promoted:
		return "", false, false
	case promoted:
		return "", true, true
	case name == "":
		name = f.Name
	}
	return name, false, true
}

func structOf(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct
}

// tag returns the tag of a field; false where it has none, or a wrong one, which is noted.
func (b *builder) tag(f reflect.StructField, where string) (label.Tag, bool) {
	said, ok := f.Tag.Lookup(label.Key)
	if !ok {
		return label.Tag{}, false
	}
	tag, err := label.ParseTag(said)
	if err == nil {
		b.mask(tag, f.Type, where)
		tag, err = b.catalog.Resolve(tag)
	}
	if err != nil {
		b.fail(where, errs.As(err))
		return label.Tag{Grade: label.Core}, true // noted once is enough
	}
	return tag, true
}

// mask refuses a mask that is spelled out and that values of a type can't wear. That of a category gives way instead.
func (b *builder) mask(t label.Tag, typ reflect.Type, where string) {
	for typ.Kind() == reflect.Pointer || formOf(typ) == slice || formOf(typ) == array {
		typ = typ.Elem()
	}
	switch formOf(typ) {
	case text, structure:
		return
	case embedded:
		if t.Mask.IsZero() || t.Mask == label.MaskDrop || t.Mask == label.MaskDetect {
			return
		}
	default:
		if t.Mask.IsZero() || t.Mask == label.MaskDrop {
			return
		}
	}
	b.fail(where, errs.New(errs.Internal, "此类型的值不能用该掩码", "values of this type can't wear the mask"))
}

// raised is an own tag within what is inherited: its own words, and a grade no lower.
func raised(own, inherited label.Tag) label.Tag {
	own.Grade = max(own.Grade, inherited.Grade)
	return own
}

func (b *builder) fail(where string, e *errs.Error) {
	for _, w := range b.wrong {
		if w.Field == where {
			return
		}
	}
	b.wrong = append(b.wrong, errs.New(errs.Internal, e.Msg.ZH, e.Msg.EN).WithField(where))
}

// settle gives every node the grade of its gravest part, also where types hold themselves, and sorts fields by it.
func (b *builder) settle() {
	for changed := true; changed; {
		changed = false
		for _, n := range b.nodes {
			was := n.grade
			if n.elem != nil {
				n.grade = max(n.grade, n.elem.grade)
			}
			for _, f := range n.fields {
				n.grade = max(n.grade, f.node.grade)
			}
			changed = changed || n.grade != was
		}
	}
	for _, n := range b.nodes {
		for c := range n.above {
			for _, f := range n.fields {
				if !label.Grade(c).Clears(f.node.grade) {
					n.above[c] = append(n.above[c], f)
				}
			}
		}
	}
}
