// Package plan promises that what a Go type says of its fields' grades is done: a [Plan], made once per type, knows the
// grade of the whole and shows a value to somebody of a clearance with every graver field under its mask.
//
// Every exported field that JSON can hold needs a grade tag (see kit/label), or must be of a type whose own fields have
// them. A tag on a field of struct, slice or pointer type grades what has no tag within and raises what has; a blank
// field, _ struct{} `grade:"L1"`, does so for the struct it stands in. Types that encode themselves, interfaces and
// embedded JSON are one value each. A map's tag grades its keys: whoever is not cleared for them gets no map. What has
// no grade fails closed: there is no plan, and an error that lists all such fields.
package plan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
)

// Planner makes plans after one catalogue and keeps them.
type Planner struct {
	catalog *label.Catalog
	mu      sync.Mutex
	plans   sync.Map // reflect.Type → *Plan
}

// New returns a Planner for a catalogue; nil stands for the house's.
func New(c *label.Catalog) *Planner {
	if c == nil {
		c = label.Builtin()
	}
	return &Planner{catalog: c}
}

// Catalog returns the catalogue that plans are made after.
func (p *Planner) Catalog() *label.Catalog { return p.catalog }

// Of returns the plan of t; for a pointer, of what it points to. The error is of kind Internal, since a type without
// grades is a defect of the program, and lists every field that lacks one or has a wrong tag.
func (p *Planner) Of(t reflect.Type) (*Plan, error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if known, ok := p.plans.Load(t); ok {
		return known.(*Plan), nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b := builder{catalog: p.catalog, known: map[nodeKey]*node{}}
	root := b.node(t, label.Tag{}, typeName(t))
	if len(b.wrong) > 0 {
		return nil, b.err(t)
	}
	b.settle()
	made := &Plan{typ: t, root: root, foreign: b.prepare()}
	made.fields, made.loops = list(root)
	actual, _ := p.plans.LoadOrStore(t, made)
	return actual.(*Plan), nil
}

// For is Of for a type known when compiling.
func For[T any](p *Planner) (*Plan, error) { return p.Of(reflect.TypeFor[T]()) }

// Plan is how a type's values are shown.
type Plan struct {
	typ    reflect.Type
	root   *node
	fields []Field
	loops  bool

	foreign bool      // encoding/json must do it
	idle    sync.Pool // *encoder
}

// Grade returns the grade of the gravest field.
func (p *Plan) Grade() label.Grade { return p.root.grade }

// Type returns the planned type.
func (p *Plan) Type() reflect.Type { return p.typ }

// Field is a graded value within a type.
type Field struct {
	Path string // names in JSON with dots between; ".**." where the type holds itself; items of arrays have no name
	Type reflect.Type
	Tag  label.Tag // with the category's mask filled in
	Keys bool      // the value is a map, and the tag is of its keys; its values are fields of their own
}

// Fields returns the graded values of the type in the order of their declaration. It must not be changed.
func (p *Plan) Fields() []Field { return p.fields }

// Recursive reports whether the type holds itself.
func (p *Plan) Recursive() bool { return p.loops }

// Mask returns v as somebody of clearance may see it: v itself where nothing in it is above, otherwise a copy in which
// what is above is masked; v is never changed. v is of the plan's type or a pointer to it; another type is an error of
// kind Internal, and so is a value that holds itself.
func (p *Plan) Mask(v any, clearance label.Grade) (any, error) {
	value, pointer, err := p.value(v)
	if err != nil || clearance.Clears(p.root.grade) || !value.IsValid() {
		return v, err
	}
	shown := reflect.New(p.typ)
	shown.Elem().Set(value)
	m := masker{clearance: known(clearance)}
	m.mask(p.root, shown.UnsafePointer(), 0)
	if m.deep {
		return nil, tooDeep()
	}
	if pointer {
		return shown.Interface(), nil
	}
	return shown.Elem().Interface(), nil
}

// Marshal returns what json.Marshal returns for what Mask returns. It masks while it encodes, without a copy of v.
func (p *Plan) Marshal(v any, clearance label.Grade) ([]byte, error) {
	value, pointer, err := p.value(v)
	if err != nil {
		return nil, err
	}
	if p.foreign || !value.IsValid() {
		shown, err := p.Mask(v, clearance)
		if err != nil {
			return nil, err
		}
		return json.Marshal(shown)
	}
	if !pointer {
		ours := reflect.New(p.typ)
		ours.Elem().Set(value)
		value = ours.Elem()
	}
	e, _ := p.idle.Get().(*encoder)
	if e == nil {
		e = &encoder{}
	}
	defer p.idle.Put(e)
	e.clearance, e.err = known(clearance), nil
	e.out = e.append(e.out[:0], p.root, value.Addr().UnsafePointer(), 0)
	if e.err != nil {
		return nil, e.err
	}
	return bytes.Clone(e.out), nil
}

// value returns v's value of the planned type, zero for a nil pointer, and whether v is a pointer to it.
func (p *Plan) value(v any) (value reflect.Value, pointer bool, err error) {
	value = reflect.ValueOf(v)
	switch {
	case value.IsValid() && value.Type() == p.typ:
		return value, false, nil
	case value.Kind() == reflect.Pointer && value.Type().Elem() == p.typ:
		return value.Elem(), true, nil
	}
	return value, false, errs.New(errs.Internal, "值的类型与掩码计划不符", "the value is not of the planned type").WithCode("plan.type")
}

// known returns c, or no clearance where c is no grade.
func known(c label.Grade) label.Grade {
	if c > label.Core {
		return label.Ungraded
	}
	return c
}

func tooDeep() error {
	return errs.New(errs.Internal, "值的嵌套过深", "the value is nested too deeply").WithCode("plan.depth")
}

// typeName returns a type's name; one without a name is a struct somewhere within a function or another type.
func typeName(t reflect.Type) string {
	if t.Name() == "" {
		return "struct"
	}
	return t.String()
}

// err is what Of returns for a type that has no plan.
func (b *builder) err(t reflect.Type) error {
	names := make([]string, len(b.wrong))
	for i, w := range b.wrong {
		names[i] = w.Field + " (" + w.Msg.EN + ")"
	}
	all := strings.Join(names, "; ")
	e := errs.New(errs.Internal, fmt.Sprintf("类型 %s 有未定级或标签有误的字段: %s", typeName(t), all),
		fmt.Sprintf("the type %s has fields without a grade or with a wrong tag: %s", typeName(t), all)).WithCode("grade.missing")
	e.Also = b.wrong
	return e
}
