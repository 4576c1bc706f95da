package merkle_test

import (
	"fmt"

	"github.com/qiongdev/qiong/kit/merkle"
)

// A log keeps its nodes as they become complete, and proves to anyone that a record is in it.
func Example() {
	nodes := map[merkle.Node]merkle.Hash{} // in earnest a database, or tiles
	var log merkle.Range
	for _, record := range []string{"one", "two", "three", "four", "five"} {
		log.Add([]byte(record), func(n merkle.Node, h merkle.Hash) { nodes[n] = h })
	}
	read := func(wanted []merkle.Node) (hashes []merkle.Hash, err error) {
		for _, n := range wanted {
			hashes = append(hashes, nodes[n])
		}
		return hashes, nil
	}
	proof, err := merkle.ProveInclusion(2, log.Size(), read)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(proof), "hashes")
	fmt.Println(merkle.VerifyInclusion(merkle.LeafHash([]byte("three")), 2, log.Size(), proof, log.Root()))
	fmt.Println(merkle.VerifyInclusion(merkle.LeafHash([]byte("forged")), 2, log.Size(), proof, log.Root()))
	// Output:
	// 3 hashes
	// <nil>
	// the inclusion proof does not lead to the root
}
