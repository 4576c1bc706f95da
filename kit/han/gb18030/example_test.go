package gb18030_test

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/text/transform"

	"github.com/qiongdev/qiong/kit/han/gb18030"
)

func ExampleProfile_AppendEncode() {
	code, err := gb18030.V2022.AppendEncode(nil, []byte("某䶮"))
	fmt.Printf("%x %v\n", code, err)
	_, err = gb18030.GBK.AppendEncode(nil, []byte("某䶮"))
	var e *gb18030.Error
	if errors.As(err, &e) {
		fmt.Println(e.Kind.Code(), "at byte", e.Offset, "of", e.Size, "bytes")
	}
	// Output:
	// c4b3fe9f <nil>
	// encoding.unmapped at byte 3 of 3 bytes
}

// Pieces may end anywhere, and what is legible but not the same everywhere is told.
func ExampleDecoder() {
	d := gb18030.Decoder{Report: func(n gb18030.Note) {
		fmt.Printf("%s: %U at byte %d\n", n.Kind.Code(), n.Rune, n.Offset)
	}}
	var text []byte
	var err error
	for _, piece := range []string{"\xc4", "\xb3\x95\x34\xb2", "\x35\xaa\xa1"} {
		if text, err = d.Append(text, []byte(piece)); err != nil {
			fmt.Println(err)
			return
		}
	}
	text, err = d.Close(text)
	fmt.Printf("%+q %v\n", text, err)
	// Output:
	// encoding.private-use: U+E000 at byte 6
	// "\u67d0\U00020bb7\ue000" <nil>
}

func ExampleProfile_NewDecoder() {
	r := transform.NewReader(strings.NewReader("\xba\xa3\xc4\xcf"), gb18030.GBK.NewDecoder())
	text, err := io.ReadAll(r)
	fmt.Println(string(text), err)
	// Output: 海南 <nil>
}
