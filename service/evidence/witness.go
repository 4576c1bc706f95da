package evidence

import (
	"context"
	"net/http"
	"os"
	"path/filepath"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
	"github.com/qiongdev/qiong/kit/tlog"
)

// openWitness has this house witness other houses' logs: it cosigns their checkpoints, never two histories of one log.
// What it has cosigned it remembers in a folder of its own; where that was there and is gone, nothing is witnessed.
func (x *Evidence) openWitness(ctx context.Context) error {
	if x.cfg.Witness == "" {
		return nil
	}
	text, err := os.ReadFile(x.cfg.Witness)
	if err != nil {
		return errs.Wrap(err, errs.Invalid, "读不到公钥文件", "the file of keys cannot be read").WithField("evidence.witness")
	}
	logs, err := receipt.ParseTrust(text)
	if err != nil {
		return err
	}
	key, err := x.host.Keys.Signer("evidence.witness")
	if err != nil {
		return err
	}
	signer, err := receipt.NewSigner(x.cfg.Name, key)
	if err != nil {
		return err
	}
	folder, err := x.host.Folder()
	if err != nil {
		return err
	}
	began, err := sqldb.Value[int64](ctx, x.host.DB, "SELECT count(*) FROM witnessing")
	if err != nil {
		return err
	}
	x.witness, err = tlog.OpenWitness(tlog.WitnessOptions{Dir: filepath.Join(folder, "witness"), Create: began == 0, Signer: signer, Trust: logs, Now: x.host.Now})
	if err != nil {
		return err
	}
	if _, err := x.host.DB.Exec(ctx, sqldb.Durable, "INSERT INTO witnessing (id, since) VALUES (1, $1) ON CONFLICT (id) DO NOTHING", x.host.Now().UnixMilli()); err != nil {
		return err
	}
	var own []receipt.Key
	for _, k := range logs.Keys() {
		if len(own) == 0 || own[len(own)-1].Origin != k.Origin { // they are sorted
			own = append(own, receipt.Key{Name: x.cfg.Name, Origin: k.Origin, Role: receipt.Witness, Public: key.PublicKey()})
		}
	}
	keys, err := receipt.NewTrust(own)
	if err != nil {
		return err
	}
	x.host.Mux.Handle("POST /evidence/witness/add-checkpoint", http.StripPrefix("/evidence/witness", x.witness.Handler()))
	x.host.Mux.HandleFunc("GET /evidence/witness/keys.pem", func(w http.ResponseWriter, _ *http.Request) { sendKeys(w, keys) })
	return nil
}

// sendKeys serves a file of keys. Whoever uses it compares their fingerprints with what their holders publish.
func sendKeys(w http.ResponseWriter, keys *receipt.Trust) {
	w.Header().Set("Content-Type", "application/x-pem-file")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(keys.Marshal()) // the client has gone
}
