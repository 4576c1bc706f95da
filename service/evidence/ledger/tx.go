package ledger

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/strictjson"
)

// A transaction is a first line, "qiong-tx/v1 <kind> <signer> <base64 of an SM2 signature>", for a batch, or with as many
// pairs of signer and signature as sign a policy; then the JSON that is signed, with the kind before it.
const txForm = "qiong-tx/v1"

// The kinds of transactions.
const (
	kindRecords = "records"
	kindPolicy  = "policy"
)

// MaxRecords is how many records a batch may hold.
const MaxRecords = 5000

// Submission is a record on its way into the log.
type Submission struct {
	ID         string          `json:"id"`
	Type       string          `json:"type"`
	Commitment merkle.Hash     `json:"commitment"`
	Time       beijing.Time    `json:"time"` // when the house accepted it
	Facts      json.RawMessage `json:"facts,omitempty"`
	Batch      uint64          `json:"batch,omitempty"`
}

// Batch is what a gateway sends.
type Batch struct {
	Records []Submission `json:"records"`
}

// signature is a signer's, in the first line of a transaction.
type signature struct {
	name string
	sig  []byte
}

// transaction is one that was taken apart.
type transaction struct {
	kind       string
	signatures []signature
	body       []byte
}

// signed is what a signature of a transaction is over.
func signed(kind string, body []byte) []byte {
	return append([]byte(txForm+" "+kind+"\n"), body...)
}

// Sign signs a policy or a batch that is already JSON.
func sign(kind string, body []byte, key crypto.Signer) ([]byte, error) {
	return gm.Sign(key, []byte(gm.DefaultID), signed(kind, body))
}

// NewBatch returns the transaction by which a gateway sends records.
func NewBatch(gateway string, key crypto.Signer, b Batch) ([]byte, error) {
	body, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	sig, err := sign(kindRecords, body, key)
	if err != nil {
		return nil, err
	}
	return marshalTx(kindRecords, []signature{{gateway, sig}}, body), nil
}

// SignPolicy returns an agency's signature of a policy that is to come into force.
func SignPolicy(p *Policy, key crypto.Signer) ([]byte, error) {
	body, err := p.Marshal()
	if err != nil {
		return nil, err
	}
	return sign(kindPolicy, body, key)
}

// NewPolicyChange returns the transaction that brings a policy into force, with the agencies' signatures by name.
func NewPolicyChange(p *Policy, signatures map[string][]byte) ([]byte, error) {
	body, err := p.Marshal()
	if err != nil {
		return nil, err
	}
	var all []signature
	for _, m := range slices.Sorted(maps.Keys(signatures)) {
		all = append(all, signature{m, signatures[m]})
	}
	return marshalTx(kindPolicy, all, body), nil
}

func marshalTx(kind string, signatures []signature, body []byte) []byte {
	var b bytes.Buffer
	b.WriteString(txForm + " " + kind)
	for _, s := range signatures {
		b.WriteString(" " + s.name + " " + base64.StdEncoding.EncodeToString(s.sig))
	}
	b.WriteByte('\n')
	b.Write(body)
	return b.Bytes()
}

func badTx(zh, en string) *errs.Error {
	return errs.New(errs.Invalid, zh, en).WithCode("evidence.transaction")
}

// parseTx takes a transaction apart. Its body is not read yet: that is for those to whom its signatures mean something.
func parseTx(tx []byte) (*transaction, error) {
	line, body, ok := bytes.Cut(tx, []byte{'\n'})
	words := strings.Split(string(line[:min(len(line), 64<<10)]), " ")
	if !ok || len(words) < 4 || len(words)%2 != 0 || words[0] != txForm {
		return nil, badTx("不是交易", "this is no transaction")
	}
	t := &transaction{kind: words[1], body: body}
	if t.kind != kindRecords && t.kind != kindPolicy {
		return nil, badTx("未知的交易种类", "the kind of the transaction is unknown")
	}
	for i := 2; i < len(words); i += 2 {
		sig, err := base64.StdEncoding.Strict().DecodeString(words[i+1])
		if err != nil || len(sig) > 80 || i > 2 && words[i] <= words[i-2] {
			return nil, badTx("交易的签名行有误", "the line of signatures is wrong")
		}
		t.signatures = append(t.signatures, signature{words[i], sig})
	}
	return t, nil
}

// records returns the records of a batch.
func (t *transaction) records() ([]Submission, error) {
	var b Batch
	if err := strictjson.Unmarshal(t.body, &b); err != nil {
		return nil, err
	}
	if len(b.Records) == 0 || len(b.Records) > MaxRecords {
		return nil, badTx("一批须有 1 至 5000 条记录", "a batch has 1 to 5000 records").WithField("records")
	}
	return b.Records, nil
}
