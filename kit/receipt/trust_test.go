package receipt_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
)

func TestTrustFile(t *testing.T) {
	old, now := key(t, "customs", receipt.Agency), key(t, "customs", receipt.Agency)
	now.Public = testKey(t, "customs, second key").PublicKey()
	now.From, old.Until = beijing.At(accepted), beijing.At(accepted)
	keys := trust(t, now, old, key(t, "w/1", receipt.Witness))
	file := keys.Marshal()
	again, err := receipt.ParseTrust(file)
	if err != nil || !bytes.Equal(again.Marshal(), file) {
		t.Fatalf("%v\n%s", err, file)
	}
	if got := again.Keys(); len(got) != 3 || got[0].Until != old.Until || got[1].From != now.From || !got[1].Public.Equal(now.Public) || got[2].Role != receipt.Witness {
		t.Errorf("%+v", got)
	}
	// As a person may have written it.
	loose := "# from the customs' page\r\n\n" + strings.ReplaceAll(string(file), "Name: customs\nOrigin: "+origin+"\n", "Origin:"+origin+"  \nName:customs\n")
	loose = strings.ReplaceAll(loose, "\n", "\r\n")
	if again, err := receipt.ParseTrust([]byte(loose)); err != nil || !bytes.Equal(again.Marshal(), file) {
		t.Errorf("%v\n%s", err, loose)
	}
}

func TestTrustFileRefusals(t *testing.T) {
	good := string(trust(t, key(t, "customs", receipt.Agency)).Marshal())
	other := string(trust(t, key(t, "forex", receipt.Agency)).Marshal())
	last := strings.Index(good, "==\n") - 1 // a character of which four bits are spare, and zero
	for name, c := range map[string]struct {
		text string
		line int
	}{
		"nothing":           {"", 0},
		"no key":            {"# none\n", 0},
		"text":              {"key of customs\n" + good, 1},
		"private key":       {strings.ReplaceAll(good, "PUBLIC", "PRIVATE"), 1},
		"no end":            {strings.Replace(good, "-----END", "----END", 1), 1},
		"no name":           {strings.Replace(good, "Name: customs\n", "", 1), 1},
		"no headers":        {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", 2},
		"no empty line":     {strings.Replace(good, "agency\n\n", "agency\n", 1), 5},
		"name twice":        {strings.Replace(good, "Name: customs\n", "Name: customs\nName: tax\n", 1), 3},
		"wrong name":        {strings.Replace(good, "Name: customs", "Name: Customs House", 1), 2},
		"wrong origin":      {strings.Replace(good, "Origin: evidence", "Origin: evi dence", 1), 3},
		"wrong role":        {strings.Replace(good, "agency", "boss", 1), 6},
		"unknown header":    {strings.Replace(good, "Role:", "Valid: yes\nRole:", 1), 4},
		"naive time":        {strings.Replace(good, "Role:", "From: 2026-11-22\nRole:", 1), 4},
		"ends before it is": {strings.Replace(good, "Role:", "From: 2026-11-22T00:00:00.000+08:00\nUntil: 2026-11-22T00:00:00.000+08:00\nRole:", 1), 8},
		"not base64":        {strings.Replace(good, "MFkw", "MF!w", 1), 6},
		"not a key":         {strings.Replace(good, "MFkw", "MFkx", 1), 6},
		"twice":             {good + good, 0},
		"two names":         {good + strings.Replace(good, "Name: customs", "Name: tax", 1), 0},
		"two roles":         {good + strings.Replace(strings.Replace(other, "Name: forex", "Name: customs", 1), "agency", "witness", 1), 0},
		"too long":          {strings.Repeat("\n", 2<<20), 0},
		"too many keys":     {strings.Repeat(good, 2000), 0},
		"spare bits":        {good[:last] + string(good[last]+1) + good[last+1:], 6},
	} {
		_, err := receipt.ParseTrust([]byte(c.text))
		e := errs.As(orNil(err))
		if err == nil || e.Code != receipt.CodeSyntax && !strings.HasPrefix(e.Msg.EN, "not an SM2") && !strings.HasPrefix(e.Msg.EN, "not a valid SM2") {
			t.Errorf("%s: %v", name, err)
		} else if e.Line != c.line && name != "too many keys" {
			t.Errorf("%s: line %d, want %d: %v", name, e.Line, c.line, err)
		}
	}
}

// checkpointAt is a checkpoint that nothing hangs on.
var checkpointAt = receipt.Checkpoint{Origin: origin, Size: 7, Root: merkle.EmptyRoot()}

// signedAt returns a note signed by each name at its time, given in days after accepted.
func signedAt(t *testing.T, days map[string]int) *receipt.Note {
	t.Helper()
	n := &receipt.Note{Checkpoint: checkpointAt}
	for name, day := range days {
		s, err := signer(t, name).Cosign(checkpointAt, accepted.AddDate(0, 0, day))
		if err != nil {
			t.Fatal(err)
		}
		n.Add(s)
	}
	return n
}

func TestQuorumOfCouncilsOfAnySize(t *testing.T) {
	for size := 1; size <= 7; size++ {
		var keys []receipt.Key
		days := map[string]int{}
		for i := range size {
			keys = append(keys, key(t, fmt.Sprintf("agency-%d", i), receipt.Agency))
		}
		keys = append(keys, key(t, "operator", receipt.Operator), key(t, "witness", receipt.Witness))
		all := trust(t, keys...)
		days["operator"], days["witness"] = 0, 0 // they do not count in a council
		for i := range size {
			days[fmt.Sprintf("agency-%d", i)] = i
			got, err := all.Verify(signedAt(t, days))
			enough := 3*(i+1) > 2*size
			if enough != (err == nil) {
				t.Errorf("%d of %d: %v", i+1, size, err)
			}
			if err != nil && errs.As(err).Code != receipt.CodeQuorum {
				t.Errorf("%d of %d: %v", i+1, size, err)
			}
			if err == nil && got.By != beijing.At(accepted.AddDate(0, 0, got.Quorum.Need-1).Truncate(time.Second)) {
				t.Errorf("%d of %d: existed by %s", i+1, size, got.By)
			}
		}
	}
}

// Agencies join and leave, and replace their keys: a note is worth what it was worth when it was signed.
func TestCouncilOverTime(t *testing.T) {
	day := func(n int) beijing.Time { return beijing.At(accepted.AddDate(0, 0, n)) }
	joined, left := key(t, "e", receipt.Agency), key(t, "d", receipt.Agency)
	joined.From, left.Until = day(10), day(10)
	old, now := key(t, "a", receipt.Agency), key(t, "a2", receipt.Agency)
	now.Name, old.Until, now.From = "a", day(20), day(20)
	all := trust(t, old, now, key(t, "b", receipt.Agency), key(t, "c", receipt.Agency), left, joined)
	for _, c := range []struct {
		days map[string]int
		want receipt.Quorum
		code string
	}{
		{map[string]int{"a": 1, "b": 1, "d": 1}, receipt.Quorum{Have: 3, Need: 3, Of: 4}, ""},
		{map[string]int{"a": 11, "b": 11, "e": 11}, receipt.Quorum{Have: 3, Need: 3, Of: 4}, ""},
		{map[string]int{"a": 1, "b": 1, "c": 30, "d": 1}, receipt.Quorum{Have: 4, Need: 3, Of: 4}, ""}, // one came late
		{map[string]int{"a": 1, "b": 1, "e": 12}, receipt.Quorum{}, receipt.CodeQuorum},                // e was no member then
		{map[string]int{"a": 11, "b": 11, "d": 11}, receipt.Quorum{}, receipt.CodeKeyTime},
		{map[string]int{"a": 21, "b": 11, "c": 11}, receipt.Quorum{}, receipt.CodeKeyTime}, // with the old key
		{map[string]int{"b": 1, "c": 1, "nobody": 1}, receipt.Quorum{}, receipt.CodeSigner},
		{map[string]int{"a2": 21, "b": 1, "c": 1}, receipt.Quorum{}, receipt.CodeSigner}, // the key under no name of its own
	} {
		got, err := all.Verify(signedAt(t, c.days))
		if err != nil && errs.As(err).Code != c.code || err == nil && (c.code != "" || got.Quorum != c.want) {
			t.Errorf("%v: %+v, %v", c.days, got, err)
		}
	}
	if got := all.Council(origin, day(15)); !slices.Equal(got, []string{"a", "b", "c", "e"}) {
		t.Errorf("the council is %v", got)
	}
	again, err := receipt.NewSigner("a", fixed{testKey(t, "a2")})
	if err != nil {
		t.Fatal(err)
	}
	n := signedAt(t, map[string]int{"b": 25, "c": 25})
	s, err := again.Cosign(checkpointAt, accepted.AddDate(0, 0, 25))
	if err != nil || !n.Add(s) || n.Add(s) {
		t.Fatalf("%v", err)
	}
	if _, err := all.Verify(n); err != nil {
		t.Errorf("with the new key: %v", err)
	}
}

// A key's time begins with From and ends before Until.
func TestEdgesOfAKeysTime(t *testing.T) {
	second := beijing.At(accepted.Truncate(time.Second))
	k := key(t, "customs", receipt.Agency)
	k.From, k.Until = second, second+1000
	keys := trust(t, k)
	for after, good := range map[int]bool{-1: false, 0: true, 1: false} {
		s, err := signer(t, "customs").Cosign(checkpointAt, accepted.Add(time.Duration(after)*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if found, err := keys.VerifySignature(checkpointAt, s); (err == nil) != good || good && found.ID() != s.KeyID {
			t.Errorf("%d s after From: %v", after, err)
		}
	}
}

// A key counts for its own log alone.
func TestKeysOfTwoLogs(t *testing.T) {
	here, there := key(t, "customs", receipt.Agency), key(t, "customs", receipt.Witness)
	there.Origin = "evidence.elsewhere.example"
	own := key(t, "tax", receipt.Agency)
	own.Origin = there.Origin
	keys := trust(t, here, there, own)
	if _, err := keys.Verify(signedAt(t, map[string]int{"customs": 0})); err != nil {
		t.Errorf("here: %v", err)
	}
	if _, err := keys.Verify(signedAt(t, map[string]int{"customs": 0, "tax": 0})); errs.As(orNil(err)).Code != receipt.CodeSigner {
		t.Errorf("a key of another log: %v", err)
	}
}

func TestForeignLog(t *testing.T) {
	n := signedAt(t, map[string]int{"customs": 0})
	elsewhere := key(t, "customs", receipt.Agency)
	elsewhere.Origin = "evidence.elsewhere.example"
	if _, err := trust(t, elsewhere).Verify(n); errs.As(orNil(err)).Code != receipt.CodeOrigin {
		t.Errorf("%v", err)
	}
	if _, err := trust(t, key(t, "customs", receipt.Witness)).Verify(n); errs.As(orNil(err)).Code != receipt.CodeOrigin {
		t.Errorf("witnesses alone: %v", err)
	}
}

func FuzzParseTrust(f *testing.F) {
	f.Add(councilTrust(f).Marshal())
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nName: a\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		keys, err := receipt.ParseTrust(file)
		if err != nil {
			return
		}
		again, err := receipt.ParseTrust(keys.Marshal())
		if err != nil || !bytes.Equal(again.Marshal(), keys.Marshal()) {
			t.Errorf("written and read, other keys: %v", err)
		}
	})
}
