package lease

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// A world is three machines, a, b and w, under faults drawn from a seed: messages are lost, repeated, late by seconds and
// cut off between any two machines; voters die, in the middle of a write too, and come back with what is on their disks;
// disks fail; processes of replicas die, or hang on as zombies; clocks run at rates of their own. What replicas write is a
// log as a service would keep: shipped to all in sync, refused by whoever has seen a greater epoch, acknowledged while
// the lease is valid.
type world struct {
	seed  uint64
	fails func(format string, args ...any)
	start time.Time
	sites map[string]*site
	drift float64 // clocks run at 1 ± this

	mu     sync.Mutex
	draws  map[string]uint64
	faults bool
	cut    map[[2]string]bool
	live   []*process
	acked  map[int]string // records whose writer answered for them
	record int
	epoch  uint64
	grants int
}

const worldTTL = time.Second

// site is a machine: its disks, and what runs on it now.
type site struct {
	w     *world
	name  string
	rate  float64
	disk  *worldDisk
	voter *Voter
	life  int // of the voter
	dead  bool

	log   map[int]bool // of the replica
	fence uint64
	proc  *process
}

func (s *site) now() time.Duration { return time.Duration(float64(time.Since(s.w.start)) * s.rate) }

// draw returns numbers that depend on the seed and on what they are for, not on which goroutine comes first.
func (w *world) draw(what string) *rand.Rand {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.draws[what]
	w.draws[what]++
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d", what, n)
	return rand.New(rand.NewPCG(w.seed, h.Sum64()))
}

// worldDisk is a voter's store. A write by a voter that has died meanwhile may be on it or not.
type worldDisk struct {
	site *site
	mu   sync.Mutex
	all  map[string]Record
}

func (d *worldDisk) Load(context.Context) (map[string]Record, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.all), nil
}

// lifeDisk is the disk as one life of the voter sees it.
type lifeDisk struct {
	*worldDisk
	life int
}

func (d lifeDisk) Save(_ context.Context, lease string, r Record) error {
	n := d.site.w.draw("disk " + d.site.name)
	fails, kept := d.site.w.faulty() && n.Float64() < 0.02, n.IntN(2) == 0
	time.Sleep(time.Duration(n.IntN(4_000_000)))
	d.mu.Lock()
	defer d.mu.Unlock()
	if (fails || d.site.life != d.life) && !kept {
		return errors.New("the disk is full")
	}
	if d.site.life == d.life {
		d.all[lease] = r
	}
	if fails || d.site.life != d.life {
		return errors.New("the disk failed")
	}
	return nil
}

func (w *world) faulty() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.faults
}

func (w *world) severed(a, b string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return a != b && (w.cut[[2]string{a, b}] || w.cut[[2]string{b, a}])
}

// carry takes a message from one machine to another, perhaps: it returns false where it is lost.
func (w *world) carry(from, to string) bool {
	n := w.draw("link " + from + to)
	delay := time.Duration(n.IntN(5_000_000))
	if from == to {
		delay = time.Duration(n.IntN(100_000))
	} else if w.faulty() {
		switch p := n.Float64(); {
		case p < 0.05:
			return false
		case w.seed%5 == 1 && p < 0.6: // a slow network
			delay = time.Duration(n.Int64N(int64(worldTTL / 4)))
		case p < 0.10:
			delay = time.Duration(n.Int64N(int64(3 * worldTTL)))
		}
	}
	time.Sleep(delay)
	return !w.severed(from, to)
}

// link is a voter as a machine's replica reaches it.
type link struct {
	w        *world
	from, to string
}

func (l *link) Name() string { return l.to }

func (l *link) Ask(ctx context.Context, r Request) (Answer, error) {
	n := l.w.draw("twice " + l.from + l.to)
	answers := make(chan Answer, 2)
	send := func(wait time.Duration) {
		time.Sleep(wait)
		if a, ok := l.deliver(r); ok {
			answers <- a
		}
	}
	go send(0)
	if l.w.faulty() && n.Float64() < 0.1 {
		go send(time.Duration(n.Int64N(int64(2 * worldTTL))))
	}
	select {
	case a := <-answers:
		return a, nil
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
}

func (l *link) deliver(r Request) (Answer, bool) {
	if !l.w.carry(l.from, l.to) {
		return Answer{}, false
	}
	s := l.w.sites[l.to]
	l.w.mu.Lock()
	voter, life, dead := s.voter, s.life, s.dead
	l.w.mu.Unlock()
	if dead {
		return Answer{}, false
	}
	a, err := voter.Ask(context.Background(), l.from, r)
	l.w.mu.Lock()
	died := s.life != life
	l.w.mu.Unlock()
	if err != nil || died || !l.w.carry(l.to, l.from) {
		return Answer{}, false
	}
	if err := a.check(); err != nil {
		l.w.fails("voter %s said what no voter may: %v: %+v", l.to, err, a)
	}
	return a, true
}

// boot starts a voter from its disk.
func (s *site) boot() {
	d := lifeDisk{s.disk, s.life}
	v, err := OpenVoter(context.Background(), VoterOptions{Store: d, Now: s.now})
	if err != nil {
		s.w.fails("voter %s: %v", s.name, err)
	}
	s.w.mu.Lock()
	s.voter, s.dead = v, false
	s.w.mu.Unlock()
}

// crash ends the voter at once.
func (s *site) crash() {
	s.disk.mu.Lock() // between writes, or in the middle of one that sleeps
	s.w.mu.Lock()
	s.life++
	s.dead = true
	s.w.mu.Unlock()
	s.disk.mu.Unlock()
}

func newWorld(seed uint64, drift float64, fails func(string, ...any)) *world {
	w := &world{seed: seed, fails: fails, start: time.Now(), sites: map[string]*site{}, drift: drift, draws: map[string]uint64{}, faults: true,
		cut: map[[2]string]bool{}, acked: map[int]string{}}
	for i, name := range []string{"a", "b", "w"} {
		rate := 1 + drift*[]float64{-1, 1, 1}[(i+int(seed))%3]
		if seed%4 == 0 {
			rate = 1 + drift*(2*w.draw("rate").Float64()-1)
		}
		s := &site{w: w, name: name, rate: rate, log: map[int]bool{}}
		s.disk = &worldDisk{site: s, all: map[string]Record{}}
		w.sites[name] = s
	}
	for _, s := range w.sites {
		s.boot()
	}
	return w
}

// replicas are on two machines, with every third seed on three.
func (w *world) replicas() []string {
	if w.seed%3 == 0 {
		return []string{"a", "b", "w"}
	}
	return []string{"a", "b"}
}

// plague has things go wrong until it ends.
func (w *world) plague(d time.Duration) {
	n := w.draw("plague")
	next := map[string]int{}
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(time.Duration(n.Int64N(int64(worldTTL / 2))))
		x, y := []string{"a", "b", "w"}[n.IntN(3)], []string{"a", "b", "w"}[n.IntN(3)]
		s := w.sites[x]
		switch n.IntN(6) {
		case 0, 1:
			w.mu.Lock()
			w.cut[[2]string{x, y}] = !w.cut[[2]string{x, y}]
			w.mu.Unlock()
		case 2:
			w.mu.Lock()
			clear(w.cut)
			w.mu.Unlock()
		case 3, 4:
			if s.dead {
				s.boot()
			} else if s.crash(); n.IntN(2) == 0 {
				s.boot()
			}
		case 5:
			if s.proc == nil {
				continue
			}
			next[x]++
			sole := n.IntN(2) == 0
			if sole || s.proc.client.o.Sole || n.IntN(2) == 0 { // else the one before stays, a zombie
				w.end(s)
			}
			s.launch(next[x], sole)
		}
	}
}

// end kills all processes of a machine's replica, zombies too.
func (w *world) end(s *site) {
	w.mu.Lock()
	all := slices.Clone(w.live)
	w.mu.Unlock()
	for _, p := range all {
		if p.site == s {
			p.kill()
		}
	}
}

// heal ends all faults.
func (w *world) heal() {
	w.mu.Lock()
	w.faults = false
	clear(w.cut)
	w.mu.Unlock()
	for _, s := range w.sites {
		if s.dead {
			s.boot()
		}
	}
}

// held reports whether somebody holds the lease.
func (w *world) held() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.live, func(p *process) bool { return p.holder != nil && p.holder.Valid() })
}

// run plays a world and returns how often a lease was granted, and how many records were acknowledged.
func runWorld(seed uint64, drift float64, fails func(string, ...any)) (grants, acked int) {
	w := newWorld(seed, drift, fails)
	for _, name := range w.replicas() {
		w.sites[name].launch(0, false)
	}
	w.plague(10 * worldTTL)
	w.heal()
	healed := time.Now()
	for !w.held() {
		if time.Since(healed) > healTTLs*worldTTL {
			fails("nobody holds the lease %d TTLs after the faults", healTTLs)
			break
		}
		time.Sleep(worldTTL / 20)
	}
	for _, s := range w.sites {
		w.end(s)
	}
	time.Sleep(10 * worldTTL) // what is still on its way arrives
	return w.grants, len(w.acked)
}

// healTTLs is within how many TTLs of the end of all faults somebody holds a lease.
const healTTLs = 4
