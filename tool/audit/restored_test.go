package audit

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/qiongdev/qiong/kit/audit"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/receipt"
)

// Keys that can't be read are no reason to enter a restore without the witness in another house.
func TestTheWitnessInAnotherHouseIsNotPassedOver(t *testing.T) {
	var keys []receipt.Key
	for name, role := range map[string]receipt.Role{audit.OperatorName: receipt.Operator, audit.WitnessName: receipt.Witness, "port": receipt.Witness} {
		k, err := gm.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, receipt.Key{Name: name, Origin: "qiong.dev/audit/0123456789abcdef", Role: role, Public: k.PublicKey()})
	}
	trust, err := receipt.NewTrust(keys)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		make      func(file string) error
		want, bad bool
	}{
		"there is none":  {make: func(string) error { return nil }},
		"it is there":    {make: func(file string) error { return os.WriteFile(file, trust.Marshal(), 0o600) }, want: true},
		"it is cut":      {make: func(file string) error { return os.WriteFile(file, trust.Marshal()[:100], 0o600) }, bad: true},
		"can't be read":  {make: func(file string) error { return os.Mkdir(file, 0o700) }, bad: true},
		"it is no trust": {make: func(file string) error { return os.WriteFile(file, []byte("port"), 0o600) }, bad: true},
	} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "audit"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := c.make(filepath.Join(dir, "audit", "trust.pem")); err != nil {
			t.Fatal(err)
		}
		o, err := outsideOf(dir)
		if (o != nil) != c.want || (err != nil) != c.bad || c.want && (len(o.Keys) != 1 || o.Keys[0].Name != "port") {
			t.Errorf("%s: %+v, %v", name, o, err)
		}
	}
}
