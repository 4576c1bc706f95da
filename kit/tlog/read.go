package tlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
)

func broken(zh, en string) error { return errs.New(errs.Internal, zh, en).WithCode(CodeBroken) }

func missing() error {
	return errs.New(errs.NotFound, "日志中没有此条目", "the log has no such entry")
}

// Entries returns up to limit entries from index on, in their order.
func (l *Log) Entries(ctx context.Context, from uint64, limit int) ([]Entry, error) {
	return sqldb.All(ctx, l.db, func(s sqldb.Scanner) (Entry, error) {
		var id string
		var data []byte
		if err := s.Scan(&id, &data); err != nil {
			return Entry{}, err
		}
		return l.unpacked(ctx, id, data)
	}, "SELECT id, data FROM log_entry WHERE idx >= $1 AND idx < $2 ORDER BY idx", int64(from), int64(from)+int64(limit))
}

// reader reads the nodes of the log when it had the given size.
func (l *Log) reader(ctx context.Context, size uint64) merkle.Reader {
	return merkle.TileReader(size, func(t merkle.Tile) ([]byte, error) { return readTile(ctx, l.db, t) })
}

// Inclusion proves that the entry at index is in the log of the given size.
func (l *Log) Inclusion(ctx context.Context, index, size uint64) ([]merkle.Hash, error) {
	return merkle.ProveInclusion(index, size, l.reader(ctx, size))
}

// Consistency proves that the log of the newer size begins with that of the older.
func (l *Log) Consistency(ctx context.Context, older, newer uint64) ([]merkle.Hash, error) {
	return merkle.ProveConsistency(older, newer, l.reader(ctx, newer))
}

// At returns the checkpoint of the given size; an error of kind NotFound where the log never stopped there.
func (l *Log) At(ctx context.Context, size uint64) (receipt.Checkpoint, error) {
	root, err := sqldb.Value[[]byte](ctx, l.db, "SELECT root FROM log_checkpoint WHERE size = $1", int64(size))
	if errors.Is(err, sqldb.ErrNoRows) {
		err = errs.New(errs.NotFound, "日志没有这样的检查点", "the log has no such checkpoint")
	}
	c := receipt.Checkpoint{Origin: l.origin, Size: size}
	copy(c.Root[:], root)
	return c, err
}

// RootAt computes the root that the log had at any size.
func (l *Log) RootAt(ctx context.Context, size uint64) (merkle.Hash, error) {
	r, err := merkle.ReadRange(size, l.reader(ctx, size))
	if err != nil {
		return merkle.Hash{}, err
	}
	return r.Root(), nil
}

// Since returns up to limit checkpoints beyond a size, oldest first.
func (l *Log) Since(ctx context.Context, size uint64, limit int) ([]receipt.Checkpoint, error) {
	return sqldb.All(ctx, l.db, func(s sqldb.Scanner) (receipt.Checkpoint, error) {
		var n int64
		var root []byte
		err := s.Scan(&n, &root)
		c := receipt.Checkpoint{Origin: l.origin, Size: uint64(n)}
		copy(c.Root[:], root)
		return c, err
	}, "SELECT size, root FROM log_checkpoint WHERE size > $1 ORDER BY size LIMIT $2", int64(size), limit)
}

// Receipt returns what proves the entry at index under the checkpoint of a size: its way and the note.
func (l *Log) Receipt(ctx context.Context, index, size uint64) (*receipt.Receipt, error) {
	entries, err := l.Entries(ctx, index, 1)
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, missing()
	}
	record, err := receipt.ParseRecord(entries[0].Data)
	if err != nil {
		return nil, fmt.Errorf("entry %d: %w", index, err)
	}
	note, err := l.Note(ctx, size)
	if err != nil {
		return nil, err
	}
	r := &receipt.Receipt{Record: *record, Index: index, Note: *note}
	r.Path, err = l.Inclusion(ctx, index, size)
	return r, err
}

// Check computes the log anew, from every entry up to every checkpoint's root, and returns an error with CodeBroken
// that says what is not as it was. progress, which may be nil, is told how many entries are done.
func (l *Log) Check(ctx context.Context, progress func(done, size uint64)) error {
	return l.CheckFrom(ctx, 0, progress)
}

// CheckFrom is Check for a log whose entries before first have expired: of them the hashes are held to the roots.
func (l *Log) CheckFrom(ctx context.Context, first uint64, progress func(done, size uint64)) error {
	last := l.Last()
	points, err := l.pointsFrom(ctx, 0)
	if err != nil {
		return err
	}
	e := &edge{tree: &merkle.Range{}}
	for at := uint64(0); at < last.Size; {
		leaves, err := l.leaves(ctx, at, first, last.Size)
		if err != nil {
			return err
		}
		for _, leaf := range leaves {
			e.append(leaf)
			at++
			if points, err = l.checkPoint(ctx, points, e.tree); err != nil {
				return err
			}
		}
		if err := l.checkTiles(ctx, e.take(), last.Size); err != nil {
			return err
		}
		if progress != nil {
			progress(at, last.Size)
		}
	}
	return nil
}

// leaves returns the hashes of the next leaves: of the entries themselves, or, before first, those that are kept of them.
func (l *Log) leaves(ctx context.Context, at, first, size uint64) ([]merkle.Hash, error) {
	if at < first {
		nodes := make([]merkle.Node, min(merkle.TileWidth-at%merkle.TileWidth, first-at))
		for i := range nodes {
			nodes[i].Index = at + uint64(i)
		}
		return l.reader(ctx, size)(nodes)
	}
	n := min(size-at, 1024)
	entries, err := l.Entries(ctx, at, int(n))
	if err != nil {
		return nil, err
	}
	if uint64(len(entries)) != n {
		return nil, l.lacks(ctx, at, n)
	}
	leaves := make([]merkle.Hash, n)
	var h merkle.Hasher
	for i, e := range entries {
		leaves[i] = h.Leaf(e.Data)
	}
	return leaves, nil
}

// lacks names the first entry that is missing among n.
func (l *Log) lacks(ctx context.Context, at, n uint64) error {
	have, err := sqldb.All(ctx, l.db, func(s sqldb.Scanner) (idx int64, err error) { return idx, s.Scan(&idx) },
		"SELECT idx FROM log_entry WHERE idx >= $1 AND idx < $2 ORDER BY idx", int64(at), int64(at+n))
	if err != nil {
		return err
	}
	for _, idx := range have {
		if uint64(idx) != at {
			break
		}
		at++
	}
	return broken(fmt.Sprintf("日志缺少条目 %d", at), fmt.Sprintf("the log lacks entry %d", at))
}

// Expire deletes up to limit entries before first and reports how many there were. Their hashes stay, so that what was
// proved before is proved for ever, and CheckFrom still holds the log to them.
func (l *Log) Expire(ctx context.Context, tx *sqldb.Tx, first uint64, limit int) (int64, error) {
	last, h := int64(-1), hasher{}
	ids, err := sqldb.All(ctx, tx, func(s sqldb.Scanner) (int64, error) {
		var id string
		var data []byte
		if err := s.Scan(&last, &id, &data); err != nil {
			return 0, err
		}
		e, err := l.unpacked(ctx, id, data)
		return h.of(e.ID), err
	}, "SELECT idx, id, data FROM log_entry WHERE idx < $1 ORDER BY idx LIMIT $2", int64(first), limit)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	// Ids that are not there yet may come after their entries are gone, and are found in vain.
	if _, err := tx.Exec(ctx, "DELETE FROM log_id WHERE idx <= $2 AND hash IN (SELECT value FROM "+numbersOf(tx.Dialect())+")", listOf(ids), last); err != nil {
		return 0, err
	}
	return tx.Exec(ctx, "DELETE FROM log_entry WHERE idx <= $1", last)
}

// RangeAt returns the right edge that the log had at a size: to what further leaves are appended to come to later roots.
func (l *Log) RangeAt(ctx context.Context, size uint64) (*merkle.Range, error) {
	return merkle.ReadRange(size, l.reader(ctx, size))
}

// pointsFrom returns the next checkpoints beyond size.
func (l *Log) pointsFrom(ctx context.Context, size uint64) ([]receipt.Checkpoint, error) {
	return l.Since(ctx, size, 1024)
}

// checkPoint holds the tree to the next checkpoint where that is of its size, and returns those that are left.
func (l *Log) checkPoint(ctx context.Context, points []receipt.Checkpoint, tree *merkle.Range) ([]receipt.Checkpoint, error) {
	if len(points) == 0 || points[0].Size != tree.Size() {
		return points, nil
	}
	if points[0].Root != tree.Root() {
		return nil, broken(fmt.Sprintf("第 %d 条以内的条目与当时的检查点不符", tree.Size()),
			fmt.Sprintf("the entries up to %d are not what its checkpoint says", tree.Size()))
	}
	if points = points[1:]; len(points) == 0 {
		return l.pointsFrom(ctx, tree.Size())
	}
	return points, nil
}

// checkTiles holds stored tiles to those computed anew.
func (l *Log) checkTiles(ctx context.Context, tiles []tile, size uint64) error {
	for _, t := range tiles {
		named := merkle.Tile{Level: t.level, Index: t.index, Width: len(t.hashes) / merkle.HashSize}
		stored, err := readTile(ctx, l.db, named)
		if err != nil {
			return err
		}
		if string(stored) != string(t.hashes) {
			return broken("日志的散列块 "+named.Path()+" 与条目不符", named.Path()+" of the log is not what its entries lead to")
		}
	}
	return nil
}
