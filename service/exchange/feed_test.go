package exchange

import (
	"fmt"
	"strings"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/recordio"
)

const goodFeed = `feed: residents
version: 1
title: {zh: 常住人口, en: Residents}
from:
  partner: province
  format: ndjson
key: id
fields:
  - {name: id, type: id-card, required: true, grade: L3}
  - {name: name, type: text, grade: L3}
to:
  - name: city
    table: {connection: city, name: JM}
`

func TestFeedsThatAreWrong(t *testing.T) {
	if _, err := ParseFeed([]byte(goodFeed)); err != nil {
		t.Fatal(err)
	}
	for change, want := range map[string]string{
		"feed: residents → feed: Residents":                                        "1 feed",
		"version: 1 → version: 0":                                                  "2 version",
		"en: Residents → fr: Residents":                                            "3 ",
		"title: {zh: 常住人口, en: Residents} → title: {zh: 人}":                        "3 title",
		"partner: province → partner: ''":                                          "5 from.partner",
		"format: ndjson → format: xls":                                             "6 from.format",
		"format: ndjson → format: xml":                                             "6 from.format",
		"format: ndjson → {format: ndjson":                                         "",
		"key: id → key: nobody":                                                    "7 key",
		"type: id-card → type: number":                                             "9 fields[0].type",
		"required: true → required: false":                                         "9 fields[0]",
		"name: name → name: id":                                                    "10 fields[1].name",
		"type: text → type: code":                                                  "10 fields[1].codes",
		"type: text, grade: L3 → type: text, grade: secret":                        "10 fields[1].grade",
		"type: text, grade: L3 → type: text":                                       "10 fields[1].grade",
		"name: JM → name: 'JM; DROP TABLE x'":                                      "13 to[0].table.name",
		"connection: city → connection: ''":                                        "13 to[0].table.connection",
		"name: city → name: C":                                                     "12 to[0].name",
		"table: {connection: city, name: JM} → encoding: gbk":                      "12 to[0]",
		"table: {connection: city, name: JM} → encoding: ebcdic":                   "13 ",
		"table: {connection: city, name: JM} → file: {folder: x, format: csv}":     "13 to[0].file.folder",
		"table: {connection: city, name: JM} → push: {url: ftp://x, format: json}": "13 to[0].push.url",
		"name: city → {name: city, columns: {nobody: X}, table: {connection: city, name: JM}}\n  - name: c2": "12 to[0].columns.nobody",
		"version: 1 → version: 1\nunknown: 1": "3 ",
	} {
		old, changed, _ := strings.Cut(change, " → ")
		text := strings.Replace(goodFeed, old, changed, 1)
		if text == goodFeed {
			t.Fatalf("%q changes nothing", change)
		}
		_, err := ParseFeed([]byte(text))
		e := errs.As(err)
		if err == nil || e.Kind != errs.Invalid || e.Line == 0 {
			t.Errorf("%s: %v", change, err)
			continue
		}
		found := false
		for _, f := range append([]*errs.Error{e}, e.Also...) {
			found = found || want == "" || strings.HasPrefix(fmt.Sprintf("%d %s", f.Line, f.Field), want)
		}
		if !found {
			t.Errorf("%s: line %d, %s: %v, want %s", change, e.Line, e.Field, err, want)
		}
	}
}

func FuzzParseFeed(f *testing.F) {
	f.Add(goodFeed)
	f.Add("to: [{columns: {a: b}}]")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := ParseFeed([]byte(text)); err != nil && (errs.KindOf(err) != errs.Invalid || errs.As(err).Line < 1) {
			t.Fatalf("%v", err)
		}
	})
}

// FuzzManifest: whatever is read as a manifest is written as it was read.
func FuzzManifest(f *testing.F) {
	key, err := gm.GenerateKey()
	if err != nil {
		f.Fatal(err)
	}
	good, err := Manifest{Feed: "residents", ID: "a.ndjson", Day: "2026-11-20", Records: 12, Bytes: 3456}.Sign(key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(good))
	f.Add(strings.Replace(string(good), "records 12", "records 012", 1))
	f.Fuzz(func(t *testing.T, text string) {
		m, _, err := parseManifest([]byte(text))
		if err != nil {
			return
		}
		if !strings.HasPrefix(text, m.body()+"\n") {
			t.Fatalf("%q is read as %q", text, m.body())
		}
	})
}

// FuzzUnpack: damaged chunks are errors, and what is packed comes back.
func FuzzUnpack(f *testing.F) {
	f.Add([]byte{1, 2, 'a', 0}, "x", "", 2)
	f.Add(pack(nil, 300, []recordio.Value{{Text: []byte("䶮"), Set: true}, {}}), "䶮", "y", 2)
	f.Fuzz(func(t *testing.T, chunk []byte, a, b string, n int) {
		if n < 0 || n > 100 {
			return
		}
		_ = unpack(chunk, n, func(int64, []recordio.Value) error { return nil })
		values := []recordio.Value{{Text: []byte(a), Set: true}, {Text: []byte(b), Set: b != ""}}
		var got string
		err := unpack(pack(pack(nil, 7, values), 8, values), 2, func(seq int64, v []recordio.Value) error {
			got += fmt.Sprintf("%d %q %q %v;", seq, v[0].Text, v[1].Text, v[1].Set)
			return nil
		})
		if want := fmt.Sprintf("7 %q %q %v;8 %q %q %v;", a, b, b != "", a, b, b != ""); err != nil || got != want {
			t.Fatalf("%s, %v, want %s", got, err, want)
		}
	})
}

func TestSum(t *testing.T) {
	a, b := rowSum([]recordio.Value{{Text: []byte("a"), Set: true}}), rowSum([]recordio.Value{{Text: []byte("b"), Set: true}})
	var s, other sum
	s.add(a)
	s.add(b)
	other.add(b)
	other.add(a)
	if s != other || s == a || s.String() == a.String() || len(s.String()) != 64 {
		t.Errorf("%s, %s", s, other)
	}
	s.sub(a)
	s.sub(b)
	if s != (sum{}) {
		t.Errorf("what was added and taken out again leaves %s", s)
	}
	s.sub(sum{1})
	if s != (sum{1<<64 - 1, 1<<64 - 1, 1<<64 - 1, 1<<64 - 1}) {
		t.Errorf("borrows: %s", s)
	}
}
