package label

import (
	"strings"

	"github.com/qiongdev/qiong/kit/errs"
)

// Key is the key of the struct tag that grades a field.
const Key = "grade"

// Tag is what a field's tag says: grade:"L3,pii=id_card,mask=3-4". The grade comes first and must be there; the category
// and the mask may follow, in any order.
type Tag struct {
	Grade    Grade
	Category string // the name of a Category; empty where none is given
	Mask     Mask   // zero where none is given
}

// ParseTag reads the value of a grade tag. It knows no catalogue: whether the category exists is for [Catalog.Resolve].
func ParseTag(s string) (Tag, error) {
	first, rest, more := strings.Cut(s, ",")
	grade, err := ParseGrade(first)
	if err != nil {
		return Tag{}, err
	}
	t := Tag{Grade: grade}
	for more {
		var part string
		part, rest, more = strings.Cut(rest, ",")
		key, value, _ := strings.Cut(part, "=")
		switch {
		case key == "pii" && t.Category == "" && isName(value):
			t.Category = value
		case key == "mask" && t.Mask.IsZero():
			if t.Mask, err = ParseMask(value); err != nil {
				return Tag{}, err
			}
		default:
			return Tag{}, errs.New(errs.Invalid, "级别标签应形如 L3,pii=id_card,mask=3-4", "a grade tag is like L3,pii=id_card,mask=3-4").
				WithCode("grade.tag")
		}
	}
	return t, nil
}

// String returns what ParseTag reads.
func (t Tag) String() string {
	s := t.Grade.String()
	if t.Category != "" {
		s += ",pii=" + t.Category
	}
	if !t.Mask.IsZero() {
		s += ",mask=" + t.Mask.String()
	}
	return s
}

// isName reports whether s can name a category: a small letter, then small letters, digits and underscores.
func isName(s string) bool {
	for i, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z':
		case i > 0 && (c >= '0' && c <= '9' || c == '_'):
		default:
			return false
		}
	}
	return s != "" && len(s) <= 64
}
