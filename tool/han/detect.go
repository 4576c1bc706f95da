package han

import (
	"bytes"
	"encoding/binary"

	"github.com/qiongdev/qiong/kit/han/gb18030"
)

// marks are the byte order marks, and what they say of the text that follows.
var marks = []struct {
	mark    []byte
	charset charset
}{
	{[]byte{0xEF, 0xBB, 0xBF}, utf8Charset{}},
	{[]byte{0x84, 0x31, 0x95, 0x33}, gb{gb18030.V2022}},
	{[]byte{0xFF, 0xFE}, utf16Charset{"utf-16le", binary.LittleEndian}},
	{[]byte{0xFE, 0xFF}, utf16Charset{"utf-16be", binary.BigEndian}},
}

// bom returns what the byte order mark at the beginning of a text says, and its size; nil and 0 where there is none. A
// mark counts only where it agrees with the encoding that was asked for.
func bom(start []byte, asked charset) (charset, int) {
	for _, m := range marks {
		_, both := asked.(gb)
		same := asked == nil || m.charset == asked || both && m.charset == charset(gb{gb18030.V2022})
		if same && bytes.HasPrefix(start, m.mark) {
			return m.charset, len(m.mark)
		}
	}
	return nil, 0
}

// detect returns the encoding in which a sample has the fewer codes that can't be read: UTF-8, whose shape is all but
// impossible by chance, where it has none or not more than GB 18030.
func detect(sample []byte, atEOF bool) charset {
	best := charset(utf8Charset{})
	if faults(best, sample, atEOF) > faults(gb{gb18030.V2022}, sample, atEOF) {
		return gb{gb18030.V2022}
	}
	return best
}

func faults(c charset, sample []byte, atEOF bool) int {
	n := 0
	for len(sample) > 0 {
		_, size, kind := c.next(sample, atEOF)
		if size == 0 {
			break
		}
		if kind.IsError() {
			n++
		}
		sample = sample[size:]
	}
	return n
}
