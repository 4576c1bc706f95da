package tlog

import "sync"

// news tells all who wait that something has happened. The zero value is ready.
type news struct {
	mu sync.Mutex
	ch chan struct{}
}

// Wait returns a channel that is closed at the next Tell.
func (n *news) Wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch == nil {
		n.ch = make(chan struct{})
	}
	return n.ch
}

// Tell wakes all who wait.
func (n *news) Tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch != nil {
		close(n.ch)
		n.ch = nil
	}
}
