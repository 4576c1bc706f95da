package council

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

func TestHomeKeepsItsKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	h, err := NewHome(dir, "customs")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 4 {
		t.Fatalf("%v, %v", entries, err)
	}
	before := map[string]string{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v (%v)", e.Name(), info.Mode(), err)
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		before[e.Name()] = string(data)
	}
	if _, err := NewHome(dir, "customs"); !errs.Is(err, errs.Conflict) {
		t.Errorf("a second time: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, homeFile)); err != nil { // as a crash in NewHome would leave it
		t.Fatal(err)
	}
	if _, err := NewHome(dir, "tax"); !errs.Is(err, errs.Conflict) {
		t.Errorf("beside keys: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, homeFile), []byte(before[homeFile]), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, text := range before {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(data) != text {
			t.Errorf("%s changed (%v)", name, err)
		}
	}
	again, err := OpenHome(dir)
	if err != nil || !again.consensus.Equals(h.consensus) || again.node.ID() != h.node.ID() || again.Agency() != "customs" {
		t.Errorf("opened as %+v, %v", again, err)
	}
}

func TestOpenHomeRefuses(t *testing.T) {
	if _, err := OpenHome(t.TempDir()); !errs.Is(err, errs.NotFound) {
		t.Errorf("an empty folder: %v", err)
	}
	for _, name := range []string{homeFile, consensusFile, nodeFile} {
		for _, text := range []string{"", "{}", `{"agency":"A"}`, "{", `{"agency":"a","x":1}`} {
			h := newHome(t, "customs")
			if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenHome(h.dir); !errs.Is(err, errs.Internal) {
				t.Errorf("%s with %q: %v", name, text, err)
			}
		}
	}
	// What was signed is read when the node starts: without it nothing may be signed.
	h := newHome(t, "customs")
	if err := os.Remove(filepath.Join(h.dir, signedFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.signer(); !errs.Is(err, errs.Internal) {
		t.Errorf("without memory of what was signed: %v", err)
	}
}

func TestHomeIsForOne(t *testing.T) {
	h := newHome(t, "customs")
	first, err := h.lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.lock(); !errs.Is(err, errs.Conflict) {
		t.Errorf("a second lock: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.lock(); err != nil {
		t.Errorf("after the first ended: %v", err)
	}
}

func newHome(t testing.TB, agency string) *Home {
	t.Helper()
	h, err := NewHome(filepath.Join(t.TempDir(), agency), agency)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func newPublic(t testing.TB, agency, p2p string) Public {
	t.Helper()
	key, err := gm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	p, err := newHome(t, agency).Public(p2p, "https://"+agency+".example", key.PublicKey().PEM())
	if err != nil {
		t.Fatal(err)
	}
	return p
}
