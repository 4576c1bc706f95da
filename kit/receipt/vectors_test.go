package receipt_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

const vectorsFile = "testdata/vectors.json"

// vectors are what every verifier of receipts must answer, in any language. Byte strings are base64, unless a field says
// otherwise.
type vectors struct {
	About   string            `json:"about"`
	Hashes  []hashVector      `json:"hashes"`  // roots of trees
	Keys    []keyVector       `json:"keys"`    // test keys, no secrets
	Trusts  map[string]string `json:"trusts"`  // files of public keys, as text
	Good    []goodVector      `json:"good"`    // receipts, and what they prove; every flipped bit of every one must be refused
	Refused []refusedVector   `json:"refused"` // changed receipts, and the code of the refusal
}

type hashVector struct {
	Leaves [][]byte    `json:"leaves"`
	Root   merkle.Hash `json:"root"`
}

type keyVector struct {
	Name        string        `json:"name"`
	Private     string        `json:"private"` // scalar, hexadecimal
	Public      string        `json:"public"`  // uncompressed point, hexadecimal
	KeyID       receipt.KeyID `json:"keyId"`
	Fingerprint string        `json:"fingerprint"`
}

type goodVector struct {
	Name     string          `json:"name"`
	Trust    string          `json:"trust"`
	Receipt  []byte          `json:"receipt"`
	Original []byte          `json:"original,omitempty"`
	Result   json.RawMessage `json:"result"`
}

type refusedVector struct {
	Name     string `json:"name"`
	Of       string `json:"of"`    // a good vector
	Trust    string `json:"trust"` // to hold it to
	At       int    `json:"at"`    // delete so many bytes of the receipt here, and insert others
	Delete   int    `json:"delete"`
	Insert   []byte `json:"insert"`
	Original []byte `json:"original,omitempty"` // to hold it to
	Code     string `json:"code"`
}

func TestVectors(t *testing.T) {
	if *update {
		text, err := json.MarshalIndent(makeVectors(t), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorsFile, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	dec := json.NewDecoder(bytes.NewReader(file))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	if len(v.Good) < 5 || len(v.Refused) < 40 {
		t.Errorf("%d good, %d refused", len(v.Good), len(v.Refused))
	}
	for _, h := range v.Hashes {
		if naive(h.Leaves) != h.Root {
			t.Errorf("another root over %d leaves", len(h.Leaves))
		}
	}
	trusts := map[string]*receipt.Trust{}
	for name, text := range v.Trusts {
		if trusts[name], err = receipt.ParseTrust([]byte(text)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	files := map[string][]byte{}
	for _, g := range v.Good {
		files[g.Name] = g.Receipt
		got, err := check(g.Receipt, trusts[g.Trust], g.Original)
		if err != nil || !sameJSON(t, got, g.Result) {
			t.Errorf("%s: %+v, %v", g.Name, got, err)
		}
	}
	for _, r := range v.Refused {
		bad := slices.Concat(files[r.Of][:r.At], r.Insert, files[r.Of][r.At+r.Delete:])
		if _, err := check(bad, trusts[r.Trust], r.Original); errs.As(orNil(err)).Code != r.Code {
			t.Errorf("%s: %v, want %s", r.Name, err, r.Code)
		}
	}
}

// Vectors that are committed are those that this code makes.
func TestVectorsAreCurrent(t *testing.T) {
	text, err := json.MarshalIndent(makeVectors(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(vectorsFile)
	if err != nil || !bytes.Equal(append(text, '\n'), file) {
		t.Errorf("%s is not what the tests make (%v): go test ./kit/receipt -run Vectors -update", vectorsFile, err)
	}
}

// naive is the root of RFC 6962, section 2.1.
func naive(d [][]byte) merkle.Hash {
	switch len(d) {
	case 0:
		return gm.SM3()
	case 1:
		return gm.SM3([]byte{0}, d[0])
	}
	k := 1
	for 2*k < len(d) {
		k *= 2
	}
	left, right := naive(d[:k]), naive(d[k:])
	return gm.SM3([]byte{1}, left[:], right[:])
}

func sameJSON(t *testing.T, got any, want []byte) bool {
	t.Helper()
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if err := errors.Join(json.Unmarshal(text, &a), json.Unmarshal(want, &b)); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(a, b)
}

func makeVectors(t *testing.T) *vectors {
	v := &vectors{
		About:  "Vectors for verifiers of receipts (doc/formats/receipt.md). The private keys are no secrets: never use them.",
		Trusts: map[string]string{},
	}
	var leaves [][]byte
	for n := range 9 {
		v.Hashes = append(v.Hashes, hashVector{slices.Clone(leaves), naive(leaves)})
		leaves = append(leaves, fmt.Appendf(nil, "leaf %d", n))
	}
	for _, name := range append(slices.Clone(council), "house", "witness.example/w1", "customs, second key") {
		k := testKey(t, name)
		bare, _, _ := strings.Cut(name, ",")
		scalar := gm.SM3([]byte("qiong test key, not secret: " + name))
		v.Keys = append(v.Keys, keyVector{bare, hex.EncodeToString(scalar[:]), hex.EncodeToString(k.PublicKey().Bytes()),
			receipt.KeyIDOf(bare, k.PublicKey()), gm.KeyID(k.PublicKey())})
	}
	makeTrusts(t, v)
	makeGood(t, v)
	makeRefused(t, v)
	return v
}

func makeTrusts(t *testing.T, v *vectors) {
	v.Trusts["council"] = string(councilTrust(t).Marshal())
	v.Trusts["operator"] = string(trust(t, key(t, "house", receipt.Operator), key(t, "witness.example/w1", receipt.Witness)).Marshal())
	v.Trusts["elsewhere"] = strings.ReplaceAll(v.Trusts["council"], origin, "evidence.elsewhere.example")
	without, rotated := []receipt.Key{}, []receipt.Key{}
	for _, k := range councilTrust(t).Keys() {
		if k.Name != "forex" {
			without = append(without, k)
		}
		if k.Name == "customs" {
			next := k
			next.Public = testKey(t, "customs, second key").PublicKey()
			next.From, k.Until = beijing.At(accepted), beijing.At(accepted)
			rotated = append(rotated, next)
		}
		rotated = append(rotated, k)
	}
	v.Trusts["without forex"] = string(trust(t, without...).Marshal())
	v.Trusts["customs replaced its key"] = string(trust(t, rotated...).Marshal())
}

func makeGood(t *testing.T, v *vectors) {
	house, early, failed := record(3), record(0), record(4)
	house.Needs, house.Rule = []string{"house"}, nil
	early.Time += beijing.Time(receipt.MaxSkew.Milliseconds()) + 1500
	failed.Rule = &receipt.Rule{Name: "return-voucher", Version: 2, Outcome: receipt.Failed, Clause: "amount"}
	whole := twoLevel(t)
	whole.Act = nil
	big, err := receipt.Parse(tenMillion(t))
	if err != nil {
		t.Fatal(err)
	}
	add := func(name, keys string, r *receipt.Receipt, original []byte) {
		data := marshal(t, r)
		all, err := receipt.ParseTrust([]byte(v.Trusts[keys]))
		if err != nil {
			t.Fatal(err)
		}
		got, err := check(data, all, original)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		result, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		v.Good = append(v.Good, goodVector{name, keys, data, original, result})
	}
	add("complete", "council", oneLevel(t), original(5).Marshal())
	add("provisional, an act of a batch", "council", twoLevel(t), original(102).Marshal())
	add("a whole batch", "council", whole, nil)
	add("one operator", "operator", logged(t, house, 3, 8, "house", "witness.example/w1"), original(3).Marshal())
	add("alone in its log", "operator", logged(t, house, 0, 1, "house"), nil)
	add("a rule failed", "council", logged(t, failed, 4, 5, "clearing", "customs", "forex", "tax"), original(4).Marshal())
	add("a clock is wrong", "council", logged(t, early, 0, 3, "customs", "forex", "tax"), nil)
	add("among ten million", "council", big, nil)
}

// makeRefused changes good receipts: by hand where the reason matters, and everywhere a little.
func makeRefused(t *testing.T, v *vectors) {
	byName := map[string]goodVector{}
	for _, g := range v.Good {
		byName[g.Name] = g
	}
	add := func(r refusedVector) {
		all, err := receipt.ParseTrust([]byte(v.Trusts[r.Trust]))
		if err != nil {
			t.Fatal(err)
		}
		file := byName[r.Of].Receipt
		_, err = check(slices.Concat(file[:r.At], r.Insert, file[r.At+r.Delete:]), all, r.Original)
		if r.Code = errs.As(orNil(err)).Code; err == nil || r.Code == "" {
			t.Fatalf("%s is not refused with a code: %v", r.Name, err)
		}
		v.Refused = append(v.Refused, r)
	}
	replace := func(of, name, old, by string) {
		at := bytes.Index(byName[of].Receipt, []byte(old))
		if at < 0 {
			t.Fatalf("%s: nothing to replace", name)
		}
		add(refusedVector{Name: name, Of: of, Trust: byName[of].Trust, At: at, Delete: len(old), Insert: []byte(by)})
	}
	for _, of := range []string{"complete", "provisional, an act of a batch"} {
		file := byName[of].Receipt
		for at := 0; at < len(file); at += 23 {
			add(refusedVector{Name: fmt.Sprintf("%s: byte %d changed", of, at), Of: of, Trust: "council", At: at, Delete: 1, Insert: []byte{file[at] ^ 1}})
		}
		for at := 11; at < len(file); at += 101 {
			add(refusedVector{Name: fmt.Sprintf("%s: cut at byte %d", of, at), Of: of, Trust: "council", At: at, Delete: len(file) - at})
		}
		add(refusedVector{Name: of + ": something follows", Of: of, Trust: "council", At: len(file), Insert: []byte("\n")})
		add(refusedVector{Name: of + ": a mark of byte order", Of: of, Trust: "council", Insert: []byte("\ufeff")})
		add(refusedVector{Name: of + ": no key of this log", Of: of, Trust: "elsewhere"})
		add(refusedVector{Name: of + ": an original of another record", Of: of, Trust: "council", Original: original(77).Marshal()})
	}
	add(refusedVector{Name: "an original without its salt", Of: "complete", Trust: "council", Original: original(5).Data})
	add(refusedVector{Name: "an original of a whole batch", Of: "a whole batch", Trust: "council", Original: original(102).Marshal()})
	add(refusedVector{Name: "a signer that is not trusted", Of: "complete", Trust: "without forex"})
	add(refusedVector{Name: "a key at a time not its own", Of: "complete", Trust: "customs replaced its key"})
	replace("complete", "another size", "\n13\n", "\n14\n")
	replace("complete", "a size with a leading zero", "\n13\n", "\n013\n")
	replace("complete", "another index", "index 5\n", "index 4\n")
	replace("complete", "an index that is no number", "index 5\n", "index +5\n")
	replace("complete", "an index outside the log", "index 5\n", "index 13\n")
	replace("complete", "an index beyond 63 bits", "index 5\n", "index 9223372036854775808\n")
	replace("complete", "another log", origin, "evidence.elsewhere.example")
	replace("complete", "CR LF", "index 5\n", "index 5\r\n")
	replace("complete", "a hyphen for a dash", "— customs", "- customs")
	replace("complete", "another name", "— forex", "— house")
	replace("complete", "another scheme", "tlog-proof@v1", "tlog-proof@v2")
	shortLines(t, byName["complete"].Receipt, add)
}

// shortLines takes signatures away, doubles and swaps them.
func shortLines(t *testing.T, file []byte, add func(refusedVector)) {
	t.Helper()
	at := bytes.Index(file, []byte("— forex"))
	to := bytes.Index(file, []byte("— tax"))
	end := bytes.Index(file, []byte("— witness"))
	forex, tax := file[at:to], file[to:end]
	add(refusedVector{Name: "two of four", Of: "complete", Trust: "council", At: at, Delete: to - at})
	add(refusedVector{Name: "a signature twice", Of: "complete", Trust: "council", At: at, Insert: forex})
	add(refusedVector{Name: "signatures out of order", Of: "complete", Trust: "council", At: at, Delete: end - at, Insert: slices.Concat(tax, forex)})
	add(refusedVector{Name: "the signature of another", Of: "complete", Trust: "council", At: at, Delete: end - at,
		Insert: slices.Concat([]byte("— forex"), tax[len("— tax"):], []byte("— tax"), forex[len("— forex"):])})
	add(refusedVector{Name: "no signature", Of: "complete", Trust: "council", At: bytes.Index(file, []byte("— customs")), Delete: len(file) - bytes.Index(file, []byte("— customs"))})
}
