package evidence

import (
	"log/slog"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

// quiet logs what may go wrong again and again: each matter once a minute, with how often it was passed over.
type quiet struct {
	log *slog.Logger

	mu   sync.Mutex
	said map[string]*saying
}

type saying struct {
	at     time.Time
	silent int
}

// maxSayings is how many matters are told apart.
const maxSayings = 256

// warn logs err about one thing, such as a node, unless it has just said so.
func (q *quiet) warn(what, key, value string, err error) {
	if errs.KindOf(err) == errs.Canceled {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	matter, now := what+"\x00"+value+"\x00"+errs.As(err).Code, time.Now()
	if q.said == nil || len(q.said) >= maxSayings && q.said[matter] == nil {
		q.said = map[string]*saying{}
	}
	s := q.said[matter]
	if s == nil {
		s = &saying{}
		q.said[matter] = s
	}
	if !s.at.IsZero() && now.Sub(s.at) < time.Minute {
		s.silent++
		return
	}
	args := []any{"err", err}
	if key != "" {
		args = append(args, key, value)
	}
	if s.silent > 0 {
		args = append(args, "passed_over", s.silent)
	}
	q.log.Warn(what, args...)
	s.at, s.silent = now, 0
}
