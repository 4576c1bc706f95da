// Package tlog promises an append-only log in a service's own database: entries that are there once, in an order that
// cannot be changed unnoticed, with the checkpoints, cosignatures and proofs of which receipts are made.
//
// An entry, the hashes over it and the checkpoint behind it are written in one transaction: after a crash all of them
// are there or none. The hashes are kept as the tiles of C2SP tlog-tiles, 32.1 bytes an entry; a proof reads one tile
// for every 8 levels. Records are packed: one takes 40 bytes and its id. Whoever can write to the database can rewrite it, which no database prevents; but not unnoticed:
// [Log.Check] computes the log anew, and a [Witness] elsewhere remembers what it has cosigned.
package tlog

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
)

//go:embed tables/*.sql
var tables embed.FS

// Tables are the migrations of a log, for sqldb's Migrate.
func Tables() fs.FS { return sqldb.Files(tables) }

// Entry is what a log holds one after the other.
type Entry struct {
	ID   string // unique in the log
	Data []byte // of the leaf; at most merkle.MaxEntry bytes

	// Record is the record whose bytes Data are, where the writer has it at hand: it need not be read again. Reading a log
	// leaves it nil.
	Record *receipt.Record
}

// Log is a log in a database. Reads may come from many goroutines; appends stand in one line.
type Log struct {
	db     sqldb.DB
	origin string

	appending sync.Mutex
	mu        sync.RWMutex // over what follows
	edge      *edge
	last      receipt.Checkpoint
	shapes    shapes // replaced, never changed, as is
	recent    recent

	least         int // entries that gather at least before their ids go to log_id; 0: they go there at once
	grown, signed news
}

// Open opens the log in db, whose tables are migrated, under its origin. The right edge of its tree must lead to the
// last checkpoint's root; the rest is for Check.
func Open(ctx context.Context, db sqldb.DB, origin string) (*Log, error) {
	if err := receipt.CheckOrigin(origin); err != nil {
		return nil, err
	}
	l := &Log{db: db, origin: origin}
	last, err := l.lastStored(ctx, db)
	if err != nil {
		return nil, err
	}
	if err := l.readRecent(ctx, last.Size); err != nil {
		return nil, err
	}
	if err := l.upgradeIDs(ctx); err != nil {
		return nil, err
	}
	if l.shapes, err = readShapes(ctx, db); err != nil {
		return nil, err
	}
	if l.edge, err = readEdge(ctx, db, last.Size); err != nil {
		return nil, err
	}
	if root := l.edge.tree.Root(); root != last.Root {
		return nil, errs.New(errs.Internal, "日志的散列与其最后的检查点不符", "the hashes of the log do not lead to its last checkpoint").WithCode(CodeBroken)
	}
	l.last = last
	return l, nil
}

// CodeBroken is the code of errors that say a log's database is not what it was.
const CodeBroken = "log.broken"

// lastStored returns the checkpoint that stands in the database last.
func (l *Log) lastStored(ctx context.Context, q sqldb.Querier) (receipt.Checkpoint, error) {
	c := receipt.Checkpoint{Origin: l.origin, Root: merkle.EmptyRoot()}
	var size int64
	var root []byte
	switch err := q.QueryRow(ctx, "SELECT size, root FROM log_checkpoint ORDER BY size DESC LIMIT 1").Scan(&size, &root); {
	case errors.Is(err, sqldb.ErrNoRows):
		return c, nil
	case err != nil:
		return c, err
	}
	c.Size = uint64(size)
	copy(c.Root[:], root)
	return c, nil
}

// Origin returns the log's name.
func (l *Log) Origin() string { return l.origin }

// Last returns the newest checkpoint.
func (l *Log) Last() receipt.Checkpoint {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.last
}

// Grown returns a channel that is closed when the log has grown. Ask for it first, then look at Last.
func (l *Log) Grown() <-chan struct{} { return l.grown.Wait() }

// Signed is Grown for new cosignatures.
func (l *Log) Signed() <-chan struct{} { return l.signed.Wait() }

// Growth is what an append will write. It holds for the log as it was when Grow made it.
type Growth struct {
	From       uint64
	Checkpoint receipt.Checkpoint // of the log when it has grown

	rows   []sqldb.Insert // entries that stand as they are, and shapes that are new
	packed []byte         // the other entries, one after the other
	places []int64        // of every entry in packed: where it begins, shifted by 16 bits, and its length; 0 where it is not there
	ids    []int64        // the hashes of their ids
	hasher hasher
	before recent
	recent recent // with these entries
	due    run    // what goes to log_id
	edge   *edge
	tiles  []tile
	shapes shapes
}

// Grow computes what the log will be with further entries, whose ids must be new, and changes nothing.
func (l *Log) Grow(entries []Entry) (*Growth, error) {
	l.mu.RLock()
	g := &Growth{From: l.last.Size, edge: l.edge.clone(), shapes: l.shapes, before: l.recent}
	l.mu.RUnlock()
	g.ids, g.places, g.packed = make([]int64, 0, len(entries)), make([]int64, 0, len(entries)), make([]byte, 0, 80*len(entries))
	for i, e := range entries {
		if len(e.ID) == 0 || len(e.Data) == 0 || len(e.Data) > merkle.MaxEntry {
			return nil, errs.New(errs.Invalid, "日志条目须有编号与 1 至 65535 字节", "an entry of a log has an id and 1 to 65535 bytes")
		}
		g.edge.add(e.Data)
		g.put(int64(g.From)+int64(i), e)
	}
	g.index(l)
	g.tiles = g.edge.take()
	g.Checkpoint = receipt.Checkpoint{Origin: l.origin, Size: g.edge.tree.Size(), Root: g.edge.tree.Root()}
	return g, nil
}

var (
	intoEntry      = sqldb.NewInto("log_entry", "idx", "id", "data")
	intoShape      = sqldb.NewInto("log_shape", "shape", "record")
	intoCheckpoint = sqldb.NewInto("log_checkpoint", "size", "root", "at")
)

// put adds an entry.
func (g *Growth) put(idx int64, e Entry) {
	g.ids = append(g.ids, g.hasher.of(e.ID))
	begin := len(g.packed)
	packed, added := g.shapes.pack(g.packed, e)
	if added != nil {
		g.shapes = g.shapes.with(added)
		g.rows = append(g.rows, intoShape.Row(g.shapes.numbers[string(added)], string(added)))
		packed, _ = g.shapes.pack(g.packed, e)
	}
	length := len(packed) - begin
	if g.packed = packed; length == 0 {
		g.places = append(g.places, 0)
		g.rows = append(g.rows, intoEntry.Row(idx, e.ID, e.Data))
		return
	}
	g.places = append(g.places, int64(begin)<<16|int64(length)) // a packed record is shorter than the record
}

// writePacked writes the packed entries: by one statement, since one for each takes longer than to write it.
func (g *Growth) writePacked(ctx context.Context, tx *sqldb.Tx) error {
	if len(g.packed) == 0 {
		return nil
	}
	each := "SELECT key + $2, '', substr($3, (value >> 16) + 1, value & 65535) FROM json_each($1) WHERE value > 0"
	if tx.Dialect() == sqldb.Postgres {
		each = `SELECT n - 1 + $2, '', substring($3::bytea FROM (value::bigint >> 16)::int + 1 FOR (value::bigint & 65535)::int)
			FROM jsonb_array_elements_text($1::jsonb) WITH ORDINALITY AS e(value, n) WHERE value <> '0'`
	}
	_, err := tx.Exec(ctx, "INSERT INTO log_entry (idx, id, data) "+each, listOf(g.places), int64(g.From), g.packed)
	return err
}

// Write writes the growth in the caller's transaction. It refuses where the log in the database has another size than
// the growth begins with: another process appends, or this one appended in between.
func (l *Log) Write(ctx context.Context, tx *sqldb.Tx, g *Growth, at time.Time) error {
	if len(g.ids) == 0 {
		return nil
	}
	if err := tx.Lock(ctx, "tlog"); err != nil {
		return err
	}
	stored, err := l.lastStored(ctx, tx)
	if err != nil {
		return err
	}
	if stored.Size != g.From {
		return errs.New(errs.Conflict, "日志已被他人追加", "somebody else has appended to the log").WithCode("log.moved")
	}
	point := intoCheckpoint.Row(int64(g.Checkpoint.Size), g.Checkpoint.Root[:], at.UnixMilli())
	if err := tx.Insert(ctx, append(slices.Clip(g.rows), point)...); err != nil {
		return err
	}
	if err := g.writePacked(ctx, tx); err != nil {
		return err
	}
	if err := g.writeIDs(ctx, tx); err != nil {
		return err
	}
	for _, t := range g.tiles {
		if _, err := tx.Exec(ctx, `INSERT INTO log_tile (level, idx, hashes) VALUES ($1, $2, $3)
			ON CONFLICT (level, idx) DO UPDATE SET hashes = excluded.hashes`, int64(t.level), int64(t.index), t.hashes); err != nil {
			return err
		}
	}
	return nil
}

// Written makes a growth that was committed the log's state.
func (l *Log) Written(g *Growth) {
	if len(g.ids) == 0 {
		return
	}
	l.mu.Lock()
	l.edge, l.last, l.shapes, l.recent = g.edge, g.Checkpoint, g.shapes, g.recent
	l.mu.Unlock()
	l.grown.Tell()
}

// Append appends entries durably, with what else is to be written in the same transaction, and returns the new
// checkpoint. An id that is there already is a conflict, and nothing is written.
func (l *Log) Append(ctx context.Context, at time.Time, entries []Entry, also func(tx *sqldb.Tx, from uint64) error) (receipt.Checkpoint, error) {
	l.appending.Lock()
	defer l.appending.Unlock()
	if twice, err := l.twice(ctx, entries); err != nil {
		return receipt.Checkpoint{}, err
	} else if twice {
		return receipt.Checkpoint{}, errs.New(errs.Conflict, "该编号的条目已在日志中", "an entry with this id is in the log already").WithCode("log.duplicate")
	}
	g, err := l.Grow(entries)
	if err != nil {
		return receipt.Checkpoint{}, err
	}
	err = l.db.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		if also != nil {
			if err := also(tx, g.From); err != nil {
				return err
			}
		}
		return l.Write(ctx, tx, g, at)
	})
	if err != nil {
		return receipt.Checkpoint{}, fmt.Errorf("append to the log: %w", err)
	}
	l.Written(g)
	return g.Checkpoint, nil
}
