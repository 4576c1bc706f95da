package strictjson_test

import (
	"fmt"

	"github.com/qiongdev/qiong/kit/strictjson"
)

func ExampleUnmarshal() {
	var person struct {
		Name string `json:"name"`
	}
	fmt.Println(strictjson.Unmarshal([]byte(`{"name": "䶮𠮷"}`), &person), person.Name)
	fmt.Println(strictjson.Unmarshal([]byte(`{"name": "a", "name": "b"}`), &person))
	fmt.Println(strictjson.Unmarshal([]byte(`{"name": "\ud800"}`), &person))
	fmt.Println(strictjson.Unmarshal([]byte(`{"name": "a"`), &person))
	// Output:
	// <nil> 䶮𠮷
	// name: the name stands twice in one object (byte 14)
	// name: a surrogate escape has no other half (byte 10)
	// name: the JSON document ends too early (byte 12)
}
