package outbox_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/qiongdev/qiong/kit/bus"
	"github.com/qiongdev/qiong/kit/label"
	"github.com/qiongdev/qiong/kit/outbox"
	"github.com/qiongdev/qiong/kit/sqldb/sqldbtest"
)

// gradedBus notes the grade that each message bears, and says another where it is told to.
type gradedBus struct {
	bus.Bus
	mu    sync.Mutex
	bore  map[string]string // key → grade in the header
	raise map[string]string // key → what to say instead
}

func (b *gradedBus) Publish(ctx context.Context, topic string, m bus.Message) error {
	if grade, ok := m.Header[label.Header]; ok {
		b.mu.Lock()
		b.bore[m.Key] = grade
		if to := b.raise[m.Key]; to != "" {
			m.Header = map[string]string{label.Header: to}
		}
		b.mu.Unlock()
	}
	return b.Bus.Publish(ctx, topic, m)
}

// The grade goes with a message, and a consumer that is cleared for L2 is told nothing above.
func TestAConsumerWithoutClearanceIsRefused(t *testing.T) {
	b := &gradedBus{Bus: bus.NewLocal(), bore: map[string]string{}, raise: map[string]string{"raised": "L4", "lowered": "L1"}}
	r := newRoad(t, sqldbtest.SQLite(t), sqldbtest.SQLite(t), b)
	stop := r.start()
	defer stop()
	told := map[string]string{ // key → the grade of its message
		"public": "L1", "inner": "L2", "sensitive": "L3", "important": "important", "none": "", "unknown": "secret",
		"raised": "L1", "lowered": "L3",
	}
	for key, grade := range told {
		r.tellGraded("peek", key, grade, 7)
	}
	r.until(2)
	var dead []outbox.Dead
	eventually(t, func() bool {
		var err error
		if dead, err = r.box.ListDead(t.Context(), 0, 100); err != nil {
			t.Fatal(err)
		}
		return len(dead) == len(told)-2
	})
	reasons := map[string]string{}
	for _, d := range dead {
		reasons[d.Key] = d.Reason
	}
	for key, grade := range map[string]string{"sensitive": "L3", "important": "important", "none": "ungraded", "unknown": "ungraded", "raised": "L4", "lowered": "L3"} {
		if want := "the message is of grade " + grade + ", and the consumer is cleared for L2"; !strings.Contains(reasons[key], want) {
			t.Errorf("%s: dead for %q; want %q", key, reasons[key], want)
		}
	}
	for key, grade := range told {
		if b.bore[key] != grade {
			t.Errorf("%s bore the grade %q on the bus; want %q", key, b.bore[key], grade)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.got["public"]) != 1 || len(r.got["inner"]) != 1 || len(r.got) != 2 {
		t.Errorf("handled: %v", r.got)
	}
}
