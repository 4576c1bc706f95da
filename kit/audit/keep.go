package audit

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/emmansun/gmsm/sm3"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/folder"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// Keep moves what is older than it must be kept to the archive, a day's entries or more at a time: the entries as NDJSON
// and the proof of them, two files in the archive's folder that can be verified offline for ever. That they are gone is
// stated in the log itself, with the SM3 of the archive, and signed as all of it is; their hashes stay. Nothing is ever
// deleted from the archive: that is for people.
func (l *Log) Keep(ctx context.Context) error {
	l.keeping.Lock()
	defer l.keeping.Unlock()
	from, err := l.expired(ctx)
	if err != nil {
		return err
	}
	if err := l.purge(ctx, from); err != nil { // what a crash has left
		return err
	}
	now := l.o.Now()
	until := beijing.At(now.Add(-l.o.Keep))
	if to, err := l.leafAt(ctx, until-beijing.Time(24*time.Hour/time.Millisecond), l.log.Last().Size); err != nil || to <= from {
		return err
	}
	if err := l.Sign(ctx); err != nil {
		return err
	}
	to, err := l.leafAt(ctx, until, l.log.Last().Size)
	if err != nil || to <= from {
		return err
	}
	sum, err := l.archive(ctx, from, to)
	if err != nil {
		return fmt.Errorf("archive of the audit log: %w", err)
	}
	statement := Entry{Who: House, What: Expire, Outcome: Done, Object: fmt.Sprintf("%d-%d", from, to),
		Detail: fmt.Sprintf("SM3 %s, before %s", sum, until)}
	if err := l.Commit(ctx, statement); err != nil {
		return err
	}
	at, err := l.find(ctx, statement.Object)
	if err != nil {
		return err
	}
	if err := l.expire(ctx, to, at); err != nil {
		return err
	}
	l.mu.Lock()
	l.status.Expired = to
	l.mu.Unlock()
	return l.Sign(ctx)
}

// find returns the leaf of the newest statement about a range.
func (l *Log) find(ctx context.Context, object string) (uint64, error) {
	before, err := ParsePosition("")
	if err != nil {
		return 0, err
	}
	for {
		found, next, err := l.List(ctx, Filter{Who: House, What: Expire}, before, 100)
		if err != nil {
			return 0, err
		}
		for _, f := range found {
			if f.Object == object {
				return f.Leaf, nil
			}
		}
		if next == nil {
			return 0, errors.New("the statement was not found")
		}
		before = *next
	}
}

// expire states the bound, and then deletes what is before it.
func (l *Log) expire(ctx context.Context, to, statement uint64) error {
	_, err := l.o.DB.Exec(ctx, sqldb.Durable, `INSERT INTO audit_expired (upto, statement) VALUES ($1, $2)
		ON CONFLICT (upto) DO UPDATE SET statement = excluded.statement`, int64(to), int64(statement))
	if err != nil {
		return err
	}
	return l.purge(ctx, to)
}

// purge deletes what has expired, in small writes.
func (l *Log) purge(ctx context.Context, to uint64) error {
	for {
		first, err := sqldb.Value[int64](ctx, l.o.DB, "SELECT coalesce(min(idx), $1) FROM audit_leaf WHERE idx < $1", int64(to))
		if err != nil || uint64(first) >= to {
			return err
		}
		leaves, err := l.Leaves(ctx, uint64(first), int(min(to-uint64(first), 500)))
		if err != nil {
			return err
		}
		next := uint64(first) + max(1, uint64(len(leaves)))
		who := map[string]bool{}
		for _, leaf := range leaves {
			entries, err := parseLeaf(leaf)
			if err != nil {
				return err
			}
			for _, e := range entries {
				who[e.Who] = true
			}
		}
		if err := l.forget(ctx, next, who); err != nil {
			return err
		}
	}
}

// forget deletes what is before a leaf, and by whom it was found.
func (l *Log) forget(ctx context.Context, next uint64, who map[string]bool) error {
	return l.o.DB.Write(ctx, sqldb.Relaxed, func(tx *sqldb.Tx) error {
		if _, err := l.log.Expire(ctx, tx, next, 1000); err != nil {
			return err
		}
		for name := range who {
			if _, err := tx.Exec(ctx, "DELETE FROM audit_who WHERE who = $1 AND idx < $2", name, int64(next)); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, "DELETE FROM audit_leaf WHERE idx < $1", int64(next))
		return err
	})
}

// archive writes a range of leaves and its proof, durably, and returns the SM3 of the entries' file.
func (l *Log) archive(ctx context.Context, from, to uint64) (sum string, err error) {
	if err := os.MkdirAll(l.o.Archive, 0o700); err != nil {
		return "", err
	}
	if err := folder.Sync(filepath.Dir(l.o.Archive)); err != nil { // a power cut must not take the archive's folder
		return "", err
	}
	p, err := l.Prove(ctx, from, to)
	if err != nil {
		return "", err
	}
	proof, err := p.Marshal()
	if err != nil {
		return "", err
	}
	name := filepath.Join(l.o.Archive, fmt.Sprintf("audit-%012d-%012d", from, to))
	digest := sm3.New()
	err = folder.Place(name+".ndjson", func(w io.Writer) error { return l.Export(ctx, NewNDJSON(io.MultiWriter(w, digest)), from, to) })
	if err != nil {
		return "", err
	}
	if err := l.verifyArchive(name+".ndjson", p); err != nil {
		return "", err
	}
	err = folder.Place(name+".proof", func(w io.Writer) error { _, err := w.Write(proof); return err })
	return hex.EncodeToString(digest.Sum(nil)), err
}

// verifyArchive reads the archive back: nothing is deleted for what can't be verified.
func (l *Log) verifyArchive(name string, p *Proof) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	v, err := NewVerifier(p, l.trust)
	if err != nil {
		return err
	}
	_, err = VerifyExport(f, v)
	l.found(context.Background(), err)
	return err
}

// Export writes a range of leaves.
func (l *Log) Export(ctx context.Context, w Writer, from, to uint64) error {
	for at := from; at < to; {
		leaves, err := l.Leaves(ctx, at, int(min(to-at, 256)))
		if err != nil {
			return err
		}
		if len(leaves) == 0 {
			return changed(fmt.Sprintf("日志缺少条目 %d", at), fmt.Sprintf("the log lacks leaf %d", at))
		}
		for _, leaf := range leaves {
			if err := w.Leaf(at, leaf); err != nil {
				return err
			}
			at++
		}
	}
	return w.Flush()
}
