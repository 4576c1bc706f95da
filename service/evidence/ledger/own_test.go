package ledger

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
)

// own reads records as the operator's.
func (l *line) own(p *Policy, records ...Submission) *Own {
	l.t.Helper()
	own, err := l.Read(p.Gateways[0], slices.Clone(records))
	if err != nil {
		l.t.Fatal(err)
	}
	return own
}

// order leads the ledger through a block of the operator's own.
func (l *line) order(parts ...*Own) []int {
	l.t.Helper()
	l.height++
	taken, err := l.Order(l.t.Context(), l.height, start.Time().Add(time.Duration(l.height)*time.Second), parts)
	if err == nil {
		err = l.Commit(l.t.Context())
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return taken
}

// What an operator orders for itself leads to the same log, facts and hash as the transactions would.
func TestOwnRecordsAreOrderedLikeTransactions(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db sqldb.DB) {
		p, key := operator(t)
		signed := begin(t, open(t, sqldbtest.SQLite(t)), p, key)
		own := begin(t, open(t, db), p, key)
		blocks := [][][]Submission{
			{{trade("o-1", "trade.order/1", "1", 100, 0), trade("o-2", "trade.order/1", "2", 100, 0)}, {trade("r-1", "trade.return/1", "1", 100, 1)}},
			{{trade("r-2", "trade.return/1", "2", 101, 1), trade("r-3", "trade.return/1", "1", 1, 1)}},
			{{trade("o-1", "trade.order/1", "1", 100, 0)}, {trade("o-3", "trade.order/1", "3", 5, 2)}},
			{{trade("o-3", "trade.order/1", "3", 5, 2)}},
		}
		for i, block := range blocks {
			var txs [][]byte
			var parts []*Own
			for _, records := range block {
				txs = append(txs, signed.batch(records...))
				parts = append(parts, own.own(p, records...))
			}
			want := signed.block(txs...)
			if taken := own.order(parts...); slices.Max(taken) >= 0 {
				t.Errorf("block %d: %v are taken", i, taken)
			}
			if _, got, err := own.Last(t.Context()); err != nil || !bytes.Equal(got, want) {
				t.Errorf("block %d comes to %x, want %x; %v", i, got, want, err)
			}
		}
		if size := own.Log().Last().Size; size != 6 {
			t.Errorf("the log has %d records", size)
		}
	})
}

// Where one record's id is another's, in the log or earlier in the block, none of its part is ordered, and the other parts are.
func TestAnIDThatIsTakenKeepsThePartOut(t *testing.T) {
	p, key := operator(t)
	l := begin(t, open(t, sqldbtest.SQLite(t)), p, key)
	note := func(id, what string) Submission {
		return Submission{ID: id, Type: "trade.note/1", Commitment: gm.SM3([]byte(what)), Time: start}
	}
	if taken := l.order(l.own(p, note("a", "a"), note("b", "b"))); !slices.Equal(taken, []int{-1}) {
		t.Fatal(taken)
	}
	later := note("a", "a")
	later.Time++
	taken := l.order(
		l.own(p, note("c", "c"), note("a", "x")),                   // in the log as something else
		l.own(p, note("c", "c of another"), later, note("d", "d")), // c is free again; a is the same
		l.own(p, note("e", "e"), note("d", "d"), note("c", "c")),   // c is not
		l.own(p, note("f", "f"), note("f", "f")),                   // twice the same
		l.own(p, note("g", "g"), note("g", "x")),                   // twice, and not the same
		l.own(p, note("e", "e of another"), note("g", "g")),        // both are free
	)
	if want := []int{1, -1, 2, -1, 1, -1}; !slices.Equal(taken, want) {
		t.Errorf("taken: %v, want %v", taken, want)
	}
	ids := []string{"a", "b", "c", "d", "e", "f", "g"}
	known, err := l.Log().Known(t.Context(), ids)
	if err != nil || len(known) != len(ids) || l.Log().Last().Size != uint64(len(ids)) {
		t.Errorf("%d are known of %d, %v", len(known), l.Log().Last().Size, err)
	}
	if !bytes.Contains(known["e"], []byte(commitment(note("e", "e of another")))) {
		t.Errorf("e is %s", known["e"])
	}
	if taken := l.order(l.own(p, note("a", "a"), note("g", "g"))); !slices.Equal(taken, []int{-1}) || l.Log().Last().Size != uint64(len(ids)) {
		t.Errorf("taken: %v; %d records", taken, l.Log().Last().Size)
	}
}

func commitment(s Submission) string { return s.Commitment.String() }

// Nobody but a gateway of the policy orders, and nothing that is no record.
func TestReadRefuses(t *testing.T) {
	p, key := operator(t)
	l := begin(t, open(t, sqldbtest.SQLite(t)), p, key)
	good := trade("o-1", "trade.order/1", "1", 100, 0)
	stranger := p.Gateways[0]
	stranger.Name = "stranger"
	if _, err := l.Read(stranger, []Submission{good}); errs.As(err) == nil || errs.As(err).Code != CodeGateway {
		t.Errorf("a stranger: %v", err)
	}
	for name, change := range map[string]func(*Submission){
		"an id":       func(s *Submission) { s.ID = "O 1" },
		"a type":      func(s *Submission) { s.Type = "order" },
		"own type":    func(s *Submission) { s.Type = "evidence.policy/1" },
		"its facts":   func(s *Submission) { s.Facts = []byte(`{}`) },
		"other facts": func(s *Submission) { s.Type = "trade.note/1" },
	} {
		bad := good
		change(&bad)
		if _, err := l.Read(p.Gateways[0], []Submission{good, bad}); errs.KindOf(err) != errs.Invalid && errs.KindOf(err) != errs.Forbidden {
			t.Errorf("%s: %v", name, err)
		}
	}
}
