package house_test

import (
	"testing"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/leak"
)

// goroutines returns the snapshot that the operator of a house gets.
func goroutines(t *testing.T, h *qiongtest.House) (s leak.Snapshot) {
	t.Helper()
	if err := h.As("op", auth.Operator).Do(t.Context(), client.Request{Method: "GET", Path: "/api/house/goroutines"}, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEverythingRunsUnderLabels(t *testing.T) {
	h := qiongtest.Start(t, qiongtest.Options{Services: []*qiong.Service{visits}})
	if err := h.As("alice", auth.Applicant).Do(t.Context(), client.Request{Method: "POST", Path: "/api/visits/visits"}, nil); err != nil {
		t.Fatal(err)
	}
	want := []string{"consumer=visits.greeter service=visits", "job=visits.relay service=visits", "service=visits", "job=house.audit service=house"}
	tick, deadline := time.NewTicker(5*time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for {
		s := goroutines(t, h)
		have, handled, posts := map[string]bool{}, int64(0), int64(0)
		for _, g := range s.Groups {
			have[leak.Key(g.Labels)] = true
		}
		for _, c := range s.Counts {
			switch leak.Key(c.Labels) {
			case "consumer=visits.greeter service=visits":
				handled = c.Ended
			case "route=POST /api/visits/visits":
				posts = c.Ended
			}
		}
		missing := ""
		for _, label := range want {
			if !have[label] {
				missing = label
			}
		}
		if missing == "" && handled == 1 && posts == 1 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("nothing runs under %q, or %d messages and %d posts are counted: %+v", missing, handled, posts, s.Counts)
		}
	}
}

func TestGoroutinesAreForTheOperator(t *testing.T) {
	h := qiongtest.Start(t, qiongtest.Options{})
	for name, c := range map[string]*client.Client{"nobody": {URL: h.URL}, "an applicant": h.As("a", auth.Applicant), "an auditor": h.As("b", auth.Auditor)} {
		err := c.Do(t.Context(), client.Request{Method: "GET", Path: "/api/house/goroutines"}, nil)
		if !errs.Is(err, errs.Forbidden) && !errs.Is(err, errs.Unauthenticated) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s := goroutines(t, h); s.Goroutines == 0 {
		t.Errorf("%+v", s)
	}
}
