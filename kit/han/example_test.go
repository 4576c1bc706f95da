package han_test

import (
	"fmt"

	"github.com/qiongdev/qiong/kit/han"
)

func ExampleCheckName() {
	fmt.Println(han.CheckName("𠮷䶮"))
	for _, f := range han.CheckName("某\u200b某") {
		fmt.Printf("%U at byte %d: %s / %s\n", f.Rune, f.Offset, f.Text.ZH, f.Text.EN)
	}
	// Output:
	// []
	// U+200B at byte 3: 含有零宽或不可见字符 / contains a zero-width or invisible character
}

func ExampleCheck() {
	for _, f := range han.Check("海南某公司\u202e", han.Organization) {
		fmt.Printf("byte %d: %s\n", f.Offset, f.Text.EN)
	}
	// Output: byte 15: contains an invisible mark that changes the direction of text
}

func ExampleNameKey() {
	fmt.Println(han.NameKey("某某・䶮") == han.NameKey("某某·䶮"))
	// Output: true
}

func ExampleIsNFC() {
	fmt.Println(han.IsNFC("海南"), han.IsNFC("\uf900"))
	// Output: true false
}
