package evidence

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/tlog"
)

// follower has a council order records: it sends them to the agencies' nodes and follows the log that these agree on.
type follower struct {
	x     *Evidence
	nodes []*peer
	quiet quiet

	notes   chan news
	turn    atomic.Pointer[string]     // the agency that proposes now
	foreign atomic.Pointer[errs.Error] // why the log here is not the council's; nil where it is

	pending pending // collect's alone, and so is
	source  *peer   // who has given entries last
}

// news is what a node has signed.
type news struct {
	from *peer
	note *receipt.Note
}

const (
	longPoll  = 20 * time.Second
	readLimit = 20 * time.Second
	maxStep   = 16 * merkle.TileWidth // entries that are taken in together
)

func newFollower(x *Evidence) (*follower, error) {
	f := &follower{x: x, notes: make(chan news), quiet: quiet{log: x.host.Log}}
	for _, url := range x.cfg.Nodes {
		n, err := newPeer(url)
		if err != nil {
			return nil, err
		}
		f.nodes = append(f.nodes, n)
	}
	return f, nil
}

// quorum is how many agencies must have signed a root before this house believes it.
func (f *follower) quorum() int { return 2*len(f.x.council())/3 + 1 }

// enough reports whether a quorum of the council is among the signatures; those of witnesses do not count.
func (f *follower) enough(signatures []receipt.Signature) bool {
	have := 0
	for _, name := range f.x.council() {
		if index(signatures, name) >= 0 {
			have++
		}
	}
	return have >= f.quorum()
}

// Ready implements orderer.
func (f *follower) Ready() error {
	if e := f.foreign.Load(); e != nil {
		return e
	}
	up := 0
	for _, n := range f.nodes {
		if n.state() == nil {
			up++
		}
	}
	if up < min(f.quorum(), len(f.nodes)) {
		return errs.New(errs.Unavailable, "达不到法定数的部门在线，记录暂存", "fewer than a quorum of the agencies answer; records wait").WithCode("evidence.quorum")
	}
	return nil
}

// Run implements orderer.
func (f *follower) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, n := range f.nodes {
		g.Go(func() error { f.listen(ctx, n); return nil })
	}
	g.Go(func() error { f.turns(ctx); return nil })
	g.Go(func() error { f.collect(ctx); return nil })
	g.Go(func() error { f.send(ctx); return nil })
	return g.Wait()
}

// listen hears what a node signs.
func (f *follower) listen(ctx context.Context, n *peer) {
	after, known, pause := uint64(0), false, time.Duration(0)
	for ctx.Err() == nil {
		var err error
		if !known {
			after, err = f.meet(ctx, n)
			known = err == nil
		}
		if known {
			after, err = f.hearOf(ctx, n, after)
		}
		if ctx.Err() != nil {
			return
		}
		if n.heard(err, f.x.host.Now()); err == nil {
			pause = 0
			continue
		}
		known = false
		pause = min(max(2*pause, 200*time.Millisecond), time.Second)
		if errs.KindOf(err) == errs.Invalid {
			f.quiet.warn("a node does not serve the council's log", "node", n.url, err)
			pause = max(pause, time.Second)
		}
		wait(ctx, pause)
	}
}

// meet asks a node who it is, and returns up to where its signatures are here already.
func (f *follower) meet(ctx context.Context, n *peer) (uint64, error) {
	note, err := n.client.Checkpoint(ctx)
	if errs.KindOf(err) == errs.NotFound {
		return 0, nil // it has signed nothing yet
	}
	if err != nil {
		return 0, err
	}
	var upTo uint64
	for i, s := range note.Signatures {
		if err := f.believes(n, note.Checkpoint, s); err != nil {
			return 0, err
		}
		size, err := f.x.log.CosignedUpTo(ctx, s.Name)
		if err != nil {
			return 0, err
		}
		if i == 0 || size < upTo {
			upTo = size
		}
	}
	return upTo, nil
}

// believes returns nil where a node's signature is one of this log.
func (f *follower) believes(n *peer, c receipt.Checkpoint, s receipt.Signature) error {
	if c.Origin != f.x.cfg.Origin {
		return errs.New(errs.Invalid, "节点的日志不是约定的那份", "the node's log is not the one agreed on")
	}
	k, err := f.x.trust().VerifySignature(c, s)
	if err != nil {
		return err
	}
	if k.Role == receipt.Agency {
		n.is(s.Name)
	}
	return nil
}

// hearOf hands on what a node has signed beyond a size, and returns how far that went. Where it has nothing new, it must
// still show what it has shown.
func (f *follower) hearOf(ctx context.Context, n *peer, after uint64) (uint64, error) {
	notes, err := n.client.Notes(ctx, after, longPoll)
	if err != nil {
		return after, err
	}
	n.heard(nil, f.x.host.Now())
	for _, note := range notes {
		for _, s := range note.Signatures {
			if err := f.believes(n, note.Checkpoint, s); err != nil {
				return after, err
			}
		}
		select {
		case f.notes <- news{n, note}:
			after = note.Checkpoint.Size
		case <-ctx.Done():
			return after, nil
		}
	}
	if len(notes) > 0 || after == 0 {
		return after, nil
	}
	last, err := n.client.Checkpoint(ctx)
	if err == nil && last.Checkpoint.Size < after {
		err = errs.Newf(errs.Invalid, "节点签署过第 %d 条，如今只到第 %d 条", "the node had signed up to %d, and shows %d now", after, last.Checkpoint.Size).WithCode(tlog.CodeShrunk)
	}
	return after, err
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// collect brings into the log here what a quorum has signed, and every signature of it.
func (f *follower) collect(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.retry(ctx)
		case n := <-f.notes:
			for _, s := range n.note.Signatures {
				if err := f.hear(ctx, n.note.Checkpoint, s); err != nil && ctx.Err() == nil {
					f.quiet.warn("a signed checkpoint could not be taken in", "node", n.from.url, err)
				}
			}
		}
	}
}

// hear takes in one agency's signature, which was verified.
func (f *follower) hear(ctx context.Context, c receipt.Checkpoint, s receipt.Signature) error {
	if c.Size <= f.x.log.Last().Size {
		return f.late(ctx, c, s)
	}
	with, against := f.pending.add(c, s)
	if len(against) > 0 { // one of the two is wrong, and whoever signed both is, too
		if err := f.accuse(ctx, c, s); err != nil {
			return err
		}
	}
	if !f.enough(with) || f.foreign.Load() != nil {
		return nil
	}
	return f.take(ctx, c, with)
}

// retry takes what a quorum has signed and no node gave the entries of at the time.
func (f *follower) retry(ctx context.Context) {
	if f.foreign.Load() != nil {
		return
	}
	for _, s := range f.pending.ready(f.x.cfg.Origin, f.enough) {
		err := f.take(ctx, s.checkpoint, s.signatures)
		if err == nil || ctx.Err() != nil {
			return // the greatest was taken, and what is smaller with it
		}
		f.quiet.warn("signed entries could not be read", "size", fmt.Sprint(s.checkpoint.Size), err)
	}
}

// late takes in a signature of what is in the log here already, or names whoever signed something else.
func (f *follower) late(ctx context.Context, c receipt.Checkpoint, s receipt.Signature) error {
	own, err := f.x.log.RootAt(ctx, c.Size)
	if err != nil {
		return err
	}
	if own != c.Root {
		if f.foreign.Load() != nil || !f.sound(ctx) {
			return nil // it is this house that has another log
		}
		return f.accuse(ctx, c, s)
	}
	_, err = f.x.log.At(ctx, c.Size)
	if errs.KindOf(err) == errs.NotFound {
		return nil // right, but the log here passed over this size; a later signature covers it
	}
	if err != nil {
		return err
	}
	return f.x.host.DB.Write(ctx, sqldb.Relaxed, func(tx *sqldb.Tx) error { return f.x.log.Cosigned(ctx, tx, c.Size, s) })
}

// sound reports whether the log here is still what a quorum has signed.
func (f *follower) sound(ctx context.Context) bool {
	note, err := f.x.log.Newest(ctx)
	if err == nil {
		_, err = f.x.trust().Verify(note)
	}
	if errs.As(err).Code != receipt.CodeSignature {
		return err == nil
	}
	f.renounce(note.Checkpoint.Size)
	return false
}

// renounce says that the log here was rewritten within its first entries; nothing more is put behind it.
func (f *follower) renounce(size uint64) {
	f.foreign.Store(errs.Newf(errs.Internal, "本系统的日志在第 %d 条以内与理事会签署的不同：数据库被改写",
		"the log of this house differs from what the council has signed within its first %d entries: its database was rewritten", size).WithCode(tlog.CodeRewritten))
	f.x.host.Log.Error("the log here was rewritten; nothing more is taken in", "size", size)
}

// accuse says that an agency has signed a root that is not the one a quorum has signed, and keeps what proves it.
func (f *follower) accuse(ctx context.Context, c receipt.Checkpoint, s receipt.Signature) error {
	note, err := (&receipt.Note{Checkpoint: c, Signatures: []receipt.Signature{s}}).Marshal()
	if err != nil {
		return err
	}
	news, err := f.x.store.contradict(ctx, s.Name, c, string(note), f.x.host.Now().UnixMilli())
	if err == nil && news {
		f.x.metrics.liars.WithLabelValues(s.Name).Inc()
		f.x.host.Log.Error("an agency has signed another log than the quorum has", "agency", s.Name, "size", c.Size, "root", c.Root, "at", s.Time)
	}
	return err
}

// take reads the entries up to a checkpoint that a quorum has signed, and puts them into the log here.
func (f *follower) take(ctx context.Context, c receipt.Checkpoint, signatures []receipt.Signature) error {
	for f.x.log.Last().Size < c.Size {
		entries, places, err := f.read(ctx, c, signatures)
		if err != nil {
			return err
		}
		now := f.x.host.Now()
		all := f.x.log.Last().Size+uint64(len(entries)) == c.Size
		_, err = f.x.log.Append(ctx, now, entries, func(tx *sqldb.Tx, _ uint64) error {
			for i := 0; all && i < len(signatures); i++ {
				if err := f.x.log.Cosigned(ctx, tx, c.Size, signatures[i]); err != nil {
					return err
				}
			}
			return placed(ctx, tx, now.UnixMilli(), places)
		})
		if err != nil {
			return err
		}
		f.x.metrics.records.Add(float64(len(entries)))
	}
	return f.forget(ctx, c)
}

// read returns the next entries on the way to a checkpoint, from the first node that gives them rightly.
func (f *follower) read(ctx context.Context, c receipt.Checkpoint, signatures []receipt.Signature) ([]tlog.Entry, []place, error) {
	var failed error = errs.New(errs.Unavailable, "没有节点给出已签署的条目", "no node gives the entries that were signed")
	for _, n := range f.sources(signatures) {
		entries, places, err := f.entries(ctx, n, c)
		if err == nil {
			f.source = n
			return entries, places, nil
		}
		if ctx.Err() != nil {
			return nil, nil, err
		}
		if errs.As(err).Code == codeEntries && f.isForeign(ctx, n, c) {
			return nil, nil, f.foreign.Load()
		}
		f.quiet.warn("a node does not give the entries that were signed", "node", n.url, err)
		failed = err
	}
	return nil, nil, failed
}

// sources are the nodes to ask for entries, of those that have signed: whoever gave some last comes first.
func (f *follower) sources(signatures []receipt.Signature) (all []*peer) {
	for _, n := range f.nodes {
		switch {
		case index(signatures, n.whose()) < 0:
		case n == f.source:
			all = append([]*peer{n}, all...)
		default:
			all = append(all, n)
		}
	}
	return all
}

const codeEntries = "evidence.entries"

// entries reads from a node the next of what the log here lacks of a checkpoint, and holds it to that.
func (f *follower) entries(ctx context.Context, n *peer, c receipt.Checkpoint) (entries []tlog.Entry, places []place, err error) {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	for at := f.x.log.Last().Size; at < c.Size && len(entries) < maxStep; {
		more, err := n.client.Entries(ctx, at, c.Size)
		if err != nil {
			return nil, nil, err
		}
		for _, data := range more {
			r, err := receipt.ParseRecord(data)
			if err != nil {
				return nil, nil, fmt.Errorf("entry %d: %w", at, err)
			}
			entries, places = append(entries, tlog.Entry{ID: r.ID, Data: data, Record: r}), append(places, place{r.ID, r.Commitment})
			at++
		}
	}
	g, err := f.x.log.Grow(entries)
	if err != nil {
		return nil, nil, err
	}
	var proof []merkle.Hash
	if g.Checkpoint.Size < c.Size {
		if proof, err = n.client.Consistency(ctx, g.Checkpoint.Size, c.Size); err != nil {
			return nil, nil, err
		}
	}
	if merkle.VerifyConsistency(g.Checkpoint.Size, c.Size, g.Checkpoint.Root, c.Root, proof) != nil {
		return nil, nil, errs.New(errs.Invalid, "节点给出的条目与签署的根不符", "the node's entries are not what was signed").WithCode(codeEntries)
	}
	return entries, places, nil
}

// isForeign reports whether the log here is not the beginning of what a quorum has signed, by a node's proof: then it was
// rewritten here, and nothing more is put behind it.
func (f *follower) isForeign(ctx context.Context, n *peer, c receipt.Checkpoint) bool {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	own := f.x.log.Last()
	if own.Size == 0 {
		return false
	}
	tiles := merkle.TileReader(c.Size, func(t merkle.Tile) ([]byte, error) { return n.client.Tile(ctx, t) })
	theirs, err := merkle.ReadRange(own.Size, tiles)
	if err != nil || theirs.Root() == own.Root {
		return false
	}
	proof, err := merkle.ProveConsistency(own.Size, c.Size, tiles)
	if err != nil || merkle.VerifyConsistency(own.Size, c.Size, theirs.Root(), c.Root, proof) != nil {
		return false
	}
	f.renounce(own.Size)
	return true
}

// forget drops what was heard up to a checkpoint, and accuses who signed another.
func (f *follower) forget(ctx context.Context, c receipt.Checkpoint) error {
	for size, roots := range f.pending.upTo(c.Size) {
		right := c.Root
		if size < c.Size {
			var err error
			if right, err = f.x.log.RootAt(ctx, size); err != nil {
				return err
			}
		}
		for root, signatures := range roots {
			for _, s := range signatures {
				if root == right {
					continue
				}
				if err := f.accuse(ctx, receipt.Checkpoint{Origin: c.Origin, Size: size, Root: root}, s); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
