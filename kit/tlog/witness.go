package tlog

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
)

// Cosigner is a witness: one of this house, or one elsewhere. A [Witness] and a [WitnessClient] are Cosigners.
type Cosigner interface {
	// Cosign cosigns the note's checkpoint where it continues the one of size older, which the witness has cosigned last;
	// proof shows that. Where the witness has cosigned another size last, the error wraps a [*Known].
	Cosign(ctx context.Context, older uint64, proof []merkle.Hash, n *receipt.Note) (receipt.Signature, error)
}

// Known is the cause of errors of kind Conflict: the size of the checkpoint that a witness has cosigned last.
type Known struct{ Size uint64 }

// Error says the size.
func (k *Known) Error() string { return fmt.Sprintf("the witness knows the log at size %d", k.Size) }

// CodeProof is the code of errors of kind Invalid that say a checkpoint does not continue the one before.
const CodeProof = "log.proof"

// Witness cosigns checkpoints of logs that only grow, and never two histories of one log: what it is about to sign it
// remembers first, durably, in a folder apart from the logs' databases. A crash in between costs a signature, which the
// log asks for again, and never lets two be made.
type Witness struct {
	signer *receipt.Signer
	now    func() time.Time

	mu     sync.Mutex
	trust  *receipt.Trust
	memory *memory
}

// WitnessOptions say who a witness is. All but Create are required.
type WitnessOptions struct {
	Dir    string          // of its memory; one witness a folder
	Create bool            // whether a memory may be made where there is none; one that is gone must not be made anew unseen
	Signer *receipt.Signer // its name and key
	Trust  *receipt.Trust  // the keys of the logs that it cosigns
	Now    func() time.Time
}

// OpenWitness opens a witness. A memory that is gone or damaged is an error with CodeForgot.
func OpenWitness(o WitnessOptions) (*Witness, error) {
	m, err := openMemory(o.Dir, o.Create)
	if err != nil {
		return nil, err
	}
	return &Witness{signer: o.Signer, now: o.Now, trust: o.Trust, memory: m}, nil
}

// Close releases the memory.
func (w *Witness) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.memory.close()
}

// Name returns the name under which it signs.
func (w *Witness) Name() string { return w.signer.Name() }

// Believe has the witness hold logs to other keys from now on.
func (w *Witness) Believe(trust *receipt.Trust) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trust = trust
}

// Last returns the checkpoint of a log that it has remembered last; false where it knows none.
func (w *Witness) Last(origin string) (receipt.Checkpoint, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, ok := w.memory.known[origin]
	return c, ok
}

// Cosign implements [Cosigner], as C2SP tlog-witness has it. The error is of kind NotFound for a log that is not
// witnessed, Forbidden where its own keys have not signed, Conflict where another size was cosigned last, or another
// root of this size, and Invalid, with CodeProof where the proof does not hold.
func (w *Witness) Cosign(_ context.Context, older uint64, proof []merkle.Hash, n *receipt.Note) (receipt.Signature, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := n.Checkpoint
	if older > c.Size {
		return receipt.Signature{}, errs.New(errs.Invalid, "旧的大小超过检查点", "the old size is beyond the checkpoint")
	}
	if err := w.believes(n); err != nil {
		return receipt.Signature{}, err
	}
	if err := w.continues(older, proof, c); err != nil {
		return receipt.Signature{}, err
	}
	if known, ok := w.memory.known[c.Origin]; !ok || known != c {
		if err := w.memory.remember(c); err != nil {
			return receipt.Signature{}, fmt.Errorf("memory of the witness: %w", err)
		}
	}
	return w.signer.Cosign(c, w.now())
}

// continues holds a checkpoint to what was cosigned last.
func (w *Witness) continues(older uint64, proof []merkle.Hash, c receipt.Checkpoint) error {
	known, ok := w.memory.known[c.Origin]
	if !ok {
		known.Root = merkle.EmptyRoot()
	}
	if older != known.Size {
		e := errs.New(errs.Conflict, "见证者上次签署的是另一个大小", "the witness has cosigned another size last").WithCode("log.size")
		e.Err = &Known{known.Size}
		return e
	}
	if known.Size == c.Size && known.Root != c.Root {
		return errs.New(errs.Conflict, "见证者签署过同样大小的另一个根", "the witness has cosigned another root of this size").WithCode(CodeForked)
	}
	if err := merkle.VerifyConsistency(known.Size, c.Size, known.Root, c.Root, proof); err != nil {
		return errs.Wrap(err, errs.Invalid, "检查点不是上次的延续", "the checkpoint does not continue the last one").WithCode(CodeProof)
	}
	return nil
}

// believes holds the note to the keys of its log. Signatures of others are passed over.
func (w *Witness) believes(n *receipt.Note) error {
	var keys []receipt.Key
	for _, k := range w.trust.Keys() {
		if k.Origin == n.Checkpoint.Origin {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return errs.New(errs.NotFound, "不见证这本日志", "this log is not witnessed here")
	}
	own := receipt.Note{Checkpoint: n.Checkpoint}
	for _, s := range n.Signatures {
		if slices.ContainsFunc(keys, func(k receipt.Key) bool { return k.Name == s.Name && k.ID() == s.KeyID }) {
			own.Signatures = append(own.Signatures, s)
		}
	}
	if len(own.Signatures) == 0 {
		return errs.New(errs.Forbidden, "没有此日志的密钥的签名", "no key of this log has signed")
	}
	if _, err := w.trust.Verify(&own); err != nil {
		return errs.Wrap(err, errs.Forbidden, "日志自己的签名不足或有误", "the log's own signatures are wrong or too few")
	}
	return nil
}

// Ask has a witness cosign a note of this log. older is the size that it may have cosigned last; where that is wrong, it
// says which. An error with CodeShrunk says that the witness has seen more than the log has, and one with CodeForked or
// CodeProof that it has seen another history: then somebody has set the log back, or rewritten it.
func (l *Log) Ask(ctx context.Context, w Cosigner, n *receipt.Note, older uint64) (receipt.Signature, error) {
	older = min(older, n.Checkpoint.Size)
	for tries := 0; ; tries++ {
		proof, err := l.Consistency(ctx, older, n.Checkpoint.Size)
		if err != nil {
			return receipt.Signature{}, err
		}
		s, err := w.Cosign(ctx, older, proof, n)
		known := knownOf(err)
		if known == nil || tries == 3 {
			return s, err
		}
		if known.Size > n.Checkpoint.Size {
			return s, l.beyond(known, n)
		}
		older = known.Size
	}
}

// beyond says that a witness knows more than the note: more than the log has, or no more than a later note.
func (l *Log) beyond(known *Known, n *receipt.Note) error {
	if last := l.Last(); known.Size > last.Size {
		e := errs.Newf(errs.Internal, "见证者见过第 %d 条，而日志只有 %d 条", "the witness has seen entry %d, and the log has %d", known.Size, last.Size)
		e.Err = known
		return e.WithCode(CodeShrunk)
	}
	e := errs.Newf(errs.Conflict, "见证者已签署到 %d", "the witness has cosigned up to %d", known.Size).WithCode("log.size")
	e.Err = known
	return e
}
