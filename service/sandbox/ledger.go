package sandbox

import (
	"context"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// Effect is one line of the ledger: something that really happened at an agency.
type Effect struct {
	_         struct{}     `grade:"L1"`
	ID        int64        `json:"-"`
	Agency    string       `json:"agency"`
	Resource  string       `json:"resource"`
	RequestID string       `json:"requestId"`
	Change    int64        `json:"change" doc:"+1 做成 / done, -1 撤销 / undone"`
	At        beijing.Time `json:"at"`
}

// Summary counts requests by what is left of them.
type Summary struct {
	_       struct{} `grade:"L1"`
	Done    int64    `json:"done" doc:"已做成且未撤销 / done and not undone"`
	Undone  int64    `json:"undone" doc:"做成后已撤销 / done and undone again"`
	Doubles int64    `json:"doubles" doc:"重复做成或重复撤销，应为 0 / done or undone more than once; must be 0"`
}

// Ledger returns up to limit effects after the one with the given ID (0 for the beginning), in the order in which they
// were numbered. While agencies are at work, one with a smaller number may still appear.
func (s *Sandbox) Ledger(ctx context.Context, after int64, limit int) ([]Effect, error) {
	return sqldb.All(ctx, s.store.db, func(row sqldb.Scanner) (Effect, error) {
		var e Effect
		return e, row.Scan(&e.ID, &e.Agency, &e.Resource, &e.RequestID, &e.Change, (*int64)(&e.At))
	}, "SELECT id, agency, resource, request_id, change, at FROM effect WHERE id > $1 ORDER BY id LIMIT $2", after, int64(limit))
}

// Check adds up the ledger.
func (s *Sandbox) Check(ctx context.Context) (Summary, error) {
	var sum Summary
	err := s.store.db.QueryRow(ctx, `SELECT
			count(CASE WHEN did = 1 AND undid = 0 THEN 1 END),
			count(CASE WHEN did = 1 AND undid = 1 THEN 1 END),
			count(CASE WHEN did <> 1 OR undid > 1 THEN 1 END)
		FROM (SELECT count(CASE WHEN change > 0 THEN 1 END) AS did, count(CASE WHEN change < 0 THEN 1 END) AS undid
			FROM effect GROUP BY agency, resource, request_id) AS request`).Scan(&sum.Done, &sum.Undone, &sum.Doubles)
	return sum, err
}
