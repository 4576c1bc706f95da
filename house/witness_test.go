package house_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/house"
	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/sqldb/sqlite"
	"github.com/qiongdev/qiong/service/evidence"
)

// checked has the audit log of a house checked.
func checked(t *testing.T, h *qiongtest.House) (state house.AuditState) {
	t.Helper()
	if err := h.As("auditor", auth.Auditor).Do(t.Context(), client.Request{Method: "POST", Path: "/api/house/audit/check"}, &state); err != nil {
		t.Fatal(err)
	}
	return state
}

// saved keeps what a URL answers in a file.
func saved(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.StatusCode, err)
	}
	return kept(t, string(text))
}

func kept(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys.pem")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Two houses: the other's witness cosigns this one's audit log; it may be away; and what it remembers convicts an operator
// who rewrites the database and the memory of the local witness, with all the keys at hand.
func TestTheAuditLogIsWitnessedByAnotherHouse(t *testing.T) {
	dir := t.TempDir()
	here := qiongtest.Options{Data: dir}
	h := qiongtest.Start(t, here)
	keys := kept(t, checked(t, h).Trust)
	h.Stop()

	there := qiongtest.Options{Services: []*qiong.Service{evidence.New()}, Data: t.TempDir(),
		Set: map[string]string{"house.listen": freeAddress(t), "evidence.name": "port", "evidence.witness": keys}}
	port := qiongtest.Start(t, there)
	here.Set = map[string]string{"house.audit-witness": port.URL, "house.audit-witness-keys": saved(t, port.URL+"/evidence/witness/keys.pem")}
	h = qiongtest.Start(t, here)
	state := checked(t, h)
	if len(state.Witnesses) != 1 || state.Witnesses[0].Name != "port" || state.Witnesses[0].Leaves != state.Leaves || state.Witnesses[0].Problem != "" {
		t.Fatalf("%+v", state)
	}
	note, err := receipt.ParseNote([]byte(state.Note))
	if err != nil {
		t.Fatal(err)
	}
	trust, err := receipt.ParseTrust([]byte(state.Trust))
	if err != nil {
		t.Fatal(err)
	}
	if a, err := trust.Verify(note); err != nil || len(a.Cosignatures) != 3 {
		t.Errorf("%+v, %v", a, err)
	}

	port.Stop()
	state = checked(t, h)
	if state.Broken != "" || state.Witnesses[0].Leaves >= state.Leaves || !strings.Contains(state.Witnesses[0].Problem, " / ") {
		t.Errorf("while it is away: %+v", state)
	}
	if status, text := fetched(t, h.URL+"/readyz"); status != 200 || !strings.Contains(text, "ready\naudit witness port is ") {
		t.Errorf("%d %s", status, text)
	}
	if _, text := fetched(t, h.URL+"/metrics"); strings.Contains(text, "qiong_house_audit_witness_behind 0\n") || !strings.Contains(text, "qiong_house_audit_witness_cosigned_seconds 1") {
		t.Error("no metric tells")
	}
	port = qiongtest.Start(t, there)
	if state = checked(t, h); state.Witnesses[0].Leaves != state.Leaves || state.Witnesses[0].Problem != "" {
		t.Errorf("when it is back: %+v", state)
	}
	h.Stop()

	rewrite(t, dir)
	h = qiongtest.Start(t, here)
	if state = checked(t, h); !strings.Contains(state.Broken, " / the witness has seen entry ") {
		t.Errorf("rewritten: %+v", state)
	}
	if status, text := fetched(t, h.URL+"/readyz"); status != 503 || !strings.Contains(text, "audit") {
		t.Errorf("%d %s", status, text)
	}
	h.Stop()
	h = qiongtest.Start(t, qiongtest.Options{Data: dir})
	if state = checked(t, h); state.Broken != "" || len(state.Witnesses) != 0 {
		t.Errorf("nobody but the other house could tell: %+v", state)
	}
	h.Stop()
	port.Stop()
}

// rewrite takes the audit log out of a database, and its witness's memory with it.
func rewrite(t *testing.T, dir string) {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(dir, "db", "house.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"log_entry", "log_id", "log_tile", "log_checkpoint", "log_cosignature", "audit_leaf", "audit_who"} {
		if _, err := db.Exec(context.Background(), sqldb.Durable, "DELETE FROM "+table); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(db.Close(), os.RemoveAll(filepath.Join(dir, "witness"))); err != nil {
		t.Fatal(err)
	}
}

func TestWitnessesOfTheAuditLogThatCannotBe(t *testing.T) {
	other := kept(t, "not a key")
	for name, c := range map[string]struct{ set map[string]string }{
		"no address": {map[string]string{"house.audit-witness": "port", "house.audit-witness-keys": other}},
		"no keys":    {map[string]string{"house.audit-witness": "https://port.example"}},
		"no witness": {map[string]string{"house.audit-witness-keys": other}},
	} {
		o := house.Defaults
		o.AuditWitness, o.AuditWitnessKeys = c.set["house.audit-witness"], c.set["house.audit-witness-keys"]
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "house.audit-witness") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
