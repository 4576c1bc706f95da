package gb18030

import (
	"strings"
	"testing"
)

func BenchmarkConvert(b *testing.B) {
	for name, text := range map[string]string{
		"han":   "海南自由贸易港政务服务平台统一受理申请并依法办理",
		"mixed": "海南 GB18030 平台，第3号：某䶮·𠮷某；No. 20240615\n",
		"ascii": "The quick brown fox jumps over the lazy dog. ",
		"rare":  "㛃㐀䶮𠮷𬭎ḿ",
	} {
		text := []byte(strings.Repeat(text, 1<<16/len(text)))
		code, err := V2022.AppendEncode(nil, text)
		if err != nil {
			b.Fatal(err)
		}
		buf := make([]byte, 0, 3*len(text))
		for verb, do := range map[string]func() ([]byte, error){
			"decode": func() ([]byte, error) { return V2022.AppendDecode(buf, code) },
			"encode": func() ([]byte, error) { return V2022.AppendEncode(buf, text) },
		} {
			b.Run(verb+"/"+name, func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := do(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
