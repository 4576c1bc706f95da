package receipt_test

import (
	"bytes"
	"encoding/base64"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
)

func TestRecordText(t *testing.T) {
	r := record(1)
	r.Rule.Outcome, r.Rule.Clause, r.Batch = receipt.Failed, "amount", 1024
	want := "qiong-record/v1\nid approval-1\ntype approval.case.decided/1\ncommitment " + r.Commitment.String() +
		"\ntime 2026-11-22T20:11:57.123+08:00\nneeds customs,forex,tax\nrule return-voucher/2 failed amount\nbatch 1024\n"
	got, err := r.Marshal()
	if err != nil || string(got) != want {
		t.Fatalf("%s\n%v", got, err)
	}
	back, err := receipt.ParseRecord(got)
	if err != nil || !reflect.DeepEqual(*back, r) {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestRecordsThatHaveNoText(t *testing.T) {
	for name, change := range map[string]func(r *receipt.Record){
		"no id":              func(r *receipt.Record) { r.ID = "" },
		"id in capitals":     func(r *receipt.Record) { r.ID = "Approval" },
		"id with LF":         func(r *receipt.Record) { r.ID = "a\nb" },
		"long id":            func(r *receipt.Record) { r.ID = strings.Repeat("a", 81) },
		"no type":            func(r *receipt.Record) { r.Type = "" },
		"type, no version":   func(r *receipt.Record) { r.Type = "approval.case.decided" },
		"type, version 0":    func(r *receipt.Record) { r.Type = "approval.case.decided/0" },
		"type, version 01":   func(r *receipt.Record) { r.Type = "approval.case.decided/01" },
		"type, version +1":   func(r *receipt.Record) { r.Type = "approval.case.decided/+1" },
		"needs nobody":       func(r *receipt.Record) { r.Needs = nil },
		"needs no name":      func(r *receipt.Record) { r.Needs = []string{""} },
		"needs twice":        func(r *receipt.Record) { r.Needs = []string{"tax", "tax"} },
		"needs unsorted":     func(r *receipt.Record) { r.Needs = []string{"tax", "forex"} },
		"needs a comma":      func(r *receipt.Record) { r.Needs = []string{"tax,forex"} },
		"needs too many":     func(r *receipt.Record) { r.Needs = strings.Split("abcdefghijklmnopq", "") },
		"before 1970":        func(r *receipt.Record) { r.Time = -1 },
		"after 9999":         func(r *receipt.Record) { r.Time = beijing.At(time.Date(10000, 1, 1, 0, 0, 0, 0, beijing.Zone)) },
		"rule, no name":      func(r *receipt.Record) { r.Rule.Name = "" },
		"rule, no version":   func(r *receipt.Record) { r.Rule.Version = 0 },
		"rule, no outcome":   func(r *receipt.Record) { r.Rule.Outcome = "" },
		"failed, no clause":  func(r *receipt.Record) { r.Rule.Outcome = receipt.Failed },
		"passed in a clause": func(r *receipt.Record) { r.Rule.Clause = "amount" },
		"huge batch":         func(r *receipt.Record) { r.Batch = merkle.MaxSize + 1 },
	} {
		r := record(1)
		change(&r)
		if b, err := r.Marshal(); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

// A record has one text: every other way to write it is refused.
func TestOtherWaysToWriteARecord(t *testing.T) {
	r := record(1)
	r.Batch = 7
	b, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, c := range [][2]string{
		{"v1\n", "v2\n"}, {"v1\n", "v1\r\n"}, {"v1\n", "v1\n\n"}, {"id ", "id  "}, {"id ", "ID "}, {"id approval-1", "id Approval-1"},
		{"/1\n", "/01\n"}, {"+08:00", "+0800"}, {"+08:00", "Z"}, {".123", ".1230"}, {".123", ""}, {"customs,forex", "forex,customs"},
		{"customs,forex", "customs, forex"}, {"customs,", "customs,customs,"}, {"tax\n", "tax,\n"}, {"needs customs,forex,tax\n", ""},
		{"voucher/2", "voucher/02"}, {"voucher/2", "voucher/+2"}, {"passed", "passed "}, {"passed", "passed amount"}, {"passed", "failed"},
		{"passed", "Passed"}, {"batch 7", "batch 07"}, {"batch 7", "batch 0"}, {"batch 7", "batch +7"}, {"batch 7\n", "batch 7"},
		{"batch 7\n", "batch 7\nbatch 7\n"}, {"batch 7\n", "batch 7\n\n"}, {"rule return-voucher/2 passed\nbatch 7\n", "batch 7\nrule return-voucher/2 passed\n"},
		{r.Commitment.String(), r.Commitment.String()[:43]}, {r.Commitment.String(), strings.Repeat("A", 42) + "B="},
	} {
		bad := strings.Replace(text, c[0], c[1], 1)
		if bad == text {
			t.Fatalf("%q is not in the record", c[0])
		}
		if _, err := receipt.ParseRecord([]byte(bad)); errs.As(orNil(err)).Code != receipt.CodeSyntax {
			t.Errorf("%q for %q: %v", c[1], c[0], err)
		}
	}
}

// So has a note.
func TestOtherWaysToWriteANote(t *testing.T) {
	r := oneLevel(t)
	b, err := r.Note.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	first, second := strings.Index(text, "— customs"), strings.Index(text, "— forex")
	third := strings.Index(text, "— tax")
	for name, bad := range map[string]string{
		"no signature":     text[:first],
		"out of order":     text[:first] + text[second:third] + text[first:second] + text[third:],
		"twice":            text[:second] + text[first:],
		"an extension":     strings.Replace(text, "\n\n", "\nmore\n\n", 1),
		"a leading zero":   strings.Replace(text, "\n13\n", "\n013\n", 1),
		"a negative size":  strings.Replace(text, "\n13\n", "\n-13\n", 1),
		"no origin":        strings.TrimPrefix(text, origin),
		"a space":          strings.Replace(text, "— forex ", "— forex  ", 1),
		"a wrong name":     strings.Replace(text, "— forex ", "— -forex ", 1),
		"a short one":      text[:second] + "— forex AAAA\n" + text[third:],
		"spare bits":       strings.Replace(text, "==\n", "=A\n", 1),
		"a time too late":  text[:second] + "— forex " + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, 76)) + "\n" + text[third:],
		"a time before":    text[:second] + "— forex " + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 76)) + "\n" + text[third:],
		"no LF at the end": text[:len(text)-1],
	} {
		if _, err := receipt.ParseNote([]byte(bad)); errs.As(orNil(err)).Code != receipt.CodeSyntax {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNames(t *testing.T) {
	for name, good := range map[string]bool{"customs": true, "w.example/w-1": true, "a": true, "0": true, strings.Repeat("a", 64): true,
		"": false, strings.Repeat("a", 65): false, "-a": false, "a-": false, ".a": false, "a/": false, "A": false, "a b": false, "a+b": false, "a_b": false, "税务": false} {
		if err := receipt.CheckName(name); (err == nil) != good {
			t.Errorf("name %q: %v", name, err)
		}
	}
	for name, good := range map[string]bool{origin: true, "Log/~1": true, "": false, "a b": false, "a+b": false, "a\x7f": false, "日志": false,
		"a\n": false, strings.Repeat("a", 200): true, strings.Repeat("a", 201): false} {
		if err := receipt.CheckOrigin(name); (err == nil) != good {
			t.Errorf("origin %q: %v", name, err)
		}
	}
}

func TestAppendingARecordDoesNotAllocate(t *testing.T) {
	r := record(1)
	b := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := r.Append(b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%.1f allocations", n)
	}
}

func TestOriginal(t *testing.T) {
	o := original(1)
	file := o.Marshal()
	want := "qiong-original/v1\nsalt " + base64.StdEncoding.EncodeToString(o.Salt[:]) + "\n\n" + string(o.Data)
	if string(file) != want || o.Commitment() != gm.SM3([]byte(want)) || receipt.Commit(file) != o.Commitment() {
		t.Errorf("%s", file)
	}
	back, err := receipt.ParseOriginal(file)
	if err != nil || back.Salt != o.Salt || !bytes.Equal(back.Data, o.Data) {
		t.Errorf("%+v, %v", back, err)
	}
	for n := range len(want) - len(o.Data) {
		if _, err := receipt.ParseOriginal(file[:n]); err == nil {
			t.Errorf("cut to %d bytes and read", n)
		}
	}
	at := bytes.Index(file, []byte("==\n\n")) - 1 // a character of which four bits are spare, and zero
	loose := slices.Concat(file[:at], []byte{file[at] + 1}, file[at+1:])
	if _, err := receipt.ParseOriginal(loose); err == nil {
		t.Errorf("a salt with spare bits was read: %s", loose)
	}
	other := *o
	other.Salt[0]++
	if other.Commitment() == o.Commitment() {
		t.Error("the salt is not committed to")
	}
}

func TestOriginalOfOthers(t *testing.T) {
	keys := councilTrust(t)
	hint := func(err error) bool { return !errs.As(orNil(err)).Hint.IsZero() }
	if _, err := receipt.Verify(oneLevel(t), keys, original(6).Marshal()); errs.As(orNil(err)).Code != receipt.CodeOriginal || hint(err) {
		t.Errorf("of another record: %v", err)
	}
	if _, err := receipt.Verify(oneLevel(t), keys, original(5).Data); errs.As(orNil(err)).Code != receipt.CodeOriginal || !hint(err) {
		t.Errorf("without its salt: %v", err)
	}
	if _, err := receipt.Verify(oneLevel(t), keys, []byte{}); errs.As(orNil(err)).Code != receipt.CodeOriginal {
		t.Errorf("an empty file: %v", err)
	}
	whole := twoLevel(t)
	whole.Act = nil
	if got, err := receipt.Verify(whole, keys, nil); err != nil || got.Act != nil {
		t.Errorf("a whole batch: %v", err)
	}
	if _, err := receipt.Verify(whole, keys, original(102).Marshal()); errs.As(orNil(err)).Code != receipt.CodeOriginal {
		t.Errorf("an original of a whole batch: %v", err)
	}
}

// A receipt built by a program is held to the same rules as one that was read.
func TestBuiltReceipts(t *testing.T) {
	keys := councilTrust(t)
	for name, change := range map[string]func(r *receipt.Receipt){
		"index outside":     func(r *receipt.Receipt) { r.Index = r.Note.Checkpoint.Size },
		"act outside":       func(r *receipt.Receipt) { r.Act.Index = 7 },
		"act of no batch":   func(r *receipt.Receipt) { r.Record.Batch = 0 },
		"act, another leaf": func(r *receipt.Receipt) { r.Act.Index = 3 },
		"act, long path":    func(r *receipt.Receipt) { r.Act.Path = make([]merkle.Hash, 64) },
		"long path":         func(r *receipt.Receipt) { r.Path = make([]merkle.Hash, 64) },
		"no signature":      func(r *receipt.Receipt) { r.Note.Signatures = nil },
		"too many":          func(r *receipt.Receipt) { r.Note.Signatures = make([]receipt.Signature, 65) },
		"signed twice": func(r *receipt.Receipt) {
			r.Note.Signatures = append(r.Note.Signatures, r.Note.Signatures[len(r.Note.Signatures)-1])
		},
		"unsorted": func(r *receipt.Receipt) {
			r.Note.Signatures[0], r.Note.Signatures[1] = r.Note.Signatures[1], r.Note.Signatures[0]
		},
		"time of a signature": func(r *receipt.Receipt) { r.Note.Signatures[0].Time = 1 << 50 },
		"origin":              func(r *receipt.Receipt) { r.Note.Checkpoint.Origin = "a b" },
		"size":                func(r *receipt.Receipt) { r.Note.Checkpoint.Size = merkle.MaxSize + 1 },
		"record":              func(r *receipt.Receipt) { r.Record.ID = "" },
	} {
		r := twoLevel(t)
		change(r)
		want := receipt.CodeSyntax
		if name == "act, another leaf" {
			want = receipt.CodeAct
		}
		if _, err := receipt.Verify(r, keys, nil); errs.As(orNil(err)).Code != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEarlyCosignature(t *testing.T) {
	r := record(0)
	r.Time = beijing.At(accepted.Add(receipt.MaxSkew + 1500*time.Millisecond))
	got, err := receipt.Verify(logged(t, r, 0, 1, "customs", "forex", "tax"), councilTrust(t), nil)
	if err != nil || !got.Cosignatures[0].Early || got.Cosignatures[1].Early || got.Cosignatures[2].Early {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestSignerRefusals(t *testing.T) {
	if _, err := receipt.NewSigner("Customs House", testKey(t, "customs")); !errs.Is(err, errs.Invalid) {
		t.Errorf("a wrong name: %v", err)
	}
	s := signer(t, "customs")
	if _, err := s.Cosign(receipt.Checkpoint{Origin: "a b"}, accepted); !errs.Is(err, errs.Invalid) {
		t.Errorf("a wrong checkpoint: %v", err)
	}
	if _, err := s.Cosign(checkpointAt, time.Unix(-1, 0)); !errs.Is(err, errs.Invalid) {
		t.Errorf("a wrong time: %v", err)
	}
	sig, err := s.Cosign(checkpointAt, accepted)
	if err != nil || sig.Name != s.Name() || sig.KeyID != s.KeyID() {
		t.Fatalf("%+v, %v", sig, err)
	}
	other := checkpointAt
	other.Size++
	pub := testKey(t, "customs").PublicKey()
	if receipt.VerifySignature(pub, checkpointAt, sig) != nil || receipt.VerifySignature(pub, other, sig) == nil ||
		receipt.VerifySignature(testKey(t, "tax").PublicKey(), checkpointAt, sig) == nil {
		t.Error("a cosignature holds for what was not signed")
	}
	sig.Name = "tax" // the key id is bound to the name
	if receipt.VerifySignature(pub, checkpointAt, sig) == nil {
		t.Error("a cosignature holds under another name")
	}
}

func FuzzParseRecord(f *testing.F) {
	r := record(1)
	b, err := r.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := receipt.ParseRecord(data)
		if err != nil {
			return
		}
		if again, err := r.Marshal(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("written again, another record: %v", err)
		}
	})
}

func FuzzParseNote(f *testing.F) {
	r := oneLevel(f)
	b, err := r.Note.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := receipt.ParseNote(data)
		if err != nil {
			return
		}
		if again, err := n.Marshal(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("written again, another note: %v", err)
		}
		if c, err := receipt.ParseCheckpoint(n.Checkpoint.Text()); err != nil || c != n.Checkpoint {
			t.Errorf("the checkpoint reads as %+v, %v", c, err)
		}
	})
}

func FuzzParseOriginal(f *testing.F) {
	f.Add(original(1).Marshal())
	f.Fuzz(func(t *testing.T, file []byte) {
		if o, err := receipt.ParseOriginal(file); err == nil && !bytes.Equal(o.Marshal(), file) {
			t.Error("written again, another original")
		}
	})
}
