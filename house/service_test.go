package house_test

import (
	"testing"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
)

// The service of the example keeps what the documents say of it.
func TestAServiceOfOnesOwn(t *testing.T) {
	qiongtest.Databases(t, func(t *testing.T, database string) {
		h := qiongtest.Start(t, qiongtest.Options{Services: []*qiong.Service{visits}, Database: database})
		alice, bob := h.As("alice", auth.Applicant), h.As("bob", auth.Applicant)
		for range 3 {
			if err := alice.Do(t.Context(), client.Request{Method: "POST", Path: "/api/visits/visits"}, nil); err != nil {
				t.Fatal(err)
			}
		}
		greeted := func(c *client.Client) (n struct{ Count int }) {
			if err := c.Do(t.Context(), client.Request{Method: "GET", Path: "/api/visits/greetings"}, &n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		tick, deadline := time.NewTicker(5*time.Millisecond), time.After(30*time.Second)
		defer tick.Stop()
		for greeted(alice).Count < 3 {
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatal("the messages were never handled")
			}
		}
		if a, b := greeted(alice).Count, greeted(bob).Count; a != 3 || b != 0 {
			t.Errorf("greeted %d and %d times; want 3 and 0", a, b)
		}
	})
}
