package receipt_test

import (
	"slices"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/receipt"
)

func TestCompleteReceipt(t *testing.T) {
	data := marshal(t, oneLevel(t))
	t.Logf("%d bytes:\n%s", len(data), data)
	got, err := check(data, councilTrust(t), original(5).Marshal())
	if err != nil {
		t.Fatal(err)
	}
	if got.State != receipt.Complete || !got.Original || len(got.Owed) != 0 || got.Quorum != (receipt.Quorum{Have: 3, Need: 3, Of: 4}) {
		t.Errorf("%+v", got)
	}
	if want := []string{"customs", "forex", "tax", "witness.example/w1"}; !slices.Equal(names(got.Cosignatures), want) {
		t.Errorf("cosigned by %v", names(got.Cosignatures))
	}
	if want := accepted.Add(3 * time.Second).Truncate(time.Second); got.By != beijing.At(want) {
		t.Errorf("existed by %s, want %s", got.By, want)
	}
	if got.Record.ID != "approval-5" || got.Index != 5 || got.Checkpoint.Size != 13 {
		t.Errorf("%+v", got)
	}
}

func TestProvisionalReceiptOfAnAct(t *testing.T) {
	got, err := check(marshal(t, twoLevel(t)), councilTrust(t), original(102).Marshal())
	if err != nil {
		t.Fatal(err)
	}
	if got.State != receipt.Provisional || !slices.Equal(got.Signed, []string{"customs", "tax"}) || !slices.Equal(got.Owed, []string{"forex"}) ||
		got.Act == nil || got.Act.Index != 2 {
		t.Errorf("%+v", got)
	}
}

func TestOneOperator(t *testing.T) {
	r := record(3)
	r.Needs = []string{"house"}
	keys := trust(t, key(t, "house", receipt.Operator), key(t, "w1", receipt.Witness))
	got, err := check(marshal(t, logged(t, r, 3, 8, "house", "w1")), keys, nil)
	if err != nil || got.State != receipt.Complete || got.Quorum != (receipt.Quorum{Have: 1, Need: 1, Of: 1}) || got.Original {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := check(marshal(t, logged(t, r, 3, 8, "w1")), keys, nil); errs.As(err).Code != receipt.CodeQuorum {
		t.Errorf("without the operator: %v", err)
	}
}
