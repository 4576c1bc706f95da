package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/service/approval"
	"github.com/qiongdev/qiong/service/sandbox"
	"github.com/qiongdev/qiong/tool/apply"
)

// verdict is what a house is held to when the dust has settled.
type verdict struct {
	t                   testing.TB
	data                string // its folder
	applicant, operator *client.Client
}

func (v verdict) get(c *client.Client, path string, out any) {
	v.t.Helper()
	if err := c.Do(context.Background(), client.Request{Method: "GET", Path: path}, out); err != nil {
		v.t.Fatalf("%s: %v", path, err)
	}
}

// all reads every page of a list.
func all[T any](v verdict, c *client.Client, path string) []T {
	v.t.Helper()
	var items []T
	for cursor := ""; ; {
		var page struct {
			Items []T
			Next  string
		}
		v.get(c, path+"?limit=200&cursor="+url.QueryEscape(cursor), &page)
		items = append(items, page.Items...)
		if cursor = page.Next; cursor == "" {
			return items
		}
	}
}

// eventually polls for what no stream tells of.
func (v verdict) eventually(what string, limit time.Duration, ok func() bool) {
	v.t.Helper()
	tick, late := time.NewTicker(50*time.Millisecond), time.After(limit)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			v.t.Fatalf("within %s never: %s", limit, what)
		}
	}
}

// settle waits until no case is under way, and returns the cases that were submitted.
func (v verdict) settle(limit time.Duration) map[string]apply.Case {
	v.t.Helper()
	v.eventually("every case has ended", limit, func() bool {
		var page struct{ Items []apply.Case }
		v.get(v.operator, "/api/approval/cases?status=processing&limit=1", &page)
		return len(page.Items) == 0
	})
	cases := map[string]apply.Case{}
	for _, c := range all[apply.Case](v, v.operator, "/api/approval/cases") {
		if c.Status != "draft" {
			cases[c.ID] = c
		}
	}
	return cases
}

// check holds the house to its promises about the cases it has: each has ended, with effects that are exact, and its
// applicant was told once.
func (v verdict) check(cases map[string]apply.Case) {
	v.t.Helper()
	v.effects(cases)
	v.notices(cases)
	v.acknowledged()
	v.nothingLeft()
}

// effects compares the agencies' ledger with how the cases ended: five effects where decided, none that stands where
// not.
func (v verdict) effects(cases map[string]apply.Case) {
	v.t.Helper()
	var sum sandbox.Summary
	v.get(v.operator, "/api/sandbox/effects/summary", &sum)
	if sum.Doubles != 0 {
		v.t.Errorf("%d requests took effect twice", sum.Doubles)
	}
	type tally struct{ done, undone int64 }
	ledger := map[string]map[string]tally{} // case → agency and resource
	for _, e := range all[sandbox.Effect](v, v.operator, "/api/sandbox/effects") {
		id, _, _ := strings.Cut(e.RequestID, ".")
		if ledger[id] == nil {
			ledger[id] = map[string]tally{}
		}
		k := e.Agency + "/" + e.Resource
		n := ledger[id][k]
		if n.done += e.Change; e.Change < 0 {
			n.done, n.undone = n.done-e.Change, n.undone-e.Change
		}
		ledger[id][k] = n
	}
	for id := range ledger {
		if _, ok := cases[id]; !ok {
			v.t.Errorf("agencies acted for %s, which is no case", id)
		}
	}
	for id, c := range cases {
		for k, n := range ledger[id] {
			if c.Status == "decided" && n != (tally{1, 0}) || c.Status != "decided" && n != (tally{1, 1}) {
				v.t.Errorf("case %s is %s: %s was done %d times and undone %d times", id, c.Status, k, n.done, n.undone)
			}
		}
		if c.Status == "decided" && len(ledger[id]) != 5 {
			v.t.Errorf("case %s is decided with effects at %v", id, ledger[id])
		}
	}
}

// kinds are the notices that tell of each end.
var kinds = map[string]string{"decided": approval.EventDecided, "refused": approval.EventRefused, "withdrawn": approval.EventWithdrawn}

// notices checks that each case's applicant was told of its end, once: the messages' effects.
func (v verdict) notices(cases map[string]apply.Case) {
	v.t.Helper()
	type notice struct{ Case, Kind string }
	var told []notice
	v.eventually("a notice for each case", 2*time.Minute, func() bool {
		told = all[notice](v, v.applicant, "/api/approval/notices")
		return len(told) >= len(cases)
	})
	count := map[string]int{}
	for _, n := range told {
		if count[n.Case]++; n.Kind != kinds[cases[n.Case].Status] {
			v.t.Errorf("case %s is %q and its applicant was told %s", n.Case, cases[n.Case].Status, n.Kind)
		}
	}
	for id := range cases {
		if count[id] != 1 {
			v.t.Errorf("the applicant of case %s was told %d times", id, count[id])
		}
	}
}

// acknowledged waits until every message is: one that its consumer can't handle twice, and is sent again, never would be.
func (v verdict) acknowledged() {
	v.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(v.data, "db", "approval.db")+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		v.t.Fatal(err)
	}
	defer db.Close()
	v.eventually("every message is acknowledged", 2*time.Minute, func() bool {
		var open, failed int
		err := db.QueryRow("SELECT count(*), count(CASE WHEN reason <> '' THEN 1 END) FROM local_delivery WHERE status <> 2").Scan(&open, &failed)
		if err != nil || failed > 0 {
			v.t.Fatalf("%d of %d open messages could not be handled: %v", failed, open, err)
		}
		return open == 0
	})
}

// nothingLeft checks that no saga is left, none waits for a person, and no message was given up.
func (v verdict) nothingLeft() {
	v.t.Helper()
	for _, path := range []string{"/api/approval/stuck", "/api/approval/dead"} {
		if left := all[any](v, v.operator, path); len(left) > 0 {
			v.t.Errorf("%s: %v", path, left)
		}
	}
	resp, err := http.Get(v.operator.URL + "/metrics")
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	metrics, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	if !strings.Contains(string(metrics), "\nqiong_approval_sagas_backlog 0\n") {
		v.t.Error("sagas are left")
	}
}

// count says how cases ended, for the log.
func count(cases map[string]apply.Case) string {
	n := map[string]int{}
	for _, c := range cases {
		n[c.Status]++
	}
	return fmt.Sprintf("%d decided, %d refused, %d withdrawn", n["decided"], n["refused"], n["withdrawn"])
}
