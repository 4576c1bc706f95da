package sandbox

import (
	"slices"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// FaultKind is a way to fail.
type FaultKind string

// The faults. After error500, timeout and down nothing has happened; after all others the effect has.
const (
	Error500       FaultKind = "error500"        // 500, signed
	Timeout        FaultKind = "timeout"         // no answer; the connection stays open until the caller leaves
	Lost           FaultKind = "lost"            // no answer; the connection is cut after the effect
	Duplicate      FaultKind = "duplicate"       // the request is processed twice at once, and its callback sent twice
	Drip           FaultKind = "drip"            // the answer comes byte by byte
	WrongSignature FaultKind = "wrong-signature" // the answer is signed by someone else
	Down           FaultKind = "down"            // the connection is cut at once, and no callback leaves
)

var faultKinds = []FaultKind{Error500, Timeout, Lost, Duplicate, Drip, WrongSignature, Down}

// Fault is an order to fail. Without Next and Until it holds until it is cleared.
type Fault struct {
	Kind     FaultKind
	Resource string    // empty: every resource of the agency
	Next     int       // how many requests; 0: no such limit
	Until    time.Time // the zero time never comes
}

// faults are the orders that control has given, by agency.
type faults struct {
	mu    sync.Mutex
	order map[string][]Fault
}

// set adds f, in place of one of the same kind and resource.
func (f *faults) set(agency string, order Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.order == nil {
		f.order = map[string][]Fault{}
	}
	kept := slices.DeleteFunc(f.order[agency], func(o Fault) bool { return o.Kind == order.Kind && o.Resource == order.Resource })
	f.order[agency] = append(kept, order)
}

// list returns the orders that hold at now.
func (f *faults) list(agency string, now time.Time) []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expire(agency, now)
	return slices.Clone(f.order[agency])
}

func (f *faults) clear(agency string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.order, agency)
}

// take returns the first fault that an order has for a request, and counts the request.
func (f *faults) take(agency, resource string, now time.Time, wanted func(FaultKind) bool) FaultKind {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expire(agency, now)
	for i := range f.order[agency] {
		o := &f.order[agency][i]
		if !wanted(o.Kind) || o.Resource != "" && o.Resource != resource {
			continue
		}
		kind := o.Kind
		if o.Next == 1 {
			f.order[agency] = slices.Delete(f.order[agency], i, i+1)
		} else if o.Next > 1 {
			o.Next--
		}
		return kind
	}
	return ""
}

// holds reports whether an order of this kind holds, without counting anything.
func (f *faults) holds(kind FaultKind, agency, resource string, now time.Time) bool {
	return slices.ContainsFunc(f.list(agency, now), func(o Fault) bool {
		return o.Kind == kind && (o.Resource == "" || o.Resource == resource)
	})
}

func (f *faults) expire(agency string, now time.Time) {
	if len(f.order[agency]) > 0 {
		f.order[agency] = slices.DeleteFunc(f.order[agency], func(o Fault) bool { return !o.Until.IsZero() && !now.Before(o.Until) })
	}
}

func isDown(k FaultKind) bool    { return k == Down }
func isNotDown(k FaultKind) bool { return k != Down }

// SetFault orders an agency to fail. It replaces an order of the same kind and resource.
func (s *Sandbox) SetFault(agency string, f Fault) error {
	o, err := s.office(agency)
	switch {
	case err != nil:
		return err
	case !slices.Contains(faultKinds, f.Kind):
		return errs.New(errs.Invalid, "没有这种故障", "there is no such fault").WithField("kind")
	case f.Resource != "" && o.resources[f.Resource] == nil:
		return errs.New(errs.Invalid, "该部门没有这项资源", "the agency has no such resource").WithField("resource")
	case f.Next < 0:
		return errs.New(errs.Invalid, "不得为负", "must not be negative").WithField("next")
	}
	s.faults.set(agency, f)
	return nil
}

// Faults returns the orders that hold for an agency.
func (s *Sandbox) Faults(agency string) ([]Fault, error) {
	if _, err := s.office(agency); err != nil {
		return nil, err
	}
	return s.faults.list(agency, s.now()), nil
}

// Clear withdraws every order for an agency.
func (s *Sandbox) Clear(agency string) error {
	if _, err := s.office(agency); err != nil {
		return err
	}
	s.faults.clear(agency)
	return nil
}
