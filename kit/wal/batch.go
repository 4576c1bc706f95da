package wal

import (
	"encoding/binary"

	"github.com/qiongdev/qiong/kit/errs"
)

// Batch is a row of records that are written by one write and synced by one sync: after a crash all are there, or none.
type Batch struct {
	buf   []byte // room for the head, then the records
	first uint64
	count int
	limit int // of a record
	spare *spare
	err   error
	done  func(error)
	head  head
}

// Batch returns an empty batch to append to. One batch is formed at a time: Batch waits until the last one is committed,
// and until a buffer is free. Every batch must be committed, an empty one too.
func (l *Log) Batch() *Batch {
	l.forming <- struct{}{}
	b := <-l.free
	*b = Batch{buf: append(b.buf[:0], make([]byte, headSize)...), first: l.next, limit: b.limit}
	return b
}

// Append copies a record into the batch and returns its number: 1 for the first of a log, and no gaps. A record larger
// than the options allow, or than there is Room for, spoils the batch: Append returns 0, and Commit writes nothing of it.
func (b *Batch) Append(payload []byte) uint64 {
	switch {
	case len(payload) > b.limit:
		b.err = errs.Newf(errs.TooLarge, "日志记录超过 %d 字节", "a log record is over %d bytes", b.limit)
	case len(payload) > b.Room():
		b.err = errs.Newf(errs.TooLarge, "一批日志超过 %d 字节", "a batch of log records is over %d bytes", maxFrame)
	}
	if b.err != nil {
		return 0
	}
	b.buf = append(binary.LittleEndian.AppendUint32(b.buf, uint32(len(payload))), payload...)
	b.count++
	return b.first + uint64(b.count) - 1
}

// Len returns how many records the batch holds.
func (b *Batch) Len() int { return b.count }

// Bytes returns how many bytes the records take.
func (b *Batch) Bytes() int { return len(b.buf) - headSize }

// Room returns how large the next record can be.
func (b *Batch) Room() int { return min(b.limit, maxFrame-unit-tailSize-len(b.buf)-4) }

// Commit queues the batch and returns. done is called when the batch is durable, or with the reason why it is not; it
// may be nil. The calls come in the order of the commits, from one goroutine of the log, and must not wait for the log.
// Of a batch that came to an error after it was queued, nobody knows whether a later Open finds it. The batch must not be
// used any more.
//
// Where the batch needs a segment for which there is no room, it is refused with kind Unavailable (CodeNoRoom) and its
// numbers are given to the next: the log has not stopped, unless its batches are linked (Options.Linked).
func (l *Log) Commit(b *Batch, done func(error)) {
	b.done = done
	if l.closed {
		l.free <- b
		<-l.forming
		if done != nil {
			done(closed())
		}
		return
	}
	if b.err == nil {
		b.err = l.refused
	}
	if b.err == nil && b.count > 0 {
		b.err = l.reserve(b)
	}
	if b.err != nil && l.linked {
		l.refused = b.err
	}
	if b.err == nil {
		l.next += uint64(b.count)
	}
	l.pending.Add(1)
	l.sealing <- b
	<-l.forming
}

// Busy reports whether something that was committed is still being written. A caller with little in its batch does well
// to add to it until the log is Idle: what would be committed meanwhile had to wait all the same, and for more syncs.
func (l *Log) Busy() bool { return l.pending.Load() > 0 }

// Idle receives when the log was Busy and is no more, or has been so since it was last received from.
func (l *Log) Idle() <-chan struct{} { return l.idle }

// reserve finds room for a batch, in the segment that is written or in the next.
func (l *Log) reserve(b *Batch) error {
	size := int64(frameSize(b.Bytes()))
	if size <= l.room {
		l.room -= size
		return nil
	}
	sp, err := l.spare.take()
	if err != nil {
		return err
	}
	whole := max(l.spare.size, headerSize+size)
	if whole > l.spare.size {
		if err := sp.file.Allocate(whole); err != nil {
			l.spare.put(sp)
			return noRoom(err)
		}
	}
	b.spare, l.room = sp, whole-headerSize-size
	return nil
}

// Rotate begins a new segment, so that Retain can drop all that was written before: it drops whole segments, and never the
// one that is written. A segment without a record stays as it is. Where there is no room for another (CodeNoRoom), nothing
// has changed.
func (l *Log) Rotate() (err error) {
	b := l.Batch()
	if !l.closed && l.refused == nil && l.room < l.spare.size-headerSize {
		if b.spare, err = l.spare.take(); err != nil {
			l.Commit(b, nil)
			return err
		}
		l.room = l.spare.size - headerSize
	}
	done := make(chan error, 1)
	l.Commit(b, func(err error) { done <- err })
	return <-done
}

// seal gives committed batches their chain and checksums, each while the one before is written.
func (l *Log) seal() {
	defer close(l.writing)
	chain := l.s.tip.chain
	for b := range l.sealing {
		if b.err == nil && b.count > 0 {
			b.buf, chain = seal(b.buf, l.seed, b.first, b.count, chain, l.s.o.Hash)
			b.head, _ = parseHead(b.buf, l.seed)
		}
		l.writing <- b
	}
}

// write writes sealed batches, one after the other, each synced before the next is begun.
func (l *Log) write() {
	defer close(l.waiting)
	for b := range l.writing {
		p := promise{b.first + uint64(b.count) - 1, b.err, b.done}
		if b.err == nil && (b.count > 0 || b.spare != nil) {
			if p.err = l.at.now().err; p.err == nil {
				if err := l.put(b); err != nil {
					p.err = l.at.fail(stopped(err))
				}
			}
		}
		l.recycle(b)
		l.waiting <- p
		if l.pending.Add(-1) == 0 {
			select {
			case l.idle <- struct{}{}:
			default:
			}
		}
	}
}

// recycled is the largest buffer that is kept.
const recycled = 8 << 20

func (l *Log) recycle(b *Batch) {
	if b.spare != nil && b.spare.file != nil {
		_ = b.spare.file.Close() // the log has stopped, and it was not used
	}
	if cap(b.buf) > recycled {
		b.buf = nil
	}
	l.free <- b
}

// put writes one batch and syncs it; an empty one is there for the segment that it begins. A writer that has been
// overtaken finds out before anybody is told: the next generation claims the folder before it reads how far the log goes.
func (l *Log) put(b *Batch) error {
	if sp := b.spare; sp != nil {
		b.spare = nil
		if err := l.s.begin(sp, l.s.have.generation); err != nil {
			return err
		}
	}
	if b.count == 0 {
		return l.s.overtaken()
	}
	if err := l.s.write(b.buf, b.head); err != nil {
		return err
	}
	l.at.wrote(b.head.last())
	if err := l.s.file.Datasync(); err != nil {
		return err
	}
	if err := l.s.overtaken(); err != nil {
		return err
	}
	l.at.synced(b.head.last())
	return nil
}

// keep tells callers, in order.
func (l *Log) keep() {
	for p := range l.waiting {
		if p.err == nil {
			p.err = l.at.settled(p.last)
		}
		if p.done != nil {
			p.done(p.err)
		}
	}
	l.at.fail(closed())
}
