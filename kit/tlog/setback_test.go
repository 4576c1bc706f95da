package tlog

import (
	"path/filepath"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
)

func TestSetBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "witness")
	w, err := OpenWitness(WitnessOptions{Dir: dir, Create: true})
	if err != nil {
		t.Fatal(err)
	}
	earlier := receipt.Checkpoint{Origin: "log", Size: 3, Root: merkle.LeafHash([]byte("a"))}
	known := receipt.Checkpoint{Origin: "log", Size: 9, Root: merkle.LeafHash([]byte("b"))}
	if err := w.SetBack(known, earlier); !errs.Is(err, errs.Conflict) {
		t.Errorf("a log that it does not know: %v", err)
	}
	if err := w.memory.remember(known); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		known, earlier receipt.Checkpoint
		kind           errs.Kind
	}{
		"another is known": {earlier, earlier, errs.Conflict},
		"a later one":      {known, receipt.Checkpoint{Origin: "log", Size: 10}, errs.Invalid},
		"of another log":   {known, receipt.Checkpoint{Origin: "other", Size: 3}, errs.Invalid},
	} {
		if err := w.SetBack(c.known, c.earlier); !errs.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.SetBack(known, earlier); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w, err = OpenWitness(WitnessOptions{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if c, ok := w.Last("log"); !ok || c != earlier {
		t.Errorf("it remembers %+v", c)
	}
}
