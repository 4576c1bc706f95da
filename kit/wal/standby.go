package wal

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/qiongdev/qiong/kit/errs"
)

// Standby is a log that is written by what a leader sends. To take over, close it and open the folder with a generation
// of its own: then everything that is in it counts.
type Standby struct {
	s     *store
	spare *spares
	at    *progress

	following chan struct{} // held by Follow
	fresh     atomic.Bool   // the next frame begins a segment
	closing   context.Context
	close     context.CancelCauseFunc
	once      sync.Once
}

// leader is whose word makes a standby's records durable.
const leader = "leader"

// OpenStandby opens the log in dir for following, and makes it where there is none. Options.Generation is not looked at.
func OpenStandby(dir string, o Options) (*Standby, error) {
	o = o.filled()
	s, err := openStore(dir, o)
	if err != nil {
		return nil, err
	}
	b := &Standby{s: s, spare: newSpares(s.fs, s.dir, o.SegmentBytes), at: newProgress(0), following: make(chan struct{}, 1)}
	b.closing, b.close = context.WithCancelCause(context.Background())
	last := s.tip.next - 1
	b.at.update(func() { b.at.required, b.at.written, b.at.here = []string{leader}, last, last })
	return b, nil
}

// Recovered says what OpenStandby found.
func (b *Standby) Recovered() Recovery { return b.s.found }

// Last returns the last record that is synced here.
func (b *Standby) Last() uint64 { return b.at.now().here }

// Durable returns the last record that is synced here and of which the leader has said that it is durable. What comes
// after may be taken back by another leader.
func (b *Standby) Durable() uint64 { return b.at.now().durable }

// Wait returns when record lsn is durable.
func (b *Standby) Wait(ctx context.Context, lsn uint64) error { return b.at.wait(ctx, lsn) }

// Read yields the records after one, as Log.Read does.
func (b *Standby) Read(after uint64) iter.Seq2[Record, error] { return b.s.read(after, b.Durable) }

// Restore returns the newest valid snapshot, as Log.Restore does. Another comes where the leader had to send one; then
// Read says that it does not keep what was before.
func (b *Standby) Restore() (uint64, io.ReadCloser, error) { return b.s.restore() }

// Snapshot keeps a state, as Log.Snapshot does.
func (b *Standby) Snapshot(last uint64, write func(io.Writer) error) error {
	return b.s.snapshot(last, b.Durable(), write)
}

// Retain drops what nobody needs, as Log.Retain does.
func (b *Standby) Retain(last uint64) error {
	err := b.s.retain(last)
	b.spare.retry()
	return err
}

// Rotate has the next frame begin a new segment, so that Retain can drop all that was written before. Where there is no
// room for one (CodeNoRoom), nothing has changed.
func (b *Standby) Rotate() error {
	if err := b.spare.health(); err != nil {
		return err
	}
	b.fresh.Store(true)
	return nil
}

// Close ends Follow and closes the folder.
func (b *Standby) Close() (err error) {
	b.once.Do(func() {
		b.close(closed())
		b.following <- struct{}{} // for ever
		failed := b.at.now().err
		b.at.fail(closed())
		err = b.spare.close()
		if failed == nil {
			err = errors.Join(err, b.s.trim())
		}
		err = errors.Join(err, b.s.close())
	})
	return err
}

// Follow takes from a leader that calls Ship at the other end of conn what it has written, syncs it and says so, until
// ctx ends or the connection breaks; it closes the connection and always returns an error. Records that the leader
// never had are cut off and kept aside. A leader of a lower generation than the folder has seen is refused (CodeFenced),
// and one that would take back what was durable as long as this Standby is open.
func (b *Standby) Follow(ctx context.Context, conn net.Conn) error {
	select {
	case b.following <- struct{}{}:
	default:
		return errors.Join(standbyBusy(), conn.Close())
	}
	defer func() { <-b.following }()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	undo := context.AfterFunc(b.closing, func() { end(context.Cause(b.closing)) })
	defer undo()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // what waits for it returns
	f := &following{b: b, w: newWire(conn, b.s.o.Timeout)}
	err := f.run()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if stop() {
		_ = conn.Close() // err says why
	}
	return err
}

// following is a connection to a leader.
type following struct {
	b          *Standby
	w          *wire
	generation uint64 // of the frames that come
	leader     uint64 // the leader's own
}

func (f *following) run() error {
	if v := f.b.at.now(); v.err != nil {
		return v.err
	}
	if err := f.w.send(msgHello, f.b.s.hello().encode()); err != nil {
		return peer(err)
	}
	kind, payload, err := f.w.receive()
	if err != nil {
		return peer(err)
	}
	if kind == msgRefuse {
		return refusal(payload, f.b.s.newestGeneration())
	}
	if kind != msgStart {
		return peer(fmt.Errorf("a message of kind %d before the start", kind))
	}
	start, err := parseBeginning(payload)
	if err != nil {
		return peer(err)
	}
	if err := f.begin(start); err != nil {
		_ = f.w.refuse(f.b.s.newestGeneration(), err) // it is told if it can be
		return f.failed(err)
	}
	if err := f.ack(); err != nil {
		return err
	}
	for {
		kind, payload, err := f.w.receive()
		if err != nil {
			return peer(err)
		}
		if err := f.take(kind, payload); err != nil {
			return f.failed(err)
		}
	}
}

// failed stops the standby where the disk is at fault.
func (f *following) failed(err error) error {
	var e *errs.Error
	if errors.As(err, &e) && e.Code != CodeStopped {
		return err
	}
	return f.b.at.fail(stopped(err))
}

// hello says what the folder has.
func (s *store) hello() hello {
	h := hello{id: s.id, generation: s.newestGeneration(), oldest: s.oldest() - 1, last: s.tip.next - 1, chain: s.tip.chain, table: s.table()}
	if s.id != (ID{}) {
		h.hash = s.o.Hash
	}
	return h
}

// begin does as the leader says: it cuts, or begins anew.
func (f *following) begin(start beginning) error {
	s := f.b.s
	switch newest := s.newestGeneration(); {
	case start.generation < newest:
		return fenced(newest, start.generation)
	case s.id != (ID{}) && (start.id != s.id || start.hash != s.o.Hash):
		return peer(fmt.Errorf("the leader has another log"))
	case start.snapshot == 0 && start.common < f.b.Durable():
		return peer(fmt.Errorf("the leader goes on from record %d, and record %d was durable", start.common, f.b.Durable()))
	}
	s.id, s.o.Hash, f.leader = start.id, start.hash, start.generation
	if err := s.claim(start.generation); err != nil {
		return err
	}
	f.b.fresh.Store(true)
	if start.snapshot == 1 {
		return f.snapshot(start)
	}
	var err error
	if start.common == 0 && s.oldest() > 1 {
		err = s.anew()
	} else {
		err = s.cut(point{start.common, start.chain})
	}
	f.settle()
	return err
}

// settle takes note of where the log ends after it was cut.
func (f *following) settle() {
	last := f.b.s.tip.next - 1
	f.b.at.update(func() { f.b.at.written, f.b.at.here = last, last })
}

// snapshot takes in a snapshot and begins the log after it.
func (f *following) snapshot(start beginning) error {
	kind, payload, err := f.w.receive()
	if err != nil {
		return peer(err)
	}
	h, err := parseSnapshotHead(payload)
	if kind != msgSnapHead || err != nil || !h.received || h.id != start.id || h.hash != start.hash || h.last < start.common || h.last < f.b.Durable() {
		return peer(fmt.Errorf("a snapshot that does not go with the start"))
	}
	s := f.b.s
	if err := s.save(h, f.body); err != nil {
		return err
	}
	h.path = filepath.Join(s.dir, h.name())
	err = s.installed(h, start.common)
	f.settle()
	return err
}

// body copies a snapshot's body as it comes.
func (f *following) body(w io.Writer) error {
	var size int64
	var sum uint32
	for {
		kind, payload, err := f.w.receive()
		switch {
		case err != nil:
			return peer(err)
		case kind == msgSnapEnd:
			if string(payload) != string(snapshotEnd(size, sum)) {
				return peer(fmt.Errorf("the snapshot's checksum does not hold"))
			}
			return nil
		case kind != msgSnapData:
			return peer(fmt.Errorf("a message of kind %d within a snapshot", kind))
		}
		size += int64(len(payload))
		sum = crc32.Update(sum, castagnoli, payload)
		if _, err := w.Write(payload); err != nil {
			return err
		}
		if err := f.w.send(msgBusy); err != nil {
			return peer(err)
		}
	}
}

// take does what a message says.
func (f *following) take(kind uint32, payload []byte) error {
	switch kind {
	case msgSegment:
		generation, err := parseNumber(payload)
		if err != nil || generation == 0 || generation < f.b.s.writtenBy() || generation > f.leader {
			return peer(fmt.Errorf("a segment of a generation that is not the leader's to send"))
		}
		f.generation = generation
		f.b.fresh.Store(true)
		return nil
	case msgFrame:
		if len(payload) < 8+headSize {
			return peer(fmt.Errorf("a frame of %d bytes", len(payload)))
		}
		if err := f.write(payload[8:]); err != nil {
			return err
		}
		f.heard(payload[:8])
		return f.ack()
	case msgDurable, msgPing:
		if len(payload) != 8 {
			return peer(fmt.Errorf("a number of %d bytes", len(payload)))
		}
		f.heard(payload)
		if kind == msgPing {
			return f.ack()
		}
		return nil
	case msgRefuse:
		return refusal(payload, f.b.s.newestGeneration())
	}
	return peer(fmt.Errorf("a message of kind %d from a leader", kind))
}

func (f *following) heard(durable []byte) {
	n, _ := parseNumber(durable)
	f.b.at.update(func() { f.b.at.acked[leader] = n })
}

// write puts a frame into the log as it is, and syncs it.
func (f *following) write(frame []byte) error {
	s := f.b.s
	h, ok := parseHead(frame, seed(s.id, f.generation))
	switch {
	case f.generation == 0 || !ok || !h.whole(frame, seed(s.id, f.generation)):
		return peer(fmt.Errorf("a frame that is not whole"))
	case h.first != s.tip.next:
		return peer(fmt.Errorf("record %d where %d belongs", h.first, s.tip.next))
	case s.o.Hash.link(s.tip.chain, frame[headSize:headSize+h.body]) != chainOf(frame):
		return peer(fmt.Errorf("the chain of a frame does not hold"))
	}
	if err := f.room(h); err != nil {
		return err
	}
	if err := s.write(frame, h); err != nil {
		return stopped(err)
	}
	if err := errors.Join(s.file.Datasync(), s.overtaken()); err != nil {
		return stopped(err)
	}
	f.settle()
	return nil
}

// room begins a segment where the frame needs one.
func (f *following) room(h head) error {
	s := f.b.s
	if !f.b.fresh.Load() && s.file != nil && s.tip.at+int64(h.size) <= f.b.spare.size {
		return nil
	}
	sp, err := f.b.spare.take()
	if err != nil {
		return err
	}
	if whole := headerSize + int64(h.size); whole > f.b.spare.size {
		if err := sp.file.Allocate(whole); err != nil {
			f.b.spare.put(sp)
			return noRoom(err)
		}
	}
	if err := s.begin(sp, f.generation); err != nil {
		return stopped(err)
	}
	f.b.fresh.Store(false)
	return nil
}

// ack says what is synced.
func (f *following) ack() error {
	if err := f.w.send(msgAck, point{f.b.s.tip.next - 1, f.b.s.tip.chain}.encode()); err != nil {
		return peer(err)
	}
	return nil
}
