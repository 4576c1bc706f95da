package plan_test

import (
	"encoding/json"
	"testing"

	"github.com/qiongdev/qiong/kit/label"
)

type row struct {
	ID      int    `json:"id" grade:"L1"`
	Name    string `json:"name" grade:"L2,pii=name"`
	IDCard  string `json:"idCard" grade:"L3,pii=id_card"`
	Phone   string `json:"phone" grade:"L2,pii=phone"`
	Address string `json:"address" grade:"L1"`
	Matter  string `json:"matter" grade:"L1"`
	State   string `json:"state" grade:"L1"`
	Note    string `json:"note" grade:"L1"`
	At      string `json:"submittedAt" grade:"L1"`
	Done    bool   `json:"done" grade:"L1"`
}

type page struct {
	Items []row  `json:"items"`
	Next  string `json:"next" grade:"L1"`
}

func rows() page {
	var p page
	for i := range 300 {
		p.Items = append(p.Items, row{i, "王小明", label.FakeIDCard(uint64(i)), "13800000000", "海南省海口市龙华区国贸大道 1 号", "enterprise-opening",
			"decided", "材料齐全，已于窗口核验原件；电子证照同步归集。", "2024-06-15T09:23:45.123+08:00", i%2 == 0})
	}
	return p
}

func BenchmarkMarshal(b *testing.B) {
	p, v := made(b, page{}), rows()
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("masked", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := p.Marshal(v, label.L1); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("mask alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := p.Mask(v, label.L1); err != nil {
				b.Fatal(err)
			}
		}
	})
}
