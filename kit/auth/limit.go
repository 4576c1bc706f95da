package auth

import (
	"net/netip"
	"sync"
	"time"
)

// Limiter counts failures per address in windows of time, in bounded memory: it remembers at most maxAddresses, and
// where more fail within a window, the strangers share one count. IPv6 addresses count by their /64, which is what one
// subscriber gets.
type Limiter struct {
	max    int
	window time.Duration
	now    func() time.Time

	mu     sync.Mutex
	counts map[string]*failures
	swept  time.Time
}

type failures struct {
	n     int
	since time.Time
}

const (
	maxAddresses = 8192
	strangers    = ""
)

// NewLimiter returns a Limiter that blocks an address after max failures within window.
func NewLimiter(max int, window time.Duration, now func() time.Time) *Limiter {
	return &Limiter{max: max, window: window, now: now, counts: map[string]*failures{}}
}

// Blocked returns how long address must wait; 0 where it may try.
func (l *Limiter) Blocked(address string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.counts[group(address)]
	if f == nil && len(l.counts) >= maxAddresses {
		f = l.counts[strangers]
	}
	if f == nil || f.n < l.max {
		return 0
	}
	return max(0, f.since.Add(l.window).Sub(l.now()))
}

// Failed counts a failure of address.
func (l *Limiter) Failed(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, key := l.now(), group(address)
	if len(l.counts) >= maxAddresses && now.Sub(l.swept) >= l.window/4 {
		l.sweep(now)
	}
	f := l.counts[key]
	if f == nil && len(l.counts) >= maxAddresses {
		key = strangers
		f = l.counts[key]
	}
	if f == nil || now.Sub(f.since) >= l.window {
		f = &failures{since: now}
		l.counts[key] = f
	}
	f.n++
}

// sweep forgets the windows that have ended.
func (l *Limiter) sweep(now time.Time) {
	l.swept = now
	for key, f := range l.counts {
		if now.Sub(f.since) >= l.window {
			delete(l.counts, key)
		}
	}
}

func group(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if ip = ip.Unmap(); ip.Is6() {
		if network, err := ip.WithZone("").Prefix(64); err == nil {
			return network.String()
		}
	}
	return ip.String()
}

// Len returns how many addresses are remembered.
func (l *Limiter) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.counts)
}
