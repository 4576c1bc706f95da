package plan

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
