package booking

import (
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/service/booking/ledger"
)

// claim is an admission in use by one booking. The zero value is of a booking that needs none.
type claim struct {
	l      *lobby
	number uint32
	key    ledger.Key
}

var errSpent = errs.New(errs.Conflict, "入场凭证已用于另一次预约，请重新进入等候室", "the admission has made another booking: join the waiting room again").
	WithCode("booking.spent").WithField("admission")

// admitted lets one booking through with an admission: the same key as often as it likes, and another only where the first
// came to nothing.
func (l *lobby) admitted(number uint32, key ledger.Key, now time.Time) (claim, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if by, ok := l.spent.get(number); ok && by != key {
		return claim{}, errSpent
	}
	if err := l.room.Use(number); err != nil {
		return claim{}, err
	}
	l.spent.put(number, key, now)
	l.dirty = true
	return claim{l, number, key}, nil
}

// drop gives the admission back: nothing was booked.
func (c claim) drop() {
	if c.l == nil {
		return
	}
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	c.l.spent.remove(c.number, c.key)
}

// spent knows which admissions were used, and by which key, for as long as they last: a young and an old half, so that
// nothing needs to be gone through.
type spent struct {
	young, old map[uint32]ledger.Key
	turned     time.Time
}

// admissionLasts is longer than any admission does.
const admissionLasts = 10 * time.Minute

func (s *spent) get(number uint32) (key ledger.Key, ok bool) {
	if key, ok = s.young[number]; !ok {
		key, ok = s.old[number]
	}
	return key, ok
}

func (s *spent) put(number uint32, key ledger.Key, now time.Time) {
	if s.young == nil || now.Sub(s.turned) > admissionLasts {
		s.young, s.old, s.turned = map[uint32]ledger.Key{}, s.young, now
	}
	s.young[number] = key
}

func (s *spent) remove(number uint32, key ledger.Key) {
	for _, half := range []map[uint32]ledger.Key{s.young, s.old} {
		if half[number] == key {
			delete(half, number)
		}
	}
}
