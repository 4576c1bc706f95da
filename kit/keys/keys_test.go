package keys

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/lang"
)

func open(t testing.TB, dir string, opt Options) *Ring {
	t.Helper()
	r, err := Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestKeysOutliveTheRing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "keys")
	partner := must[*gm.PrivateKey](t)(gm.GenerateKey()).PublicKey()

	r := open(t, dir, Options{CreateMaster: true})
	signer := must[*Key](t)(r.Signer("approval"))
	sealed := must[*gm.Sealer](t)(r.Sealer("uploads")).Seal([]byte("附件"), nil)
	secret := must[[]byte](t)(r.Secret("tokens", 32))
	if err := r.Trust("agency.tax", partner); err != nil {
		t.Fatal(err)
	}

	for _, opt := range []Options{{}, {CreateMaster: true}, {ReadOnly: true}} {
		r := open(t, dir, opt)
		again := must[*Key](t)(r.Signer("approval"))
		if again.KeyID() != signer.KeyID() || again.Name() != "approval" {
			t.Errorf("%+v: the signer changed", opt)
		}
		sig := must[[]byte](t)(gm.Sign(again, []byte(gm.DefaultID), []byte("m")))
		if err := gm.Verify(signer.PublicKey(), []byte(gm.DefaultID), []byte("m"), sig); err != nil {
			t.Errorf("%+v: %v", opt, err)
		}
		if got, err := must[*gm.Sealer](t)(r.Sealer("uploads")).Open(sealed, nil); err != nil || string(got) != "附件" {
			t.Errorf("%+v: %q, %v", opt, got, err)
		}
		if got := must[[]byte](t)(r.Secret("tokens", 32)); !bytes.Equal(got, secret) {
			t.Errorf("%+v: the secret changed", opt)
		}
		if !must[*gm.PublicKey](t)(r.Public("agency.tax")).Equal(partner) || !must[*gm.PublicKey](t)(r.Public("approval")).Equal(signer.Public()) {
			t.Errorf("%+v: Public returns another key", opt)
		}
		for _, pub := range []*gm.PublicKey{partner, signer.PublicKey()} {
			if !must[*gm.PublicKey](t)(r.Lookup(gm.KeyID(pub))).Equal(pub) {
				t.Errorf("%+v: Lookup returns another key", opt)
			}
		}
		if want := []string{"agency.tax", "approval", "tokens", "uploads"}; !slices.Equal(r.Names(), want) {
			t.Errorf("%+v: Names = %q", opt, r.Names())
		}
	}
}

func TestNothingRestsInTheClear(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir, Options{CreateMaster: true})
	signer := must[*Key](t)(r.Signer("s"))
	secret := must[[]byte](t)(r.Secret("x", 32))
	for _, f := range must[[]os.DirEntry](t)(os.ReadDir(dir)) {
		info := must[os.FileInfo](t)(f.Info())
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", f.Name(), info.Mode())
		}
		text := must[[]byte](t)(os.ReadFile(filepath.Join(dir, f.Name())))
		if bytes.Contains(text, secret) || bytes.Contains(text, signer.signer.(*gm.PrivateKey).PKCS8()) {
			t.Errorf("%s holds a key in the clear", f.Name())
		}
	}
}

func TestMisuseIsRefused(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir, Options{CreateMaster: true})
	must[*Key](t)(r.Signer("taken"))
	must[[]byte](t)(r.Secret("secret", 32))
	pub := must[*gm.PrivateKey](t)(gm.GenerateKey()).PublicKey()
	reader := open(t, dir, Options{ReadOnly: true})
	err := func(_ any, err error) error { return err }
	for name, c := range map[string]struct {
		err  error
		kind errs.Kind
	}{
		"signer as sealer":     {err(r.Sealer("taken")), errs.Conflict},
		"signer as trusted":    {r.Trust("taken", pub), errs.Conflict},
		"secret as public":     {err(r.Public("secret")), errs.Conflict},
		"another length":       {err(r.Secret("secret", 16)), errs.Conflict},
		"short secret":         {err(r.Secret("short", 15)), errs.Internal},
		"unknown public":       {err(r.Public("nobody")), errs.NotFound},
		"unknown id":           {err(r.Lookup("0123456789abcdef")), errs.NotFound},
		"create in read-only":  {err(reader.Signer("new")), errs.NotFound},
		"trust in read-only":   {reader.Trust("new", pub), errs.Forbidden},
		"empty name":           {err(r.Signer("")), errs.Invalid},
		"path":                 {err(r.Signer("../x")), errs.Invalid},
		"path inside":          {err(r.Signer("a/b")), errs.Invalid},
		"hidden":               {err(r.Signer(".x")), errs.Invalid},
		"capital":              {err(r.Signer("A")), errs.Invalid},
		"the master":           {err(r.Signer("master")), errs.Invalid},
		"long name":            {err(r.Signer(strings.Repeat("x", 65))), errs.Invalid},
		"null":                 {r.Trust("a\x00b", pub), errs.Invalid},
		"ring in a plain file": {err(Open(filepath.Join(dir, "taken.key"), Options{})), errs.Internal},
	} {
		if !errs.Is(c.err, c.kind) {
			t.Errorf("%s: %v, want kind %v", name, c.err, c.kind)
		}
	}
	if want := []string{"secret", "taken"}; !slices.Equal(r.Names(), want) {
		t.Errorf("Names = %q", r.Names())
	}
}

func TestTrustReplaces(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir, Options{CreateMaster: true})
	first := must[*gm.PrivateKey](t)(gm.GenerateKey()).PublicKey()
	second := must[*gm.PrivateKey](t)(gm.GenerateKey()).PublicKey()
	for _, pub := range []*gm.PublicKey{first, first, second} {
		if err := r.Trust("agency", pub); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []*Ring{r, open(t, dir, Options{})} {
		if !must[*gm.PublicKey](t)(r.Public("agency")).Equal(second) {
			t.Error("the old key is still trusted")
		}
		if _, err := r.Lookup(gm.KeyID(first)); !errs.Is(err, errs.NotFound) {
			t.Errorf("the old key is still found: %v", err)
		}
	}
}

func TestTwoRingsAgreeOnWhoWasFirst(t *testing.T) {
	for range 20 { // the windows between them are narrow
		ringsAgree(t, t.TempDir())
	}
}

func ringsAgree(t *testing.T, dir string) {
	t.Helper()
	const rings = 8
	ids := make([]string, rings)
	var wg sync.WaitGroup
	for i := range rings {
		wg.Go(func() {
			r, err := Open(dir, Options{CreateMaster: true}) // all of them race for the master, too
			if err != nil {
				t.Error(err)
				return
			}
			key, err := r.Signer("shared")
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = key.KeyID()
		})
	}
	wg.Wait()
	if slices.Sort(ids); ids[0] != ids[rings-1] {
		t.Errorf("rings made different keys: %q", ids)
	}
}

func TestDamageNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir, Options{CreateMaster: true})
	must[*Key](t)(r.Signer("a"))
	must[*Key](t)(r.Signer("b"))
	path := filepath.Join(dir, "a.key")
	good := must[[]byte](t)(os.ReadFile(path))
	other := must[[]byte](t)(os.ReadFile(filepath.Join(dir, "b.key")))
	middle := bytes.Clone(good)
	at := len(middle) / 2
	middle[at] = map[bool]byte{true: 'B', false: 'A'}[middle[at] == 'A']
	for name, bad := range map[string][]byte{
		"changed":      middle,
		"cut":          good[:len(good)-40],
		"empty":        {},
		"renamed":      other,
		"other kind":   bytes.Replace(good, []byte(kindSigner), []byte(kindSecret), 1),
		"unknown kind": bytes.Replace(good, []byte(kindSigner), []byte("sm9"), 1),
		"huge":         bytes.Repeat(good, 100),
		"twice":        append(bytes.Clone(good), good...),
	} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(dir, Options{})
		if err == nil || !strings.Contains(errs.As(err).In(lang.ZH), path) || !strings.Contains(errs.As(err).In(lang.EN), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFilesLeftByACrashAreIgnored(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir, Options{CreateMaster: true})
	must[*Key](t)(r.Signer("a"))
	for i, half := range []string{"", "-----BEGIN QIONG SEA"} {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf(".%d.tmp", i)), []byte(half), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := open(t, dir, Options{}).Names(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("Names = %q", got)
	}
}

func FuzzReadFile(f *testing.F) {
	dir := f.TempDir()
	r := open(f, dir, Options{CreateMaster: true})
	must[*Key](f)(r.Signer("a"))
	f.Add(must[[]byte](f)(os.ReadFile(filepath.Join(dir, "a.key"))))
	f.Add([]byte("-----BEGIN QIONG SEALED KEY-----\nKind: secret\n\nAQ==\n-----END QIONG SEALED KEY-----\n"))
	signer := must[entry](f)(r.find("a"))
	path := filepath.Join(f.TempDir(), "a.key")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if e, err := r.readFile(path, "a"); err == nil && !bytes.Equal(e.plain, signer.plain) {
			t.Fatalf("%q opens to a key that was never sealed", text)
		}
	})
}
