package booking

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/wal"
)

// A database that is away stops tables and receipts for a while, and bookings not at all; what no log keeps any more no
// patience brings back.
func TestReadersOfTheLogGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &seat{b: &Booking{host: &qiong.Host{Log: slog.New(slog.DiscardHandler)}}}
		for code, again := range map[string]bool{"": true, "db.unavailable": true, wal.CodeDamaged: false, wal.CodeNotKept: false} {
			tries := 0
			err := s.readOn(t.Context(), "tables", func() error {
				if tries++; tries > 3 {
					return nil
				}
				if code == "" {
					return errors.New("broken pipe")
				}
				return errs.New(errs.Unavailable, "坏了", "broken").WithCode(code)
			})
			if (tries > 3) != again || (err == nil) != again {
				t.Errorf("%q: %d tries, %v", code, tries, err)
			}
			if code == wal.CodeNotKept && (errs.As(err).Code != codeTables || !strings.Contains(errs.As(err).Hint.In(lang.EN), "backup")) {
				t.Errorf("%v", err)
			}
		}
	})
}
