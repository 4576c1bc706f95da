package evidence_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/tlog"
	"github.com/qiongdev/qiong/service/evidence"
)

// watchman runs the command monitor with a state of its own.
type watchman struct {
	t           *testing.T
	state, keys string
}

func newWatchman(l *lab) *watchman {
	w := &watchman{l.t.(*testing.T), filepath.Join(l.t.TempDir(), "state"), filepath.Join(l.t.TempDir(), "trust.pem")}
	if err := os.WriteFile(w.keys, l.trust().Marshal(), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return w
}

func (w *watchman) look(url string, more ...string) (string, error) {
	w.t.Helper()
	for _, tool := range evidence.New().Commands {
		if tool.Name != "monitor" {
			continue
		}
		flags := pflag.NewFlagSet("monitor", pflag.ContinueOnError)
		tool.Flags(flags, func(_, en string) string { return en })
		if err := flags.Parse(append([]string{"--once", "--state", w.state, "--trust", w.keys}, more...)); err != nil {
			w.t.Fatal(err)
		}
		var out bytes.Buffer
		err := tool.Run(w.t.Context(), &qiong.Console{Out: &out, Err: &out, Flags: flags, Lang: lang.EN}, []string{url})
		return out.String(), err
	}
	w.t.Fatal("there is no such command")
	return "", nil
}

func TestAMonitorSeesAHonestLog(t *testing.T) {
	t.Parallel()
	l := open(t, "", nil)
	w := newWatchman(l)
	l.put("form-1", "form-2")
	out, err := w.look(l.URL)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, out, "operator house ", "2 new, 2 in all, root "+l.status().Root.String()+", signed by house", "2 records checked: not shrunk")
	l.put("form-3")
	if out, err = w.look(l.URL + "/evidence/log"); err != nil {
		t.Fatal(err)
	}
	contains(t, out, "1 new, 3 in all", "3 records checked")
	l.Stop()
	if _, err := w.look(l.URL); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("a log that is away: %v", err)
	}
}

func TestAMonitorNamesALogThatWasSetBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		put  []string
		code string
	}{
		"shrunk": {[]string{"form-1"}, tlog.CodeShrunk},
		"forked": {[]string{"other-1", "other-2", "other-3"}, tlog.CodeForked},
		"longer": {[]string{"other-1", "other-2", "other-3", "other-4"}, tlog.CodeForked},
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t, "", nil)
			w := newWatchman(l)
			l.put("form-1", "form-2", "form-3")
			if _, err := w.look(l.URL); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadFile(w.state)
			if err != nil {
				t.Fatal(err)
			}
			l.Stop()
			rewrite(t, l.data, func(tx *sqldb.Tx) error {
				for _, table := range []string{"log_entry", "log_tile", "log_checkpoint", "log_cosignature", "ledger_state", "ledger_policy"} {
					if _, err := tx.Exec(t.Context(), "DELETE FROM "+table); err != nil {
						return err
					}
				}
				return nil
			})
			l = open(t, l.data, nil)
			l.put(c.put...)
			_, err = w.look(l.URL)
			e := errs.As(err)
			if err == nil || e.Code != c.code || e.Kind.Exit() == 0 {
				t.Fatalf("got %v, want %s", err, c.code)
			}
			contains(t, e.Msg.EN, c.code)
			proof, err := os.ReadFile(w.state + ".contradiction")
			if err != nil {
				t.Fatal(err)
			}
			two, trust := notes(t, proof), l.trust()
			if len(two) != 2 {
				t.Fatalf("%d notes:\n%s", len(two), proof)
			}
			for _, n := range two {
				if _, err := trust.Verify(n); err != nil {
					t.Error(err)
				}
			}
			if after, err := os.ReadFile(w.state); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the state was changed: %v", err)
			}
		})
	}
}

// notes reads notes with an empty line behind each.
func notes(t *testing.T, text []byte) (all []*receipt.Note) {
	t.Helper()
	parts := bytes.Split(bytes.TrimSuffix(text, []byte("\n\n")), []byte("\n\n"))
	for i := 0; i+1 < len(parts); i += 2 {
		n, err := receipt.ParseNote(slices.Concat(parts[i], []byte("\n\n"), parts[i+1], []byte("\n")))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

func TestAMonitorHoldsALogToItsKeys(t *testing.T) {
	t.Parallel()
	l, other := open(t, "", nil), open(t, "", nil)
	w := newWatchman(l)
	other.put("form-1")
	if _, err := w.look(other.URL); errs.As(err).Code != receipt.CodeSigner {
		t.Errorf("another key: %v", err)
	}
	if _, err := w.look(l.URL, "--trust", "nowhere.pem"); errs.As(err).Field != "--trust" {
		t.Errorf("no keys: %v", err)
	}
	if err := os.WriteFile(w.state, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.look(l.URL); errs.As(err).Code != "log.seen" {
		t.Errorf("a damaged state: %v", err)
	}
}
