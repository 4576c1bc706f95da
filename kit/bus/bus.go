// Package bus carries messages between services, and promises little: it may lose, duplicate and reorder them. What must
// arrive is kept in the sender's message table and sent again until acknowledged (package outbox); the bus is transport.
package bus

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// Message is what is carried. Body and Header must not be changed after Publish.
type Message struct {
	Key    string // messages of a key are handled in order by whoever cares for order
	Header map[string]string
	Body   []byte
}

// Handler takes a message. It is called for one message at a time and must hand long work on.
type Handler func(ctx context.Context, m Message)

// Bus is a transport. Every adapter passes bustest.Exercise.
type Bus interface {
	// Publish sends m to one subscriber of each group of the topic. nil means that the bus took it, no more.
	Publish(ctx context.Context, topic string, m Message) error
	// Subscribe has h called until cancel, which waits for a call under way.
	Subscribe(topic, group string, h Handler) (cancel func(), err error)
	Close() error
}

// ErrClosed answers what is asked of a closed bus.
var ErrClosed = errors.New("the bus is closed")

// depth is how many messages wait for a subscriber before more are dropped.
const depth = 4096

// Local is the bus within one process: channels.
type Local struct {
	mu      sync.RWMutex
	groups  map[string]map[string]*group // topic → group
	closed  bool
	dropped atomic.Uint64
}

type group struct {
	queue   chan Message
	members int
}

// NewLocal returns an empty bus.
func NewLocal() *Local { return &Local{groups: map[string]map[string]*group{}} }

// Publish implements Bus. A subscriber that does not keep up misses messages.
func (b *Local) Publish(_ context.Context, topic string, m Message) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return ErrClosed
	}
	for _, g := range b.groups[topic] {
		select {
		case g.queue <- m:
		default:
			b.dropped.Add(1)
		}
	}
	return nil
}

// Subscribe implements Bus.
func (b *Local) Subscribe(topic, name string, h Handler) (func(), error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, ErrClosed
	}
	if b.groups[topic] == nil {
		b.groups[topic] = map[string]*group{}
	}
	g := b.groups[topic][name]
	if g == nil {
		g = &group{queue: make(chan Message, depth)}
		b.groups[topic][name] = g
	}
	g.members++
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case m := <-g.queue:
				h(ctx, m)
			case <-ctx.Done():
				return
			}
		}
	}()
	return sync.OnceFunc(func() {
		stop()
		<-done
		b.leave(topic, name, g)
	}), nil
}

func (b *Local) leave(topic, name string, g *group) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if g.members--; g.members == 0 {
		delete(b.groups[topic], name)
	}
}

// Dropped counts the messages that subscribers did not keep up with.
func (b *Local) Dropped() uint64 { return b.dropped.Load() }

// Close implements Bus. Subscriptions end by their own cancel.
func (b *Local) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}
