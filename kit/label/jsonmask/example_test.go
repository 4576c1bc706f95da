package jsonmask_test

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/label/jsonmask"
)

func Example() {
	m, err := jsonmask.New(jsonmask.Options{
		Rules:  []jsonmask.Rule{{Path: "data.**.name", Mask: label.Keep(1, 0)}, {Path: "token"}},
		Detect: true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	in := strings.NewReader(`{"token": "x", "data": [{"name": "王小明", "note": "电话 \u0031\u0033800000000"}], "sum": 1e2}`)
	if _, err := io.Copy(os.Stdout, m.NewReader(in)); err != nil {
		fmt.Println(err)
	}
	// Output:
	// {"token": null, "data": [{"name": "王**", "note": "电话 138****0000"}], "sum": 1e2}
}
