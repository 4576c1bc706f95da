package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/qiongdev/qiong/kit/han/gb18030"
	"github.com/qiongdev/qiong/kit/label"
)

// names and places are of the kind that come in such files; one in eight has a character beyond GBK.
var (
	names  = []string{"王小明", "欧阳堃", "张䶮", "李喆", "陈㛃", "符文海", "古丽·买买提", "林𠮷"}
	places = []string{"海南省海口市龙华区滨海大道某小区三栋二单元一〇二室", "海南省三亚市吉阳区迎宾路某号", "海南省儋州市那大镇中兴大街某号院", "海南省琼海市嘉积镇某村"}
)

// file generates a CSV file in GB 18030, the same each time.
type file struct {
	left, next int64
	buf        []byte
	rest       []byte
}

func newFile(records int64) io.Reader {
	f := &file{left: records}
	f.rest = f.encode("身份证号,姓名,性别,出生日期,住址,收入,更新时间\n")
	return f
}

func (f *file) encode(text string) []byte {
	var err error
	if f.buf, err = gb18030.V2022.AppendEncode(f.buf[:0], []byte(text)); err != nil {
		panic(err) // 2022 has every character
	}
	return f.buf
}

// Read implements io.Reader.
func (f *file) Read(p []byte) (int, error) {
	if len(f.rest) == 0 {
		if f.left == 0 {
			return 0, io.EOF
		}
		var b strings.Builder
		for range min(f.left, 500) {
			i := f.next
			f.next++
			f.left--
			fmt.Fprintf(&b, "%s,%s,%d,19%02d-%02d-%02d,%s,%d.50,2024-06-15 09:%02d:45\n", label.FakeIDCard(uint64(i)), names[i%8], 1+i%2,
				50+i%50, 1+i%12, 1+i%28, places[i%4], i%100000, i%60)
		}
		f.rest = f.encode(b.String())
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// bytesOf returns how long a file of so many records is, about.
func bytesOf(records int64) int64 {
	const sample = 4000
	n, err := io.Copy(io.Discard, newFile(sample))
	if err != nil {
		panic(err) // it reads from memory
	}
	return n * records / sample
}
