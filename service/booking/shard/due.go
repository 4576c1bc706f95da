package shard

import (
	"math/rand/v2"

	"github.com/qiongdev/qiong/service/booking/ledger"
)

// sweep is how much of what is due goes into one batch.
const sweep = 1000

// pass does what the time has brought, and reports whether all of it is done: holds that ran out, places that return,
// slots that are over or closed, days to forget.
func (s *Shard) pass(t *turn) bool {
	now := s.now
	s.mark(t)
	done := s.wheel.advance(now/1000, sweep, func(n ledger.Number) { s.state.Expire(now, n, rand.Uint64(), t.emit) })
	oldest := ledger.DayOf(now/1000) - s.o.Keep
	forget := oldest
	s.state.Due(func(slot *ledger.Slot) {
		if !t.room() {
			done = false
			return
		}
		s.state.Return(now, slot, t.emit)
		s.state.Finish(now, slot, t.emit)
		if slot.Day < forget {
			forget = slot.Day
		}
	})
	for index, from := range s.sweeps {
		if !t.room() {
			return false
		}
		slot := s.state.At(index)
		if slot != nil {
			from = s.state.Sweep(now, slot, from, sweep, slot.Note(), t.emit)
		}
		if slot == nil || from == 0 {
			delete(s.sweeps, index)
		} else {
			s.sweeps[index], done = from, false
		}
	}
	if done && forget < oldest && s.state.Retire(now, forget, t.emit) {
		s.keys.replace(s.state.Keys)
	}
	return done
}
