package strictjson

import (
	"encoding"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/qiongdev/qiong/kit/errs"
)

// Unmarshal is Check, Fields and encoding/json in one: v is filled from a strict document whose every name is a field
// of v, in v's own spelling. Errors are *errs.Error of kind Invalid with field and offset. A document that fails Check
// or Fields leaves v untouched.
func Unmarshal(data []byte, v any) error {
	if err := Check(data, Limits{}); err != nil {
		return err
	}
	if err := Fields(data, reflect.TypeOf(v)); err != nil {
		return err
	}
	return translate(data, json.Unmarshal(data, v))
}

// Fields reports the first name in data that type t has no field for, spelled exactly so; nil where every name is
// known. It follows encoding/json: maps, interfaces, and types that decode themselves take any name. The document must
// have passed Check.
func Fields(data []byte, t reflect.Type) error {
	w := &walk{Cursor: Cursor{data: data}}
	if w.value(t) {
		return nil
	}
	e := errs.New(errs.Invalid, "未知字段", "there is no such field").
		WithCode(CodeUnknownField).WithOffset(int64(w.at)).WithField(strings.Join(w.path, ""))
	if w.near != "" {
		e.WithHint("字段名区分大小写，应为 "+w.near, "names are case-sensitive: write "+w.near)
	}
	return e
}

// walk goes through a document and a type side by side.
type walk struct {
	Cursor
	path []string // the way to the current value, ready to join
	at   int      // where the unknown name stands
	near string   // the field that the unknown name equals but for case
}

// value passes over the value at the cursor and reports whether t knows all its names.
func (w *walk) value(t reflect.Type) bool {
	t = bare(t)
	switch first := w.Peek(); {
	case t == nil:
		w.Skip()
	case first == '{' && t.Kind() == reflect.Struct:
		known := fieldsOf(t)
		return w.Members(func(at int, quoted []byte) bool { return w.field(known, at, Decode(quoted)) })
	case first == '{' && t.Kind() == reflect.Map:
		return w.Members(func(_ int, quoted []byte) bool {
			return w.below(step(w.path, Decode(quoted)), func() bool { return w.value(t.Elem()) })
		})
	case first == '[' && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array):
		return w.Items(func(i int) bool {
			return w.below("["+strconv.Itoa(i)+"]", func() bool { return w.value(t.Elem()) })
		})
	default:
		w.Skip()
	}
	return true
}

func (w *walk) field(known map[string]reflect.Type, at int, member string) bool {
	return w.below(step(w.path, member), func() bool {
		t, ok := known[member]
		if ok {
			return w.value(t)
		}
		w.at = at
		for candidate := range known {
			if strings.EqualFold(candidate, member) {
				w.near = candidate
			}
		}
		return false
	})
}

// below runs visit one step down; the path is left standing where visit fails, for the error.
func (w *walk) below(name string, visit func() bool) bool {
	w.path = append(w.path, name)
	if !visit() {
		return false
	}
	w.path = w.path[:len(w.path)-1]
	return true
}

func step(path []string, member string) string {
	shown, ok := Name(member)
	if !ok {
		shown = "*"
	}
	if len(path) > 0 {
		return "." + shown
	}
	return shown
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// bare strips pointers; nil for a type that decodes itself.
func bare(t reflect.Type) reflect.Type {
	for t != nil {
		if t.Implements(jsonUnmarshaler) || t.Implements(textUnmarshaler) {
			return nil
		}
		if t.Kind() != reflect.Pointer {
			break
		}
		t = t.Elem()
	}
	if t == nil {
		return nil
	}
	if p := reflect.PointerTo(t); p.Implements(jsonUnmarshaler) || p.Implements(textUnmarshaler) {
		return nil
	}
	return t
}

// A memo of pure results, as encoding/json keeps one: it only saves time.
var fieldCache sync.Map // reflect.Type -> map[string]reflect.Type

// fieldsOf returns the JSON names of struct t with their types; an embedded struct's fields stand behind its own.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	if known, ok := fieldCache.Load(t); ok {
		return known.(map[string]reflect.Type)
	}
	known := map[string]reflect.Type{}
	var embedded []reflect.Type
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Tag.Get("json") == "-" {
			continue
		}
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case f.Anonymous && name == "" && inner.Kind() == reflect.Struct:
			embedded = append(embedded, inner)
			continue
		case !f.IsExported():
			continue
		case name == "":
			name = f.Name
		}
		known[name] = f.Type
	}
	for _, inner := range embedded {
		for name, typ := range fieldsOf(inner) {
			if _, own := known[name]; !own {
				known[name] = typ
			}
		}
	}
	fieldCache.Store(t, known)
	return known
}

// translate turns what encoding/json says into an *errs.Error without the value it quotes.
func translate(data []byte, err error) error {
	if err == nil {
		return nil
	}
	var own *errs.Error
	if errors.As(err, &own) {
		return err
	}
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return errs.New(errs.Invalid, "某个字段的值不可用", "the value of a field cannot be used").WithCode(CodeType)
	}
	zh, en := typeWords(wrong.Type)
	e := errs.New(errs.Invalid, "类型不符，应为"+zh, "wrong type: expected "+en).
		WithCode(CodeType).WithField(wrong.Field).WithOffset(wrong.Offset)
	if at, ok := Locate(data, wrong.Field); ok {
		e.WithOffset(at)
	}
	return e
}

func typeWords(t reflect.Type) (zh, en string) {
	if t == nil {
		return "另一种值", "another value"
	}
	switch t.Kind() {
	case reflect.String:
		return "字符串", "a string"
	case reflect.Bool:
		return "true 或 false", "true or false"
	case reflect.Slice, reflect.Array:
		return "数组", "an array"
	case reflect.Struct, reflect.Map:
		return "对象", "an object"
	case reflect.Float32, reflect.Float64:
		return "数字", "a number"
	}
	return "范围内的整数", "an integer in range"
}
