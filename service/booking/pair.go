package booking

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/lease"
	"github.com/qiongdev/qiong/kit/wal"
)

// pairLease is the one lease of all shards of a pair: who holds it leads them all. A lease for each would have both
// servers work, and pay for that with a renewal a shard, two leaders to ask for every list, and payments and waiting
// rooms that are nobody's.
const pairLease = "booking/pair"

// pairGeneration is added to the epochs of a pair's lease: the logs of a server that was alone before go on in a pair.
const pairGeneration = 1 << 32

const (
	pairPoll    = 200 * time.Millisecond // how often a standby asks who leads, and tries to
	pairTimeout = 2 * time.Second        // how long the other end of a shipped log may be silent
	pairSight   = 3 * time.Second        // how long what another server said of itself holds
)

// pair is this server's part in bookings that several servers share: one leads, the others follow its logs, and the
// lease says which.
type pair struct {
	b       *Booking
	me      string
	key     *keys.Key // of this server
	peers   []peer
	known   lease.Keys        // of the others
	secrets map[string][]byte // that all must share, by name
	tickets tickets
	front   gateway
	counts  pairCounts

	mu     sync.Mutex
	term   *term           // while this server leads
	stand  *standing       // while it follows
	leader *sighting       // who leads, as far as this server, which does not, knows
	until  context.Context // ends when somebody else is the leader, or nobody
	change context.CancelFunc
	seen   map[string]sighting
	wrong  error // why this server and another can't be a pair
}

// peer is another server of the pair.
type peer struct{ name, url string }

// sighting is what another server said of itself.
type sighting struct {
	peer
	leading bool
	epoch   uint64
	records uint64
	ticket  string
	at      time.Time
}

// openPair makes this server one of several, where it has a name.
func (b *Booking) openPair() error {
	b.pairRoutes()
	if b.cfg.Name == "" {
		return nil
	}
	p := &pair{b: b, me: b.cfg.Name, known: lease.Keys{}, secrets: map[string][]byte{}, seen: map[string]sighting{}}
	p.until, p.change = context.WithCancel(context.Background())
	var err error
	for _, name := range []string{"booking.persons", "booking.salts", "booking.rooms"} {
		if p.secrets[name], err = b.host.Keys.Secret(name, 32); err != nil {
			return err
		}
	}
	if p.key, err = b.host.Keys.Signer(lease.OwnKey); err != nil {
		return err
	}
	for _, text := range b.cfg.Peers {
		name, address, err := lease.ParseVoter(text)
		if err != nil {
			return err
		}
		if name == p.me {
			continue // the same list may stand in the configuration of all
		}
		if p.known[name], err = lease.Trusted(b.host.Keys, name); err != nil {
			return err
		}
		p.peers = append(p.peers, peer{name, strings.TrimSuffix(address, lease.Path)})
	}
	p.openGateway()
	if b.leases, err = lease.Connect(b.host.Keys, p.me, b.cfg.Voters, 0, true); err != nil {
		return err
	}
	b.pair = p
	p.routes()
	b.host.Elsewhere(p.elsewhere)
	return p.measure()
}

// run follows, and leads whenever this server has the lease, until ctx ends.
func (p *pair) run(ctx context.Context) error {
	for {
		err := p.turn(ctx)
		if ctx.Err() != nil {
			return nil
		}
		p.b.host.Log.LogAttrs(ctx, slog.LevelError, "this server's part in the bookings ended, and begins anew", slog.Any("err", err))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// turn is one time of following, and of leading after it.
func (p *pair) turn(ctx context.Context) (err error) {
	holder, err := p.follow(ctx)
	if err != nil || holder == nil {
		return err
	}
	defer func() {
		told, cancel := context.WithTimeout(context.WithoutCancel(ctx), pairTimeout)
		defer cancel()
		if failed := holder.Release(told); failed != nil { // then it runs out
			p.b.host.Log.LogAttrs(ctx, slog.LevelWarn, "the lease was not given back", slog.Any("err", failed))
		}
	}()
	return p.lead(ctx, holder)
}

// standing is the time during which this server follows.
type standing struct {
	p    *pair
	logs []*wal.Standby
}

// follow keeps copies of the leader's logs, and projects from them, until this server has the lease.
func (p *pair) follow(ctx context.Context) (holder *lease.Holder, err error) {
	s := &standing{p: p}
	defer func() {
		for _, log := range s.logs {
			err = errors.Join(err, log.Close())
		}
		if err != nil && holder != nil {
			err = errors.Join(err, holder.Release(context.WithoutCancel(ctx)))
			holder = nil
		}
	}()
	for _, seat := range p.b.seats {
		log, err := wal.OpenStandby(seat.folder, wal.Options{Timeout: pairTimeout})
		if err != nil {
			return nil, err
		}
		s.logs = append(s.logs, log)
	}
	p.set(func() { p.stand = s })
	defer p.set(func() { p.stand = nil; p.follows(nil) })
	ctx, end := context.WithCancel(ctx)
	defer end()
	g, ctx := errgroup.WithContext(ctx)
	for i, seat := range p.b.seats {
		g.Go(func() error { return seat.project(ctx, s.logs[i]) })
		g.Go(func() error { return seat.anchor(ctx, s.logs[i]) })
	}
	g.Go(func() error { return s.copy(ctx) })
	g.Go(func() error { return s.checkpoint(ctx) })
	g.Go(func() (err error) {
		defer end()
		holder, err = s.acquire(ctx)
		return err
	})
	err = g.Wait()
	return holder, err
}

// follows takes note of who leads. It needs the mutex.
func (p *pair) follows(leader *sighting) {
	if was := p.leader; was == nil || leader == nil || was.epoch != leader.epoch {
		p.change()
		p.until, p.change = context.WithCancel(context.Background())
	}
	p.leader = leader
}

func (p *pair) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// records is how many records this server has, of all shards.
func (s *standing) records() (n uint64) {
	for _, log := range s.logs {
		n += log.Last()
	}
	return n
}

// acquire waits for the lease. A server without a record takes it only where no server has any, as when the pair is new:
// else it is one that has lost its disk, or was set up later, and there is somebody to follow.
func (s *standing) acquire(ctx context.Context) (*lease.Holder, error) {
	said := ""
	for {
		wait := pairPoll
		if s.records() > 0 || s.p.nobodyHasAny() {
			holder, err := s.p.b.leases.TryAcquire(ctx, pairLease)
			if err == nil {
				return holder, nil
			}
			if ctx.Err() != nil {
				return nil, nil
			}
			e := errs.As(err)
			if after := e.RetryAfter; after > 0 {
				wait = min(wait, after)
			}
			if e.Code != said { // once for each reason
				said = e.Code
				s.p.b.host.Log.LogAttrs(ctx, slog.LevelInfo, "this server does not lead the bookings", slog.Any("err", err))
			}
		}
		select {
		case <-time.After(time.Duration(float64(wait) * (0.75 + rand.Float64()/2))): // two that begin together part
		case <-ctx.Done():
			return nil, nil
		}
	}
}

// nobodyHasAny reports whether every other server has said a moment ago that it has no record and does not lead.
func (p *pair) nobodyHasAny() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, other := range p.peers {
		v := p.seen[other.name]
		if time.Since(v.at) > pairSight || v.leading || v.records > 0 {
			return false
		}
	}
	return p.wrong == nil
}

// copy follows whoever leads, until ctx ends.
func (s *standing) copy(ctx context.Context) error {
	said := ""
	for ctx.Err() == nil {
		leader := s.p.find(ctx)
		if leader != nil {
			err := s.copyFrom(ctx, leader)
			if text := err.Error(); ctx.Err() == nil && text != said {
				said = text
				s.p.b.host.Log.LogAttrs(ctx, slog.LevelWarn, "the leader's logs do not come any more", slog.String("leader", leader.name), slog.Any("err", err))
			}
		}
		select {
		case <-time.After(pairPoll):
		case <-ctx.Done():
		}
	}
	return nil
}

// find asks the others who leads; nil where none says so.
func (p *pair) find(ctx context.Context) (leader *sighting) {
	var wrong error
	for _, other := range p.peers {
		v, err := p.ask(ctx, other)
		if err != nil {
			if errs.As(err).Code == codeUnlike {
				wrong = err
			}
			continue
		}
		p.set(func() { p.seen[other.name] = v })
		if v.leading && (leader == nil || v.epoch > leader.epoch) {
			leader = &v
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if wrong != nil && p.wrong == nil {
		p.b.host.Log.LogAttrs(ctx, slog.LevelError, "two servers are no pair", slog.Any("err", wrong))
	}
	p.follows(leader)
	p.wrong = wrong
	return leader
}

// copyFrom follows all logs of a leader until one of the connections ends; it always returns an error.
func (s *standing) copyFrom(ctx context.Context, leader *sighting) error {
	g, ctx := errgroup.WithContext(ctx)
	for i, log := range s.logs {
		g.Go(func() error {
			conn, err := s.p.connect(ctx, leader, i)
			if err != nil {
				return err
			}
			return log.Follow(ctx, conn)
		})
	}
	return g.Wait()
}

func (p *pair) leads() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.term != nil && p.term.holder.Valid()
}

// needed is up to where the log of a shard may be dropped for all that standbys need.
func (p *pair) needed(shard int) uint64 {
	p.mu.Lock()
	t := p.term
	p.mu.Unlock()
	if t == nil {
		return 0
	}
	return t.needed(shard)
}

// ready returns why this server, which does not lead, can't answer: it leads and all shards run, or it knows who leads.
func (p *pair) ready() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.wrong != nil:
		return p.wrong
	case p.leader != nil:
		return nil
	}
	return errNoLeader
}

var errNoLeader = errs.New(errs.Unavailable, "暂无服务器负责预约，请稍后再试", "no server is in charge of the bookings at the moment").
	WithCode("booking.no-leader").WithRetryAfter(time.Second)
