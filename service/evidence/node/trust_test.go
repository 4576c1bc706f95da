package node

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/service/evidence/council"
	"github.com/qiongdev/qiong/service/evidence/ledger"
)

// Old keys end and new ones begin at the change, with some overlap; a key that comes back has no end.
func TestTrustOverTime(t *testing.T) {
	p := founding(t)
	fresh := membersOf(t, "tax")
	at := beijing.At(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
	var history []PolicyAt
	add := func(n *ledger.Policy) {
		body, err := n.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		history = append(history, PolicyAt{Version: n.Version, Height: int64(10 * n.Version), At: at + beijing.Time(3600_000*n.Version), Policy: json.RawMessage(body)})
	}
	add(p)
	rotated := next(p)
	rotated.Members[3].Public = fresh[0].Public
	add(rotated)
	gone := next(rotated)
	gone.Members = slices.DeleteFunc(gone.Members, func(m council.Member) bool { return m.Agency == "clearing" })
	add(gone)
	back := next(gone)
	back.Members = p.Members // tax with the old key again
	add(back)
	const minute = beijing.Time(60_000)
	trusted(t, history[:3], map[string]string{
		"clearing " + keyID(p.Members[0].Cosigning): "–" + span(history[2].At+minute),
		"customs " + keyID(p.Members[1].Cosigning):  "–",
		"forex " + keyID(p.Members[2].Cosigning):    "–",
		"tax " + keyID(p.Members[3].Cosigning):      "–" + span(history[1].At+minute),
		"tax " + keyID(fresh[0].Cosigning):          span(history[1].At-minute) + "–",
	})
	trusted(t, history, map[string]string{
		"clearing " + keyID(p.Members[0].Cosigning): "–",
		"customs " + keyID(p.Members[1].Cosigning):  "–",
		"forex " + keyID(p.Members[2].Cosigning):    "–",
		"tax " + keyID(p.Members[3].Cosigning):      "–",
		"tax " + keyID(fresh[0].Cosigning):          span(history[1].At-minute) + "–" + span(history[3].At+minute),
	})
}

// trusted holds the keys over a history to what is wanted: when each begins and ends, by its name and id.
func trusted(t *testing.T, history []PolicyAt, want map[string]string) {
	t.Helper()
	trust, err := trustOver("hainan-trade", history)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, k := range trust.Keys() {
		got[k.Name+" "+keyID(string(k.Public.PEM()))] = span(k.From) + "–" + span(k.Until)
	}
	if !maps.Equal(got, want) {
		t.Errorf("trusted are %v\nwant %v", got, want)
	}
}

func span(t beijing.Time) string {
	if t == 0 {
		return ""
	}
	return t.String()
}
