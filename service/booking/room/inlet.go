package room

import (
	"math"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// Inlet is how fast people go in. The zero value means the defaults.
type Inlet struct {
	Wait    time.Duration // how long requests may wait before the engine; beyond it the inlet slows down; default 200 ms
	Target  int           // how many may wait at most, however fast it is; default 2048
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
	horizon    = 2 * time.Second  // over which rates are averaged
	longest    = time.Second      // no pause between two calls counts for more
	fewest     = 32               // waiting requests that are no crowd even before a slow engine
	headroom   = 0.9              // of the capacity, what goes in while the engine is crowded
	drain      = 8 * time.Second  // in which what waits too many is to be gone
	patience   = 5 * time.Second  // for a crowd to shrink: those let in before it are still to arrive
	backoff    = 0.7              // what is left of the share where it did not
	recovery   = 0.01             // by how much the share grows in a second without a crowd
	growth     = 2.0              // by how much the rate grows in a second while no capacity is known
	additive   = 0.02             // of the known capacity, by how much it grows in a second after a crowd
	regrowth   = 1.1              // by how much it grows in a second when the last crowd is long past
	forgetting = 30 * time.Second // when it is
	evidence   = 3                // times what the engine was seen to serve: the rate does not grow beyond
)

func (c Inlet) controller() (controller, error) {
	def := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		}
	}
	if c.Target == 0 {
		c.Target = 2048
	}
	if c.Wait == 0 {
		c.Wait = 200 * time.Millisecond
	}
	if c.Hold == 0 {
		c.Hold = 3 * time.Minute
	}
	def(&c.Floor, 1)
	def(&c.Ceiling, 100_000)
	def(&c.Start, 50)
	def(&c.Factor, 1.5)
	ok := c.Target > 0 && c.Wait > 0 && c.Floor > 0 && c.Ceiling >= c.Floor && c.Ceiling <= 1e7 && c.Start > 0 && c.Factor >= 1 && c.Factor <= 100 &&
		c.Hold >= time.Second && c.Hold <= 24*time.Hour
	if !ok {
		return controller{}, errs.New(errs.Invalid, "放行参数不合法", "the inlet is not valid").WithField("inlet")
	}
	return controller{Inlet: c, rate: min(max(c.Start, c.Floor), c.Ceiling), share: 1}, nil
}

// controller decides how many people go in.
//
// While the engine keeps up, the rate grows: by doubling until the engine has once been crowded, slowly afterwards, and
// never beyond a few times what it was seen to serve, so that people who take their time between going in and booking do
// not hide what is on its way. When too many requests wait, the rate falls to the capacity that the engine shows just
// then, less what drains the crowd in a few seconds. A person may cause more than one request; where a crowd grows in
// spite of that, the share of the capacity counted as one person's falls. The rate does not grow on what was not used:
// neither while nobody waits nor while the stock is what limits (no windup).
type controller struct {
	Inlet
	rate     float64 // people a second
	credit   float64 // people who may go in now, with the fraction that is carried over
	share    float64 // people for each request, at most 1
	capacity float64 // requests a second when it was last crowded; 0 where it never was
	last     time.Time
	served   uint64
	serving  float64 // requests a second, averaged
	entering float64 // people a second, averaged

	crowd struct {
		now   bool
		entry float64   // the rate with which it began
		since time.Time // when its size was noted
		size  int
		over  time.Time // when it was last seen
	}
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
	if c.crowd.over.After(now) { // the clock was set back
		c.crowd.over = now
	}
	if c.crowd.since.After(now) {
		c.crowd.since = now
	}
	c.last, c.served = now, s.Served
	return dt
}

// steer slows down where the engine is crowded.
func (c *controller) steer(now time.Time, dt time.Duration, s Signal) {
	crowd := &c.crowd
	most := min(max(c.serving*c.Wait.Seconds(), fewest), float64(c.Target))
	if float64(s.Depth) <= most {
		crowd.now = false
		c.share = min(c.share+recovery*dt.Seconds(), 1)
		return
	}
	if !crowd.now {
		crowd.now, crowd.entry, crowd.since, crowd.size = true, c.rate, now, s.Depth
	}
	crowd.over, c.capacity = now, c.serving
	if now.Sub(crowd.since) > patience {
		if s.Depth > crowd.size {
			c.share *= backoff
		}
		crowd.since, crowd.size = now, s.Depth
	}
	c.rate = c.share * (c.capacity*headroom - (float64(s.Depth)-most)/drain.Seconds())
	c.rate, c.credit = max(min(c.rate, crowd.entry), c.Floor), min(c.credit, 1)
}

// learn takes in that n people went in, and speeds up where that was all that the rate allowed.
func (c *controller) learn(dt time.Duration, n int) {
	limited := int(c.credit) > n
	c.credit -= float64(n)
	if dt > 0 {
		c.entering += (float64(n)/dt.Seconds() - c.entering) * weight(dt)
	}
	if limited {
		c.credit = min(c.credit, 1)
		return
	}
	if c.crowd.now {
		return
	}
	grown := c.rate + c.capacity*additive*dt.Seconds()
	switch {
	case c.capacity == 0:
		grown = c.rate * math.Pow(growth, dt.Seconds())
	case c.last.Sub(c.crowd.over) > forgetting:
		grown = c.rate * math.Pow(regrowth, dt.Seconds())
	}
	grown = min(grown, evidence*c.serving+c.Start, c.Ceiling)
	c.rate = max(c.rate, grown)
}

// weight is how much a measure over dt counts in an average over the horizon.
func weight(dt time.Duration) float64 { return 1 - math.Exp(-dt.Seconds()/horizon.Seconds()) }
