package wal

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/qiongdev/qiong/kit/errs"
)

// Log is an open log. Its methods may be called from any goroutine.
type Log struct {
	s     *store
	seed  uint32
	spare *spares
	at    *progress

	forming chan struct{} // held from Batch to Commit: records are numbered by one caller at a time
	next    uint64        // number of the next record; guarded by forming
	room    int64         // left in the segment when all that is committed is written; guarded by forming
	closed  bool          // guarded by forming
	linked  bool
	refused error // of a log whose batches are linked; guarded by forming

	free    chan *Batch
	sealing chan *Batch
	writing chan *Batch
	waiting chan promise
	ended   sync.WaitGroup

	pending atomic.Int32  // batches that are committed and not written
	idle    chan struct{} // of capacity 1: there were none any more

	group     group
	followers followers
}

// promise is a batch of which a caller hears when it is durable.
type promise struct {
	last uint64
	err  error
	done func(error)
}

// promises is how many batches may wait for standbys when they are written here.
const promises = 64

// Open opens the log in dir for writing, with a generation of its own, and makes it where there is none. See Options
// and Log.Recovered.
func Open(dir string, o Options) (*Log, error) {
	o = o.filled()
	s, err := openStore(dir, o)
	if err != nil {
		return nil, err
	}
	l, err := start(s, o)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return l, nil
}

// start takes the folder over for a new generation and begins a segment of it.
func start(s *store, o Options) (*Log, error) {
	newest := s.newestGeneration()
	generation := o.Generation
	if generation == 0 && o.Unfenced {
		generation = newest + 1
	}
	if generation <= newest {
		return nil, fenced(newest, generation)
	}
	if s.id == (ID{}) {
		s.id = newID()
	}
	if err := s.claim(generation); err != nil {
		return nil, err
	}
	l := &Log{
		linked: o.Linked, s: s, seed: seed(s.id, generation), spare: newSpares(s.fs, s.dir, o.SegmentBytes), at: newProgress(s.tip.next - 1),
		forming: make(chan struct{}, 1), next: s.tip.next, room: o.SegmentBytes - headerSize,
		free: make(chan *Batch, o.Buffers), sealing: make(chan *Batch, o.Buffers), writing: make(chan *Batch, o.Buffers),
		waiting: make(chan promise, promises), idle: make(chan struct{}, 1),
	}
	l.followers.init()
	sp, err := l.spare.take()
	if err == nil {
		err = s.begin(sp, generation)
	}
	if err != nil {
		return nil, errors.Join(err, l.spare.close())
	}
	for range o.Buffers {
		l.free <- &Batch{limit: o.MaxRecord}
	}
	l.ended.Go(l.seal)
	l.ended.Go(l.write)
	l.ended.Go(l.keep)
	return l, nil
}

// Recovered says what Open found.
func (l *Log) Recovered() Recovery { return l.s.found }

// ID returns the log's name, which its standbys share.
func (l *Log) ID() ID { return l.s.id }

// Linked reports whether the log was opened with Options.Linked.
func (l *Log) Linked() bool { return l.linked }

// Generation returns the generation that writes.
func (l *Log) Generation() uint64 { return l.s.have.generation }

// Durable returns the last record that is durable: synced here and at every standby that is required. What was found
// by Open counts as durable.
func (l *Log) Durable() uint64 { return l.at.now().durable }

// Wait returns when record lsn is durable.
func (l *Log) Wait(ctx context.Context, lsn uint64) error { return l.at.wait(ctx, lsn) }

// Health returns why the next Commit will be refused, or one soon: the error that stopped the log, or, while there is
// still room in the segment that is written, that there is none for the next. Nil where all is well.
func (l *Log) Health() error {
	if err := l.at.now().err; err != nil {
		return err
	}
	return l.spare.health()
}

// Close waits until what is committed is written and synced, and closes the folder. Batches that still wait for a
// standby are told that the log is closed. A Batch that was begun must be committed for Close to return.
func (l *Log) Close() error {
	l.forming <- struct{}{}
	again := l.closed
	l.closed = true
	if !again {
		l.at.update(func() { l.at.closing = true })
		close(l.sealing)
	}
	<-l.forming
	l.ended.Wait()
	if again {
		return nil
	}
	l.followers.wait()
	err := l.spare.close()
	if failed := l.at.now().err; failed == nil || errs.As(failed).Code == CodeClosed {
		err = errors.Join(err, l.s.trim()) // of a log that has failed, nothing more is known
	}
	return errors.Join(err, l.s.close())
}
