package jsonmask_test

import (
	"encoding/json"
	"testing"

	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/jsonmask"
)

func document() []byte {
	type person struct {
		ID      int    `json:"id"`
		Name    string `json:"name"`
		IDCard  string `json:"idCard"`
		Phone   string `json:"phone"`
		Address string `json:"address"`
		Matter  string `json:"matter"`
		State   string `json:"state"`
		Note    string `json:"note"`
		At      string `json:"submittedAt"`
		Done    bool   `json:"done"`
	}
	var all []person
	for i := range 300 {
		all = append(all, person{i, "王小明", label.FakeIDCard(uint64(i)), "13800000000", "海南省海口市龙华区国贸大道 1 号", "enterprise-opening",
			"decided", "材料齐全，已于窗口核验原件；电子证照同步归集。", "2024-06-15T09:23:45.123+08:00", i%2 == 0})
	}
	b, err := json.Marshal(map[string]any{"items": all, "next": ""})
	if err != nil {
		panic(err)
	}
	return b
}

func BenchmarkByPath(b *testing.B) {
	m := masker(b, jsonmask.Options{Rules: []jsonmask.Rule{
		{Path: "items.name", Mask: label.Keep(1, 0)}, {Path: "items.idCard", Mask: label.Keep(3, 4)}, {Path: "items.phone", Mask: label.Keep(3, 4)}}})
	bench(b, m)
}

func BenchmarkDetect(b *testing.B) { bench(b, jsonmask.Detecting()) }

func bench(b *testing.B, m *jsonmask.Masker) {
	doc := document()
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	dst := make([]byte, 0, 2*len(doc))
	for b.Loop() {
		if _, err := m.Append(dst, doc); err != nil {
			b.Fatal(err)
		}
	}
}
