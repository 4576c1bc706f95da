package keys_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/qiongdev/qiong/kit/keys"
)

func ExampleOpen() {
	data, err := os.MkdirTemp("", "qiong")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(data)

	ring, err := keys.Open(filepath.Join(data, "keys"), keys.Options{CreateMaster: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	first, _ := ring.Signer("approval") // created now
	again, _ := ring.Signer("approval") // and the same from now on
	fmt.Println(ring.Names(), first.KeyID() == again.KeyID(), ring.MasterIsLocal())
	// Output: [approval] true true
}
