package signer

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/signer"
)

// command runs the tool as the command line does.
func command(ctx context.Context, out *bytes.Buffer, args ...string) error {
	fs := pflag.NewFlagSet("signer", pflag.ContinueOnError)
	c := &qiong.Console{Out: out, Err: &bytes.Buffer{}, Lang: lang.EN, Flags: fs}
	Tool.Flags(fs, c.Say)
	if err := fs.Parse(args); err != nil {
		return err
	}
	return Tool.Run(ctx, c, fs.Args())
}

// newRing makes a ring with two private keys and what is none.
func newRing(t *testing.T) (dir string, ring *keys.Ring) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "keys")
	ring, err := keys.Open(dir, keys.Options{CreateMaster: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"audit", "cosigning"} {
		if _, err := ring.Signer(name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ring.Sealer("data"); err != nil {
		t.Fatal(err)
	}
	other, err := gm.GenerateKey()
	if err == nil {
		err = ring.Trust("partner", other.PublicKey())
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir, ring
}

func TestARingIsServed(t *testing.T) {
	dir, ring := newRing(t)
	socket, folder := filepath.Join(t.TempDir(), "s"), filepath.Join(t.TempDir(), "record")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- command(ctx, &bytes.Buffer{}, "--keys", dir, "--listen", socket, "--only", "cosigning", "--record", folder)
	}()
	client := signer.NewClient(socket, signer.ClientOptions{Wait: time.Minute})
	defer client.Close()
	all, err := client.Keys(t.Context())
	if err != nil || len(all) != 1 || all[0].Name != "cosigning" {
		t.Fatalf("%v, %v", all, err)
	}
	pub, err := ring.Public("cosigning")
	if err != nil {
		t.Fatal(err)
	}
	digest := gm.SM3([]byte("x"))
	if _, err := client.Signer(pub).Sign(nil, digest[:], nil); err != nil {
		t.Fatal(err)
	}
	audit, err := ring.Public("audit")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Signer(audit).Sign(nil, digest[:], nil); !errs.Is(err, errs.NotFound) {
		t.Errorf("a key that is not to be served: %v", err)
	}
	var out bytes.Buffer
	if err := command(t.Context(), &out, "list", "--socket", socket); err != nil || out.String() != gm.KeyID(pub)+"\tcosigning\n" {
		t.Errorf("%q, %v", &out, err)
	}
	out.Reset()
	if err := command(t.Context(), &out, "export", "cosigning", "--socket", socket); err != nil || out.String() != string(pub.PEM()) {
		t.Errorf("%q, %v", &out, err)
	}
	if err := command(t.Context(), &out, "export", "audit", "--socket", socket); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.ndjson"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var l line
	if err := json.Unmarshal(text, &l); err != nil || l.Key != "cosigning" || l.KeyID != gm.KeyID(pub) || len(l.Digest) != 64 || l.PID != int32(os.Getpid()) {
		t.Errorf("%s, %v", text, err)
	}
}

func TestTheRecordTurnsWithTheDay(t *testing.T) {
	dir := t.TempDir()
	r, err := openRecord(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	at := time.Date(2026, 11, 22, 15, 59, 59, 0, time.UTC) // a second before midnight in Beijing
	for i := range 3 {
		if err := r.add(signer.Signing{Time: at.Add(time.Duration(i) * time.Second), Key: "k"}); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]int{"2026-11-22.ndjson": 1, "2026-11-23.ndjson": 2} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if n := strings.Count(string(text), "\n"); err != nil || n != want {
			t.Errorf("%s has %d lines, %v; want %d", name, n, err, want)
		}
	}
}

// A power cut has torn the last line: the signature after it can be read.
func TestATornLineIsEnded(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "2026-11-22.ndjson")
	if err := os.WriteFile(path, []byte("{\"key\":\"whole\"}\n{\"time\":\"20"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, want := range []string{"after", "again"} {
		r, err := openRecord(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.add(signer.Signing{Time: at, Key: want}); err != nil {
			t.Fatal(err)
		}
		r.close()
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, s := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		var l line
		if json.Unmarshal([]byte(s), &l) != nil {
			l.Key = "torn"
		}
		found = append(found, l.Key)
	}
	if got := strings.Join(found, " "); got != "whole torn after again" {
		t.Errorf("the lines are %s:\n%s", got, text)
	}
}

// unsyncable has a record write to a pipe, which can be written and not be synced.
func unsyncable(t *testing.T, at time.Time) (r *record, pipe *os.File) {
	t.Helper()
	r, err := openRecord(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	if err := r.add(signer.Signing{Time: at, Key: "k"}); err != nil {
		t.Fatal(err)
	}
	end, pipe, err := os.Pipe()
	if err == nil {
		err = r.file.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = end.Close() })
	r.file = pipe
	if err := r.add(signer.Signing{Time: at, Key: "k"}); err != nil {
		t.Fatal(err)
	}
	return r, pipe
}

// What could not be synced may be lost: nothing is signed upon it, on that day or the next.
func TestNothingIsAddedAfterAFailedSync(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	tomorrow := at.Add(24 * time.Hour)
	for name, fail := range map[string]func(*record) error{
		"within a day": func(r *record) error { return r.sync() },
		"between days": func(r *record) error { return r.add(signer.Signing{Time: tomorrow, Key: "k"}) },
	} {
		r, pipe := unsyncable(t, at)
		if err := fail(r); err == nil {
			t.Errorf("%s: a pipe was synced", name)
		}
		for _, when := range []time.Time{at, tomorrow} {
			if err := r.add(signer.Signing{Time: when, Key: "k"}); !errs.Is(err, errs.Unavailable) {
				t.Errorf("%s: then %v", name, err)
			}
		}
		if turned := r.file != pipe; turned != (name == "between days") {
			t.Errorf("%s: the day has turned: %t", name, turned)
		}
	}
}

func TestWrongCommands(t *testing.T) {
	dir, _ := newRing(t)
	empty := filepath.Join(t.TempDir(), "keys")
	if _, err := keys.Open(empty, keys.Options{CreateMaster: true}); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "s")
	for _, c := range []struct {
		kind errs.Kind
		args []string
	}{
		{errs.Invalid, nil},
		{errs.Invalid, []string{"--keys", dir}},
		{errs.Invalid, []string{"sign"}},
		{errs.Invalid, []string{"list"}},
		{errs.NotFound, []string{"--keys", empty, "--listen", socket}},
		{errs.NotFound, []string{"--keys", dir, "--listen", socket, "--only", "data"}},
		{errs.Internal, []string{"--keys", filepath.Join(dir, "none"), "--listen", socket}},
		{errs.Invalid, []string{"--keys", dir, "--listen", filepath.Join(dir, "none", "s")}},
		{errs.Invalid, []string{"--keys", dir, "--listen", socket, "--rate", "-1"}},
		{errs.Invalid, []string{"--keys", dir, "--listen", socket, "--user", "4294967296"}},
		{errs.Invalid, []string{"--keys", dir, "--listen", socket, "--group", "4294967295"}},
		{errs.Invalid, []string{"--keys", dir, "--listen", socket, "--record", filepath.Join(dir, "audit.key", "x")}},
	} {
		if err := command(t.Context(), &bytes.Buffer{}, c.args...); !errs.Is(err, c.kind) {
			t.Errorf("%v: %v", c.args, err)
		}
	}
}
