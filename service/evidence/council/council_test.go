package council

import (
	"fmt"
	"testing"
	"time"
)

var four = []string{"clearing", "customs", "forex", "tax"}

// Four agree. One stops: it goes on. Two stop: nothing more is decided, and it is as soon as one returns.
func TestFourAgree(t *testing.T) {
	ctx := deadline(t, time.Minute)
	c := newCouncil(t, nil, four...)
	begun := time.Now()
	c.start()
	c.place(ctx, "first:x", c.seats...)
	t.Logf("the first transaction was in a ledger after %v", time.Since(begun))
	for i := range 20 {
		c.place(ctx, fmt.Sprintf("a%d:x", i), c.seats[i%4])
	}
	r := c.agree(ctx, "a19", c.seats...)
	if r.Txs != 21 {
		t.Errorf("%d transactions, not 21", r.Txs)
	}
	if r.Status.Turn == "" || !r.Status.Running || r.Status.CatchingUp {
		t.Errorf("the status is %v", r.Status)
	}
	for _, p := range r.Status.Peers {
		if !p.Connected || p.Seen.IsZero() || p.Ahead.Abs() > time.Minute {
			t.Errorf("a peer is seen as %+v", p)
		}
	}
}
