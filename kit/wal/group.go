package wal

import (
	"context"
	"slices"
	"sync"

	"github.com/qiongdev/qiong/kit/errs"
)

// group gathers the records of callers of Write into batches.
type group struct {
	mu      sync.Mutex
	queue   []*written
	leading bool // one of the callers commits batches for all
}

// written is one caller's records.
type written struct {
	payloads [][]byte
	first    uint64
	done     chan error
}

// Write writes records that stay together, and returns the number of the first when they are durable. Callers at the
// same time share batches. Where ctx ends first, the records may still be written.
func (l *Log) Write(ctx context.Context, payloads ...[]byte) (uint64, error) {
	if err := l.fits(payloads); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, context.Cause(ctx)
	}
	w := &written{payloads: payloads, done: make(chan error, 1)}
	l.group.mu.Lock()
	l.group.queue = append(l.group.queue, w)
	lead := !l.group.leading
	l.group.leading = true
	l.group.mu.Unlock()
	if lead {
		go l.lead()
	}
	select {
	case err := <-w.done:
		return w.first, err
	case <-ctx.Done():
		l.group.forget(w)
		return 0, context.Cause(ctx)
	}
}

// forget takes records out of the queue, if they are still in it. Either way nobody reads the payloads any more.
func (g *group) forget(w *written) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.queue = slices.DeleteFunc(g.queue, func(q *written) bool { return q == w })
}

func (l *Log) fits(payloads [][]byte) error {
	total := 0
	for _, p := range payloads {
		if len(p) > l.s.o.MaxRecord {
			return errs.Newf(errs.TooLarge, "日志记录超过 %d 字节", "a log record is over %d bytes", l.s.o.MaxRecord)
		}
		total += 4 + len(p)
	}
	if total > maxFrame/2 {
		return errs.Newf(errs.TooLarge, "一批日志超过 %d 字节", "a batch of log records is over %d bytes", maxFrame/2)
	}
	if len(payloads) == 0 {
		return errs.New(errs.Invalid, "没有要写的记录", "there is no record to write")
	}
	return nil
}

// lead commits batches until nobody is waiting. While it waits for a buffer, callers gather.
func (l *Log) lead() {
	for {
		b := l.Batch()
		var all []*written
		l.group.mu.Lock()
		for len(l.group.queue) > 0 && l.group.queue[0].appendTo(b) {
			all = append(all, l.group.queue[0])
			l.group.queue = l.group.queue[1:]
		}
		l.group.leading = len(l.group.queue) > 0
		more := l.group.leading
		l.group.mu.Unlock()
		l.Commit(b, func(err error) {
			for _, w := range all {
				w.done <- err
			}
		})
		if !more {
			return
		}
	}
}

// appendTo appends the records to b; false where they do not fit and are left for the next.
func (w *written) appendTo(b *Batch) bool {
	need := 0
	for _, p := range w.payloads {
		need += 4 + len(p)
	}
	if b.Len() > 0 && b.Bytes()+need > maxFrame/2 {
		return false
	}
	for i, p := range w.payloads {
		lsn := b.Append(p)
		if i == 0 {
			w.first = lsn
		}
	}
	return true
}
