package council

import (
	"context"
	"fmt"
	"time"

	cmtcfg "github.com/cometbft/cometbft/config"
	cmtnode "github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/types"
	"github.com/prometheus/client_golang/prometheus"
)

// Status is what a node knows of its council. It costs little; a page may ask every second.
type Status struct {
	Agency     string
	Running    bool
	CatchingUp bool
	Height     int64     // of the last block
	BlockTime  time.Time // of the last block
	Turn       string    // the agency that proposes now; "" while not running
	Round      int32     // of the height being decided: 0, or how many turns have passed without a decision
	Waiting    int       // transactions in this node's queue
	Peers      []Peer    // the other members, sorted
}

// Peer is another member as this node sees it.
type Peer struct {
	Agency    string
	Votes     bool
	Connected bool
	Ahead     time.Duration // its clock against this machine's; negative: behind
	Seen      time.Time     // when the council last heard it sign; zero for not lately
}

// Status returns what the node knows now.
func (n *Node) Status() Status {
	s := Status{Agency: n.cfg.Home.agency}
	l := n.live.Load()
	for _, m := range n.app.roster.all() {
		if m.Node == string(n.cfg.Home.node.ID()) {
			continue
		}
		p := Peer{Agency: m.Agency, Votes: m.Votes, Connected: l != nil && l.node.Switch().Peers().Has(peerID(m))}
		p.Ahead, p.Seen = n.clocks.ahead(m.Agency)
		s.Peers = append(s.Peers, p)
	}
	if l == nil {
		return s
	}
	round := l.consensus.GetRoundState()
	state := l.consensus.GetState()
	s.Running, s.CatchingUp = true, l.env.ConsensusReactor.WaitSync()
	s.Height, s.BlockTime = state.LastBlockHeight, state.LastBlockTime.UTC()
	s.Waiting, s.Round = l.node.Mempool().Size(), round.Round
	if round.Validators != nil && round.Validators.Size() > 0 {
		s.Turn = n.app.roster.agency(round.Validators.Copy().GetProposer().Address.String())
	}
	return s
}

const watcher = "council"

// watch hears what the agencies sign, for the sake of their clocks. Events that come faster than they are heard are
// lost, which costs nothing.
func (n *Node) watch(ctx context.Context, l *live) {
	for ctx.Err() == nil {
		votes, err := l.node.EventBus().Subscribe(ctx, watcher, types.EventQueryVote, 1000)
		if err != nil {
			n.log.Warn("clocks are not watched", "err", err)
			return
		}
		proposals, err := l.node.EventBus().Subscribe(ctx, watcher, types.EventQueryCompleteProposal, 100)
		if err != nil {
			n.log.Warn("clocks are not watched", "err", err)
			return
		}
		n.hear(ctx, l, votes, proposals)
		_ = l.node.EventBus().UnsubscribeAll(context.Background(), watcher) // one of the two may be gone
	}
}

func (n *Node) hear(ctx context.Context, l *live, votes, proposals types.Subscription) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-votes.Canceled():
			return
		case <-proposals.Canceled():
			return
		case m := <-votes.Out():
			if d, ok := m.Data().(types.EventDataVote); ok {
				n.clocks.vote(n.app.roster.agency(d.Vote.ValidatorAddress.String()), d.Vote.Timestamp, time.Now())
			}
		case <-proposals.Out():
			now := time.Now()
			if r := l.consensus.GetRoundState(); r.Proposal != nil && r.Validators != nil {
				n.clocks.proposal(n.app.roster.agency(r.Validators.Copy().GetProposer().Address.String()), r.Proposal.Timestamp, now)
			}
		}
	}
}

// collector tells Prometheus the Status.
type collector struct{ n *Node }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Describe implements prometheus.Collector.
func (c collector) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, out) }

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	s := c.n.Status()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(describe("council_height", "Height of the last block."), float64(s.Height))
	gauge(describe("council_round", "Turns passed without a decision at the height being decided."), float64(s.Round))
	gauge(describe("council_waiting_txs", "Transactions in this node's queue."), float64(s.Waiting))
	gauge(describe("council_catching_up", "1 while the node catches up."), truth(s.CatchingUp))
	for _, p := range s.Peers {
		gauge(describe("council_peer_connected", "1 while the member is connected.", "agency"), truth(p.Connected), p.Agency)
		gauge(describe("council_peer_clock_ahead_seconds", "The member's clock against this machine's.", "agency"), p.Ahead.Seconds(), p.Agency)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// noMetrics leaves CometBFT's own out: they go to the process's default registry whoever asks, so two in one test meet.
var noMetrics = cmtnode.DefaultMetricsProvider(&cmtcfg.InstrumentationConfig{})

// String says the status in one line, for logs.
func (s Status) String() string {
	up := 0
	for _, p := range s.Peers {
		if p.Connected {
			up++
		}
	}
	return fmt.Sprintf("%s height %d round %d turn %s peers %d/%d waiting %d", s.Agency, s.Height, s.Round, s.Turn, up, len(s.Peers), s.Waiting)
}
