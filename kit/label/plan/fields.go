package plan

import (
	"reflect"

	"github.com/qiongdev/qiong/kit/label"
)

// Tags returns what the fields of a struct type say of themselves, by their name in JSON: their own tag, or that of the
// struct's blank field. Fields that leave it to their type are missing, and so are wrong tags, which [Planner.Of] lists.
func (p *Planner) Tags(t reflect.Type) map[string]label.Tag {
	b := builder{catalog: p.catalog}
	tags := map[string]label.Tag{}
	b.own(t, label.Tag{}, tags)
	return tags
}

func (b *builder) own(t reflect.Type, inherited label.Tag, tags map[string]label.Tag) {
	inherited = b.blank(t, inherited, "")
	for i := range t.NumField() {
		f := t.Field(i)
		said, promoted, ok := nameOf(f)
		if !ok {
			continue
		}
		tag, own := b.tag(f, f.Name)
		if tag = raised(tag, inherited); !own {
			tag = inherited
		}
		if promoted {
			embedded := f.Type
			if embedded.Kind() == reflect.Pointer {
				embedded = embedded.Elem()
			}
			b.own(embedded, tag, tags)
		} else if tag.Grade != label.Ungraded {
			tags[said] = tag
		}
	}
}

// list returns the graded values below root, and whether a type holds itself.
func list(root *node) (all []Field, loops bool) {
	l := lister{open: map[*node]bool{}}
	l.walk(root, "")
	return l.fields, l.loops
}

type lister struct {
	fields []Field
	open   map[*node]bool
	loops  bool
}

func (l *lister) walk(n *node, path string) {
	if l.open[n] {
		return
	}
	switch n.form {
	case leaf, text, embedded:
		l.fields = append(l.fields, Field{path, n.typ, n.tag, false})
		return
	case mapping:
		l.fields = append(l.fields, Field{path, n.typ, n.tag, true})
		path = join(path, "*")
	case structure:
		if holds(n, n, map[*node]bool{}) {
			l.loops = true
			path = join(path, "**")
		}
	}
	l.open[n] = true
	defer delete(l.open, n)
	if n.elem != nil {
		l.walk(n.elem, path)
	}
	for _, f := range n.fields {
		l.walk(f.node, join(path, f.name))
	}
}

func join(path, name string) string {
	if path == "" || name == "" {
		return path + name
	}
	return path + "." + name
}

// holds reports whether target stands somewhere within n.
func holds(n, target *node, seen map[*node]bool) bool {
	var parts []*node
	if n.elem != nil {
		parts = append(parts, n.elem)
	}
	for _, f := range n.fields {
		parts = append(parts, f.node)
	}
	for _, p := range parts {
		if p == target {
			return true
		}
		if !seen[p] {
			seen[p] = true
			if holds(p, target, seen) {
				return true
			}
		}
	}
	return false
}
