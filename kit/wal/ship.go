package wal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// followers are the standbys of a log that is written.
type followers struct {
	mu     sync.Mutex
	known  map[string]*follower
	ended  sync.WaitGroup
	ctx    context.Context // ends with the log
	cancel context.CancelCauseFunc
}

// follower is a standby by its name. The followers' mutex guards it.
type follower struct {
	connected int
	lies      int
	cutOff    bool
	err       error // of the last connection
	end       context.CancelCauseFunc
	ended     chan struct{} // closed when the connection has ended
}

func (f *followers) init() {
	f.known = map[string]*follower{}
	f.ctx, f.cancel = context.WithCancelCause(context.Background())
}

func (f *followers) wait() {
	f.mu.Lock()
	f.cancel(closed())
	f.mu.Unlock()
	f.ended.Wait()
}

// StandbyStatus is what a leader knows of one of its standbys.
type StandbyStatus struct {
	Name      string
	Connected bool
	Acked     uint64 // last record that it has synced; 0 where it was not heard of
	Lies      int    // how often it acknowledged what it cannot have
	CutOff    bool   // it has lied, and was not pardoned
	Err       error  // why the last connection ended
}

// Standbys lists the standbys that were heard of, by name.
func (l *Log) Standbys() []StandbyStatus {
	acked := l.at.ackedBy()
	f := &l.followers
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []StandbyStatus
	for _, name := range slices.Sorted(maps.Keys(f.known)) {
		k := f.known[name]
		all = append(all, StandbyStatus{name, k.connected > 0, acked[name], k.lies, k.cutOff, k.err})
	}
	return all
}

// Require says which standbys must have a batch synced, besides this disk, before done is called for it. It may be
// called at any time; batches that wait for a name that is left out go on. What was found by Open, or was durable before
// a name was added, stays durable although that standby may not have it: before anybody is answered on the ground of it,
// commit an empty batch, whose done waits until all that are required have everything before it.
func (l *Log) Require(names ...string) {
	names = slices.Clone(names)
	l.at.update(func() { l.at.required = names })
}

// Pardon lets a standby that was cut off connect again.
func (l *Log) Pardon(name string) {
	l.followers.mu.Lock()
	defer l.followers.mu.Unlock()
	if k := l.followers.known[name]; k != nil {
		k.cutOff = false
	}
}

// Ship keeps a standby up to date over a connection on which the standby calls Follow, until ctx ends, the log is
// closed or has failed, or the connection breaks; it closes the connection and always returns an error. Who is at the
// other end, and that name is theirs, the caller has made sure. A connection of the same name that is still open is
// ended first.
//
// A standby that acknowledges what it was not sent, with another chain, or less than before, is cut off (CodeLied): what
// it says counts no more, and Ship refuses it until Pardon is called.
func (l *Log) Ship(ctx context.Context, conn net.Conn, name string) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	leave, err := l.followers.enter(name, end)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	undo := context.AfterFunc(l.followers.ctx, func() { end(context.Cause(l.followers.ctx)) })
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // what waits for it returns
	ship := &shipment{l: l, name: name, w: newWire(conn, l.s.o.Timeout)}
	err = ship.run(ctx, end)
	if cause := context.Cause(ctx); cause != nil && !hasCode(err, CodeLied) {
		err = cause
	}
	undo()
	if stop() {
		_ = conn.Close() // err says why
	}
	leave(err)
	return err
}

func hasCode(err error, code string) bool {
	var e *errs.Error
	return errors.As(err, &e) && e.Code == code
}

// enter makes a connection that of a standby. leave must be called when it has ended.
func (f *followers) enter(name string, end context.CancelCauseFunc) (leave func(error), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.known[name]
	if k == nil {
		k = &follower{}
		f.known[name] = k
	}
	for k.end != nil {
		k.end(errs.New(errs.Conflict, "备机已另行连接", "the standby has connected anew"))
		ended := k.ended
		f.mu.Unlock()
		<-ended
		f.mu.Lock()
	}
	if f.ctx.Err() != nil {
		return nil, closed()
	}
	if k.cutOff {
		return nil, lied(name, "cut off before")
	}
	ended := make(chan struct{})
	k.end, k.ended, k.connected = end, ended, k.connected+1
	f.ended.Add(1)
	return func(err error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		k.end, k.err, k.connected = nil, err, k.connected-1
		if hasCode(err, CodeLied) {
			k.lies++
			k.cutOff = true
		}
		close(ended)
		f.ended.Done()
	}, nil
}

// shipment is a connection to a standby.
type shipment struct {
	l    *Log
	name string
	w    *wire

	mu    sync.Mutex
	sent  []sent // not acknowledged, oldest first
	bytes int
	acked point
	heard bool          // of a first acknowledgement
	freed chan struct{} // has an element when something was acknowledged
}

type sent struct {
	point
	bytes int
}

func lied(name, why string) error {
	return errs.Newf(errs.Conflict, "备机 %s 的确认不实（%s），已断开", "standby %s acknowledged what it cannot have (%s) and is cut off", name, why).WithCode(CodeLied)
}

func peer(err error) error {
	return errs.Wrap(err, errs.Unavailable, "日志主备之间的连接中断", "the connection between leader and standby of a log broke").WithCode(CodePeer)
}

func (p *shipment) run(ctx context.Context, end context.CancelCauseFunc) error {
	kind, payload, err := p.w.receive()
	if err != nil {
		return peer(err)
	}
	if kind != msgHello {
		return peer(fmt.Errorf("a message of kind %d before the hello", kind))
	}
	h, err := parseHello(payload)
	if err != nil {
		return peer(err)
	}
	b, err := p.plan(h)
	if err != nil {
		_ = p.w.refuse(p.l.Generation(), err) // it is told if it can be
		return err
	}
	from := point{b.common, b.chain}
	var snap *opened
	if b.snapshot == 1 {
		if snap, err = p.l.s.newestSnapshot(); err != nil || snap == nil {
			return errors.Join(err, notKept(b.common+1))
		}
		defer snap.Close() // it is read only
		from = point{snap.last, snap.chain}
	}
	p.freed = make(chan struct{}, 1)
	p.sent = []sent{{from, 0}}
	var hearing sync.WaitGroup
	hearing.Go(func() { end(p.hear()) })
	err = p.speak(ctx, b, snap, from)
	end(err)
	hearing.Wait()
	return err
}

// plan answers a hello: go on from the last common record where both logs reach back to it, else begin anew, with a
// snapshot where this log does not reach back to the first record.
func (p *shipment) plan(h hello) (beginning, error) {
	s := p.l.s
	b := beginning{hash: s.o.Hash, id: s.id, generation: p.l.Generation()}
	if h.generation > b.generation {
		return b, fenced(h.generation, b.generation)
	}
	if h.id != (ID{}) && (h.id != s.id || h.hash != s.o.Hash) {
		return b, peer(fmt.Errorf("the standby has another log"))
	}
	common, known, err := s.common(h, p.l.at.now().written)
	if err != nil {
		return b, err
	}
	if before := p.l.at.ackedBy()[p.name]; h.last < before || known && common.lsn < before {
		p.l.at.disown(p.name)
		return b, lied(p.name, "it has lost what it had acknowledged")
	}
	oldest := s.oldest()
	switch {
	case known && common.lsn >= h.oldest && common.lsn+1 >= oldest:
		b.common, b.chain = common.lsn, common.chain
	case oldest > 1:
		b.snapshot, b.common, b.chain = 1, common.lsn, common.chain // zeros where it is not known
	}
	return b, nil
}

// speak sends what was planned, and then frames.
func (p *shipment) speak(ctx context.Context, b beginning, snap *opened, from point) error {
	if err := p.w.send(msgStart, b.encode()); err != nil {
		return peer(err)
	}
	if snap != nil {
		if err := p.snapshot(snap); err != nil {
			return err
		}
	}
	return p.send(ctx, from)
}

// snapshot sends a snapshot.
func (p *shipment) snapshot(o *opened) error {
	h := o.snapshot
	h.received = true
	if err := p.w.send(msgSnapHead, h.encode()); err != nil {
		return peer(err)
	}
	piece := make([]byte, snapPiece)
	for {
		n, err := io.ReadFull(o.body, piece)
		if n > 0 {
			if err := p.w.send(msgSnapData, piece[:n]); err != nil {
				return peer(err)
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return err
		}
	}
	tail := make([]byte, snapshotTail)
	if _, err := o.ReadAt(tail, snapshotHead+o.body.Size()); err != nil && err != io.EOF {
		return err
	}
	if err := p.w.send(msgSnapEnd, tail); err != nil {
		return peer(err)
	}
	return nil
}

// send sends frames as they are written, before they are synced here: the standby may do so meanwhile.
func (p *shipment) send(ctx context.Context, from point) error {
	c, err := p.l.s.cursor(from.lsn + 1)
	if err != nil {
		return err
	}
	defer c.close()
	c.trust = true // the standby verifies the chain
	if c.next != from.lsn+1 || c.chain != from.chain {
		return damaged(c.g.path, c.at, "the chain does not hold")
	}
	ping := time.NewTicker(p.w.timeout / 3)
	defer ping.Stop()
	var generation, told uint64
	for {
		v := p.l.at.now()
		if v.err != nil {
			return v.err
		}
		full := p.full()
		if c.next <= v.written && !full {
			if err := p.frame(c, v, &generation); err != nil {
				return err
			}
			told = v.durable
			continue
		}
		if v.durable != told {
			if err := p.w.send(msgDurable, number(v.durable)); err != nil {
				return peer(err)
			}
			told = v.durable
		}
		changed := v.changed
		if full {
			changed = p.freed
		}
		select {
		case <-changed:
		case <-ping.C:
			if err := p.w.send(msgPing, number(v.durable)); err != nil {
				return peer(err)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// frame sends the frame at the cursor.
func (p *shipment) frame(c *cursor, v view, generation *uint64) error {
	frame, h, err := c.frame(v.written)
	if err != nil {
		return err
	}
	if frame == nil {
		return damaged(c.g.path, c.at, "a frame goes on after what was written")
	}
	if c.g.generation != *generation {
		*generation = c.g.generation
		if err := p.w.send(msgSegment, number(*generation)); err != nil {
			return peer(err)
		}
	}
	p.mu.Lock()
	p.sent = append(p.sent, sent{point{h.last(), chainOf(frame)}, h.size})
	p.bytes += h.size
	p.mu.Unlock()
	if err := p.w.send(msgFrame, number(v.durable), frame); err != nil {
		return peer(err)
	}
	return nil
}

// full reports whether the standby is as far behind as it may.
func (p *shipment) full() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sent) >= windowFrames || p.bytes >= windowBytes
}

// hear takes acknowledgements, until an error ends it.
func (p *shipment) hear() error {
	for {
		kind, payload, err := p.w.receive()
		if err != nil {
			return peer(err)
		}
		switch kind {
		case msgBusy:
		case msgRefuse:
			return refusal(payload, p.l.Generation())
		case msgAck:
			at, err := parsePoint(payload)
			if err != nil {
				return peer(err)
			}
			if err := p.ack(at); err != nil {
				p.l.at.disown(p.name)
				return err
			}
		default:
			return peer(fmt.Errorf("a message of kind %d from a standby", kind))
		}
	}
}

// ack takes what a standby says it has, if that is what it was sent.
func (p *shipment) ack(at point) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.heard && at == p.acked {
		return nil
	}
	if p.heard && at.lsn <= p.acked.lsn {
		return lied(p.name, "less than before")
	}
	i, found := slices.BinarySearchFunc(p.sent, at.lsn, func(s sent, lsn uint64) int { return cmp.Compare(s.lsn, lsn) })
	switch {
	case !found:
		return lied(p.name, "not what was sent")
	case p.sent[i].chain != at.chain:
		return lied(p.name, "another chain")
	}
	for _, s := range p.sent[:i+1] {
		p.bytes -= s.bytes
	}
	p.sent, p.acked, p.heard = slices.Delete(p.sent, 0, i+1), at, true
	p.l.at.update(func() { p.l.at.acked[p.name] = at.lsn })
	select {
	case p.freed <- struct{}{}:
	default:
	}
	return nil
}

func (p *progress) ackedBy() map[string]uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.acked)
}

// disown forgets what a standby has said.
func (p *progress) disown(name string) { p.update(func() { delete(p.acked, name) }) }
