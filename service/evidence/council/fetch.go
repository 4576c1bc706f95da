package council

import (
	"context"
	"time"
)

// Who was away fetches the blocks that it has missed and then takes part. CometBFT waits three seconds before it fetches
// the first, and another before it looks whether there is none left: too long where few are missing. So whoever signed a
// moment ago takes part at once and has its peers tell it what it missed, block by block, as they do with one who is a
// step behind ("adaptive sync"); there it fetches besides, for ever, and every block twice, until endFetching ends that.
const shortAbsence = 30 * time.Second

// endFetching ends the fetching of blocks once the node has one from after its start. Peers are answered further on, and
// tell a node that falls behind again what it lacks.
func (n *Node) endFetching(ctx context.Context, l *live) {
	since := time.Now()
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	for !l.consensus.GetState().LastBlockTime.After(since) {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
	if fetching, ok := l.node.Switch().Reactor("BLOCKSYNC"); ok {
		if err := fetching.Stop(); err != nil {
			n.log.Warn("blocks are fetched twice", "err", err)
		}
	}
}
