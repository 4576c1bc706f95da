package council

import (
	"context"
	"errors"
	"time"

	"github.com/cometbft/cometbft/p2p"
)

// keepPeers stays connected to every member and drops who is none any more. CometBFT's own redialing waits seconds
// before it begins, and gives up after a day. Of two nodes the one with the smaller id dials at once; the other leaves it
// some time to, so that two connections do not cross and end each other.
func (n *Node) keepPeers(ctx context.Context, l *live) {
	const often, patience = 250 * time.Millisecond, 4
	ticker := time.NewTicker(often)
	defer ticker.Stop()
	dials := newDials()
	for tick := 0; ; tick++ {
		peers := l.node.Switch().Peers()
		for _, m := range n.app.roster.all() {
			self := n.cfg.Home.node.ID()
			if peerID(m) == self || peers.Has(peerID(m)) {
				continue
			}
			if self < peerID(m) || tick%patience == patience-1 {
				dials.begin(n, l, m)
			}
		}
		for _, p := range peers.Copy() {
			if !n.app.roster.admits(p.ID()) {
				n.log.Info("a peer is no member any more", "node", p.ID())
				l.node.Switch().StopPeerGracefully(p)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// dials keeps one attempt a member under way.
type dials struct{ busy map[p2p.ID]chan struct{} }

func newDials() *dials { return &dials{map[p2p.ID]chan struct{}{}} }

func (d *dials) begin(n *Node, l *live, m Member) {
	id := peerID(m)
	if done := d.busy[id]; done != nil {
		select {
		case <-done:
		default:
			return
		}
	}
	done := make(chan struct{})
	d.busy[id] = done
	go func() {
		defer close(done)
		addr, err := p2p.NewNetAddressString(p2p.IDAddressString(id, m.P2P)) // looks the name up
		if err == nil {
			err = l.node.Switch().DialPeerWithAddress(addr)
		}
		var dialing p2p.ErrCurrentlyDialingOrExistingAddress
		if err != nil && !errors.As(err, &dialing) {
			n.log.Debug("couldn't reach a member", "agency", m.Agency, "err", err)
		}
	}()
}
