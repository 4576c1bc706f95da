package label_test

import (
	"os"
	"strings"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
)

const extension = `
categories:
  - name: fishing_licence
    title: {zh: 捕捞许可证号, en: fishing licence number}
    class: personal
    grade: L3
    mask: 2-2
    pattern: '[A-Z]{2}[0-9]{8}'
    names: [fishingLicence, 捕捞证号]
  - name: phone
    grade: L4
    mask: 0-4
    names: [contact]
`

func TestOperatorsAddCategories(t *testing.T) {
	c, err := label.ParseCatalog([]byte(extension))
	if err != nil {
		t.Fatal(err)
	}
	k, ok := c.Category("fishing_licence")
	if !ok || k.Grade != label.L3 || k.Mask != label.Keep(2, 2) || k.Check("AB12345678") != nil || k.Check("xAB12345678") == nil {
		t.Errorf("%+v", k)
	}
	if phone, _ := c.Category("phone"); phone.Grade != label.L4 || phone.Check("13800000000") != nil || phone.Class != label.Personal {
		t.Errorf("%+v", phone)
	}
	for name, want := range map[string]string{"Fishing-Licence": "fishing_licence", "捕捞证号": "fishing_licence", "contact": "phone", "mobileNo": "phone", "id_card": "id_card"} {
		if k, ok := c.Suggest(name); !ok || k.Name != want {
			t.Errorf("%s suggests %s", name, k.Name)
		}
	}
	if _, err := c.Resolve(label.Tag{Grade: label.L3, Category: "phone"}); !errs.Is(err, errs.Invalid) {
		t.Errorf("a grade below the category's: %v", err)
	}
	if phone, _ := label.Builtin().Category("phone"); phone.Grade != label.L2 || len(phone.Names) != 8 {
		t.Errorf("the house's catalogue has changed: %+v", phone)
	}
}

func TestBuiltin(t *testing.T) {
	last := ""
	for _, k := range label.Builtin().Categories() {
		if k.Name <= last || k.Text.ZH == "" || k.Text.EN == "" || k.Mask.IsZero() {
			t.Errorf("%+v", k)
		}
		if k.Class == label.Sensitive && k.Grade < label.L3 || k.Class == label.Personal && k.Grade < label.L2 || k.Grade == label.Ungraded {
			t.Errorf("%s is %s", k.Name, k.Grade)
		}
		last = k.Name
	}
	if c, err := label.ParseCatalog(nil); err != nil || len(c.Categories()) != len(label.Builtin().Categories()) {
		t.Errorf("nothing added: %v", err)
	}
}

func TestWrongCataloguesNameTheLine(t *testing.T) {
	entry := func(more string) string {
		return "categories:\n  - name: x\n    title: {zh: 某, en: x}\n    class: personal\n" + more
	}
	for in, line := range map[string]int{
		"a: 1":                                   1,
		"categories: 1":                          1,
		"categories:\n  - 1":                     2,
		"categories:\n  - title: {zh: a, en: b}": 2,
		"categories:\n  - name: X":               2,
		"categories:\n  - name: x\n    title: {zh: a}\n    class: personal":    2,
		"categories:\n  - name: x\n    title: {zh: a, en: b}":                  2,
		entry("    class: sensitive\n"):                                        5,
		entry("    grade: L1\n"):                                               5,
		entry("    grade: L9\n"):                                               5,
		entry("    mask: 3\n"):                                                 5,
		entry("    pattern: '('\n"):                                            5,
		entry("    names: x\n"):                                                5,
		entry("    names: ['-']\n"):                                            5,
		entry("    other: x\n"):                                                5,
		entry("  - name: x\n    title: {zh: 某, en: x}\n    class: personal\n"): 5,
		"categories:\n  - name: phone\n    grade: L1\n":                        3,
		"categories:\n  - name: phone\n    class: personal\n":                  3,
		"categories:\n  - name: phone\n    pattern: x\n":                       3,
		"categories:\n  - &a {name: phone}\n  - *a\n":                          3,
	} {
		_, err := label.ParseCatalog([]byte(in))
		if e := errs.As(err); !errs.Is(err, errs.Invalid) || e.Line != line || e.Msg.ZH == "" {
			t.Errorf("%q: %v", in, err)
		}
	}
	_, err := label.ParseCatalog([]byte("a: 1\nb: 2\ncategories: 3\n"))
	if e := errs.As(err); len(e.Also) != 2 || e.Also[1].Line != 3 {
		t.Errorf("%+v", e)
	}
	if _, err := label.ParseCatalog([]byte("a: [")); !errs.Is(err, errs.Invalid) {
		t.Errorf("%v", err)
	}
}

func FuzzCatalog(f *testing.F) {
	f.Add([]byte(extension))
	f.Add([]byte("categories:\n- &a {name: phone}\n- *a"))
	house := map[string]label.Grade{}
	for _, k := range label.Builtin().Categories() {
		house[k.Name] = k.Grade
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := label.ParseCatalog(in)
		if err != nil {
			if errs.As(err).Msg.EN == "" || strings.Contains(err.Error(), "panic") {
				t.Fatal(err)
			}
			return
		}
		for name, grade := range house {
			if k, ok := c.Category(name); !ok || k.Grade < grade {
				t.Fatalf("%s is %s", name, k.Grade)
			}
		}
	})
}

// The catalogue that the document shows is one.
func TestDocumentedCatalogue(t *testing.T) {
	page, err := os.ReadFile("../../doc/label.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(page), "```yaml\n")
	block, _, _ = strings.Cut(block, "```")
	c, err := label.ParseCatalog([]byte(block))
	if err != nil {
		t.Fatal(err)
	}
	if k, ok := c.Category("fishing_licence"); !ok || k.Check("AB12345678") != nil {
		t.Errorf("%+v", k)
	}
}
