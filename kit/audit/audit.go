// Package audit promises that what was done in a house stays on record: signing in and being refused, tokens, keys,
// settings, reads of graded data, restores; that the record cannot be changed or cut unnoticed, also not by who can
// write to its database; and that keeping it slows nobody down.
//
// Acts are gathered and written together, as one leaf of a log of package tlog, in the house's own database. [Log.Record]
// returns at once: the entry is written within a few milliseconds without waiting for the disk, so a killed process loses
// what the last 20 ms held, and a power cut what followed the last durable write, about a second. [Log.Commit] returns
// when the entry is on the disk. Neither drops anything: where entries can't be written they wait up to a limit, and
// beyond it acts are refused.
//
// About once a second, when the log has grown, the house signs its checkpoint, and a witness whose memory lies elsewhere
// cosigns it; one in another house may, too. [Log.Check] computes the log anew and holds it to all that was signed. A log
// that was put back from a backup goes on once [Log.Restored] has stated what it lacks.
package audit

import (
	"context"
	"crypto"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/telemetry"
	"github.com/qiongdev/qiong/kit/tlog"
)

//go:embed tables/*.sql
var tables embed.FS

// Tables are the migrations beside those of tlog, for sqldb's Migrate.
func Tables() fs.FS { return sqldb.Files(tables) }

// Options say where a log is and who signs it. All are required but Outside and Log.
type Options struct {
	DB       sqldb.DB // with Tables and tlog.Tables
	Operator crypto.Signer
	Witness  crypto.Signer
	Memory   string // folder of the local witness
	Outside  *Outside
	Archive  string // folder for entries that have expired
	Keep     time.Duration
	Now      func() time.Time
	Log      *slog.Logger
}

// Log is the audit log of a house.
type Log struct {
	o        Options
	log      *tlog.Log
	operator *receipt.Signer
	witness  *tlog.Witness // nil where its memory is gone
	outside  string        // name of the witness outside; empty where there is none
	trust    *receipt.Trust
	wake     chan struct{}

	mu      sync.Mutex
	waiting []*item
	status  Status
	problem lang.Text // of the witness outside

	old bool // the database is of a version that knows no restores

	writing sync.Mutex // one flush at a time
	signing sync.Mutex // one cosign at a time
	keeping sync.Mutex // entries do not expire while they are checked
}

// item is an entry that is to be written, and whom it keeps waiting.
type item struct {
	entry   Entry
	waits   bool
	written bool
	err     error
}

const (
	gather     = 20 * time.Millisecond // how long entries gather
	retry      = time.Second           // after they could not be written
	maxWaiting = 1 << 16
	maxLeaf    = 60_000 // bytes
)

// Open opens the log. A log whose hashes do not hold together, or whose witness has lost its memory, is opened all the
// same where it can be, and its Status says what is broken.
func Open(ctx context.Context, o Options) (*Log, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Log{o: o, wake: make(chan struct{}, 1)}
	if err := l.identify(); err != nil {
		return nil, err
	}
	var err error
	if l.log, err = tlog.Open(ctx, o.DB, l.trust.Keys()[0].Origin); err != nil {
		return nil, errs.Wrap(err, errs.As(err).Kind, "审计日志已损坏", "the audit log is broken").WithCode(errs.As(err).Code).
			WithHint("从备份恢复数据目录；qiong audit verify --data 可查明损坏之处", "restore the data folder from a backup; qiong audit verify --data tells what is broken")
	}
	if err := l.openWitness(ctx); err != nil {
		return nil, err
	}
	return l, nil
}

// Record has an entry written soon, and returns at once. The error says that it can't be kept: then the act must not be.
func (l *Log) Record(ctx context.Context, e Entry) error {
	_, err := l.push(ctx, e, false)
	return err
}

// Commit returns when the entry, and all before it, are on the disk. Entries of many callers are written together.
func (l *Log) Commit(ctx context.Context, e Entry) error {
	it, err := l.push(ctx, e, true)
	if err != nil {
		return err
	}
	_ = l.flush(context.WithoutCancel(ctx), sqldb.Durable) // it says of every item what became of it
	if !it.written && it.err == nil {
		return unavailable(nil)
	}
	return it.err
}

// Import appends entries that were made elsewhere, with their own times, durably and with what else is to be written in
// the same transaction.
func (l *Log) Import(ctx context.Context, entries []Entry, also func(tx *sqldb.Tx) error) error {
	if err := l.flush(ctx, sqldb.Durable); err != nil {
		return err
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	items := make([]*item, len(entries))
	for i, e := range entries {
		items[i] = &item{entry: e}
	}
	return l.write(ctx, sqldb.Durable, items, also)
}

func unavailable(err error) error {
	return errs.Wrap(err, errs.Unavailable, "审计日志无法写入", "the audit log can't be written").WithCode("audit.unavailable")
}

// push puts an entry into the line.
func (l *Log) push(ctx context.Context, e Entry, waits bool) (*item, error) {
	if e.Time == 0 {
		e.Time = beijing.At(l.o.Now())
	}
	if e.Trace == "" {
		e.Trace = telemetry.TraceID(ctx)
	}
	it := &item{entry: e, waits: waits}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) >= maxWaiting {
		return nil, unavailable(nil)
	}
	l.waiting = append(l.waiting, it)
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return it, nil
}

// Flush writes what has gathered. It is for who reads right after.
func (l *Log) Flush(ctx context.Context) error { return l.flush(ctx, sqldb.Relaxed) }

// flush writes what has gathered. Where that fails, who waits is told, and the others wait on.
func (l *Log) flush(ctx context.Context, d sqldb.Durability) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	items := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	if len(items) == 0 {
		return nil
	}
	for _, it := range items {
		if it.waits {
			d = sqldb.Durable
		}
	}
	err := l.write(ctx, d, items, nil)
	var left []*item
	for _, it := range items {
		if it.written = err == nil; err != nil && it.waits {
			it.err = unavailable(err)
		} else if err != nil {
			left = append(left, it)
		}
	}
	if len(left) > 0 {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.waiting = append(left, l.waiting...)
	}
	return err
}

var (
	intoLeaf = sqldb.NewInto("audit_leaf", "idx", "at")
	intoWho  = sqldb.NewInto("audit_who", "who", "idx")
)

// write appends items to the log as leaves, with what else belongs to them.
func (l *Log) write(ctx context.Context, d sqldb.Durability, items []*item, also func(tx *sqldb.Tx) error) error {
	leaves, rows := pack(items, l.log.Last().Size, l.o.Now())
	g, err := l.log.Grow(leaves)
	if err != nil {
		return err
	}
	err = l.o.DB.Write(ctx, d, func(tx *sqldb.Tx) error {
		if err := l.log.Write(ctx, tx, g, l.o.Now()); err != nil {
			return err
		}
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		return tx.Insert(ctx, rows...)
	})
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	l.log.Written(g)
	return nil
}

// pack makes leaves of entries, from an index on, and the rows by which they are found.
func pack(items []*item, from uint64, now time.Time) (leaves []tlog.Entry, rows []sqldb.Insert) {
	var data []byte
	who := map[string]bool{}
	end := func() {
		idx := int64(from) + int64(len(leaves))
		leaves = append(leaves, tlog.Entry{ID: fmt.Sprint("leaf-", idx), Data: data})
		rows = append(rows, intoLeaf.Row(idx, now.UnixMilli()))
		for name := range who {
			rows = append(rows, intoWho.Row(name, idx))
		}
		data = nil
		clear(who)
	}
	for _, it := range items {
		if len(data) > maxLeaf-12*most {
			end()
		}
		data = it.entry.Append(data)
		who[it.entry.Who] = true
	}
	end()
	return leaves, rows
}

// Run writes what gathers, and signs about once a second what has grown, until ctx ends. What is left then is written by
// Close.
func (l *Log) Run(ctx context.Context) error {
	var signing sync.WaitGroup
	defer signing.Wait()
	signing.Go(func() { l.sign(ctx) })
	if l.o.Outside != nil {
		signing.Go(func() { l.cosignOutside(ctx) })
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
		}
		for pause := gather; ; pause = retry {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
			err := l.flush(ctx, sqldb.Relaxed)
			if err == nil || ctx.Err() != nil {
				break
			}
			l.o.Log.ErrorContext(ctx, "the audit log could not be written; trying again", "err", err)
		}
	}
}

// Close writes what is left, signs it, and releases the witness. What can't be signed since the key is in a process that
// is away is signed after the next start. The database is closed by who opened it.
func (l *Log) Close() error {
	ctx := context.Background()
	err := l.flush(ctx, sqldb.Durable)
	if err == nil {
		if err = l.Sign(ctx); errs.Is(err, errs.Unavailable) || errs.Is(err, errs.Timeout) {
			l.o.Log.WarnContext(ctx, "the end of the audit log is not signed yet", "err", err)
			err = nil
		}
	}
	if l.witness == nil {
		return err
	}
	if closed := l.witness.Close(); err == nil {
		err = closed
	}
	return err
}
