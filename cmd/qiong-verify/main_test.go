package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"qiong-verify": main})
}

// The scripts run the real program on the receipts of kit/receipt's vectors.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Setup: func(env *testscript.Env) error {
		env.Setenv("LANG", "en_US.UTF-8")
		return writeSamples(env.WorkDir)
	}})
}

// writeSamples writes receipts, an original and keys into a folder.
func writeSamples(dir string) error {
	file, err := os.ReadFile("../../kit/receipt/testdata/vectors.json")
	if err != nil {
		return err
	}
	var v struct {
		Trusts map[string]string
		Good   []struct {
			Name              string
			Receipt, Original []byte
		}
	}
	if err := json.Unmarshal(file, &v); err != nil {
		return err
	}
	files := map[string][]byte{"trust.pem": []byte(v.Trusts["council"]), "operator.pem": []byte(v.Trusts["operator"])}
	for _, g := range v.Good {
		name := strings.ReplaceAll(strings.ReplaceAll(g.Name, ",", ""), " ", "-")
		files[name+".receipt"] = g.Receipt
		if g.Original != nil {
			files[name+".original"] = g.Original
		}
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	// One bit of the last signature changed: a character of its base64.
	bad := append([]byte(nil), files["complete.receipt"]...)
	bad[len(bad)-20] ^= 1
	return os.WriteFile(filepath.Join(dir, "changed.receipt"), bad, 0o600)
}

// The program stays small, on every architecture, and knows no network.
func TestBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program for three architectures")
	}
	for _, arch := range []string{"amd64", "arm64", "loong64"} {
		bin := filepath.Join(t.TempDir(), "qiong-verify")
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", arch, err, out)
		}
		info, err := os.Stat(bin)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d bytes", arch, info.Size())
		if info.Size() > 10<<20 {
			t.Errorf("%s: %d bytes are more than 10 MB", arch, info.Size())
		}
	}
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, dep := range strings.Fields(string(out)) {
		if dep == "net" || strings.HasPrefix(dep, "net/") || dep == "os/exec" || strings.Contains(dep, "cometbft") || strings.Contains(dep, "spf13") ||
			strings.Contains(dep, "/qiong/service/") || dep == "github.com/qiongdev/qiong" {
			t.Errorf("it depends on %s", dep)
		}
	}
}
