package receipt

import (
	"slices"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/merkle"
)

// The codes of refusals, beside CodeSyntax.
const (
	CodeProof     = "receipt.proof"     // the record is not in the tree of the checkpoint
	CodeAct       = "receipt.act"       // the act is not in the batch
	CodeOriginal  = "receipt.original"  // the original is not what the record commits to
	CodeOrigin    = "receipt.origin"    // no key of this log is trusted
	CodeSigner    = "receipt.signer"    // a signer or its key is not trusted
	CodeKeyTime   = "receipt.key-time"  // a key signed outside of its time
	CodeSignature = "receipt.signature" // a signature does not verify
	CodeQuorum    = "receipt.quorum"    // too few of the council have signed, or the operator has not
)

// MaxSkew is how far the clocks of house and agencies may be apart before a cosignature is called early.
const MaxSkew = 10 * time.Minute

// State says how far a receipt is.
type State string

// The states.
const (
	Provisional State = "provisional" // a quorum of the council, or the operator, has signed
	Complete    State = "complete"    // and everyone whom the record needs
)

// Cosignature is a verified signature.
type Cosignature struct {
	Name        string       `json:"name"`
	Role        Role         `json:"role"`
	KeyID       KeyID        `json:"keyId"`
	Fingerprint string       `json:"fingerprint"` // of the public key: gm.KeyID
	Time        beijing.Time `json:"time"`
	Early       bool         `json:"early,omitempty"` // more than MaxSkew before the record's own time: a clock is wrong
}

// Quorum says how many had to sign for the order of the log to stand: of a council more than two thirds, of one operator
// itself.
type Quorum struct {
	Have int `json:"have"`
	Need int `json:"need"`
	Of   int `json:"of"`
}

// Attested is a note that was verified.
type Attested struct {
	Checkpoint   Checkpoint    `json:"checkpoint"`
	Cosignatures []Cosignature `json:"cosignatures"`
	Quorum       Quorum        `json:"quorum"`
	// By is when a quorum had signed: what the checkpoint stands for existed by then.
	By beijing.Time `json:"by"`
}

// Result says what a receipt proves.
type Result struct {
	State    State    `json:"state"`
	Record   Record   `json:"record"`
	Act      *Act     `json:"act,omitempty"`
	Index    uint64   `json:"index"`
	Signed   []string `json:"signed"`   // of Record.Needs: who has cosigned
	Owed     []string `json:"owed"`     // and who has not yet
	Original bool     `json:"original"` // an original was given, and it is what the record commits to
	Attested
}

// Verify returns what a receipt proves to a reader who trusts these keys, or an error of kind Invalid that says what is
// wrong with it. Where original is not nil, it is the file of the original, and must be what the receipt commits to.
func Verify(r *Receipt, trust *Trust, original []byte) (*Result, error) {
	if _, err := r.Marshal(); err != nil {
		return nil, err
	}
	leaf, err := r.Leaf()
	if err != nil {
		return nil, err
	}
	c := r.Note.Checkpoint
	if err := merkle.VerifyInclusion(leaf, r.Index, c.Size, r.Path, c.Root); err != nil {
		return nil, errs.Wrap(err, errs.Invalid, "记录不在检查点的日志之中", "the record is not in the log of the checkpoint").WithCode(CodeProof)
	}
	if err := r.verifyAct(); err != nil {
		return nil, err
	}
	if original != nil {
		if err := r.verifyOriginal(original); err != nil {
			return nil, err
		}
	}
	attested, err := trust.Verify(&r.Note)
	if err != nil {
		return nil, err
	}
	result := &Result{State: Complete, Record: r.Record, Act: r.Act, Index: r.Index, Original: original != nil, Attested: *attested}
	result.conclude()
	return result, nil
}

// conclude says who of those needed has signed, and whether someone's clock contradicts the record's.
func (r *Result) conclude() {
	r.Signed, r.Owed = []string{}, []string{}
	for _, name := range r.Record.Needs {
		if slices.ContainsFunc(r.Cosignatures, func(s Cosignature) bool { return s.Name == name }) {
			r.Signed = append(r.Signed, name)
		} else {
			r.Owed, r.State = append(r.Owed, name), Provisional
		}
	}
	for i := range r.Cosignatures {
		s := &r.Cosignatures[i]
		s.Early = s.Time < r.Record.Time-beijing.Time(MaxSkew.Milliseconds())
	}
}

func (r *Receipt) verifyAct() error {
	if r.Act == nil {
		return nil
	}
	root, err := merkle.RootFrom(merkle.LeafHash(r.Act.Commitment[:]), r.Act.Index, r.Record.Batch, r.Act.Path)
	if err == nil && root == r.Record.Commitment {
		return nil
	}
	return errs.Wrap(err, errs.Invalid, "这一项不在该批次之中", "the act is not in the batch").WithCode(CodeAct)
}

func (r *Receipt) verifyOriginal(original []byte) error {
	want := r.Record.Commitment
	if r.Act != nil {
		want = r.Act.Commitment
	} else if r.Record.Batch > 0 {
		return errs.New(errs.Invalid, "回执属于整个批次，没有单一的原件", "the receipt is of a whole batch, which has no one original").WithCode(CodeOriginal)
	}
	if Commit(original) == want {
		return nil
	}
	e := errs.New(errs.Invalid, "原件与回执不符", "the original is not what the receipt commits to").WithCode(CodeOriginal)
	if _, err := ParseOriginal(original); err != nil {
		return e.WithHint("原件以 qiong-original/v1 和一行盐开头，须一字节不差", "an original begins with qiong-original/v1 and a line with its salt, and every byte of it counts")
	}
	return e
}

// Verify returns what a note says to a reader who trusts these keys. Every signature must be of a trusted key, within
// its time, and right: one that is not, even beside enough others, refuses the note.
func (t *Trust) Verify(n *Note) (*Attested, error) {
	if _, err := n.Marshal(); err != nil {
		return nil, err
	}
	origin := n.Checkpoint.Origin
	if !t.has(origin, Agency) && !t.has(origin, Operator) {
		return nil, errs.New(errs.Invalid, "信任的公钥中没有这本日志的部门或运营者", "no agency or operator of this log is among the trusted keys").
			WithCode(CodeOrigin).WithHint("向各单位索取这本日志的公钥文件", "ask the agencies for the public keys of this log")
	}
	a := &Attested{Checkpoint: n.Checkpoint}
	for _, s := range n.Signatures {
		k, err := t.VerifySignature(n.Checkpoint, s)
		if err != nil {
			return nil, err
		}
		a.Cosignatures = append(a.Cosignatures, Cosignature{Name: k.Name, Role: k.Role, KeyID: k.id,
			Fingerprint: gm.KeyID(k.Public), Time: beijing.Time(s.Time * 1000)})
	}
	if err := a.count(t); err != nil {
		return nil, err
	}
	return a, nil
}

// VerifySignature returns the key that made a cosignature of the checkpoint, or why there is none: it is not trusted, it
// signed outside of its time, or the signature does not verify.
func (t *Trust) VerifySignature(c Checkpoint, s Signature) (*Key, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	k, err := t.find(c.Origin, s.Name, s.KeyID)
	if err != nil {
		return nil, err
	}
	if !k.at(beijing.Time(s.Time * 1000)) {
		return nil, errs.Newf(errs.Invalid, "%s 的签名不在其密钥的有效期内", "%s signed outside of its key's time", k.Name).WithCode(CodeKeyTime)
	}
	if err := VerifySignature(k.Public, c, s); err != nil {
		return nil, errs.Newf(errs.Invalid, "%s 的签名验证不通过", "the signature of %s does not verify", k.Name).WithCode(CodeSignature)
	}
	return k, nil
}

// count holds the signatures to the quorum. Where the log has a council, its members are those at the time of their
// first signature: who joined or left later does not change what an old note is worth.
func (a *Attested) count(t *Trust) error {
	role := Operator
	if t.has(a.Checkpoint.Origin, Agency) {
		role = Agency
	}
	var times []beijing.Time
	for _, s := range a.Cosignatures {
		if s.Role == role {
			times = append(times, s.Time)
		}
	}
	a.Quorum = Quorum{Have: len(times), Need: 1, Of: 1}
	if role == Agency && len(times) > 0 {
		council := t.Council(a.Checkpoint.Origin, slices.Min(times))
		times = nil
		for _, s := range a.Cosignatures {
			if slices.Contains(council, s.Name) {
				times = append(times, s.Time)
			}
		}
		a.Quorum = Quorum{Have: len(times), Need: len(council)*2/3 + 1, Of: len(council)}
	}
	if len(times) < a.Quorum.Need {
		return a.short(role)
	}
	slices.Sort(times)
	a.By = times[a.Quorum.Need-1]
	return nil
}

func (a *Attested) short(role Role) error {
	if role == Operator {
		return errs.New(errs.Invalid, "运营者没有签名", "the operator has not signed").WithCode(CodeQuorum)
	}
	if a.Quorum.Have == 0 {
		return errs.New(errs.Invalid, "没有部门签名", "no agency has signed").WithCode(CodeQuorum)
	}
	return errs.Newf(errs.Invalid, "签名的部门有 %d 个，不足法定的 %d 个（共 %d 个）", "%d agencies have signed, where %d are needed (of %d)",
		a.Quorum.Have, a.Quorum.Need, a.Quorum.Of).WithCode(CodeQuorum)
}
