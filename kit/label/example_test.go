package label_test

import (
	"fmt"

	"github.com/qiongdev/qiong/kit/label"
)

func ExampleFakeIDCard() {
	id := label.FakeIDCard(1)
	fmt.Println(id, label.IDCard(id), label.IsFake(id))
	// Output: 900000195512267573 <nil> true
}
