package house

import (
	"context"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/signer"
)

// probe tells whether the signer answers. Anybody may ask a house whether it is ready, and as often as they like: the
// signer is asked once a second at most, and never over the connections that the house signs by.
type probe struct {
	ask func(context.Context) error

	mu  sync.Mutex
	at  time.Time // of the answer; zero before the first
	err error
}

// newProbe returns a probe of the house's signer; nil where it has none.
func (h *House) newProbe() *probe {
	if h.signer == nil {
		return nil
	}
	client := signer.NewClient(h.signer.Socket(), signer.ClientOptions{Wait: time.Second, Connections: 1})
	h.closers = append(h.closers, client.Close)
	return &probe{ask: func(ctx context.Context) error {
		_, err := client.Keys(ctx)
		return err
	}}
}

// do returns why the signer does not answer, as it was within the last second. Who asks meanwhile waits for that answer.
func (p *probe) do() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at.IsZero() || time.Since(p.at) >= time.Second {
		p.err = p.ask(context.Background()) // the answer is for the others too, when this one has hung up
		p.at = time.Now()
	}
	return p.err
}
