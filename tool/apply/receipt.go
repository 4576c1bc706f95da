package apply

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/qiongdev/qiong/kit/client"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
)

// Kept is where the proof of a case's last act was put.
type Kept struct {
	Receipt  string // path of the receipt
	Original string // path of what it commits to
	Complete bool   // everyone who must have has cosigned
}

// State says how far the receipt is.
func (k Kept) State(l lang.Lang) string {
	if k.Complete {
		return lang.T("应签者均已签署", "all who must have cosigned").In(l)
	}
	return lang.T("暂定，尚有应签者未签", "provisional, some have yet to cosign").In(l)
}

// patience is how long Keep waits for a receipt, and how long beyond for a complete one.
const patience = 20 * time.Second

// receiptAnswer is an act's proof as the API answers it.
type receiptAnswer struct{ Record, Type, State, Receipt, Original string }

// Keep waits for the receipt of a case's last act and writes it as CASE.receipt into a folder, with CASE.original and,
// beside them, the keys of those who sign, as trust.pem.
func Keep(ctx context.Context, house *client.Client, id, folder string) (Kept, error) {
	k := Kept{Receipt: filepath.Join(folder, id+".receipt"), Original: filepath.Join(folder, id+".original")}
	last, err := awaitReceipt(ctx, house, id)
	if err != nil {
		return k, err
	}
	k.Complete = last.State == "complete"
	answer, err := house.Send(ctx, client.Request{Method: http.MethodGet, Path: "/evidence/trust.pem"})
	if err != nil {
		return k, err
	}
	defer answer.Body.Close()
	trust, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return k, err
	}
	for path, text := range map[string][]byte{k.Receipt: []byte(last.Receipt), k.Original: []byte(last.Original), filepath.Join(folder, "trust.pem"): trust} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return k, err
		}
	}
	return k, nil
}

func awaitReceipt(ctx context.Context, house *client.Client, id string) (last receiptAnswer, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		var answer struct{ Items []receiptAnswer }
		if err := house.Do(ctx, client.Request{Method: http.MethodGet, Path: "/api/approval/cases/" + id + "/receipt"}, &answer); err != nil && ctx.Err() == nil {
			return last, err
		}
		// The decision is an act of its own, which may be on its way still.
		if n := len(answer.Items); n > 1 {
			last = answer.Items[n-1]
		}
		if last.State == "complete" {
			return last, nil
		}
		select {
		case <-ctx.Done():
			if last.Receipt == "" {
				return last, errs.New(errs.Timeout, "还没有回执，请稍后再取", "there is no receipt yet; ask again later")
			}
			return last, nil
		case <-time.After(50 * time.Millisecond):
		}
	}
}
