package lease

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// process is one of a replica's.
type process struct {
	site   *site
	client *Client
	holder *Holder
	cancel context.CancelFunc
	killed bool
	done   chan struct{}
}

// launch starts a process of the machine's replica.
func (s *site) launch(n int, sole bool) {
	var peers []Peer
	for _, to := range []string{"a", "b", "w"} {
		peers = append(peers, &link{s.w, s.name, to})
	}
	c, err := NewClient(Options{Me: s.name, Voters: peers, TTL: worldTTL, Sole: sole, Now: s.now})
	if err != nil {
		s.w.fails("%v", err)
	}
	c.by = fmt.Sprintf("%s/%d", s.name, n)
	c.jitter = func() float64 { return s.w.draw("jitter " + s.name).Float64() }
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{site: s, client: c, cancel: cancel, done: make(chan struct{})}
	s.w.mu.Lock()
	s.proc = p
	s.w.live = append(s.w.live, p)
	s.w.mu.Unlock()
	go func() {
		defer close(p.done)
		p.run(ctx)
	}()
}

// kill ends a process; what it sent still arrives.
func (p *process) kill() {
	p.site.w.mu.Lock()
	p.killed = true
	h := p.holder
	p.site.w.live = slices.DeleteFunc(p.site.w.live, func(q *process) bool { return q == p })
	p.site.w.mu.Unlock()
	p.cancel()
	if h != nil {
		h.lose(nil)
	}
	<-p.done
}

func (p *process) run(ctx context.Context) {
	for ctx.Err() == nil {
		h, err := p.client.Acquire(ctx, "shard")
		if err != nil {
			continue
		}
		if !p.granted(h) {
			h.lose(nil)
			return
		}
		p.lead(ctx, h)
	}
}

// granted holds what was granted to the promises.
func (p *process) granted(h *Holder) bool {
	w := p.site.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.killed {
		return false
	}
	for _, q := range w.live {
		if q != p && q.holder != nil && q.holder.Valid() {
			w.fails("at %v %s was granted epoch %d while %s still holds %d", time.Since(w.start), p.client.by, h.Epoch(), q.client.by, q.holder.Epoch())
		}
	}
	if h.Epoch() <= w.epoch {
		w.fails("at %v %s was granted epoch %d after %d", time.Since(w.start), p.client.by, h.Epoch(), w.epoch)
	}
	for id, by := range w.acked {
		if !p.site.log[id] {
			w.fails("at %v %s was granted epoch %d and lacks record %d, which %s acknowledged", time.Since(w.start), p.client.by, h.Epoch(), id, by)
			break
		}
	}
	w.epoch = h.Epoch()
	w.grants++
	p.holder = h
	p.site.fence = max(p.site.fence, h.Epoch())
	return true
}

// lead writes records until the lease is lost.
func (p *process) lead(ctx context.Context, h *Holder) {
	required := h.InSync()
	n := p.site.w.draw("lead " + p.client.by)
	for turn := 0; h.Valid() && ctx.Err() == nil; turn++ {
		id := p.write(h)
		missing := p.ship(h, required, []int{id})
		if len(missing) > 0 {
			rest := slices.DeleteFunc(slices.Clone(required), func(s string) bool { return slices.Contains(missing, s) })
			if p.set(ctx, h, rest) {
				required, missing = rest, nil
			}
		}
		if len(missing) == 0 {
			p.acknowledge(h, id)
		}
		if turn%3 == 2 {
			required = p.recruit(ctx, h, required)
		}
		time.Sleep(time.Duration(n.Int64N(int64(worldTTL / 4))))
		if n.IntN(40) == 0 {
			ctx, cancel := context.WithTimeout(ctx, worldTTL)
			_ = h.Release(ctx) // others wait, then
			cancel()
		}
	}
	h.lose(nil)
	<-h.ended
}

func (p *process) set(ctx context.Context, h *Holder, replicas []string) bool {
	ctx, cancel := context.WithTimeout(ctx, worldTTL/2)
	defer cancel()
	return h.SetInSync(ctx, replicas...) == nil
}

// write appends a record of the process's own. A zombie writes too, until its machine's log knows a greater epoch.
func (p *process) write(h *Holder) int {
	w := p.site.w
	w.mu.Lock()
	defer w.mu.Unlock()
	w.record++
	if h.Epoch() >= p.site.fence {
		p.site.log[w.record] = true
	}
	return w.record
}

func (p *process) acknowledge(h *Holder, id int) {
	w := p.site.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if !p.killed && p.site.log[id] && h.Valid() {
		w.acked[id] = p.client.by
	}
}

// ship sends records to replicas and returns which did not acknowledge them in time.
func (p *process) ship(h *Holder, to []string, records []int) (missing []string) {
	w := p.site.w
	acks := make(chan string, len(to))
	others := 0
	for _, name := range to {
		if name == p.site.name {
			continue
		}
		others++
		go func() {
			if w.carry(p.site.name, name) && w.sites[name].follow(h.Epoch(), records) && w.carry(name, p.site.name) {
				acks <- name
			}
		}()
	}
	got := []string{p.site.name}
	for timeout := time.After(worldTTL / 8); others > 0; others-- {
		select {
		case name := <-acks:
			got = append(got, name)
		case <-timeout:
			others = 0
		}
	}
	for _, name := range to {
		if !slices.Contains(got, name) {
			missing = append(missing, name)
		}
	}
	return missing
}

func (s *site) follow(epoch uint64, records []int) bool {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if epoch < s.fence {
		return false
	}
	s.fence = epoch
	for _, id := range records {
		s.log[id] = true
	}
	return true
}

// recruit takes back replicas that have caught up.
func (p *process) recruit(ctx context.Context, h *Holder, required []string) []string {
	for _, name := range p.site.w.replicas() {
		if slices.Contains(required, name) {
			continue
		}
		p.site.w.mu.Lock()
		all := slices.Collect(maps.Keys(p.site.log))
		p.site.w.mu.Unlock()
		if len(p.ship(h, []string{name}, all)) == 0 {
			required = append(slices.Clone(required), name)
			p.set(ctx, h, required) // on failure it may be in sync, and is waited for
		}
	}
	return required
}
