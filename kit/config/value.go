package config

import (
	"encoding"
	"fmt"
	"math/bits"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"go.yaml.in/yaml/v3"

	"github.com/qiongdev/qiong/kit/errs"
)

// Bytes is a size, written as "512", "64KiB", "8MiB", "2GiB" or "1TiB".
type Bytes int64

var units = []string{"B", "KiB", "MiB", "GiB", "TiB"}

// String returns b in the largest unit that divides it.
func (b Bytes) String() string {
	if b == 0 {
		return "0"
	}
	unit := min(bits.TrailingZeros64(uint64(b))/10, len(units)-1)
	return strconv.FormatInt(int64(b)>>(10*unit), 10) + strings.TrimPrefix(units[unit], "B")
}

// MarshalText implements encoding.TextMarshaler.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. The number is whole and not negative.
func (b *Bytes) UnmarshalText(text []byte) error {
	number, unit := string(text), 0
	for i, name := range units {
		if cut, ok := strings.CutSuffix(string(text), name); ok {
			number, unit = cut, i
		}
	}
	n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 63)
	if err != nil || bits.Len64(n)+10*unit > 63 {
		return fmt.Errorf("not a size")
	}
	*b = Bytes(n << (10 * unit))
	return nil
}

var (
	durationType    = reflect.TypeFor[time.Duration]()
	bytesType       = reflect.TypeFor[Bytes]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
)

func isText(t reflect.Type) bool { return reflect.PointerTo(t).Implements(textUnmarshaler) }

// readable reports whether a value of t can be written in one line.
func readable(t reflect.Type) bool {
	if isText(t) {
		return true
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	case reflect.Slice:
		return t.Elem().Kind() == reflect.String
	}
	return false
}

// fromText reads raw as a value of t. Lists are separated by commas. The error says what was expected, not what came.
func fromText(t reflect.Type, raw string) (any, *errs.Error) {
	v := reflect.New(t).Elem()
	switch {
	case isText(t):
		if v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(raw)) != nil {
			return nil, expected(t)
		}
	case t == durationType:
		d, err := time.ParseDuration(raw)
		if err != nil {
			return nil, expected(t)
		}
		v.SetInt(int64(d))
	case t.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(t, 0, 0))
		for part := range strings.SplitSeq(raw, ",") {
			if part = strings.TrimSpace(part); part != "" {
				v.Set(reflect.Append(v, reflect.ValueOf(part).Convert(t.Elem())))
			}
		}
	default:
		if !setScalar(v, raw) {
			return nil, expected(t)
		}
	}
	return v.Interface(), nil
}

func setScalar(v reflect.Value, raw string) bool {
	var err error
	switch v.Kind() {
	case reflect.String:
		v.SetString(raw)
	case reflect.Bool:
		var b bool
		b, err = strconv.ParseBool(raw)
		v.SetBool(b)
	case reflect.Float32, reflect.Float64:
		var f float64
		f, err = strconv.ParseFloat(raw, v.Type().Bits())
		v.SetFloat(f)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var n int64
		n, err = strconv.ParseInt(raw, 10, v.Type().Bits())
		v.SetInt(n)
	default:
		var n uint64
		n, err = strconv.ParseUint(raw, 10, v.Type().Bits())
		v.SetUint(n)
	}
	return err == nil
}

// fromNode reads a YAML node as a value of t, and takes no number for a string nor a string for a number.
func fromNode(t reflect.Type, n *yaml.Node) (any, *errs.Error) {
	if t.Kind() == reflect.Slice && !isText(t) {
		if n.Kind != yaml.SequenceNode {
			return nil, expected(t)
		}
		v := reflect.MakeSlice(t, 0, len(n.Content))
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode || item.Tag != "!!str" {
				return nil, expected(t).WithLine(item.Line)
			}
			v = reflect.Append(v, reflect.ValueOf(item.Value).Convert(t.Elem()))
		}
		return v.Interface(), nil
	}
	if n.Kind != yaml.ScalarNode || !tagFits(t, n.Tag) {
		return nil, expected(t)
	}
	return fromText(t, n.Value)
}

func tagFits(t reflect.Type, tag string) bool {
	switch {
	case t == bytesType:
		return tag == "!!str" || tag == "!!int"
	case isText(t):
		return tag != "!!null"
	case t == durationType:
		return tag == "!!str"
	}
	switch t.Kind() {
	case reflect.String:
		return tag == "!!str"
	case reflect.Bool:
		return tag == "!!bool"
	case reflect.Float32, reflect.Float64:
		return tag == "!!float" || tag == "!!int"
	}
	return tag == "!!int"
}

func expected(t reflect.Type) *errs.Error {
	switch {
	case t == bytesType:
		return wrong("容量，例如 8MiB", "a size such as 8MiB")
	case t == durationType:
		return wrong("时长，例如 30s 或 1h30m", "a duration such as 30s or 1h30m")
	case isText(t):
		return wrong(t.Name()+" 的写法", "the form of "+t.Name())
	}
	switch t.Kind() {
	case reflect.String:
		return wrong("字符串", "a string")
	case reflect.Bool:
		return wrong(" true 或 false", "true or false")
	case reflect.Float32, reflect.Float64:
		return wrong("数字", "a number")
	case reflect.Slice:
		return wrong("字符串列表", "a list of strings")
	}
	return wrong("范围内的整数", "an integer in range")
}

// toText is the inverse of fromText.
func toText(v reflect.Value) string {
	switch {
	case v.Type() == durationType:
		return shortDuration(time.Duration(v.Int()))
	case v.Type().Implements(textMarshaler):
		if text, err := v.Interface().(encoding.TextMarshaler).MarshalText(); err == nil {
			return string(text)
		}
	case v.Kind() == reflect.Slice:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = v.Index(i).String()
		}
		return strings.Join(parts, ",")
	}
	return fmt.Sprint(v.Interface())
}

// shortDuration writes "1h" where time.Duration writes "1h0m0s".
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// decoder fills target from values that already have their types.
func decoder(target any) *mapstructure.DecoderConfig {
	return &mapstructure.DecoderConfig{Result: target, TagName: "koanf", ErrorUnused: true}
}
