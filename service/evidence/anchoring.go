package evidence

import (
	"context"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
)

const anchoringColumns = "target, size, root, tried, at, done, answer"

func scanAnchoring(s sqldb.Scanner) (v AnchoringView, err error) {
	var size, at, done int64
	var root []byte
	err = s.Scan(&v.Target, &size, &root, &v.Tried, &at, &done, &v.Answer)
	v.Size, v.At, v.Done = uint64(size), beijing.Time(at), done == 1
	copy(v.Root[:], root)
	return v, err
}

// anchored keeps what came of a try to anchor a checkpoint.
func (s store) anchored(ctx context.Context, target string, c receipt.Checkpoint, done bool, answer string, at int64) error {
	return s.db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		flag := int64(0)
		if done {
			flag = 1
			if _, err := tx.Exec(ctx, "DELETE FROM anchoring WHERE target = $1 AND done = 0 AND size < $2", target, int64(c.Size)); err != nil {
				return err // what failed before is behind this one now
			}
		}
		_, err := tx.Exec(ctx, `INSERT INTO anchoring (target, size, root, tried, at, done, answer) VALUES ($1, $2, $3, 1, $4, $5, $6)
			ON CONFLICT (target, size) DO UPDATE SET tried = anchoring.tried + 1, at = excluded.at, done = excluded.done, answer = excluded.answer`,
			target, int64(c.Size), c.Root[:], at, flag, answer)
		return err
	})
}

// anchorings returns the latest of each target, and anchoringsOf the latest of one.
func (s store) anchorings(ctx context.Context, targets []string) (all []AnchoringView, err error) {
	for _, t := range targets {
		last, err := s.anchoringsOf(ctx, t, 1)
		if err != nil {
			return nil, err
		}
		all = append(all, last...)
	}
	return all, nil
}

func (s store) anchoringsOf(ctx context.Context, target string, limit int) ([]AnchoringView, error) {
	return sqldb.All(ctx, s.db, scanAnchoring, "SELECT "+anchoringColumns+" FROM anchoring WHERE target = $1 ORDER BY size DESC LIMIT $2", target, limit)
}

// maxContradictions is how many are kept of a name: one is enough to prove it.
const maxContradictions = 100

// contradict keeps a wrong root that a name has signed, and reports whether it is new.
func (s store) contradict(ctx context.Context, name string, c receipt.Checkpoint, note string, at int64) (news bool, err error) {
	kept, err := sqldb.Value[int64](ctx, s.db, "SELECT count(*) FROM contradiction WHERE name = $1", name)
	if err != nil || kept >= maxContradictions {
		return false, err
	}
	n, err := s.db.Exec(ctx, sqldb.Durable, "INSERT INTO contradiction (name, size, root, note, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name, size, root) DO NOTHING",
		name, int64(c.Size), c.Root[:], note, at)
	return n > 0, err
}

func (s store) contradictions(ctx context.Context, limit int) ([]ContradictionView, error) {
	return sqldb.All(ctx, s.db, func(row sqldb.Scanner) (v ContradictionView, err error) {
		var size, at int64
		var root []byte
		err = row.Scan(&v.Name, &size, &root, &v.Note, &at)
		v.Size, v.At = uint64(size), beijing.Time(at)
		v.Root = merkle.Hash(root)
		return v, err
	}, "SELECT name, size, root, note, at FROM contradiction ORDER BY at DESC, name, size LIMIT $1", limit)
}
