package receipt_test

import (
	"fmt"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
)

// A log of one record, signed by its one operator, and what its receipt proves to someone who trusts the operator's key.
func ExampleVerify() {
	key, err := gm.GenerateKey()
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Date(2026, 11, 22, 20, 11, 57, 0, beijing.Zone)
	original := receipt.Original{Salt: [16]byte{1, 2, 3}, Data: []byte("granted")} // in earnest 16 random bytes
	record := receipt.Record{ID: "approval-1", Type: "approval.case.decided/1", Commitment: original.Commitment(),
		Time: beijing.At(now), Needs: []string{"house", "tax"}}
	leaf, err := record.Marshal()
	if err != nil {
		fmt.Println(err)
		return
	}
	var log merkle.Range
	log.Add(leaf, nil)
	checkpoint := receipt.Checkpoint{Origin: "evidence.hainan.example", Size: log.Size(), Root: log.Root()}

	house, err := receipt.NewSigner("house", key)
	if err != nil {
		fmt.Println(err)
		return
	}
	signature, err := house.Cosign(checkpoint, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	issued := receipt.Receipt{Record: record, Note: receipt.Note{Checkpoint: checkpoint, Signatures: []receipt.Signature{signature}}}

	trust, err := receipt.NewTrust([]receipt.Key{{Name: "house", Origin: checkpoint.Origin, Role: receipt.Operator, Public: key.PublicKey()}})
	if err != nil {
		fmt.Println(err)
		return
	}
	result, err := receipt.Verify(&issued, trust, original.Marshal())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.State, result.Signed, result.Owed, result.By)
	// Output:
	// provisional [house] [tax] 2026-11-22T20:11:57.000+08:00
}
