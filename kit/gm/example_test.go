package gm_test

import (
	"fmt"

	"github.com/qiongdev/qiong/kit/gm"
)

func ExampleSign() {
	key, err := gm.GenerateKey()
	if err != nil {
		fmt.Println(err)
		return
	}
	id, msg := []byte(gm.DefaultID), []byte("企业开办")
	sig, err := gm.Sign(key, id, msg)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(gm.Verify(key.PublicKey(), id, msg, sig))
	fmt.Println(gm.Verify(key.PublicKey(), id, []byte("another"), sig))
	// Output:
	// <nil>
	// the SM2 signature does not verify
}

func ExampleSealer_Seal() {
	sealer, err := gm.NewSealer([]byte("0123456789abcdef")) // 16 bytes; take a random key, such as one of a keys.Ring
	if err != nil {
		fmt.Println(err)
		return
	}
	sealed := sealer.Seal([]byte("secret"), []byte("case/1"))
	plain, err := sealer.Open(sealed, []byte("case/1"))
	fmt.Println(string(plain), err)
	_, err = sealer.Open(sealed, []byte("case/2"))
	fmt.Println(err)
	// Output:
	// secret <nil>
	// the sealed data is damaged, altered, or not of this key
}
