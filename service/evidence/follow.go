package evidence

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/tlog"
	"github.com/qiongdev/qiong/service/evidence/ledger"
)

// follower has a council order records: it sends them to the agencies' nodes and follows the log that these agree on.
type follower struct {
	x     *Evidence
	nodes []*peer

	notes           chan news
	turn            atomic.Pointer[string]                         // the agency that proposes now
	failing, warned time.Time                                      // since when nothing can be sent, and when that was said last; send's alone
	seen            map[uint64]map[merkle.Hash][]receipt.Signature // beyond the log here, by size and root; collect's alone
}

// peer is an agency's, as this house reaches it.
type peer struct {
	url    string
	client *tlog.Client
	http   *http.Client

	mu   sync.Mutex
	name string    // as it signs; empty until it did
	err  error     // of the last request
	at   time.Time // of the last answer
	size uint64    // that it has signed last
}

// news is what a node has signed.
type news struct {
	from *peer
	note *receipt.Note
}

const (
	longPoll  = 20 * time.Second
	again     = 3 * time.Second // after which a batch is sent again that the log does not have
	maxTx     = 768 << 10       // bytes of a transaction, below the council's limit
	sendLimit = 10 * time.Second
)

func newFollower(x *Evidence) (*follower, error) {
	f := &follower{x: x, notes: make(chan news), seen: map[uint64]map[merkle.Hash][]receipt.Signature{}}
	for _, url := range x.cfg.Nodes {
		c, err := tlog.NewClient(url, nil)
		if err != nil {
			return nil, err
		}
		f.nodes = append(f.nodes, &peer{url: url, client: c, http: &http.Client{Timeout: sendLimit}})
	}
	return f, nil
}

// quorum is how many agencies must have signed a root before this house believes it.
func (f *follower) quorum() int { return 2*len(f.x.council)/3 + 1 }

// Ready implements orderer.
func (f *follower) Ready() error {
	up := 0
	for _, n := range f.nodes {
		if n.state() == nil {
			up++
		}
	}
	if up < f.quorum() {
		return errs.New(errs.Unavailable, "达不到法定数的部门在线，记录暂存", "fewer than a quorum of the agencies answer; records wait").WithCode("evidence.quorum")
	}
	return nil
}

func (n *peer) state() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

func (n *peer) heard(name string, size uint64, err error, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err = err; err != nil {
		return
	}
	n.at = now
	if name != "" {
		n.name, n.size = name, max(n.size, size)
	}
}

// Put implements orderer: the records wait in the table until the council has ordered them.
func (f *follower) Put(ctx context.Context, records []ledger.Submission) error {
	waiting, err := f.x.store.countWaiting(ctx)
	if err != nil {
		return err
	}
	if waiting+int64(len(records)) > int64(f.x.cfg.Backlog) {
		return errs.New(errs.TooMany, "待排序的记录过多", "too many records wait to be ordered").WithRetryAfter(2 * time.Second)
	}
	now := f.x.host.Now().UnixMilli()
	rows := make([]sqldb.Insert, len(records))
	for i, r := range records {
		a := act{id: r.ID, typ: r.Type, submission: r, acceptedAt: now}
		if rows[i], err = a.row(); err != nil {
			return err
		}
	}
	if err := f.x.host.DB.Append(ctx, rows...); err != nil {
		return err
	}
	f.x.nudge()
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
	after, known := uint64(0), false
	pause := time.Duration(0)
	for ctx.Err() == nil {
		var notes []*receipt.Note
		var err error
		if !known {
			after, err = f.meet(ctx, n)
		}
		if known = err == nil; known {
			notes, err = n.client.Notes(ctx, after, longPoll)
		}
		if ctx.Err() != nil {
			return
		}
		n.heard("", 0, err, f.x.host.Now())
		if err != nil {
			pause = min(max(2*pause, 200*time.Millisecond), 3*time.Second)
			wait(ctx, pause)
			continue
		}
		pause = 0
		for _, note := range notes {
			if note.Checkpoint.Origin != f.x.cfg.Origin || note.Checkpoint.Size <= after {
				n.heard("", 0, errs.New(errs.Invalid, "节点的日志不是约定的那份", "the node's log is not the one agreed on"), f.x.host.Now())
				wait(ctx, longPoll)
				break
			}
			select {
			case f.notes <- news{n, note}:
				after = note.Checkpoint.Size
			case <-ctx.Done():
				return
			}
		}
	}
}

// meet asks a node who it is, and returns up to where its signatures are here already.
func (f *follower) meet(ctx context.Context, n *peer) (uint64, error) {
	note, err := n.client.Checkpoint(ctx)
	if errs.KindOf(err) == errs.NotFound || errs.KindOf(err) == errs.Unavailable && err != nil && f.x.log.Last().Size == 0 {
		return 0, nil // it has signed nothing yet
	}
	if err != nil {
		return 0, err
	}
	var upTo uint64
	for i, s := range note.Signatures {
		if _, err := f.x.trust.VerifySignature(note.Checkpoint, s); err != nil {
			return 0, err
		}
		n.heard(s.Name, 0, nil, f.x.host.Now())
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
				if err := f.hear(ctx, n.from, n.note.Checkpoint, s); err != nil && ctx.Err() == nil {
					f.x.host.Log.Error("a signed checkpoint could not be taken in", "node", n.from.url, "size", n.note.Checkpoint.Size, "err", err)
				}
			}
		}
	}
}

// hear takes in one agency's signature.
func (f *follower) hear(ctx context.Context, from *peer, c receipt.Checkpoint, s receipt.Signature) error {
	if _, err := f.x.trust.VerifySignature(c, s); err != nil {
		from.heard("", 0, err, f.x.host.Now())
		return err
	}
	from.heard(s.Name, c.Size, nil, f.x.host.Now())
	if c.Size <= f.x.log.Last().Size {
		return f.late(ctx, c, s)
	}
	roots := f.seen[c.Size]
	if roots == nil {
		roots = map[merkle.Hash][]receipt.Signature{}
		f.seen[c.Size] = roots
	}
	roots[c.Root] = append(roots[c.Root], s)
	signatures := roots[c.Root]
	if distinct(signatures) < f.quorum() {
		return nil
	}
	return f.take(ctx, c, signatures)
}

func distinct(signatures []receipt.Signature) int {
	names := map[string]bool{}
	for _, s := range signatures {
		names[s.Name] = true
	}
	return len(names)
}

// retry takes what a quorum has signed and no node gave the entries of at the time.
func (f *follower) retry(ctx context.Context) {
	for size, roots := range f.seen {
		for root, signatures := range roots {
			if size > f.x.log.Last().Size && distinct(signatures) >= f.quorum() {
				c := receipt.Checkpoint{Origin: f.x.cfg.Origin, Size: size, Root: root}
				if err := f.take(ctx, c, signatures); err != nil && ctx.Err() == nil {
					f.x.host.Log.Warn("signed entries could not be read", "size", size, "err", err)
				}
			}
		}
	}
}

// late takes in a signature of what is in the log here already, or names whoever signed something else.
func (f *follower) late(ctx context.Context, c receipt.Checkpoint, s receipt.Signature) error {
	own, err := f.x.log.At(ctx, c.Size)
	if e := errs.As(err); e != nil && e.Kind == errs.NotFound {
		return nil // the log here passed over this size; a later signature covers it
	}
	if err != nil {
		return err
	}
	if own.Root != c.Root {
		f.accuse(c, s)
		return nil
	}
	return f.x.host.DB.Write(ctx, sqldb.Relaxed, func(tx *sqldb.Tx) error { return f.x.log.Cosigned(ctx, tx, c.Size, s) })
}

// accuse says that an agency has signed a root that is not the one a quorum has signed.
func (f *follower) accuse(c receipt.Checkpoint, s receipt.Signature) {
	f.x.metrics.liars.WithLabelValues(s.Name).Inc()
	f.x.host.Log.Error("an agency has signed another log than the quorum has", "agency", s.Name, "size", c.Size, "root", c.Root, "at", s.Time)
}

// take reads the entries up to a checkpoint that a quorum has signed, and puts them into the log here.
func (f *follower) take(ctx context.Context, c receipt.Checkpoint, signatures []receipt.Signature) error {
	var entries []tlog.Entry
	var failed error = errs.New(errs.Unavailable, "没有节点给出已签署的条目", "no node gives the entries that were signed")
	for _, n := range f.sources(signatures) {
		if entries, failed = f.entries(ctx, n, c); failed == nil {
			break
		}
	}
	if failed != nil {
		return failed
	}
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.ID
	}
	now := f.x.host.Now()
	_, failed = f.x.log.Append(ctx, now, entries, func(tx *sqldb.Tx, _ uint64) error {
		for _, s := range signatures {
			if err := f.x.log.Cosigned(ctx, tx, c.Size, s); err != nil {
				return err
			}
		}
		return placed(ctx, tx, now.UnixMilli(), ids)
	})
	if failed == nil {
		f.x.metrics.records.Add(float64(len(entries)))
		f.forget(c)
	}
	return failed
}

// sources are the nodes to ask for entries: those that have signed first.
func (f *follower) sources(signatures []receipt.Signature) (all []*peer) {
	for _, s := range signatures {
		for _, n := range f.nodes {
			n.mu.Lock()
			if n.name == s.Name {
				all = append(all, n)
			}
			n.mu.Unlock()
		}
	}
	return all
}

// entries reads from a node what the log here lacks of a checkpoint, and holds it to that.
func (f *follower) entries(ctx context.Context, n *peer, c receipt.Checkpoint) (entries []tlog.Entry, err error) {
	at := f.x.log.Last().Size
	for at < c.Size {
		more, err := n.client.Entries(ctx, at, c.Size)
		if err != nil {
			return nil, err
		}
		for _, data := range more {
			r, err := receipt.ParseRecord(data)
			if err != nil {
				return nil, fmt.Errorf("entry %d: %w", at, err)
			}
			entries = append(entries, tlog.Entry{ID: r.ID, Data: data})
			at++
		}
	}
	g, err := f.x.log.Grow(entries)
	if err != nil {
		return nil, err
	}
	if g.Checkpoint.Root != c.Root || g.Checkpoint.Size != c.Size {
		return nil, errs.New(errs.Invalid, "节点给出的条目与签署的根不符", "the node's entries are not what was signed").WithCode("evidence.entries")
	}
	return entries, nil
}

// forget drops what was heard up to a checkpoint, and accuses who signed another.
func (f *follower) forget(c receipt.Checkpoint) {
	for size, roots := range f.seen {
		if size > c.Size {
			continue
		}
		for root, signatures := range roots {
			if size == c.Size && root != c.Root {
				for _, s := range signatures {
					f.accuse(receipt.Checkpoint{Origin: c.Origin, Size: size, Root: root}, s)
				}
			}
		}
		delete(f.seen, size)
	}
}

// send sends what waits to the council, in batches, and again what does not come back in the log.
func (f *follower) send(ctx context.Context) {
	sent := "" // the greatest id sent
	var since time.Time
	next := 0
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.x.wake:
			wait(ctx, f.x.cfg.Gather)
		case <-tick.C:
		}
		if time.Since(since) > again {
			sent, since = "", time.Now()
		}
		for ctx.Err() == nil {
			acts, err := f.x.store.waiting(ctx, sent, 1000)
			if err == nil && len(acts) == 0 {
				break
			}
			if err == nil {
				next, err = f.submit(ctx, next, acts)
			}
			if err != nil {
				f.complain(ctx, err)
				break
			}
			f.failing = time.Time{}
			sent, since = acts[len(acts)-1].id, time.Now()
		}
	}
}

// complain logs that nothing can be sent: not while nodes may still be starting, and then now and then.
func (f *follower) complain(ctx context.Context, err error) {
	now := time.Now()
	switch {
	case ctx.Err() != nil:
	case f.failing.IsZero():
		f.failing = now
	case now.Sub(f.failing) > 10*time.Second && now.Sub(f.warned) > time.Minute:
		f.warned = now
		f.x.host.Log.Warn("records wait: they can't be sent to the council", "since", f.failing, "err", err)
	}
}

// submit sends acts to a node, or to the next ones where it does not take them, and returns who is next.
func (f *follower) submit(ctx context.Context, next int, acts []act) (int, error) {
	records := make([]ledger.Submission, len(acts))
	for i := range acts {
		records[i] = acts[i].submission
	}
	tx, err := ledger.NewBatch(f.x.cfg.Name, f.x.key, ledger.Batch{Records: records})
	if err != nil {
		return next, err
	}
	if len(tx) > maxTx && len(acts) > 1 {
		if next, err = f.submit(ctx, next, acts[:len(acts)/2]); err != nil {
			return next, err
		}
		return f.submit(ctx, next, acts[len(acts)/2:])
	}
	for range f.nodes {
		n := f.nodes[next%len(f.nodes)]
		next++
		if err = n.submit(ctx, tx); err == nil {
			return next, nil
		}
	}
	if errs.KindOf(err) != errs.Invalid {
		return next, err
	}
	if len(acts) == 1 {
		f.x.host.Log.Error("the council will not have a record", "record", acts[0].id, "err", err)
		return next, f.x.store.refuse(ctx, errs.As(err).Error(), acts[0].id)
	}
	// One of them is not as the policy has it: the others shall not wait for it.
	if next, err = f.submit(ctx, next, acts[:len(acts)/2]); err != nil {
		return next, err
	}
	return f.submit(ctx, next, acts[len(acts)/2:])
}

func (n *peer) submit(ctx context.Context, tx []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url+"/submit", bytes.NewReader(tx))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	res, err := n.http.Do(req)
	if err != nil {
		return errs.New(errs.Unavailable, "节点没有应答", "the node does not answer")
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
	switch {
	case res.StatusCode/100 == 2:
		return nil
	case res.StatusCode == http.StatusBadRequest || res.StatusCode == http.StatusUnprocessableEntity:
		var problem struct{ Detail string }
		_ = json.Unmarshal(text, &problem) // its words are for the operator
		return errs.Newf(errs.Invalid, "理事会不接受：%s", "the council will not have it: %s", problem.Detail)
	}
	return errs.Newf(errs.Unavailable, "节点应答 %d", "the node answers %d", res.StatusCode)
}

// describe says how an agency's node is.
func (f *follower) describe(s *SignerView, l lang.Lang) {
	up := false
	for _, n := range f.nodes {
		n.mu.Lock()
		if n.name == s.Name {
			up = n.err == nil
			if !n.at.IsZero() {
				at := beijing.At(n.at)
				s.Heard = &at
			}
			if e := errs.As(n.err); n.err != nil && e != nil {
				s.Problem = e.In(l)
			}
		}
		n.mu.Unlock()
	}
	s.Up = &up
	if turn := f.turn.Load(); turn != nil {
		s.Turn = *turn == s.Name
	}
}

// turn asks a node whose turn it is to propose.
func (n *peer) turn(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url+"/status", nil)
	if err != nil {
		return "", err
	}
	res, err := n.http.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var status struct {
		Turn string `json:"turn"`
	}
	return status.Turn, json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&status)
}
