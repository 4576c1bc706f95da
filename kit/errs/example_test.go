package errs_test

import (
	"fmt"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

func Example() {
	err := errs.New(errs.Conflict, "名称已被占用", "the name is taken").WithField("enterprise.name").WithHint("换一个名称", "choose another name")
	wrapped := fmt.Errorf("registration: %w", err)
	e := errs.As(wrapped)
	fmt.Println(e.Kind, e.Kind.HTTP(), e.Kind.Exit())
	fmt.Println(e.In(lang.ZH))
	fmt.Println(e.In(lang.EN))
	// Output:
	// conflict 409 5
	// enterprise.name: 名称已被占用
	// enterprise.name: the name is taken
}
