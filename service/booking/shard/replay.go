package shard

import (
	"fmt"

	"github.com/qiongdev/qiong/service/booking/ledger"
)

// block is a stretch of the log on its way from who reads it to who applies it.
type block struct {
	first  uint64
	events []ledger.Event
	n      int
	err    error

	touched uint64 // of memory; nobody reads it
}

const blockSize = 1024

// replay applies what the log has after a record, and returns the number of the last. One goroutine reads, verifies and
// parses, while this one applies.
func replay(log Source, after uint64, state *ledger.State) (last uint64, err error) {
	full, free, stop := make(chan *block, 4), make(chan *block, 4), make(chan struct{})
	for range cap(free) {
		free <- &block{events: make([]ledger.Event, blockSize)}
	}
	go read(log, after, full, free, stop)
	defer func() {
		close(stop)
		for range full { // until the reader has gone
		}
	}()
	for last = after; ; {
		b, more := <-full
		if !more {
			return last, nil
		}
		b.touched += state.WarmEvents(b.events[:b.n])
		for i := range b.events[:b.n] {
			at := b.first + uint64(i)
			if err := state.Apply(at, &b.events[i]); err != nil {
				return last, fmt.Errorf("record %d: %w", at, err)
			}
			last = at
		}
		if b.err != nil {
			return last, b.err
		}
		b.n = 0
		free <- b
	}
}

// read fills blocks, and closes full at the end.
func read(log Source, after uint64, full chan<- *block, free <-chan *block, stop <-chan struct{}) {
	defer close(full)
	b := <-free
	for r, err := range log.Read(after) {
		if err == nil {
			if b.n == 0 {
				b.first = r.LSN
			}
			if err = b.events[b.n].ParseBare(r.Data); err != nil {
				err = fmt.Errorf("record %d: %w", r.LSN, err)
			}
		}
		if err != nil {
			b.err = err
			break
		}
		if b.n++; b.n < blockSize {
			continue
		}
		full <- b
		select {
		case b = <-free:
		case <-stop:
			return
		}
	}
	full <- b
}
