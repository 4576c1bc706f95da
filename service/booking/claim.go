package booking

import (
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/service/booking/ledger"
)

// claim is an admission in use by one request. The zero value is of a request that needs none.
type claim struct {
	l      *lobby
	number uint32
	use    *use
}

// use is what an admission was used for.
type use struct {
	key   ledger.Key
	under int  // requests of the key that are under way
	spent bool // one of them booked, or may have
}

var errSpent = errs.New(errs.Conflict, "入场凭证已用于另一次预约，请重新进入等候室", "the admission has made another booking: join the waiting room again").
	WithCode("booking.spent").WithField("admission")

// admitted lets one booking through with an admission: the same key as often as it likes, and another only where the first
// came to nothing. The claim is to be ended.
func (l *lobby) admitted(number uint32, key ledger.Key, now time.Time) (claim, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.uses.get(number)
	if u != nil && u.key != key {
		return claim{}, errSpent
	}
	if err := l.room.Use(number); err != nil {
		return claim{}, err
	}
	if u == nil {
		u = &use{key: key}
		l.uses.put(number, u, now)
	}
	u.under++
	l.dirty = true
	return claim{l, number, u}, nil
}

// end says whether the request booked, or may have. Where none of the key did, the admission can be used for another.
func (c claim) end(booked bool) {
	if c.l == nil {
		return
	}
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	c.use.under--
	c.use.spent = c.use.spent || booked
	if c.use.under == 0 && !c.use.spent {
		c.l.uses.remove(c.number)
	}
}

// uses are those of admissions, by their numbers, for as long as admissions last: a young and an old half, so that nothing
// needs to be gone through.
type uses struct {
	young, old map[uint32]*use
	turned     time.Time
}

// admissionLasts is longer than any admission does.
const admissionLasts = 10 * time.Minute

func (s *uses) get(number uint32) *use {
	if u := s.young[number]; u != nil {
		return u
	}
	return s.old[number]
}

func (s *uses) put(number uint32, u *use, now time.Time) {
	if s.young == nil || now.Sub(s.turned) > admissionLasts {
		s.young, s.old, s.turned = map[uint32]*use{}, s.young, now
	}
	s.young[number] = u
}

func (s *uses) remove(number uint32) {
	delete(s.young, number)
	delete(s.old, number)
}
