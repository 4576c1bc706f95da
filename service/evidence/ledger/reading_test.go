package ledger

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
)

// What a node has read before a block is ordered must make no difference: not every node has, and the policy may change
// in between.
func TestWhatWasCheckedBeforeMakesNoDifference(t *testing.T) {
	p, k := operator(t)
	next := *p
	next.Version, next.Needs = 2, []string{"house", "witness"}
	next.Types = next.Types[:1] // a return is a record without facts now
	next.Rules = nil
	sig, err := SignPolicy(&next, k)
	if err != nil {
		t.Fatal(err)
	}
	change, err := NewPolicyChange(&next, map[string][]byte{"house": sig})
	if err != nil {
		t.Fatal(err)
	}
	eager := begin(t, open(t, sqldbtest.SQLite(t)), p, k)
	late := begin(t, open(t, sqldbtest.SQLite(t)), p, k)
	orders := eager.batch(trade("o-1", "trade.order/1", "A", 100, 0), trade("o-2", "trade.order/1", "B", 100, 0))
	before, twice := eager.batch(trade("r-1", "trade.return/1", "A", 10, 1)), eager.batch(trade("r-1", "trade.return/1", "B", 10, 1))
	after := eager.batch(trade("o-3", "trade.order/1", "C", 10, 1), trade("r-2", "trade.return/1", "B", 10, 1))
	for _, tx := range [][]byte{orders, before, twice, after} {
		if err := eager.Check(t.Context(), tx); err != nil {
			t.Fatal(err)
		}
	}
	for i, block := range [][][]byte{{orders}, {before, twice, change, after}, {after, orders}} {
		if a, b := eager.block(block...), late.block(block...); !bytes.Equal(a, b) {
			t.Fatalf("block %d: the ledgers differ", i)
		}
	}
	if got := eager.verdict("r-1"); got != "passed " {
		t.Errorf("r-1: %q", got)
	}
	if got := eager.verdict("o-3"); got != "none" {
		t.Errorf("o-3: %q", got)
	}
	if got := eager.verdict("r-2"); got != "absent" { // it has facts, which the new policy does not know
		t.Errorf("r-2: %q", got)
	}
}

func TestReadingsAreBounded(t *testing.T) {
	p := &Policy{}
	rs := &readings{}
	tx := func(i int) []byte { return fmt.Append(nil, i) }
	for i := range 50 {
		rs.keep(tx(i), &reading{policy: p, records: make([]Submission, 1000)})
		rs.keep(tx(i), &reading{policy: p, records: make([]Submission, 1000)})
	}
	if rs.records > maxReadings || len(rs.by)*1000 != rs.records {
		t.Fatalf("%d records in %d batches are kept", rs.records, len(rs.by))
	}
	if rs.has(tx(0), p) || !rs.has(tx(49), p) || rs.has(tx(49), &Policy{}) {
		t.Error("the newest are to be kept, for their policy")
	}
	if rs.take(tx(49), p) == nil || rs.take(tx(49), p) != nil {
		t.Error("a reading is taken once")
	}
}
