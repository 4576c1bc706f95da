package label_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/label"
)

func TestGradesAreOrdered(t *testing.T) {
	last := label.Ungraded
	for _, g := range label.Grades {
		if g <= last || !g.Clears(last) && last != label.Ungraded || last.Clears(g) || !g.Clears(g) {
			t.Errorf("%s after %s", g, last)
		}
		back, err := label.ParseGrade(g.String())
		if err != nil || back != g || g.Text().ZH == "" || g.Text().EN == "" {
			t.Errorf("%s: %v, %v", g, back, err)
		}
		last = g
	}
}

func TestUngradedIsForNobody(t *testing.T) {
	for _, g := range label.Grades {
		if g.Clears(label.Ungraded) || label.Ungraded.Clears(g) {
			t.Errorf("%s and ungraded", g)
		}
	}
	if label.Grade(99).Clears(label.L1) || label.Grade(99).String() != "ungraded" {
		t.Error("a grade that does not exist clears")
	}
	for _, s := range []string{"", "L0", "L5", "l1", " L1", "L1 ", "Core", "ungraded", "L1,L2"} {
		if g, err := label.ParseGrade(s); err == nil || g != label.Ungraded {
			t.Errorf("%q is %s", s, g)
		}
	}
}

func TestGradesTravelAsText(t *testing.T) {
	var row struct{ A, B, C label.Grade }
	if err := json.Unmarshal([]byte(`{"A":"L3","B":"","C":"ungraded"}`), &row); err != nil || row.A != label.L3 || row.B != label.Ungraded {
		t.Errorf("%+v, %v", row, err)
	}
	b, err := json.Marshal(row)
	if err != nil || string(b) != `{"A":"L3","B":"ungraded","C":"ungraded"}` {
		t.Errorf("%s, %v", b, err)
	}
	if err := json.Unmarshal([]byte(`{"A":"L9"}`), &row); err == nil || row.A != label.L3 {
		t.Errorf("%+v, %v", row, err)
	}
}

func TestMasksCountCodePoints(t *testing.T) {
	for _, c := range []struct{ mask, in, want string }{
		{"3-4", "11010519491231002X", "110***********002X"},
		{"3-4", "13800000000", "138****0000"},
		{"3-4", "1234567", "*******"},   // nothing between the ends
		{"3-4", "12345678", "********"}, // all but one would be shown
		{"3-4", "123456789", "123**6789"},
		{"1-0", "王小明", "王**"},
		{"1-0", "王五", "王*"},
		{"1-0", "王", "*"},
		{"1-0", "𠮷田", "𠮷*"},
		{"0-1", "海南𬭎", "**𬭎"},
		{"1-1", "䶮𠮷海", "***"},
		{"1-1", "䶮𠮷a海", "䶮**海"},
		{"2-2", "琼A12345", "琼A***45"},
		{"0-0", "abc", "***"},
		{"all", "x", "******"}, {"all", strings.Repeat("长", 99), "******"}, {"all", "", ""},
		{"drop", "x", ""},
		{"detect", "证件 11010519491231002X。", "证件 110***********002X。"},
		{"1-1", "a\xffb\x80\x80c", "a**c"}, // stray continuation bytes belong to what stands before
		{"0-1", "\x80\x80", ""},
	} {
		m, err := label.ParseMask(c.mask)
		if err != nil || m.String() != c.mask {
			t.Fatalf("%s: %s, %v", c.mask, m, err)
		}
		if got := m.Apply(c.in); got != c.want {
			t.Errorf("%s of %q = %q, want %q", c.mask, c.in, got, c.want)
		}
		if got := string(m.AppendBytes([]byte("> "), []byte(c.in))); got != "> "+c.want {
			t.Errorf("%s of bytes %q = %q", c.mask, c.in, got)
		}
	}
	for _, s := range []string{"", "3", "3-", "-4", "3-4-5", "+3-4", "03-4", "3-4 ", "128-0", "none", "ALL", "３-4"} {
		if m, err := label.ParseMask(s); err == nil {
			t.Errorf("%q is the mask %s", s, m)
		}
	}
	if !(label.Mask{}).Drops() || (label.Mask{}).Apply("x") != "" {
		t.Error("no mask shows something")
	}
}

func TestTags(t *testing.T) {
	tag, err := label.ParseTag("L3,pii=id_card,mask=3-4")
	if err != nil || tag != (label.Tag{Grade: label.L3, Category: "id_card", Mask: label.Keep(3, 4)}) {
		t.Errorf("%+v, %v", tag, err)
	}
	for _, s := range []string{"L1", "core", "important,mask=drop", "L2,pii=name"} {
		if tag, err := label.ParseTag(s); err != nil || tag.String() != s {
			t.Errorf("%q: %s, %v", s, tag, err)
		}
	}
	for _, s := range []string{"", "-", "L7", "pii=name", "L1,", "L1,x", "L1,pii=", "L1,pii=A", "L1,mask=", "L1,mask=all,mask=all", "L1,pii=a,pii=b", "L1, pii=a", "L1,L2"} {
		if tag, err := label.ParseTag(s); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %s, %v", s, tag, err)
		}
	}
}

func FuzzTag(f *testing.F) {
	f.Add("L3,pii=id_card,mask=3-4")
	f.Fuzz(func(t *testing.T, s string) {
		tag, err := label.ParseTag(s)
		if err != nil {
			return
		}
		if again, err := label.ParseTag(tag.String()); err != nil || again != tag {
			t.Fatalf("%q is %+v, which is written %q", s, tag, tag)
		}
	})
}

func FuzzMask(f *testing.F) {
	f.Add("王小明", uint8(1), uint8(0))
	f.Fuzz(func(t *testing.T, s string, head, tail uint8) {
		shown := label.Keep(head, tail).Apply(s)
		if utf8.ValidString(s) {
			if !utf8.ValidString(shown) || utf8.RuneCountInString(shown) != utf8.RuneCountInString(s) {
				t.Fatalf("%d-%d of %q is %q", head, tail, s, shown)
			}
			if len(s) > 0 && !strings.Contains(shown, "*") {
				t.Fatalf("%d-%d of %q shows all: %q", head, tail, s, shown)
			}
		}
		if len(shown) > len(s) {
			t.Fatalf("%d-%d of %q is longer: %q", head, tail, s, shown)
		}
	})
}
