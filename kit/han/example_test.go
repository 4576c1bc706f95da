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
