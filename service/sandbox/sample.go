package sandbox

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"time"

	"github.com/qiongdev/qiong/kit/gm"
)

// key names one request.
type key struct{ agency, resource, id string }

func (k key) String() string { return k.agency + "/" + k.resource + "/" + k.id }

// draw returns the random numbers for one purpose of one request. They depend on nothing else than the arguments: not on
// what was asked before, nor on time. The parts hold no '/', except the last.
func draw(seed uint64, k key, purpose string) *rand.Rand {
	digest := gm.SM3(binary.BigEndian.AppendUint64(nil, seed), []byte(k.String()+"/"+purpose))
	return rand.New(rand.NewChaCha8(digest))
}

// Latency is a lognormal distribution, as waiting times of real services are.
type Latency struct {
	Median time.Duration
	Sigma  float64 // standard deviation of the logarithm
}

// maxLatency bounds what the tail of a wide distribution can ask for.
const maxLatency = 10 * time.Minute

func (l Latency) sample(r *rand.Rand, speed float64) time.Duration {
	d := float64(l.Median) * math.Exp(l.Sigma*r.NormFloat64()) * speed
	return time.Duration(min(d, float64(maxLatency))).Truncate(time.Millisecond) // times are stored in milliseconds
}

// sampleFault returns the fault that the scenario has for a request, or none.
func sampleFault(r *rand.Rand, odds []odds) FaultKind {
	p := r.Float64()
	for _, o := range odds {
		if p -= o.p; p < 0 {
			return o.kind
		}
	}
	return ""
}
