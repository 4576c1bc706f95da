package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/qiongdev/qiong/kit/errs"
)

// Record is one entry of a log.
type Record struct {
	LSN  uint64
	Data []byte // good until the next record is asked for
}

// Read yields the records after one, in order, up to the last that is durable when they are reached; Wait says when
// there are more. The log may be written and trimmed meanwhile. Checksums and chain of everything that is yielded have
// been verified. An error ends the sequence.
func (l *Log) Read(after uint64) iter.Seq2[Record, error] {
	return l.s.read(after, l.Durable)
}

func (s *store) read(after uint64, durable func() uint64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if after >= durable() {
			return
		}
		c, err := s.cursor(after + 1)
		if err != nil {
			yield(Record{}, err)
			return
		}
		defer c.close()
		for {
			frame, h, err := c.frame(durable())
			if err != nil {
				yield(Record{}, err)
				return
			}
			if frame == nil {
				return
			}
			for lsn, data := range records(frame, h) {
				if lsn > after && !yield(Record{lsn, data}, nil) {
					return
				}
			}
		}
	}
}

// records yields the records of a whole frame.
func records(frame []byte, h head) iter.Seq2[uint64, []byte] {
	return func(yield func(uint64, []byte) bool) {
		body := frame[headSize : headSize+h.body]
		for i := range uint64(h.count) {
			n := binary.LittleEndian.Uint32(body)
			if !yield(h.first+i, body[4:4+n:4+n]) {
				return
			}
			body = body[4+n:]
		}
	}
}

// cursor reads frames, one segment after the other.
type cursor struct {
	s     *store
	g     *segment
	seed  uint32
	w     window
	mark         // of the next frame
	until uint64 // number at which the next segment begins, 0 where it is not known
	limit uint64 // up to which the file was written when the window was filled
	trust bool   // chains are taken as they are
}

// cursor returns a cursor that begins with the frame that holds record lsn.
func (s *store) cursor(lsn uint64) (*cursor, error) {
	c := &cursor{s: s}
	if err := c.seek(lsn); err != nil {
		return nil, errors.Join(err, c.close())
	}
	c.trust = true
	for c.next < lsn {
		frame, h, err := c.peek(lsn)
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		if frame == nil || h.last() >= lsn {
			break
		}
		c.pass(frame, h)
	}
	c.trust = false
	return c, nil
}

// seek opens the segment of a record, at its nearest mark.
func (c *cursor) seek(lsn uint64) error {
	g, m, until, err := c.s.segmentFor(lsn)
	if err != nil {
		return err
	}
	f, err := c.s.fs.Open(g.path, 0)
	if missing(err) {
		return notKept(lsn)
	}
	if err != nil {
		return err
	}
	if err := c.close(); err != nil {
		return errors.Join(err, f.Close())
	}
	c.g, c.seed, c.w, c.mark, c.until, c.limit = g, seed(g.id, g.generation), window{f: f}, m, until, 0
	return nil
}

// frame returns the next frame whose records are all within the limit, nil where there is none, and goes on to the next.
func (c *cursor) frame(limit uint64) ([]byte, head, error) {
	frame, h, err := c.peek(limit)
	if frame != nil {
		c.pass(frame, h)
	}
	return frame, h, err
}

func (c *cursor) pass(frame []byte, h head) {
	c.mark = mark{h.last() + 1, c.at + int64(h.size), chainOf(frame)}
}

// peek returns the frame at the cursor.
func (c *cursor) peek(limit uint64) ([]byte, head, error) {
	if c.next > limit {
		return nil, head{}, nil
	}
	if c.limit != limit {
		if err := c.refresh(limit); err != nil {
			return nil, head{}, err
		}
	}
	if c.next == c.until {
		if err := c.turn(limit); err != nil {
			return nil, head{}, err
		}
	}
	frame, h, err := c.w.frame(c.at, c.seed)
	switch {
	case err != nil:
		return nil, h, err
	case frame == nil:
		return nil, h, damaged(c.g.path, c.at, fmt.Sprintf("record %d was there, and its frame is not whole", c.next))
	case h.first != c.next:
		return nil, h, damaged(c.g.path, c.at, fmt.Sprintf("record %d where %d belongs", h.first, c.next))
	case !c.trust && c.g.hash.link(c.chain, frame[headSize:headSize+h.body]) != chainOf(frame):
		return nil, h, damaged(c.g.path, c.at, "the chain does not hold")
	case h.last() > limit:
		return nil, h, nil
	}
	return frame, h, nil
}

// refresh takes note that more has been written.
func (c *cursor) refresh(limit uint64) (err error) {
	c.limit = limit
	c.w.forget()
	if c.w.size, err = c.w.f.Size(); err != nil {
		return err
	}
	g, _, until, err := c.s.segmentFor(c.next)
	if err != nil {
		return err
	}
	if c.until = until; g != c.g {
		c.until = g.first
	}
	return nil
}

// turn opens the next segment.
func (c *cursor) turn(limit uint64) error {
	next, chain := c.next, c.chain
	if err := c.seek(next); err != nil {
		return err
	}
	if c.next != next || c.chain != chain {
		return damaged(c.g.path, 0, "it does not go on from the segment before")
	}
	return c.refresh(limit)
}

func (c *cursor) close() error {
	if c.w.f == nil {
		return nil
	}
	f := c.w.f
	c.w.f = nil
	return f.Close()
}

// endsBatch returns the head of a snapshot after a record, which must be the last of its batch.
func (s *store) endsBatch(last uint64) (snapshot, error) {
	h := snapshot{hash: s.o.Hash, id: s.id, last: last}
	s.mu.RLock()
	for _, old := range s.snapshots {
		if old.last == last {
			h.generation, h.chain = old.generation, old.chain
		}
	}
	s.mu.RUnlock()
	if h.generation != 0 {
		return h, nil
	}
	c, err := s.cursor(last)
	if err != nil {
		return h, err
	}
	frame, at, err := c.frame(last)
	if err == nil && (frame == nil || at.last() != last) {
		err = errs.New(errs.Invalid, "快照须截至一批的最后一条记录", "a snapshot ends with the last record of a batch")
	}
	if err == nil {
		h.generation, h.chain = c.g.generation, chainOf(frame)
	}
	return h, errors.Join(err, c.close())
}
