package label

import (
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

// Header is the HTTP, gRPC and message header that a grade travels in. Its value is what [Grade.String] returns.
const Header = "X-Data-Grade"

// Grade is how much harm it would do if data were lost, changed or disclosed. Grades are ordered: the higher, the
// graver, and the grade of a whole is the highest of its parts. As somebody's clearance it is the highest grade they may
// see.
type Grade uint8

// The grades. Ungraded, the zero Grade, is no grade: as data nobody knows, it needs a clearance that nobody has; as a
// clearance, it allows nothing.
const (
	Ungraded  Grade = iota
	L1              // general data, level 1: may be public
	L2              // general data, level 2
	L3              // general data, level 3
	L4              // general data, level 4
	Important       // important data: harm to national security, the economy, social order or public health
	Core            // core data: grave harm to these
)

// Grades are all grades but Ungraded, lowest first.
var Grades = [...]Grade{L1, L2, L3, L4, Important, Core}

var grades = [...]struct {
	name string
	text lang.Text
}{
	Ungraded:  {"ungraded", lang.T("未定级", "ungraded")},
	L1:        {"L1", lang.T("一般数据 1 级", "general data, level 1")},
	L2:        {"L2", lang.T("一般数据 2 级", "general data, level 2")},
	L3:        {"L3", lang.T("一般数据 3 级", "general data, level 3")},
	L4:        {"L4", lang.T("一般数据 4 级", "general data, level 4")},
	Important: {"important", lang.T("重要数据", "important data")},
	Core:      {"core", lang.T("核心数据", "core data")},
}

// String returns the grade's stable name: L1 to L4, important, core, or ungraded. It is also the form in headers, tags,
// rows and documents.
func (g Grade) String() string {
	if int(g) >= len(grades) {
		g = Ungraded
	}
	return grades[g].name
}

// Text returns the grade in words.
func (g Grade) Text() lang.Text {
	if int(g) >= len(grades) {
		g = Ungraded
	}
	return grades[g].text
}

// Clears reports whether somebody whose clearance is g may see data of grade data whole.
func (g Grade) Clears(data Grade) bool { return data != Ungraded && g >= data && g <= Core }

// ParseGrade reads what String returns, in that very spelling. Ungraded is no grade to be given: it is refused.
func ParseGrade(s string) (Grade, error) {
	for _, g := range Grades {
		if grades[g].name == s {
			return g, nil
		}
	}
	return Ungraded, errs.New(errs.Invalid, "数据级别应为 L1、L2、L3、L4、important 或 core",
		"a data grade is L1, L2, L3, L4, important or core").WithCode("grade.unknown")
}

// MarshalText returns what String returns.
func (g Grade) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// UnmarshalText is ParseGrade, which also takes "ungraded" and nothing at all as Ungraded, so that rows and messages
// from before there were grades can be read: they are for nobody until somebody grades them.
func (g *Grade) UnmarshalText(text []byte) error {
	if len(text) == 0 || string(text) == grades[Ungraded].name {
		*g = Ungraded
		return nil
	}
	parsed, err := ParseGrade(string(text))
	if err == nil {
		*g = parsed
	}
	return err
}
