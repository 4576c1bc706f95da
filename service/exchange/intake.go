package exchange

import (
	"bytes"
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/recordio"
	"github.com/qiongdev/qiong/kit/sqldb"
)

const (
	chunkRecords = 1000
	chunkBytes   = 512 << 10
)

// batch is some records on their way from the file into a chunk. Its memory is used again for later ones.
type batch struct {
	n       int64 // of the batch, from 0
	seq     int64 // of the first record, from 1
	records []recordio.Segment
	arena   []byte   // their bytes
	after   progress // where the file stands behind it
	done    chan outcome

	packed, text, utf8 []byte // while it is checked
}

// outcome is what became of a batch.
type outcome struct {
	good int64
	body []byte // packed and sealed
	held []*held
	err  error
}

// intake reads one file into chunks: one goroutine splits, several parse, check and seal, and one commits the chunks in
// order. What is in memory is some batches.
type intake struct {
	x      *Exchange
	feed   *Feed
	id     string    // of the transfer
	t      *transfer // changed by each commit
	digest hash.Hash
	from   progress
}

// receive takes in the bytes of t's file from where it stands on. An error of kind Invalid has refused the transfer;
// after any other the sender may go on from the new offset.
func (x *Exchange) receive(ctx context.Context, feed *Feed, t *transfer, m Manifest, r io.Reader) error {
	in := &intake{x: x, feed: feed, id: t.ID, t: t, digest: gm.NewSM3()}
	var err error
	if in.from, err = t.progress(); err != nil {
		return err
	}
	if in.from.SM3 != nil {
		if err := in.digest.(encoding.BinaryUnmarshaler).UnmarshalBinary(in.from.SM3); err != nil {
			return err
		}
	}
	last, err := in.run(ctx, &whole{r: r, left: m.Bytes - in.from.Split.Offset})
	if err == nil {
		err = in.compare(m, last)
	}
	switch e := errs.As(err); {
	case err == nil:
		return x.accept(ctx, feed, t)
	case e.Kind == errs.Invalid:
		return errors.Join(x.refuse(ctx, t, e), err)
	}
	return err
}

// whole reads exactly so many bytes: neither an early end nor a long file passes for a whole one.
type whole struct {
	r    io.Reader
	left int64
}

// Read implements io.Reader.
func (w *whole) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.left -= int64(n)
	switch {
	case w.left < 0:
		return 0, errs.New(errs.Invalid, "文件比清单所说的长", "the file is longer than its manifest says").WithCode("manifest.bytes").WithField("bytes")
	case errors.Is(err, io.EOF) && w.left > 0:
		return n, errs.New(errs.Unavailable, "文件尚未收完", "the file has not come whole yet").WithCode("exchange.incomplete").
			WithHint("查询此传输的 offset，从该处继续发送", "ask for the transfer's offset and go on from there")
	}
	return n, err
}

// compare holds what was received to the manifest.
func (in *intake) compare(m Manifest, last progress) error {
	bad := func(field, zh, en string) error {
		return errs.New(errs.Invalid, zh, en).WithField(field).WithCode("manifest." + field)
	}
	switch {
	case !bytes.Equal(in.digest.Sum(nil), m.SM3[:]):
		return bad("sm3", "文件的摘要与清单不符", "the file's digest is not the manifest's")
	case last.Seq != m.Records:
		return bad("records", "文件的记录数与清单不符", "the file's records are not as many as its manifest says")
	}
	return nil
}

func (in *intake) run(ctx context.Context, r io.Reader) (progress, error) {
	g, ctx := errgroup.WithContext(ctx)
	workers := runtime.GOMAXPROCS(0)
	work := make(chan *batch)
	ordered := make(chan *batch, workers)
	free := make(chan *batch, workers+2)
	for range cap(free) {
		free <- &batch{done: make(chan outcome, 1)}
	}
	last := in.from
	var ended error // why the file could not be read on; what was read before is committed all the same
	n := in.t.Chunks
	g.Go(func() error {
		defer close(work)
		defer close(ordered)
		ended = in.split(ctx, r, n, free, func(b *batch) error {
			for _, to := range []chan<- *batch{ordered, work} {
				select {
				case to <- b:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
		return nil
	})
	for range workers {
		g.Go(func() error {
			for b := range work {
				b.done <- in.check(b)
			}
			return nil
		})
	}
	g.Go(func() error {
		for b := range ordered {
			select {
			case out := <-b.done:
				if err := in.commit(ctx, b, out); err != nil {
					return err
				}
				last = b.after
				free <- b // there is room for all
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return last, err
	}
	return last, ended
}

// split cuts the file into batches. Where reading fails, what was read whole before is a batch all the same.
func (in *intake) split(ctx context.Context, r io.Reader, n int64, free <-chan *batch, send func(*batch) error) error {
	source := in.feed.From
	opt := recordio.Options{Row: source.Row, Wide: source.Encoding.gb, Passed: func(b []byte) { in.digest.Write(b) }}
	s := recordio.NewSplitter(r, source.Format, opt, in.from.Split)
	seq := in.from.Seq
	for {
		var b *batch
		select {
		case b = <-free:
		case <-ctx.Done():
			return ctx.Err()
		}
		b.n, b.seq = n, seq+1
		err := in.fill(b, s)
		seq += int64(len(b.records))
		if len(b.records) > 0 || err == io.EOF {
			inner, marshalError := in.digest.(encoding.BinaryMarshaler).MarshalBinary()
			if marshalError != nil {
				return marshalError
			}
			b.after = progress{Split: s.State(), SM3: inner, Seq: seq}
			if err := send(b); err != nil {
				return err
			}
			n++
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// fill puts records into b until it is full.
func (in *intake) fill(b *batch, s *recordio.Splitter) error {
	b.arena, b.records = b.arena[:0], b.records[:0]
	for len(b.records) < chunkRecords && len(b.arena) < chunkBytes {
		seg, err := s.Next()
		if err != nil {
			return err
		}
		from := len(b.arena)
		b.arena = append(b.arena, seg.Bytes...)
		seg.Bytes = b.arena[from:len(b.arena):len(b.arena)] // stays right when the arena moves: the old one is kept by it
		b.records = append(b.records, seg)
	}
	return nil
}

// check parses and checks the records of a batch, and packs the good ones.
func (in *intake) check(b *batch) (out outcome) {
	header, err := in.feed.From.Encoding.decode(nil, b.after.Split.Header)
	if err == nil {
		var p *recordio.Parser
		if p, err = recordio.NewParser(in.feed.From.Format, in.feed.columns, in.feed.From.Row, header); err == nil {
			return in.checkAll(b, p)
		}
	}
	return outcome{err: err} // the line of column names is wrong: nothing can be read
}

func (in *intake) checkAll(b *batch, p *recordio.Parser) (out outcome) {
	b.packed = b.packed[:0]
	values := make([]recordio.Value, len(in.feed.Fields))
	for i, seg := range b.records {
		var err error
		var parsed []recordio.Value
		if b.utf8, err = in.feed.From.Encoding.decode(b.utf8[:0], seg.Bytes); err == nil {
			if parsed, err = p.Parse(b.utf8); err == nil {
				b.text, err = in.feed.normal(b.text[:0], parsed, values)
			}
		}
		seq := b.seq + int64(i)
		if err != nil {
			out.held = append(out.held, in.x.hold(in.feed, in.id, seq, "", seg, err))
			continue
		}
		b.packed = pack(b.packed, seq, values)
		out.good++
	}
	if out.good > 0 {
		out.body = in.x.sealer.Seal(b.packed, chunkAAD(in.id, b.n))
	}
	return out
}

// commit writes a batch and how far the file has been read, in one transaction.
func (in *intake) commit(ctx context.Context, b *batch, out outcome) error {
	if out.err != nil {
		return out.err
	}
	if b.after.Seq == in.from.Seq && b.after.Split.Offset == in.from.Split.Offset {
		return nil // an end that had been reached before
	}
	state, err := json.Marshal(b.after)
	if err != nil {
		return err
	}
	next := *in.t
	next.state = string(state)
	next.Good += out.good
	next.Bad += int64(len(out.held))
	if limit := int64(in.x.cfg.Quarantine); next.Bad > limit {
		return errs.Newf(errs.Invalid, "超过 %d 条记录无法接收，请检查数据流的定义", "more than %d records can't be taken; check the feed's definition", limit).
			WithCode("exchange.too-many-bad")
	}
	var rows []sqldb.Insert
	if out.good > 0 {
		rows = append(rows, intoChunk.Row(in.id, b.n, out.good, out.body))
	}
	next.Chunks = b.n + 1
	for _, h := range out.held {
		row, err := h.row()
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	err = in.x.host.DB.Write(ctx, sqldb.Durable, func(tx *sqldb.Tx) error {
		if err := in.x.store.advance(ctx, tx, &next, in.t.Bad, in.t.Chunks); err != nil {
			return err
		}
		return tx.Insert(ctx, rows...)
	})
	if err == nil {
		*in.t = next
		in.x.metrics.records.WithLabelValues(in.feed.Name, "good").Add(float64(out.good))
		in.x.metrics.records.WithLabelValues(in.feed.Name, "quarantined").Add(float64(len(out.held)))
	}
	return err
}
