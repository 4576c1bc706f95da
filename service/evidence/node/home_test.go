package node

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/service/evidence/council"
)

func newHome(t testing.TB, agency string) *Home {
	t.Helper()
	h, err := NewHome(filepath.Join(t.TempDir(), agency), HomeOptions{Agency: agency, P2P: freePort(t), HTTP: "http://" + freePort(t)})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestAHomeIsItsOwnersAlone(t *testing.T) {
	h := newHome(t, "customs")
	err := filepath.WalkDir(h.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if want := map[bool]fs.FileMode{true: 0o700, false: 0o600}[d.IsDir()]; info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewHome(h.dir, HomeOptions{Agency: "customs", P2P: "127.0.0.1:1", HTTP: "http://127.0.0.1:2"}); !errs.Is(err, errs.Conflict) {
		t.Errorf("a second time: %v", err)
	}
	if again, err := OpenHome(h.dir, ""); err != nil || again.Public().Cosigning != h.Public().Cosigning || again.Agency() != "customs" {
		t.Errorf("opened again: %v", err)
	}
}

// A home that cannot be made leaves nothing behind, so that the command can be given again.
func TestAHomeIsMadeWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	for _, o := range []HomeOptions{
		{Agency: "Customs", P2P: "127.0.0.1:1", HTTP: "http://127.0.0.1:2"},
		{Agency: "customs", P2P: "127.0.0.1", HTTP: "http://127.0.0.1:2"},
		{Agency: "customs", P2P: "127.0.0.1:1", HTTP: "127.0.0.1:2"},
		{Agency: "customs", P2P: "127.0.0.1:1", HTTP: "http://127.0.0.1:2", MasterKey: filepath.Join(dir, "absent")},
	} {
		if _, err := NewHome(filepath.Join(dir, "customs"), o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left is %v, %v", left, err)
	}
}

func TestRotatedKeysStay(t *testing.T) {
	h := newHome(t, "customs")
	running, err := OpenHome(h.dir, "") // as a node that goes on running has it
	if err != nil {
		t.Fatal(err)
	}
	all := []string{h.Public().Cosigning}
	for range 2 {
		p, err := h.Rotate("")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p.Cosigning)
	}
	for _, pem := range all {
		pub, err := gm.ParsePublicKeyPEM([]byte(pem))
		if err != nil {
			t.Fatal(err)
		}
		if key, err := running.Signer(pub); err != nil || !pub.Equal(key.Public()) {
			t.Errorf("a key is not found: %v", err)
		}
	}
	foreign, err := gm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := running.Signer(foreign.PublicKey()); !errs.Is(err, errs.NotFound) {
		t.Errorf("a foreign key: %v", err)
	}
	if again, err := OpenHome(h.dir, ""); err != nil || again.Public().Cosigning != all[2] {
		t.Errorf("the public part is not the newest: %v", err)
	}
}

func TestWhereANodeListens(t *testing.T) {
	for _, c := range []struct{ http, want string }{
		{"http://127.0.0.1:8471", "127.0.0.1:8471"},
		{"http://[::1]:8471", "[::1]:8471"},
		{"http://10.1.2.3:8471", "127.0.0.1:8471"},
		{"https://evidence.customs.example", "127.0.0.1:443"},
		{"http://evidence.customs.example/node", "127.0.0.1:80"},
	} {
		if got := localHTTP(c.http); got != c.want {
			t.Errorf("%s: %s, want %s", c.http, got, c.want)
		}
	}
}

func TestWrongCommands(t *testing.T) {
	dir := t.TempDir()
	home := filepath.Join(dir, "customs")
	public := filepath.Join(home, publicFile)
	if out := must(t, "key", "--agency", "customs", "--home", home); !strings.HasPrefix(out, "{\n  \"agency\": \"customs\",") {
		t.Errorf("key said %s", out)
	}
	if out, err := os.ReadFile(public); err != nil || string(out) != must(t, "key", "--home", home, "--print") {
		t.Errorf("--print says another thing than the file: %v", err)
	}
	damaged, wrong := filepath.Join(dir, "damaged.json"), filepath.Join(dir, "wrong.pem")
	write(t, damaged, "{}")
	write(t, wrong, "no key")
	for _, c := range []struct{ words, args string }{
		{"--home is missing", "key --agency customs"},
		{"--agency is missing", "key --home " + filepath.Join(dir, "x")},
		{"the folder is not empty", "key --agency customs --home " + home},
		{"holds no keys", "key --print --home " + filepath.Join(dir, "x")},
		{"--chain is missing", "init " + public},
		{"--out is missing", "init --chain c " + public},
		{"wrong number of arguments", "init --chain c --out x"},
		{"there is no such file", "init --chain c --out x " + filepath.Join(dir, "absent.json")},
		{damaged + " agency", "init --chain c --out x " + damaged},
		{"at least one gateway", "init --chain c --out x " + public},
		{wrong, "init --chain c --out x --gateway house=" + wrong + " " + public},
		{"either --policy or --gateway", "init --chain c --out x --policy p --gateway house=" + wrong + " " + public},
		{"time", "init --chain c --out x --time noon " + public},
		{"holds no keys", "node --home " + filepath.Join(dir, "x")},
		{"must not be negative", "node --retain -1 --home " + home + " --genesis " + filepath.Join(dir, "genesis.json")},
		{"log-level", "node --log-level loud --home " + home},
		{"wrong arguments", "policy show me"},
		{"wrong arguments", "policy approve"},
		{"--node or --home is missing", "policy show"},
		{"--out is missing", "policy propose"},
		{"the agency's node can't be reached", "policy show --node http://" + freePort(t)},
		{"must be an http or https URL", "policy show --node here"},
		{damaged + ": this is no change of policy", "policy submit --home " + home + " " + damaged},
	} {
		if strings.HasPrefix(c.args, "node --retain") || strings.HasPrefix(c.args, "node --log") {
			gateway, err := gm.GenerateKey()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(dir, "genesis.json")); err != nil {
				write(t, filepath.Join(dir, "house.pem"), string(gateway.PublicKey().PEM()))
				must(t, "init", "--chain", "c", "--out", dir, "--time", "2026-11-22T20:00:00.000+08:00", "--gateway", "house="+filepath.Join(dir, "house.pem"), public)
			}
		}
		refused(t, c.words, strings.Fields(c.args)...)
	}
}

// With the same input every agency comes to the same genesis; with other input nothing is overwritten.
func TestTheCeremonyIsReproducible(t *testing.T) {
	dir := t.TempDir()
	key, err := gm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "house.pem"), string(key.PublicKey().PEM()))
	var publics []string
	for _, name := range four {
		h := newHome(t, name)
		publics = append(publics, filepath.Join(h.dir, publicFile))
	}
	ceremony := func(out, at string, publics ...string) []string {
		return append([]string{"init", "--chain", "hainan-trade", "--gateway", "house=" + filepath.Join(dir, "house.pem"), "--time", at, "--out", filepath.Join(dir, out)}, publics...)
	}
	const at = "2026-11-22T20:00:00.000+08:00"
	one := must(t, ceremony("a", at, publics...)...)
	two := must(t, ceremony("b", at, publics[3], publics[1], publics[0], publics[2])...)
	if one != two || !strings.Contains(one, "genesis ") || strings.Count(one, "\t") != 4 {
		t.Errorf("one computes\n%s\nthe other\n%s", one, two)
	}
	must(t, ceremony("a", at, publics...)...) // the same once more
	refused(t, "the file exists, and nothing is overwritten", ceremony("a", "2026-11-22T20:00:01.000+08:00", publics...)...)
	data, err := os.ReadFile(filepath.Join(dir, "a", genesisFile))
	if err != nil {
		t.Fatal(err)
	}
	if g, err := council.ParseGenesis(data); err != nil || len(g.Members) != 4 {
		t.Errorf("the genesis: %v", err)
	}
}
