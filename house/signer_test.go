package house_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/house"
	"github.com/qiongdev/qiong/house/qiongtest"
	"github.com/qiongdev/qiong/kit/auth"
	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/signer"
)

// serveKeys runs a signer with new keys of these names until stop.
func serveKeys(t *testing.T, socket string, all []signer.Key) (stop func()) {
	t.Helper()
	s, err := signer.NewServer(signer.Options{Keys: all, Record: func(signer.Signing) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	l, err := signer.Listen(socket, -1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// A house whose ring lacks the private keys of its audit log signs with those of a signer, and not at all without it.
func TestKeysThatASignerHas(t *testing.T) {
	var all []signer.Key
	for _, name := range []string{"audit", "audit-witness"} {
		k, err := gm.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, signer.Key{Name: name, Signer: k})
	}
	dir, socket := t.TempDir(), filepath.Join(t.TempDir(), "s")
	stop := serveKeys(t, socket, all)
	o := qiongtest.Options{Data: dir, Set: map[string]string{"house.signer": socket}}
	h := qiongtest.Start(t, o)
	auditor := h.As("auditor", auth.Auditor)
	check := func() (state house.AuditState, err error) {
		return state, auditor.Do(t.Context(), client.Request{Method: "POST", Path: "/api/house/audit/check"}, &state)
	}
	state, err := check()
	if err != nil || state.Broken != "" || state.Note == "" {
		t.Fatalf("%+v, %v", state, err)
	}
	trust, err := receipt.ParseTrust([]byte(state.Trust))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range trust.Keys() {
		if !slices.ContainsFunc(all, func(s signer.Key) bool { return k.Public.Equal(s.Signer.Public()) }) {
			t.Errorf("%s is not the signer's", k.Name)
		}
	}
	if status, text := fetched(t, h.URL+"/readyz"); status != 200 {
		t.Error(status, text)
	}
	stop()
	auditor = h.As("auditor2", auth.Auditor)      // which is on record, and unsigned
	poll := time.NewTicker(10 * time.Millisecond) // what was heard of it counts for a second
	defer poll.Stop()
	for late := time.After(time.Minute); ; {
		status, text := fetched(t, h.URL+"/readyz")
		if status == 503 && strings.Contains(text, "signer") {
			break
		}
		select {
		case <-poll.C:
		case <-late:
			t.Fatal(status, text)
		}
	}
	if _, err := check(); err == nil || !strings.Contains(err.Error(), socket) {
		t.Errorf("the check says %v", err)
	}
	h.Stop() // unsigned, which is no error

	h = qiongtest.Start(t, o) // it has never to ask for the names again
	auditor = h.As("auditor", auth.Auditor)
	defer serveKeys(t, socket, all)()
	tick, late := time.NewTicker(10*time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for {
		if state, err = check(); err == nil {
			break
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatal(err)
		}
	}
	if state.Broken != "" {
		t.Errorf("%+v", state)
	}
	ring, err := keys.Open(filepath.Join(dir, "keys"), keys.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"audit", "audit-witness"} {
		if _, err := ring.Signer(name); err == nil {
			t.Errorf("the ring has a private key %s", name)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "keys", "master.key")); err != nil {
		t.Error(err)
	}
}
