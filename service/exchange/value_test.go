package exchange

import (
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/recordio"
)

// Each type takes what it says, written in its one way, and nothing else.
func TestTypes(t *testing.T) {
	f := &Feed{From: Source{Naive: "beijing"}}
	field := &Field{Max: 20, Codes: map[string]string{"1": "male"}}
	for _, tc := range []struct{ kind, in, out string }{
		{"text", "王䶮\t𠮷\ue000😀", "王䶮\t𠮷\ue000😀"}, {"text", "a\x00b", ""}, {"text", "a\x7f", ""}, {"text", "一二三四五六七八九十一二三四五六七八九十多", ""},
		{"person", "阿卜杜拉·买买提", "阿卜杜拉·买买提"}, {"person", "王\ue000", "王\ue000"}, {"person", "王\u202e五", ""}, {"person", "王1", ""},
		{"organization", "海口某某（集团）有限公司", "海口某某（集团）有限公司"}, {"organization", "某\u200b公司", ""},
		{"title", "关于《某某》的通知", "关于《某某》的通知"}, {"address", "龙华区滨海大道1号2栋", "龙华区滨海大道1号2栋"},
		{"integer", "-12", "-12"}, {"integer", "007", ""}, {"integer", "+1", ""}, {"integer", "1.0", ""}, {"integer", "99999999999999999999", ""},
		{"decimal", "1.50", "1.50"}, {"decimal", "-0.5", "-0.5"}, {"decimal", "1e3", ""}, {"decimal", ".5", ""}, {"decimal", "1.", ""}, {"decimal", "01.5", ""}, {"decimal", "-", ""}, {"decimal", "1,000", ""},
		{"boolean", "1", "true"}, {"boolean", "false", "false"}, {"boolean", "是", ""},
		{"date", "2024年6月5日", "2024-06-05"}, {"date", "20240605", "2024-06-05"}, {"date", "2024-02-30", ""},
		{"time", "2024/6/5 9:05", "2024-06-05T09:05:00.000+08:00"}, {"time", "2024-06-05T01:05:00Z", "2024-06-05T09:05:00.000+08:00"}, {"time", "1717549500", ""},
		{"code", "1", "male"}, {"code", "2", ""},
		{"phone", "13800138000", "13800138000"}, {"phone", "１３８００１３８０００", ""},
	} {
		got, err := types[tc.kind](nil, []byte(tc.in), f, field)
		if string(got) != tc.out || (err == nil) != (tc.out != "") || err != nil && errs.KindOf(err) != errs.Invalid {
			t.Errorf("%s %q: %q, %v, want %q", tc.kind, tc.in, got, err, tc.out)
		}
	}
	f.From.Naive = "refuse"
	if _, err := timestamp(nil, []byte("2024-06-05 09:05:00"), f, field); errs.As(err).Code != "time.naive" {
		t.Errorf("a time without a zone: %v", err)
	}
}

// A target's view keeps to its encoding, its codes and its layout, and names the field that it can't have.
func TestView(t *testing.T) {
	feed, err := ParseFeed([]byte(goodFeed))
	if err != nil {
		t.Fatal(err)
	}
	values := []recordio.Value{{Text: []byte("900000195001010004"), Set: true}, {Text: []byte("王䶮"), Set: true}}
	out := make([]recordio.Value, 2)
	if _, err := feed.To[0].view(nil, feed, values, out); err != nil || string(out[1].Text) == string(values[1].Text) || string(out[0].Text) != string(values[0].Text) {
		t.Errorf("%q %q, %v", out[0].Text, out[1].Text, err)
	}
	values[1].Text = []byte("\xff")
	if _, err := feed.To[0].view(nil, feed, values, out); errs.As(err).Field != "name" {
		t.Errorf("%v", err)
	}
}
