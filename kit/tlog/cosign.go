package tlog

import (
	"context"
	"errors"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// Cosigned stores a cosignature, which the caller has verified, of a checkpoint of this log. The first of a name and
// size stays.
func (l *Log) Cosigned(ctx context.Context, tx *sqldb.Tx, size uint64, s receipt.Signature) error {
	tx.OnCommit(l.signed.Tell)
	sig := append(append(make([]byte, 0, 64), s.R[:]...), s.S[:]...)
	_, err := tx.Exec(ctx, `INSERT INTO log_cosignature (name, size, key_id, time, sig) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (name, size) DO NOTHING`, s.Name, int64(size), s.KeyID[:], s.Time, sig)
	return err
}

// Note returns the checkpoint of a size with all its cosignatures; an error of kind Unavailable where it has none yet.
func (l *Log) Note(ctx context.Context, size uint64) (*receipt.Note, error) {
	c, err := l.At(ctx, size)
	if err != nil {
		return nil, err
	}
	n := &receipt.Note{Checkpoint: c}
	n.Signatures, err = sqldb.All(ctx, l.db, scanSignature,
		"SELECT name, key_id, time, sig FROM log_cosignature WHERE size = $1 ORDER BY name", int64(size))
	if err == nil && len(n.Signatures) == 0 {
		err = errs.New(errs.Unavailable, "检查点尚未签署", "the checkpoint is not cosigned yet").WithCode("log.unsigned")
	}
	return n, err
}

func scanSignature(row sqldb.Scanner) (s receipt.Signature, err error) {
	var id, sig []byte
	if err := row.Scan(&s.Name, &id, &s.Time, &sig); err != nil {
		return s, err
	}
	if len(id) != len(s.KeyID) || len(sig) != 64 {
		return s, broken("日志中的签名残缺", "a cosignature in the log is damaged")
	}
	copy(s.KeyID[:], id)
	copy(s.R[:], sig[:32])
	copy(s.S[:], sig[32:])
	return s, nil
}

// SignedBy returns the size of the first checkpoint beyond index that all of these names have cosigned; false where
// there is none yet.
func (l *Log) SignedBy(ctx context.Context, index uint64, names []string) (size uint64, ok bool, err error) {
	at := int64(index) + 1
	for agreed := 0; agreed < len(names); {
		for _, name := range names {
			next, err := sqldb.Value[int64](ctx, l.db,
				"SELECT size FROM log_cosignature WHERE name = $1 AND size >= $2 ORDER BY size LIMIT 1", name, at)
			if errors.Is(err, sqldb.ErrNoRows) {
				return 0, false, nil
			}
			if err != nil {
				return 0, false, err
			}
			if next != at {
				at, agreed = next, 0
			}
			if agreed++; agreed >= len(names) {
				return uint64(at), true, nil
			}
		}
	}
	return 0, false, nil
}

// MostSigned returns the size of the checkpoint beyond index that has most cosignatures among the first so many; false
// where none is cosigned yet.
func (l *Log) MostSigned(ctx context.Context, index uint64) (size uint64, ok bool, err error) {
	n, err := sqldb.Value[int64](ctx, l.db, `SELECT size FROM (SELECT size, count(*) AS names FROM log_cosignature
		WHERE size IN (SELECT size FROM log_checkpoint WHERE size > $1 ORDER BY size LIMIT 100) GROUP BY size) AS c
		ORDER BY names DESC, size LIMIT 1`, int64(index))
	if errors.Is(err, sqldb.ErrNoRows) {
		return 0, false, nil
	}
	return uint64(n), err == nil, err
}

// CosignedUpTo returns the size of the newest checkpoint that a name has cosigned; 0 where there is none.
func (l *Log) CosignedUpTo(ctx context.Context, name string) (uint64, error) {
	n, err := sqldb.Value[int64](ctx, l.db, "SELECT size FROM log_cosignature WHERE name = $1 ORDER BY size DESC LIMIT 1", name)
	if errors.Is(err, sqldb.ErrNoRows) {
		return 0, nil
	}
	return uint64(n), err
}
