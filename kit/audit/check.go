package audit

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/tlog"
)

// Status is what is known of the state of a log.
type Status struct {
	Size     uint64       // leaves
	Expired  uint64       // of them, the first so many are in the archive
	Checked  beijing.Time // when it was last found whole; 0 where it was not checked yet
	Progress uint64       // leaves that the check under way has done; 0 where none is
	Gaps     []*Gap       // what it lacks since it was put back from backups, as the last check has found
	Broken   error        // what was found; nil where nothing was
}

// Status returns what is known at the moment.
func (l *Log) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.status
	s.Size = l.log.Last().Size
	return s
}

// found remembers that the log is broken, and says so loudly, where err says that.
func (l *Log) found(ctx context.Context, err error) {
	if !broken(err) {
		return
	}
	l.mu.Lock()
	l.status.Broken = err
	l.mu.Unlock()
	l.o.Log.ErrorContext(ctx, "THE AUDIT LOG IS BROKEN: somebody has changed or deleted what was on record", "err", err)
}

// Check computes the log anew from its entries, and holds it to every checkpoint, to the signatures, and to what the
// witness remembers. What is not as it was is an error, and Status tells it from then on. pace, which may be nil, is
// called between any two reads: it may wait, so that a check in the background leaves the machine to others.
func (l *Log) Check(ctx context.Context, pace func()) error {
	l.keeping.Lock()
	defer l.keeping.Unlock()
	err := l.check(ctx, func(done, _ uint64) {
		l.mu.Lock()
		l.status.Progress = done
		l.mu.Unlock()
		if pace != nil {
			pace()
		}
	})
	l.mu.Lock()
	l.status.Progress = 0
	if err == nil {
		l.status.Checked = beijing.At(l.o.Now())
	}
	l.mu.Unlock()
	l.found(ctx, err)
	return err
}

func (l *Log) check(ctx context.Context, progress func(done, size uint64)) error {
	expired, err := l.expired(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.status.Expired = expired
	l.mu.Unlock()
	if err := l.checkWitness(ctx); err != nil {
		return err
	}
	gaps, err := l.Gaps(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.status.Gaps = gaps
	l.mu.Unlock()
	if l.o.Outside != nil {
		if err := l.AskOutside(ctx); broken(err) {
			return err
		} // one that is away is no reason not to check the rest
	}
	return l.log.CheckFrom(ctx, expired, progress)
}

// checkWitness holds the log to its newest note and to what the witness remembers.
func (l *Log) checkWitness(ctx context.Context) error {
	n, err := l.Note(ctx)
	if err == nil {
		if _, err := l.attested(ctx, n); err != nil {
			return err
		}
	} else if !errs.Is(err, errs.NotFound) && !errs.Is(err, errs.Unavailable) {
		return err
	}
	if l.witness == nil {
		return changed("见证者失去了记忆", "the witness has lost its memory")
	}
	known, ok := l.witness.Last(l.log.Origin())
	if !ok {
		return nil
	}
	if known.Size > l.log.Last().Size {
		return changed(fmt.Sprintf("见证者见过 %d 条，日志只有 %d 条", known.Size, l.log.Last().Size),
			fmt.Sprintf("the witness has seen %d leaves, and the log has %d", known.Size, l.log.Last().Size))
	}
	root, err := l.log.RootAt(ctx, known.Size)
	if err == nil && root != known.Root {
		err = changed("日志与见证者记得的不符", "the log is not what the witness remembers")
	}
	return err
}

// attested verifies a note, and that the log is what it says.
func (l *Log) attested(ctx context.Context, n *receipt.Note) (*receipt.Attested, error) {
	a, err := l.trust.Verify(n)
	if err != nil {
		return nil, err
	}
	root, err := l.log.RootAt(ctx, n.Checkpoint.Size)
	if err != nil {
		return nil, err
	}
	if root != n.Checkpoint.Root {
		return nil, changed("日志与签署的检查点不符", "the log is not what was signed")
	}
	return a, nil
}

func changed(zh, en string) error {
	return errs.New(errs.Internal, zh, en).WithCode(tlog.CodeBroken)
}

// expired returns up to where entries have expired, as the newest statement in the log itself says.
func (l *Log) expired(ctx context.Context) (uint64, error) {
	var upto, at int64
	err := l.o.DB.QueryRow(ctx, "SELECT upto, statement FROM audit_expired ORDER BY upto DESC LIMIT 1").Scan(&upto, &at)
	if errors.Is(err, sqldb.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	leaves, err := l.log.Entries(ctx, uint64(at), 1)
	if err != nil {
		return 0, err
	}
	for _, leaf := range leaves {
		entries, err := parseLeaf(leaf.Data)
		if err != nil {
			return 0, err
		}
		for _, e := range entries {
			if _, to, ok := rangeOf(e); ok && to == uint64(upto) {
				return to, nil
			}
		}
	}
	return 0, changed("过期的条目没有声明", "entries are gone, and no statement says so")
}

// rangeOf reads the range of leaves that a statement is about.
func rangeOf(e Entry) (from, to uint64, ok bool) {
	a, b, found := strings.Cut(e.Object, "-")
	from, err1 := strconv.ParseUint(a, 10, 63)
	to, err2 := strconv.ParseUint(b, 10, 63)
	return from, to, e.What == Expire && found && err1 == nil && err2 == nil && from < to
}

// Watch checks the log at once and then each period, gently, until ctx ends: it waits between reads as long as they took.
func (l *Log) Watch(ctx context.Context, period time.Duration) error {
	for {
		before := time.Now()
		err := l.Check(ctx, func() {
			select {
			case <-ctx.Done():
			case <-time.After(time.Since(before)):
			}
			before = time.Now()
		})
		if err != nil && !broken(err) && ctx.Err() == nil {
			l.o.Log.ErrorContext(ctx, "the audit log could not be checked", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(period):
		}
	}
}
