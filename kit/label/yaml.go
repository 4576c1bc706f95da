package label

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

// ParseCatalog returns the house's catalogue with the categories that an operator adds in YAML:
//
//	categories:
//	  - name: fishing_licence                              # small letters, digits, underscores
//	    title: {zh: 捕捞许可证号, en: fishing licence number}
//	    class: personal                                    # public, business, personal, sensitive, important, core
//	    grade: L3                                          # the lowest of such fields
//	    mask: 2-2                                          # or all, drop, detect; drop where absent
//	    pattern: '[A-Z]{2}[0-9]{8}'                        # RE2, of whole values; may be absent
//	    names: [fishingLicence, licence_no]                # what such fields tend to be called; may be absent
//
// A category of the house may be listed to raise its grade or give it another mask or names; its class and check stay.
// The error is of kind Invalid and names the line; whatever else is wrong stands in Also.
func ParseCatalog(data []byte) (*Catalog, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, errs.Wrap(err, errs.Invalid, "分类目录不是有效的 YAML", "the catalogue is not valid YAML").WithCode("catalog.yaml")
	}
	r := &reader{base: Builtin(), seen: map[string]bool{}}
	if len(doc.Content) == 0 {
		return r.base, nil
	}
	root := doc.Content[0]
	r.members(root, func(key string, _, value *yaml.Node) bool {
		if key != "categories" {
			return false
		}
		if value.Kind != yaml.SequenceNode {
			r.fail(value, "categories 应为列表", "categories is a list")
			return true
		}
		for _, item := range value.Content {
			r.category(item)
		}
		return true
	})
	if r.err != nil {
		return nil, r.err
	}
	return r.base.with(r.added), nil
}

// reader reads a catalogue and gathers what is wrong with it.
type reader struct {
	base  *Catalog
	added []Category
	seen  map[string]bool
	err   *errs.Error
}

func (r *reader) fail(at *yaml.Node, zh, en string) {
	e := errs.New(errs.Invalid, zh, en).WithCode("catalog.invalid").WithLine(max(at.Line, 1))
	if r.err == nil {
		r.err = e
		return
	}
	r.err.Also = append(r.err.Also, e)
}

// members calls take for every member of a mapping; take reports whether it knows the key.
func (r *reader) members(n *yaml.Node, take func(key string, at, value *yaml.Node) bool) {
	if n.Kind != yaml.MappingNode {
		r.fail(n, "此处应为键值对", "a mapping is wanted here")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || value.Kind == yaml.AliasNode || key.Tag == "!!merge":
			r.fail(key, "不允许锚点与合并", "anchors and merges are not allowed")
		case seen[key.Value]:
			r.fail(key, "键重复", "the key stands twice")
		case !take(key.Value, key, value):
			r.fail(key, "未知的键", "an unknown key")
		}
		seen[key.Value] = true
	}
}

func (r *reader) category(n *yaml.Node) {
	k, own, errors := Category{}, false, r.count()
	var class, grade, mask, pattern *yaml.Node
	r.members(n, func(key string, _, v *yaml.Node) bool {
		switch key {
		case "name":
			k.Name, own = r.name(v)
		case "title":
			k.Text = r.text(v)
		case "class":
			class = v
		case "grade":
			grade = v
		case "mask":
			mask = v
		case "pattern":
			pattern = v
		case "names":
			k.Names = r.names(v)
		default:
			return false
		}
		return true
	})
	if k.Name == "" && r.count() == errors {
		r.fail(n, "缺少 name", "name is missing")
	}
	if r.count() > errors {
		return
	}
	if own {
		k = r.raise(k, class, pattern)
	} else {
		k = r.fresh(n, k, class, pattern)
	}
	if grade != nil {
		r.grade(grade, &k)
	}
	if k.Mask.IsZero() {
		k.Mask = MaskDrop
	}
	if mask != nil {
		m, err := ParseMask(mask.Value)
		if err != nil {
			r.fail(mask, errs.As(err).Msg.ZH, errs.As(err).Msg.EN)
		}
		k.Mask = m
	}
	r.added = append(r.added, k)
}

func (r *reader) count() int {
	if r.err == nil {
		return 0
	}
	return 1 + len(r.err.Also)
}

// name reads a category's name and reports whether it is one of the house's.
func (r *reader) name(v *yaml.Node) (name string, own bool) {
	switch {
	case v.Kind != yaml.ScalarNode || !isName(v.Value):
		r.fail(v, "name 应为小写字母、数字和下划线，以字母开头", "name is small letters, digits and underscores, a letter first")
		return "", false
	case r.seen[v.Value]:
		r.fail(v, "类别重复", "the category stands twice")
		return "", false
	}
	r.seen[v.Value] = true
	_, own = r.base.Category(v.Value)
	return v.Value, own
}

func (r *reader) text(v *yaml.Node) (t lang.Text) {
	r.members(v, func(key string, _, value *yaml.Node) bool {
		switch {
		case value.Kind != yaml.ScalarNode || strings.TrimSpace(value.Value) == "":
			r.fail(value, "应为文字", "words are wanted here")
		case key == "zh":
			t.ZH = value.Value
		case key == "en":
			t.EN = value.Value
		default:
			return false
		}
		return true
	})
	return t
}

func (r *reader) names(v *yaml.Node) (all []string) {
	if v.Kind != yaml.SequenceNode {
		r.fail(v, "names 应为列表", "names is a list")
		return nil
	}
	for _, item := range v.Content {
		name := plain(item.Value)
		if item.Kind != yaml.ScalarNode || name == "" {
			r.fail(item, "字段名应含字母或数字", "a field's name has letters or digits")
			continue
		}
		all = append(all, name)
	}
	return all
}

// raise is a category of the house with what the operator says of it.
func (r *reader) raise(said Category, class, pattern *yaml.Node) Category {
	for _, n := range []*yaml.Node{class, pattern} {
		if n != nil {
			r.fail(n, "内置类别的 class 与 pattern 不可更改", "class and pattern of a built-in category can't be changed")
		}
	}
	k, _ := r.base.Category(said.Name)
	if !said.Text.IsZero() {
		k.Text = said.Text
	}
	k.Names = append(k.Names[:len(k.Names):len(k.Names)], said.Names...)
	return k
}

// fresh is a category of the operator's own.
func (r *reader) fresh(n *yaml.Node, k Category, class, pattern *yaml.Node) Category {
	if k.Text.ZH == "" || k.Text.EN == "" {
		r.fail(n, "缺少 title 的 zh 或 en", "title lacks zh or en")
	}
	if class == nil {
		r.fail(n, "缺少 class", "class is missing")
	} else {
		k.Class = Class(class.Value)
		if k.Grade = least[k.Class]; k.Grade == Ungraded {
			r.fail(class, "class 应为 public、business、personal、sensitive、important 或 core",
				"class is public, business, personal, sensitive, important or core")
		}
	}
	if pattern != nil {
		compiled, err := regexp.Compile(`^(?:` + pattern.Value + `)$`)
		if err != nil || pattern.Kind != yaml.ScalarNode {
			r.fail(pattern, "pattern 不是有效的正则表达式（RE2）", "pattern is not a valid regular expression (RE2)")
			return k
		}
		k.Check = matches(compiled)
	}
	return k
}

// grade raises k's grade to what v says. A grade can't be lowered: who is in doubt grades high.
func (r *reader) grade(v *yaml.Node, k *Category) {
	g, err := ParseGrade(v.Value)
	switch {
	case err != nil:
		r.fail(v, errs.As(err).Msg.ZH, errs.As(err).Msg.EN)
	case g < k.Grade:
		r.fail(v, "级别不得低于该类别的最低级别 "+k.Grade.String(), "the grade is at least "+k.Grade.String()+", the lowest of its class or category")
	default:
		k.Grade = g
	}
}
