package booking

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/lease"
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
	troubled    = 10 * time.Second       // how long a server is not ready after its part in the pair ended
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
	doors   chan struct{}     // held while a request of another server is read
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

	failed   error // why the last turn ended
	failedAt time.Time
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
	p := &pair{b: b, me: b.cfg.Name, known: lease.Keys{}, secrets: map[string][]byte{}, doors: make(chan struct{}, doors), seen: map[string]sighting{}}
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
	defer p.front.meets.CloseIdleConnections()
	defer p.b.leases.Close()
	for {
		err := p.turn(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if e := errs.As(err); e == nil || e.Code != lease.CodeLost { // from then on it is a standby as any other
			p.set(func() { p.failed, p.failedAt = err, time.Now() })
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
	err = p.lead(ctx, holder)
	if lost := holder.Err(); lost != nil {
		return lost // all else follows from it
	}
	return err
}

// trouble is why this server can't be what it should in the pair; nil where it can. It needs the mutex.
func (p *pair) trouble() error {
	switch {
	case p.wrong != nil:
		return p.wrong
	case p.failed != nil && time.Since(p.failedAt) < troubled:
		return p.failed
	}
	return nil
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

// ready returns why this server, which does not lead, can't have anybody answered; nil where it knows who leads.
func (p *pair) ready() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.trouble(); err != nil || p.leader != nil {
		return err
	}
	return errNoLeader
}

var errNoLeader = errs.New(errs.Unavailable, "暂无服务器负责预约，请稍后再试", "no server is in charge of the bookings at the moment").
	WithCode("booking.no-leader").WithRetryAfter(time.Second)
