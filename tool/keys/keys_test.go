package keys_test

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	ring "github.com/qiongdev/qiong/kit/keys"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/tool/keys"
)

// run calls the tool on a data folder.
func run(t *testing.T, data, stdin string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	c := &qiong.Console{In: strings.NewReader(stdin), Out: &out, Err: &out, Lang: lang.EN, Flags: pflag.NewFlagSet("keys", pflag.ContinueOnError)}
	keys.Tool.Flags(c.Flags, c.Say)
	if err := c.Flags.Set("data", data); err != nil {
		t.Fatal(err)
	}
	err := keys.Tool.Run(context.Background(), c, args)
	return out.String(), err
}

func TestTwoHousesExchangeKeys(t *testing.T) {
	here, there := t.TempDir(), t.TempDir()
	for _, dir := range []string{here, there} {
		r, err := ring.Open(filepath.Join(dir, "keys"), ring.Options{CreateMaster: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Signer("approval"); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Secret("secret", 32); err != nil {
			t.Fatal(err)
		}
	}
	pem, err := run(t, here, "", "export", "approval")
	if err != nil || !strings.HasPrefix(pem, "-----BEGIN PUBLIC KEY-----") {
		t.Fatalf("%q, %v", pem, err)
	}
	if _, err := run(t, there, pem, "trust", "caller", "-"); err != nil {
		t.Fatal(err)
	}
	listed, err := run(t, there, "", "list")
	if err != nil || strings.Count(listed, "\n") != 2 || !strings.Contains(listed, "\tcaller\n") || strings.Contains(listed, "secret") {
		t.Errorf("%q, %v", listed, err)
	}
	if back, err := run(t, there, "", "export", "caller"); err != nil || back != pem {
		t.Errorf("%q, %v", back, err)
	}
}

func TestBadInput(t *testing.T) {
	if _, err := run(t, t.TempDir(), "", "list"); err == nil {
		t.Error("a folder without keys was listed")
	}
	dir := t.TempDir()
	if _, err := ring.Open(filepath.Join(dir, "keys"), ring.Options{CreateMaster: true}); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"dance"}, {"export"}, {"trust", "x"}, {"list", "x"}} {
		if _, err := run(t, dir, "", args...); !errs.Is(err, errs.Invalid) {
			t.Errorf("%v: %v", args, err)
		}
	}
	if _, err := run(t, dir, "not a key", "trust", "x", "-"); !errs.Is(err, errs.Invalid) {
		t.Errorf("trust of nonsense: %v", err)
	}
	if _, err := run(t, dir, "", "trust", "x", "/no/such/file"); !errs.Is(err, errs.NotFound) {
		t.Errorf("trust of no file: %v", err)
	}
}
