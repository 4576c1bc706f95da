package httpsig

import (
	"fmt"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
)

func at(created time.Time, nonce string) Signed {
	return Signed{KeyID: "0123456789abcdef", Nonce: nonce, Created: created, Expires: created.Add(window)}
}

func TestNonceCacheRefusesReplays(t *testing.T) {
	c := NewNonceCache(100, window)
	if err := c.Add(at(now, "a"), now); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "at once", c.Add(at(now, "a"), now), "replayed")
	wantCode(t, "to the last moment", c.Add(at(now, "a"), now.Add(window-1)), "replayed")
	other := at(now, "a")
	other.KeyID = "fedcba9876543210"
	if err := c.Add(other, now); err != nil {
		t.Errorf("the same nonce of another key: %v", err)
	}
}

// For as long as VerifyRequest would take a signature, whenever it was first seen and however many came between, the
// cache knows it.
func TestNonceCacheRemembersAsLongAsNeeded(t *testing.T) {
	const step = window / 7
	for first := -window; first < window; first += step { // first seen before or after its creation
		for begun := time.Duration(0); begun < 5*window; begun += step { // the generation's age by then
			c := NewNonceCache(1000, window)
			if err := c.Add(at(now.Add(first-begun), "earlier"), now.Add(first-begun)); err != nil {
				t.Fatal(err)
			}
			seen := at(now, "a")
			if err := c.Add(seen, now.Add(first)); err != nil {
				t.Fatal(err)
			}
			for when := now.Add(first); when.Before(seen.Expires); when = when.Add(step / 2) {
				if err := c.Add(at(when, when.String()), when); err != nil {
					t.Fatal(err)
				}
				wantCode(t, fmt.Sprintf("begun %v before, first seen %v, again %v", begun, first, when.Sub(now)), c.Add(seen, when), "replayed")
			}
		}
	}
}

func TestNonceCacheIsBounded(t *testing.T) {
	const max = 50
	c := NewNonceCache(max, window)
	when := now
	for round := range 5 {
		for i := range max {
			if err := c.Add(at(when, fmt.Sprint(round, i)), when); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Add(at(when, "one more"), when); !errs.Is(err, errs.TooMany) || errs.As(err).RetryAfter <= 0 {
			t.Errorf("beyond the bound: %v", err)
		}
		wantCode(t, "full", c.Add(at(when, fmt.Sprint(round, 0)), when), "replayed")
		if len(c.now)+len(c.old) > max {
			t.Fatalf("holds %d", len(c.now)+len(c.old))
		}
		when = when.Add(4 * window)
	}
}

func TestNonceCacheWhenTheClockGoesBack(t *testing.T) {
	c := NewNonceCache(100, window)
	if err := c.Add(at(now, "a"), now); err != nil {
		t.Fatal(err)
	}
	late := now.Add(time.Hour)
	if err := c.Add(at(late, "b"), late); err != nil { // a clock an hour fast: "a" is forgotten
		t.Fatal(err)
	}
	wantCode(t, "after it was set right", c.Add(at(now, "a"), now), "replayed")
	wantCode(t, "and what came since", c.Add(at(late, "b"), now), "replayed")
}
