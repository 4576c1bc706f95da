package rule

import (
	"errors"
	"reflect"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// celTypes are the types that facts have in expressions. A key is of a type of its own, so that it can be compared with
// keys and with nothing else.
var celTypes = map[Kind]*types.Type{
	Int: types.IntType, Time: types.TimestampType, Bool: types.BoolType, Code: types.StringType, Key: keyType,
}

var keyType = types.NewOpaqueType("key")

// key is a fact of kind key: 32 bytes.
type key string

func (k key) Type() ref.Type                            { return keyType }
func (k key) Value() any                                { return string(k) }
func (k key) Equal(other ref.Val) ref.Val               { o, ok := other.(key); return types.Bool(ok && k == o) }
func (k key) ConvertToType(ref.Type) ref.Val            { return types.WrapErr(errConvert) }
func (k key) ConvertToNative(reflect.Type) (any, error) { return nil, errConvert }

// object is Facts as expressions see them.
type object Facts

func (o *object) Type() ref.Type                            { return types.NewObjectType(o.schema.Type) }
func (o *object) Value() any                                { return o }
func (o *object) Equal(other ref.Val) ref.Val               { return types.Bool(o == other) }
func (o *object) ConvertToType(ref.Type) ref.Val            { return types.WrapErr(errConvert) }
func (o *object) ConvertToNative(reflect.Type) (any, error) { return nil, errConvert }

var (
	errConvert = errors.New("facts convert to nothing else")
	errNull    = errors.New("the record that was looked up is not there")
)

// schemas tells CEL which facts there are of which types. It is a types.Provider and a types.Adapter.
type schemas map[string]*Schema

// FindStructFieldType returns the type of a fact and how it is read.
func (s schemas) FindStructFieldType(typeName, fact string) (*types.FieldType, bool) {
	schema := s[typeName]
	if schema == nil {
		return nil, false
	}
	kind, ok := schema.Facts[fact]
	if !ok {
		return nil, false
	}
	at := 0 // how many names are before it
	for name := range schema.Facts {
		if name < fact {
			at++
		}
	}
	return &types.FieldType{
		Type:  celTypes[kind],
		IsSet: func(target any) bool { _, ok := target.(*object); return ok },
		GetFrom: func(target any) (any, error) {
			if o, ok := target.(*object); ok {
				return o.values[at], nil
			}
			return nil, errNull
		},
	}, true
}

// NativeToValue passes on what is a value of CEL already. There is nothing else.
func (s schemas) NativeToValue(v any) ref.Val {
	if v, ok := v.(ref.Val); ok {
		return v
	}
	return types.WrapErr(errConvert)
}

// FindStructType returns the type of a record. [walk] refuses expressions that would make one.
func (s schemas) FindStructType(typeName string) (*types.Type, bool) {
	if s[typeName] == nil {
		return nil, false
	}
	return types.NewTypeTypeWithParam(types.NewObjectType(typeName)), true
}

// Expressions name neither types nor enumerations.

func (s schemas) EnumValue(string) ref.Val                     { return types.WrapErr(errConvert) }
func (s schemas) FindIdent(string) (ref.Val, bool)             { return nil, false }
func (s schemas) FindStructFieldNames(string) ([]string, bool) { return nil, false }
func (s schemas) NewValue(string, map[string]ref.Val) ref.Val  { return types.WrapErr(errConvert) }
