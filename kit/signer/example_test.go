package signer_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/signer"
)

func Example() {
	dir, err := os.MkdirTemp("", "qiong")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "signer.sock")

	// The process with the private key; a hardware module's signer stands in the place of this one.
	key, _ := gm.GenerateKey()
	server, err := signer.NewServer(signer.Options{Keys: []signer.Key{{Name: "audit", Signer: key}}, Record: func(s signer.Signing) error {
		fmt.Println("signed with", s.Key)
		return nil
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	listener, err := signer.Listen(socket, -1)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error)
	go func() { done <- server.Serve(ctx, listener) }()

	// The process that needs a signature.
	client := signer.NewClient(socket, signer.ClientOptions{})
	defer client.Close()
	pub, err := client.Find("audit")
	if err != nil {
		fmt.Println(err)
		return
	}
	sig, err := gm.Sign(client.Signer(pub), []byte(gm.DefaultID), []byte("a message"))
	fmt.Println(err, gm.Verify(pub, []byte(gm.DefaultID), []byte("a message"), sig))
	stop()
	fmt.Println(<-done)
	// Output:
	// signed with audit
	// <nil> <nil>
	// <nil>
}
