package exchange

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/recordio"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/table"
)

// pageRows is how many rows of a table are read at once.
const pageRows = 1000

// readTable reads a feed's table now and then, until ctx ends.
func (x *Exchange) readTable(ctx context.Context, f *Feed) error {
	pause := firstPause
	for {
		n, err := x.readPage(ctx, f)
		wait := time.Duration(f.From.Table.Every)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			x.host.Log.WarnContext(ctx, "a table can't be read", "feed", f.Name, "err", err)
			wait = pause
			pause = min(2*pause, x.cfg.Pause)
		case n == pageRows:
			continue
		default:
			pause = firstPause
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// readPage takes in the rows behind the cursor, and moves it, in one transaction.
func (x *Exchange) readPage(ctx context.Context, f *Feed) (int, error) {
	source := f.From.Table
	spec := table.Spec{Table: source.Name, Columns: f.columns.Names(), Charset: "binary", Key: f.key, Text: make([]bool, len(f.Fields))}
	t, err := x.table(ctx, source.Connection, spec)
	if err != nil {
		return 0, err
	}
	var after, page int64
	err = x.host.DB.QueryRow(ctx, "SELECT value, page FROM source_cursor WHERE feed = $1", f.Name).Scan(&after, &page)
	first := errors.Is(err, sqldb.ErrNoRows)
	if err != nil && !first {
		return 0, err
	}
	if x.overloaded(ctx, f) != nil {
		return 0, nil
	}
	rows, last, err := t.Scan(ctx, source.Cursor, after, pageRows)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	now := x.host.Now()
	in := &transfer{ID: x.newID(), Feed: f.Name, Version: int64(f.Version), Kind: kindPage, Name: fmt.Sprintf("page-%d", page+1),
		Day: beijing.Date(now), Status: accepted, Created: now.UnixMilli(), Ended: now.UnixMilli()}
	packed, refused := x.takeRows(f, in, rows)
	inserts := []sqldb.Insert{}
	if in.Good > 0 {
		in.Chunks = 1
		inserts = append(inserts, intoChunk.Row(in.ID, int64(0), in.Good, x.sealer.Seal(packed, chunkAAD(in.ID, 0))))
	}
	for _, h := range refused {
		row, err := h.row()
		if err != nil {
			return 0, err
		}
		inserts = append(inserts, row)
	}
	err = x.host.DB.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		sql := "UPDATE source_cursor SET value = $2, page = $3 WHERE feed = $1"
		if first {
			sql = "INSERT INTO source_cursor (feed, value, page) VALUES ($1, $2, $3)"
		}
		if _, err := tx.Exec(ctx, sql, f.Name, last, page+1); err != nil {
			return err
		}
		if err := tx.Insert(ctx, append([]sqldb.Insert{in.row()}, inserts...)...); err != nil {
			return err
		}
		return x.handOn(ctx, tx, f, in, "")
	})
	return len(rows), err
}

// takeRows checks the rows of a table as it does the records of a file.
func (x *Exchange) takeRows(f *Feed, in *transfer, rows []table.Row) (packed []byte, refused []*held) {
	values, parsed := make([]recordio.Value, len(f.Fields)), make([]recordio.Value, len(f.Fields))
	for i, row := range rows {
		var err error
		for c, v := range row {
			parsed[c] = recordio.Value{}
			if v == nil {
				continue
			}
			text, decodeError := f.From.Table.Text.decode(nil, v)
			if decodeError != nil && err == nil {
				e := *errs.As(decodeError)
				e.Field = f.Fields[c].Name
				err = &e
			}
			parsed[c] = recordio.Value{Text: text, Set: true}
		}
		if err == nil {
			_, err = f.normal(nil, parsed, values)
		}
		seq := int64(i + 1)
		if err != nil {
			refused = append(refused, x.hold(f, in.ID, seq, "", recordio.Segment{Bytes: f.line(row)}, err))
			in.Bad++
			continue
		}
		packed = pack(packed, seq, values)
		in.Good++
	}
	return packed, refused
}

// line writes a row of a table for the quarantine: a line of CSV behind the line of column names, in the table's bytes.
func (f *Feed) line(row table.Row) []byte {
	w := &recordio.Writer{Format: recordio.CSV, Columns: f.columns}
	values := make([]recordio.Value, len(row))
	for i, v := range row {
		values[i] = recordio.Value{Text: v, Set: v != nil}
	}
	return w.Append(w.AppendHead(nil), values, true)
}

// overloaded says that a feed must wait for its targets.
func (x *Exchange) overloaded(ctx context.Context, f *Feed) error {
	waiting, err := x.store.backlog(ctx, f.Name)
	if err != nil {
		return err
	}
	if waiting >= int64(x.cfg.Backlog) {
		return errs.New(errs.TooMany, "该数据流积压过多，请稍后再发", "too much of this feed waits for its targets; send it later").WithCode("exchange.backlog").WithRetryAfter(time.Minute)
	}
	return nil
}
