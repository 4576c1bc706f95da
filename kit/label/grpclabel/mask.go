package grpclabel

import (
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/qiongdev/qiong/kit/label"
)

// node is what a table says of a message's fields. A nil node says nothing.
type node struct {
	tag    label.Tag // Ungraded where there is none
	fields map[protoreflect.Name]*node
}

func (n *node) add(path []string, tag label.Tag) {
	for _, name := range path {
		if n.fields == nil {
			n.fields = map[protoreflect.Name]*node{}
		}
		inner := n.fields[protoreflect.Name(name)]
		if inner == nil {
			inner = &node{}
			n.fields[protoreflect.Name(name)] = inner
		}
		n = inner
	}
	n.tag = tag
}

func (n *node) field(name protoreflect.Name) *node {
	if n == nil {
		return nil
	}
	return n.fields[name]
}

// unknown lists the paths that a message does not have.
func (n *node) unknown(d protoreflect.MessageDescriptor, prefix string) (all []string) {
	for name, inner := range n.fields {
		path := prefix + string(name)
		var f protoreflect.FieldDescriptor
		if d != nil {
			f = d.Fields().ByName(name)
		}
		if f == nil {
			all = append(all, path)
			continue
		}
		message := f.Message()
		if f.IsMap() {
			message = f.MapValue().Message()
		}
		all = append(all, inner.unknown(message, path+".")...)
	}
	slices.Sort(all)
	return all
}

// mask masks a message that is ours. inherited is the tag of what it stands in.
func (n *node) mask(m protoreflect.Message, inherited label.Tag, c label.Grade) {
	m.SetUnknown(nil)
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		inner, tag := n.field(f.Name()), inherited
		if inner != nil && inner.tag.Grade != label.Ungraded {
			tag = inner.tag
			tag.Grade = max(tag.Grade, inherited.Grade)
		}
		clear := c.Clears(tag.Grade)
		switch {
		case f.IsMap():
			if !clear {
				m.Clear(f)
			} else if f.MapValue().Message() != nil {
				v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
					inner.mask(v.Message(), tag, c)
					return true
				})
			}
		case f.Message() != nil && f.IsList():
			for i := range v.List().Len() {
				inner.mask(v.List().Get(i).Message(), tag, c)
			}
		case f.Message() != nil:
			inner.mask(v.Message(), tag, c)
		case clear:
		case f.Kind() != protoreflect.StringKind || tag.Mask.Drops():
			m.Clear(f)
		case f.IsList():
			for i := range v.List().Len() {
				v.List().Set(i, protoreflect.ValueOfString(tag.Mask.Apply(v.List().Get(i).String())))
			}
		default:
			m.Set(f, protoreflect.ValueOfString(tag.Mask.Apply(v.String())))
		}
		return true
	})
}
