package audit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/tlog"
)

// elsewhere is a witness in another house, which may be away.
type elsewhere struct {
	*tlog.Witness
	away bool
}

// newElsewhere returns a witness of the log of b, and has b ask it.
func newElsewhere(t testing.TB, b *backup) *elsewhere {
	t.Helper()
	trust := (&Log{o: Options{Operator: fixed(1), Witness: fixed(2)}})
	if err := trust.identify(); err != nil {
		t.Fatal(err)
	}
	signer, err := receipt.NewSigner("port", fixed(3))
	if err != nil {
		t.Fatal(err)
	}
	w, err := tlog.OpenWitness(tlog.WitnessOptions{Dir: filepath.Join(t.TempDir(), "port"), Create: true, Signer: signer, Trust: trust.trust, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	e := &elsewhere{Witness: w}
	origin := trust.trust.Keys()[0].Origin
	b.out = &Outside{Keys: []receipt.Key{{Name: "port", Origin: origin, Role: receipt.Witness, Public: fixed(3).PublicKey()}}, Witness: e}
	return e
}

// Cosign implements tlog.Cosigner.
func (e *elsewhere) Cosign(ctx context.Context, older uint64, proof []merkle.Hash, n *receipt.Note) (receipt.Signature, error) {
	if e.away {
		return receipt.Signature{}, errs.New(errs.Unavailable, "不在", "away")
	}
	return e.Witness.Cosign(ctx, older, proof, n)
}

func newWitnessed(t testing.TB) (*backup, *elsewhere) {
	t.Helper()
	b := &backup{dir: t.TempDir()}
	e := newElsewhere(t, b)
	t.Cleanup(func() { b.close(t) })
	b.reopen(t)
	return b, e
}

// goesOn has the witness in another house accept a gap and go back to a size that it has signed itself.
func (e *elsewhere) goesOn(t testing.TB, b *backup, g *Gap, size uint64) {
	t.Helper()
	back, err := g.Back(e.Witness, b.Trust(), fixed(3).PublicKey())
	if err == nil {
		err = back.Accept(size, false)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (b *backup) port(t testing.TB) WitnessState {
	t.Helper()
	all, err := b.Outside(t.Context())
	if err != nil || len(all) != 1 || all[0].Name != "port" {
		t.Fatalf("%+v, %v", all, err)
	}
	return all[0]
}

// The witness outside cosigns beside the local one; while it is away auditing goes on, and how far it is behind shows.
func TestAWitnessOutside(t *testing.T) {
	b, e := newWitnessed(t)
	if err := b.AskOutside(t.Context()); err != nil || b.port(t).Size != 0 {
		t.Fatal("nothing is signed yet", err)
	}
	b.add(t, 5, true)
	if err := b.AskOutside(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Note(t.Context()); err != nil || len(n.Signatures) != 3 || b.port(t).Size != 5 || b.port(t).At == 0 {
		t.Errorf("%+v, %v", n, err)
	}
	e.away = true
	b.add(t, 5, true)
	if err := b.AskOutside(t.Context()); !errs.Is(err, errs.Unavailable) {
		t.Error(err)
	}
	if w := b.port(t); w.Size != 5 || w.Problem.EN != "away" {
		t.Errorf("%+v", w)
	}
	if err := b.Check(t.Context(), nil); err != nil || b.Status().Broken != nil {
		t.Errorf("one that is away is no tampering: %v", err)
	}
	e.away = false
	if err := b.Check(t.Context(), nil); err != nil || b.port(t).Size != 10 || !b.port(t).Problem.IsZero() {
		t.Errorf("%+v, %v", b.port(t), err)
	}

	b.out = nil // another is to be asked, or none: what it has signed is no longer believed, and no reason for alarm
	b.reopen(t)
	if err := b.Check(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// Who has the machine, its keys, the database and the memory of the local witness, rewrites the log; the witness outside
// has seen the other one.
func TestARewrittenLogIsFoundOutside(t *testing.T) {
	for name, n := range map[string]int{"shorter": 5, "as long": 10, "longer": 30} {
		t.Run(name, func(t *testing.T) {
			b, _ := newWitnessed(t)
			b.add(t, 10, true)
			if err := b.AskOutside(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, table := range []string{"log_entry", "log_id", "log_tile", "log_checkpoint", "log_cosignature", "audit_leaf", "audit_who"} {
				if _, err := b.db.Exec(t.Context(), sqldb.Durable, "DELETE FROM "+table); err != nil {
					t.Fatal(err)
				}
			}
			b.close(t)
			if err := os.RemoveAll(b.file("witness")); err != nil {
				t.Fatal(err)
			}
			b.reopen(t)
			for range n {
				if err := b.Commit(t.Context(), Entry{Who: "nobody", What: Operate, Outcome: Done}); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.Sign(t.Context()); err != nil {
				t.Fatal(err)
			}
			isBroken(t, b.Log)
			if name != "shorter" {
				return
			}
			b.Log.status.Broken = nil
			if err := b.AskOutside(t.Context()); !broken(err) || b.Status().Broken == nil {
				t.Errorf("asked between two checks: %v", err)
			}
		})
	}
}

// Where the whole folder is put back, memory and all, only the witness outside knows what is missing. The gap that it
// makes known is stated once, and it is no alarm any more that it does not go on by itself.
func TestAWholeFolderIsRestored(t *testing.T) {
	b, _ := newWitnessed(t)
	b.add(t, 10, true)
	b.save(t, "house.db", "witness")
	b.add(t, 10, true)
	if err := b.AskOutside(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.load(t, "house.db", "witness")
	isBroken(t, b.Log)
	g, err := b.Restored(t.Context(), "ops", "the whole machine")
	if err != nil || g.Shown.Size != 10 || g.Lost() != 20 || len(g.Seen) != 1 || g.Seen[0] != (Seen{Name: "port", Size: 20}) {
		t.Fatalf("%+v, %v", g, err)
	}
	for range 3 {
		if err := b.Check(t.Context(), nil); err != nil || len(b.Status().Gaps) != 1 {
			t.Fatal(err)
		}
		if w := b.port(t); w.Problem.IsZero() {
			t.Errorf("%+v", w)
		}
		b.add(t, 10, true) // it outgrows what was lost
	}
	if _, err := b.Restored(t.Context(), "ops", "again"); !errs.Is(err, errs.Conflict) {
		t.Error(err)
	}
}

// The same backup is put back twice, or an older one: the first statement is then in the witness's folder alone, and the
// second is entered all the same, whether the witness outside has accepted the first or not.
func TestASecondRestoreWithAWitnessOutside(t *testing.T) {
	for name, accepts := range map[string]bool{"it has accepted the first": true, "it has not": false} {
		t.Run(name, func(t *testing.T) {
			b, e := newWitnessed(t)
			b.add(t, 10, true)
			if err := b.AskOutside(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.save(t, "house.db")
			b.add(t, 30, true)
			if err := b.AskOutside(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.load(t, "house.db")
			first, err := b.Restored(t.Context(), "ops", "first")
			if err != nil {
				t.Fatal(err)
			}
			if accepts {
				e.goesOn(t, b, first, 10)
				if err := b.AskOutside(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			b.add(t, 5, true)
			b.load(t, "house.db")
			isBroken(t, b.Log)
			second, err := b.Restored(t.Context(), "ops", "second")
			if err != nil || len(second.Seen) != 2 {
				t.Fatalf("%+v, %v", second, err)
			}
			if err := b.Check(t.Context(), nil); err != nil || len(b.Status().Gaps) != 2 {
				t.Fatalf("%+v, %v", b.Status(), err)
			}
			e.goesOn(t, b, second, 10)
			if err := b.AskOutside(t.Context()); err != nil || b.port(t).Size != b.Last().Size {
				t.Errorf("after: %+v, %v", b.port(t), err)
			}
		})
	}
}

// A witness outside that has accepted a gap and gone on is not fooled within that: a log that is cut again, and of which
// nobody says so, is an alarm.
func TestCutAgainWithinAnAcceptedGap(t *testing.T) {
	b, e := newWitnessed(t)
	b.add(t, 10, true)
	if err := b.AskOutside(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.save(t, "house.db")
	b.add(t, 30, true)
	if err := b.AskOutside(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.load(t, "house.db")
	g, err := b.Restored(t.Context(), "ops", "first")
	if err != nil {
		t.Fatal(err)
	}
	e.goesOn(t, b, g, 10)
	if err := b.AskOutside(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.save(t, "house.db", "witness")
	b.add(t, 10, true)
	if err := b.AskOutside(t.Context()); err != nil || b.Last().Size >= g.Lost() {
		t.Fatal(b.Last().Size, err)
	}
	b.load(t, "house.db", "witness")
	if err := b.AskOutside(t.Context()); !broken(err) || b.Status().Broken == nil {
		t.Errorf("%v, %+v", err, b.Status())
	}
	isBroken(t, b.Log)
	if g, err = b.Restored(t.Context(), "ops", "second"); err != nil {
		t.Fatal(err)
	}
	e.goesOn(t, b, g, 11)
	if err := b.AskOutside(t.Context()); err != nil || b.port(t).Size != b.Last().Size {
		t.Errorf("after it was entered and accepted: %+v, %v", b.port(t), err)
	}
}

// Who runs the witness outside accepts the statement, and it goes on from what it has signed itself.
func TestTheWitnessOutsideAccepts(t *testing.T) {
	for name, early := range map[string]bool{"from its own signature": true, "from what is shown": false} {
		t.Run(name, func(t *testing.T) {
			b, e := newWitnessed(t)
			b.add(t, 6, true)
			if early {
				if err := b.AskOutside(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			b.add(t, 4, true)
			b.save(t, "house.db", "witness")
			b.add(t, 10, true)
			if err := b.AskOutside(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.load(t, "house.db", "witness")
			g, err := b.Restored(t.Context(), "ops", "the whole machine")
			if err != nil {
				t.Fatal(err)
			}
			if g, err = ParseGap(g.Marshal()); err != nil || (g.Cosigned != nil) != early {
				t.Fatalf("%+v, %v", g, err)
			}
			b.add(t, 30, true)
			if err := b.AskOutside(t.Context()); err == nil || broken(err) {
				t.Fatalf("before: %v", err)
			}
			other, err := gm.GenerateKey()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := g.Back(e.Witness, b.Trust(), other.PublicKey()); early && !broken(err) {
				t.Errorf("the signature of another: %v", err)
			}
			to := map[bool]uint64{true: 6, false: 10}[early]
			back, err := g.Back(e.Witness, b.Trust(), fixed(3).PublicKey())
			if err != nil || back.From.Size != 20 || back.To.Size != to || (back.Signed != 0) != early {
				t.Fatalf("%+v, %v", back, err)
			}
			if err := back.Accept(to+1, true); !errs.Is(err, errs.Invalid) {
				t.Errorf("another size than was agreed to: %v", err)
			}
			if !early {
				if err := back.Accept(to, false); !errs.Is(err, errs.Conflict) {
					t.Errorf("a history that it has never signed: %v", err)
				}
			}
			if last, _ := e.Last(b.Last().Origin); last.Size != 20 {
				t.Errorf("refused, and it remembers %d", last.Size)
			}
			if err := back.Accept(to, !early); err != nil {
				t.Fatal(err)
			}
			if last, _ := e.Last(b.Last().Origin); last.Size != to {
				t.Errorf("it remembers %d", last.Size)
			}
			if err := b.AskOutside(t.Context()); err != nil || b.port(t).Size != b.Last().Size {
				t.Errorf("after: %+v, %v", b.port(t), err)
			}
			if _, err := g.Back(e.Witness, b.Trust(), fixed(3).PublicKey()); !errs.Is(err, errs.Conflict) {
				t.Errorf("a second time: %v", err)
			}
		})
	}
}

// Who has the two keys of the log invents a history, and a statement of it that the witness outside has signed nothing of:
// the witness keeps what it has seen.
func TestAnInventedHistoryIsNotAccepted(t *testing.T) {
	b, e := newWitnessed(t)
	b.add(t, 10, true)
	if err := b.AskOutside(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen, _ := e.Last(b.Last().Origin)
	invented := seen
	invented.Size, invented.Root[0] = 9, invented.Root[0]^1
	g := &Gap{Time: 1, Who: "ops", Reason: "a story", Shown: invented, ShownAt: 1, Found: invented, Seen: []Seen{{Name: "port", Size: 10}}}
	if err := g.sign(fixed(1), fixed(2)); err != nil {
		t.Fatal(err)
	}
	back, err := g.Back(e.Witness, b.Trust(), fixed(3).PublicKey())
	if err != nil || back.Signed != 0 {
		t.Fatalf("%+v, %v", back, err)
	}
	if err := back.Accept(9, false); !errs.Is(err, errs.Conflict) {
		t.Errorf("it was accepted: %v", err)
	}
	if last, _ := e.Last(seen.Origin); last != seen {
		t.Errorf("it remembers %+v", last)
	}
}

func named(keys []receipt.Key, name string) []receipt.Key {
	k := keys[0]
	k.Name = name
	return []receipt.Key{k}
}

func TestWitnessesOutsideThatCannotBe(t *testing.T) {
	b := &backup{dir: t.TempDir()}
	newElsewhere(t, b)
	good := *b.out
	for name, change := range map[string]func(*Outside){
		"the operator's name": func(o *Outside) { o.Keys = named(o.Keys, OperatorName) },
		"the witness's name":  func(o *Outside) { o.Keys = named(o.Keys, WitnessName) },
		"two names":           func(o *Outside) { o.Keys = append(named(o.Keys, "tax"), o.Keys...) },
		"no keys":             func(o *Outside) { o.Keys = nil },
		"another log's keys": func(o *Outside) {
			o.Keys = []receipt.Key{{Name: "port", Origin: "other", Role: receipt.Witness, Public: fixed(3).PublicKey()}}
		},
		"the operator's key": func(o *Outside) {
			k := o.Keys[0]
			k.Public = fixed(1).PublicKey()
			o.Keys = []receipt.Key{k}
		},
	} {
		o := good
		b.out = &o
		change(&o)
		if err := b.open(t.Context()); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
		if err := errors.Join(b.db.Close()); err != nil {
			t.Fatal(err)
		}
		b.Log = nil
	}
}
