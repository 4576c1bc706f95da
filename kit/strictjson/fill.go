package strictjson

import (
	"encoding/json"
	"reflect"
	"strings"
	"sync"
)

// Fill is json.Unmarshal for the commonest shape of a request: v points to a struct whose exported fields are all of
// kind string or bool, or a json.RawMessage. It takes a fifth of the time, since Check has accepted the document
// already. False means that the type or the document is of another shape; v may then be partly filled, and
// json.Unmarshal fills the rest.
func Fill(data []byte, v any) bool {
	to := reflect.ValueOf(v)
	if to.Kind() != reflect.Pointer || to.IsNil() {
		return false
	}
	to = to.Elem()
	flat := flatOf(to.Type())
	c := Cursor{data: data}
	if flat == nil || c.Peek() != '{' {
		return false
	}
	return c.Members(func(_ int, quoted []byte) bool {
		i, known := flat[string(quoted[1:len(quoted)-1])]
		if !known {
			return false // or written with an escape
		}
		return set(to.Field(i), c.Raw())
	})
}

var rawMessage = reflect.TypeFor[json.RawMessage]()

// set gives field the value that raw writes; false where they are of different kinds.
func set(field reflect.Value, raw []byte) bool {
	switch {
	case field.Type() == rawMessage:
		field.SetBytes(append([]byte(nil), raw...))
	case field.Kind() == reflect.String && raw[0] == '"':
		field.SetString(Decode(raw))
	case field.Kind() == reflect.Bool && (raw[0] == 't' || raw[0] == 'f'):
		field.SetBool(raw[0] == 't')
	default:
		return false
	}
	return true
}

// A memo of pure results, as fieldCache is.
var flatCache sync.Map // reflect.Type -> map[string]int

// flatOf returns the indices of the fields of t by their JSON names; nil where Fill does not serve t.
func flatOf(t reflect.Type) map[string]int {
	if known, ok := flatCache.Load(t); ok {
		return known.(map[string]int)
	}
	flat := makeFlat(t)
	flatCache.Store(t, flat)
	return flat
}

func makeFlat(t reflect.Type) map[string]int {
	if t.Kind() != reflect.Struct || bare(t) == nil {
		return nil
	}
	flat := map[string]int{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous || strings.Contains(options, "string"):
			return nil
		case !f.IsExported() || name == "-" && options == "":
			continue
		case f.Type != rawMessage && (bare(f.Type) != f.Type || f.Type.Kind() != reflect.String && f.Type.Kind() != reflect.Bool):
			return nil
		case name == "":
			name = f.Name
		}
		flat[name] = i
	}
	return flat
}
