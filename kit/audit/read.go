package audit

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/tlog"
)

// Reader is an audit log that nothing is written to: in the folder of a house that does not run.
type Reader struct{ log *Log }

// OpenReader opens the log in db, whose keys are trust, and whose witness remembers in the folder memory. It is a
// conflict where the house runs. A log that does not hold together is opened all the same where it can be: Check tells.
func OpenReader(ctx context.Context, db sqldb.DB, trust *receipt.Trust, memory string) (*Reader, error) {
	keys := trust.Keys()
	if len(keys) == 0 {
		return nil, malformed("没有公钥", "there is no key")
	}
	l := &Log{o: Options{DB: db, Memory: memory, Now: time.Now, Log: slog.New(slog.DiscardHandler)}, trust: trust}
	var err error
	if l.log, err = tlog.Open(ctx, db, keys[0].Origin); err != nil {
		return nil, err
	}
	if l.old, err = earlier(ctx, db); err != nil {
		return nil, err
	}
	signed, err := l.log.CosignedUpTo(ctx, WitnessName)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(memory, "seen")); err != nil && signed == 0 {
		memory = "" // nothing was ever cosigned
	}
	if memory != "" {
		l.witness, err = tlog.OpenWitness(tlog.WitnessOptions{Dir: memory, Trust: trust, Now: time.Now})
		if errs.Is(err, errs.Conflict) {
			return nil, errs.Wrap(err, errs.Conflict, "数据目录正在使用中", "the data folder is in use").
				WithHint("改用 --url 查询运行中的服务", "ask the running house with --url")
		}
		if err != nil && errs.As(err).Code != tlog.CodeForgot {
			return nil, err
		}
	}
	return &Reader{l}, nil
}

// earlier reports whether a database is of a version that knows no restores. Nothing is written here: the next start of
// the house makes the table.
func earlier(ctx context.Context, db sqldb.DB) (bool, error) {
	there := "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'audit_restored'"
	if db.Dialect() == sqldb.Postgres {
		there = "SELECT count(to_regclass('audit_restored'))"
	}
	n, err := sqldb.Value[int64](ctx, db, there)
	return n == 0, err
}

// Close releases the witness's memory.
func (r *Reader) Close() error {
	if r.log.witness == nil {
		return nil
	}
	return r.log.witness.Close()
}

// Check is [Log.Check].
func (r *Reader) Check(ctx context.Context, progress func(done, size uint64)) error {
	if r.log.witness == nil {
		signed, err := r.log.log.CosignedUpTo(ctx, WitnessName)
		if err != nil || signed == 0 {
			return err
		}
	}
	return r.log.check(ctx, func(done, size uint64) {
		if progress != nil {
			progress(done, size)
		}
	})
}

// Status is [Log.Status], as Check has left it.
func (r *Reader) Status() Status { return r.log.Status() }

// Gaps is [Log.Gaps].
func (r *Reader) Gaps(ctx context.Context) ([]*Gap, error) { return r.log.Gaps(ctx) }

// Outside is [Log.Outside].
func (r *Reader) Outside(ctx context.Context) ([]WitnessState, error) { return r.log.Outside(ctx) }

// Note is [Log.Note].
func (r *Reader) Note(ctx context.Context) (*receipt.Note, error) { return r.log.Note(ctx) }

// List is [Log.List].
func (r *Reader) List(ctx context.Context, f Filter, before Position, limit int) ([]Found, *Position, error) {
	return r.log.List(ctx, f, before, limit)
}

// Span returns the leaves that may have entries of the filter's time, and the proof of them; nil where there are none.
func (r *Reader) Span(ctx context.Context, f Filter) (from, to uint64, p *Proof, err error) {
	if from, to, err = r.log.Span(ctx, f.Since, f.Until); err == nil && from < to {
		p, err = r.log.Prove(ctx, from, to)
	}
	return from, to, p, err
}

// Leaves is [Log.Leaves].
func (r *Reader) Leaves(ctx context.Context, from uint64, limit int) ([][]byte, error) {
	return r.log.Leaves(ctx, from, limit)
}

// Broken reports whether err says that a log, or an export of it, is not what it was, and not that it can't be read.
func Broken(err error) bool { return broken(err) }
