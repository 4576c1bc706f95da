package room

import (
	"math"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// Inlet is how fast people go in. The zero value means the defaults.
type Inlet struct {
	Target  int           // requests that may wait before the engine; above it the inlet slows down; default 256
	Floor   float64       // people a second that go in whatever the engine says; default 1
	Ceiling float64       // people a second at most; default 100,000
	Start   float64       // people a second to begin with; default 50
	Factor  float64       // admitted people at a time for each ticket left, at least 1; default 1.5
	Hold    time.Duration // how long an admission lasts; default 3 minutes
}

// Signal is what the engine says of itself.
type Signal struct {
	Depth  int    // requests waiting before it at the moment
	Served uint64 // requests it has answered since it started; differences give its rate
	Stock  int    // tickets left to book; negative where that is not known
}

const (
	settle     = time.Second     // between two slow-downs: what was admitted before must arrive first
	horizon    = 2 * time.Second // over which rates are averaged
	longest    = time.Second     // no pause between two calls counts for more
	backoff    = 0.7             // what a slow-down leaves of the rate
	headroom   = 0.9             // what a slow-down leaves of the rate at which a crowded engine was seen to serve
	additive   = 0.05            // of the known capacity, by how much the rate grows in a second
	growth     = 2.0             // by how much it grows in a second while no capacity is known
	forgetting = 30 * time.Second
)

func (c Inlet) controller() (controller, error) {
	def := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		}
	}
	if c.Target == 0 {
		c.Target = 256
	}
	if c.Hold == 0 {
		c.Hold = 3 * time.Minute
	}
	def(&c.Floor, 1)
	def(&c.Ceiling, 100_000)
	def(&c.Start, 50)
	def(&c.Factor, 1.5)
	ok := c.Target > 0 && c.Floor > 0 && c.Ceiling >= c.Floor && c.Ceiling <= 1e7 && c.Start > 0 && c.Factor >= 1 && c.Factor <= 100 &&
		c.Hold >= time.Second && c.Hold <= 24*time.Hour
	if !ok {
		return controller{}, errs.New(errs.Invalid, "放行参数不合法", "the inlet is not valid").WithField("inlet")
	}
	return controller{Inlet: c, rate: min(max(c.Start, c.Floor), c.Ceiling)}, nil
}

// controller decides how many people go in. While the engine keeps up, the rate grows: by doubling until the engine has
// once been crowded, then by a twentieth of the capacity seen there. When more wait before it than the target, the rate
// falls to a part of itself or of that capacity, once in a while, for what was let in before is still to arrive. The rate
// does not grow on what was not used: neither while nobody waits nor while the stock is what limits (no windup).
type controller struct {
	Inlet
	rate     float64 // people a second
	credit   float64 // people who may go in now, with the fraction that is carried over
	capacity float64 // requests a second when it was last crowded; 0 where unknown
	crowded  time.Time
	slowed   time.Time
	last     time.Time // of the last call
	served   uint64
	serving  float64 // requests a second, averaged
	entering float64 // people a second, averaged
}

// allow returns how many of the waiting may go in now, given how many admissions are unused.
func (c *controller) allow(now time.Time, s Signal, waiting, unused int) int {
	dt := c.step(now, s)
	c.steer(now, dt, s)
	c.credit += c.rate * dt.Seconds()
	n := min(int(c.credit), waiting)
	if s.Stock >= 0 {
		n = min(n, int(float64(s.Stock)*c.Factor)-unused)
	}
	n = max(n, 0)
	c.learn(dt, n)
	return n
}

// step returns the time since the last call, none where the clock was set back, and measures the engine.
func (c *controller) step(now time.Time, s Signal) time.Duration {
	dt := min(max(now.Sub(c.last), 0), longest)
	if c.last.IsZero() {
		dt = 0
	}
	if dt > 0 && s.Served >= c.served {
		c.serving += (float64(s.Served-c.served)/dt.Seconds() - c.serving) * weight(dt)
	}
	for _, t := range []*time.Time{&c.crowded, &c.slowed} {
		if t.After(now) {
			*t = now
		}
	}
	c.last, c.served = now, s.Served
	return dt
}

// steer slows down where the engine is crowded.
func (c *controller) steer(now time.Time, dt time.Duration, s Signal) {
	if s.Depth <= c.Target {
		if c.capacity > 0 && now.Sub(c.crowded) > forgetting {
			c.capacity = 0 // it may have grown since: look for it anew
		}
		return
	}
	c.crowded = now
	if c.capacity = c.serving; !c.slowed.IsZero() && now.Sub(c.slowed) < settle {
		return
	}
	c.slowed = now
	c.rate *= backoff
	if c.serving > 0 {
		c.rate = min(c.rate, c.serving*headroom)
	}
	c.rate, c.credit = max(c.rate, c.Floor), 0
}

// learn takes in that n people went in, and speeds up where that was all that the rate allowed.
func (c *controller) learn(dt time.Duration, n int) {
	limited := int(c.credit) > n
	c.credit -= float64(n)
	if dt > 0 {
		c.entering += (float64(n)/dt.Seconds() - c.entering) * weight(dt)
	}
	switch {
	case limited:
		c.credit = min(c.credit, 1)
	case c.crowded.Equal(c.last):
	case c.capacity == 0:
		c.rate *= math.Pow(growth, dt.Seconds())
	default:
		c.rate += max(c.capacity*additive, c.Floor) * dt.Seconds()
	}
	c.rate = min(c.rate, c.Ceiling)
}

// weight is how much a measure over dt counts in an average over the horizon.
func weight(dt time.Duration) float64 { return 1 - math.Exp(-dt.Seconds()/horizon.Seconds()) }
