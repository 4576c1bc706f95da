package house_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house"
	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqlite"
	"github.com/qiongdev/qiong/service/approval"
	"github.com/qiongdev/qiong/service/sandbox"
)

// audited lists the audit log of a house, oldest first: what was done by whom to what, and what became of it.
func audited(t *testing.T, auditor *client.Client, query string) (all []house.AuditView) {
	t.Helper()
	for cursor, more := "", true; more; more = cursor != "" {
		var list struct {
			Items []house.AuditView
			Next  string
		}
		if err := auditor.Do(t.Context(), client.Request{Method: "GET", Path: "/api/house/audit?limit=5&" + query + "&cursor=" + cursor}, &list); err != nil {
			t.Fatal(err)
		}
		for _, e := range list.Items {
			all = append([]house.AuditView{e}, all...)
		}
		cursor = list.Next
	}
	return all
}

func fetched(t *testing.T, url string) (status int, body string) {
	t.Helper()
	resp, body := get(t, url)
	return resp.StatusCode, body
}

func TestWhatIsDoneIsOnRecord(t *testing.T) {
	qiongtest.Databases(t, func(t *testing.T, database string) {
		dir := t.TempDir()
		o := qiongtest.Options{Services: []*qiong.Service{sandbox.Service, approval.Service}, Data: dir, Database: database}
		h := qiongtest.Start(t, o)
		security, auditor, operator := h.As("sec", auth.Security), h.As("auditor", auth.Auditor), h.As("ops", auth.Operator)
		do := func(c *client.Client, method, path string, body any) {
			t.Helper()
			if err := c.Do(t.Context(), client.Request{Method: method, Path: path, Body: body}, nil); err != nil {
				t.Fatal(method, path, err)
			}
		}
		do(security, "POST", "/api/house/tokens", map[string]any{"id": "window", "name": "窗口", "roles": []string{"official"}})
		do(operator, "POST", "/api/approval/requeue", map[string]any{})
		page(t, h, "/", auth.Principal{ID: "visitor", Name: "来访者", Roles: []auth.Role{auth.Applicant}})
		if status, _ := fetched(t, h.URL+"/login?once=qiong_wrong"); status != 401 {
			t.Error(status)
		}
		all := audited(t, auditor, "what=token.issue&who=sec")
		if len(all) != 1 || !strings.Contains(all[0].Detail, "for window, roles [official]") || all[0].Outcome != "done" || all[0].Trace == "" {
			t.Errorf("%+v", all)
		}
		do(security, "DELETE", "/api/house/tokens/"+all[0].Object, nil)
		for query, want := range map[string]int{
			"what=token.revoke&who=sec": 1, "what=operate&who=ops": 1, "what=sign-in&who=visitor": 1, "what=sign-in&outcome=refused": 1,
			"what=house.start": 1, "what=config": 1, "what=keys": 1, "what=house.stop": 0, "what=house.start&since=2199-01-01T00:00:00.000%2B08:00": 0,
		} {
			if got := audited(t, auditor, query); len(got) != want {
				t.Errorf("%s: %+v, want %d", query, got, want)
			}
		}
		for _, e := range audited(t, auditor, "") {
			if strings.Contains(e.Detail+e.Object, "窗口") || strings.Contains(e.Detail+e.Object, "qiong_") {
				t.Errorf("a name or a secret is on record: %+v", e)
			}
		}
		h.Stop()
		h = qiongtest.Start(t, o)
		auditor = h.As("auditor", auth.Auditor)
		if all := audited(t, auditor, "what=house.stop"); len(all) != 1 {
			t.Errorf("%+v", all)
		}
		configs := audited(t, auditor, "what=config")
		if len(configs) != 2 || configs[0].Object != configs[1].Object {
			t.Errorf("the same settings have another digest: %+v", configs)
		}
		var state house.AuditState
		if err := auditor.Do(t.Context(), client.Request{Method: "POST", Path: "/api/house/audit/check"}, &state); err != nil || state.Broken != "" || state.Checked == 0 || state.Note == "" {
			t.Errorf("%+v, %v", state, err)
		}
	})
}

// An administrator of the machine who edits the database beside the running house is found by the next check, and
// everything that watches the house is told.
func TestTheHouseTellsOfTampering(t *testing.T) {
	dir := t.TempDir()
	h := qiongtest.Start(t, qiongtest.Options{Data: dir})
	auditor := h.As("auditor", auth.Auditor)
	if all := audited(t, auditor, "what=token.issue"); len(all) != 1 {
		t.Fatal(all)
	}
	become(t, h.URL, 200)
	db, err := sqlite.Open(filepath.Join(dir, "db", "house.db"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := db.Exec(context.Background(), sqldb.Durable, "UPDATE log_entry SET data = replace(CAST(data AS TEXT), 'auditor', 'nobodyy') WHERE instr(CAST(data AS TEXT), 'auditor') > 0")
	if err != nil || n == 0 {
		t.Fatal(n, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	var state house.AuditState
	if err := auditor.Do(t.Context(), client.Request{Method: "POST", Path: "/api/house/audit/check"}, &state); err != nil || state.Broken == "" {
		t.Fatalf("%+v, %v", state, err)
	}
	if status, text := fetched(t, h.URL+"/readyz"); status != 503 || !strings.Contains(text, "audit") {
		t.Errorf("%d %s", status, text)
	}
	if status, _ := fetched(t, h.URL+"/healthz"); status != 200 {
		t.Error("it is not healthy")
	}
	if _, text := fetched(t, h.URL+"/metrics"); !strings.Contains(text, "qiong_house_audit_broken 1") {
		t.Error("no metric tells")
	}
	h.Stop()
	h = qiongtest.Start(t, qiongtest.Options{Data: dir}) // its first check finds the same
	tick, deadline := time.NewTicker(5*time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for {
		if status, text := fetched(t, h.URL+"/readyz"); status == 503 && strings.Contains(text, "audit") {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the check at the start has not found it")
		}
	}
}

// The accesses that an earlier version kept in a table are taken into the log.
func TestOldAccessesAreTakenOver(t *testing.T) {
	dir := t.TempDir()
	qiongtest.Start(t, qiongtest.Options{Data: dir}).Stop()
	db, err := sqlite.Open(filepath.Join(dir, "db", "house.db"))
	if err != nil {
		t.Fatal(err)
	}
	into := sqldb.NewInto("access_record", "id", "who", "route", "grade", "clearance", "decision", "trace", "at")
	var rows []sqldb.Insert
	for i := range 2500 {
		rows = append(rows, into.Row(i+1, "alice", "GET /x", "L3", "L3", "passed", "", int64(1_790_000_000_000+i)))
	}
	if err := errors.Join(db.Append(t.Context(), rows...), db.Close()); err != nil {
		t.Fatal(err)
	}
	h := qiongtest.Start(t, qiongtest.Options{Data: dir})
	got, cursor := 0, ""
	for more := true; more; more = cursor != "" {
		var list struct {
			Items []house.AccessView
			Next  string
		}
		if err := h.As("auditor", auth.Auditor).Do(t.Context(), client.Request{Method: "GET", Path: "/api/house/accesses?limit=200&who=alice&cursor=" + cursor}, &list); err != nil {
			t.Fatal(err)
		}
		for _, a := range list.Items {
			if got++; int64(a.At) != int64(1_790_000_002_500-got) || a.Route != "GET /x" {
				t.Fatalf("%d: %+v", got, a)
			}
		}
		cursor = list.Next
	}
	if got != 2500 {
		t.Errorf("%d were taken over", got)
	}
}
