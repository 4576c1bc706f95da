package receipt_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/tool/receipt"
)

// sample writes the first of kit/receipt's vectors into a folder: a receipt, its original and the keys.
func sample(t *testing.T) string {
	t.Helper()
	file, err := os.ReadFile("../../kit/receipt/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Trusts map[string]string
		Good   []struct{ Receipt, Original []byte }
	}
	if err := json.Unmarshal(file, &v); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, data := range map[string][]byte{"a.receipt": v.Good[0].Receipt, "a.original": v.Good[0].Original, "keys.pem": []byte(v.Trusts["council"])} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func run(t *testing.T, json bool, flags map[string]string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	c := &qiong.Console{Out: &out, Err: &out, Lang: lang.EN, JSON: json, Flags: pflag.NewFlagSet("receipt", pflag.ContinueOnError)}
	receipt.Tool.Flags(c.Flags, c.Say)
	for name, value := range flags {
		if err := c.Flags.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	err := receipt.Tool.Run(context.Background(), c, args)
	return out.String(), err
}

func TestVerify(t *testing.T) {
	dir := sample(t)
	file := filepath.Join(dir, "a.receipt")
	flags := map[string]string{"trust": filepath.Join(dir, "keys.pem"), "data": filepath.Join(dir, "a.original")}
	out, err := run(t, false, flags, "verify", file)
	if err != nil || !strings.HasPrefix(out, "the receipt is valid and complete\n") || !strings.Contains(out, "matches") || strings.Contains(out, "Mind") {
		t.Errorf("%s\n%v", out, err)
	}
	out, err = run(t, true, flags, "verify", file)
	var told struct {
		State       string
		Original    bool
		TrustBeside bool
	}
	if err != nil || json.Unmarshal([]byte(out), &told) != nil || told.State != "complete" || !told.Original || told.TrustBeside {
		t.Errorf("%s\n%v", out, err)
	}
	if out, err := run(t, false, nil, "show", file); err != nil || !strings.Contains(out, "not verified") {
		t.Errorf("%s\n%v", out, err)
	}
}

func TestRefusals(t *testing.T) {
	dir := sample(t)
	file := filepath.Join(dir, "a.receipt")
	if _, err := run(t, false, nil, "verify", file); !errs.Is(err, errs.NotFound) || errs.As(err).Hint.IsZero() {
		t.Errorf("without keys: %v", err)
	}
	flags := map[string]string{"trust": filepath.Join(dir, "keys.pem"), "data": file}
	if _, err := run(t, false, flags, "verify", file); !errs.Is(err, errs.Invalid) || errs.As(err).Field != file {
		t.Errorf("another original: %v", err)
	}
	flags["data"] = filepath.Join(dir, "none")
	if _, err := run(t, false, flags, "verify", file); !errs.Is(err, errs.NotFound) {
		t.Errorf("no original: %v", err)
	}
	if _, err := run(t, false, nil, "dance", file); !errs.Is(err, errs.Invalid) {
		t.Errorf("a wrong word: %v", err)
	}
	long := filepath.Join(dir, "long")
	if err := os.WriteFile(long, make([]byte, 70_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, false, nil, "show", long); !errs.Is(err, errs.TooLarge) {
		t.Errorf("a long file: %v", err)
	}
}
