package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// Proof shows that a run of leaves stands in the log of a cosigned checkpoint: whole, in order, and nothing between.
type Proof struct {
	From, To uint64        // the leaves from From up to, and without, To
	Edge     []merkle.Hash // the right edge of the log before From
	Path     []merkle.Hash // consistency from To to the note's size
	Note     receipt.Note
}

const proofHead = "qiong-audit-proof/v1\n"

// Marshal returns the proof as a file: the range, the hashes one a line, an empty line, the note.
func (p *Proof) Marshal() ([]byte, error) {
	note, err := p.Note.Marshal()
	if err != nil {
		return nil, err
	}
	b := fmt.Appendf([]byte(proofHead), "leaves %d %d\n", p.From, p.To)
	for _, h := range p.Edge {
		b = fmt.Appendf(b, "edge %s\n", h)
	}
	for _, h := range p.Path {
		b = fmt.Appendf(b, "path %s\n", h)
	}
	return append(append(b, '\n'), note...), nil
}

// ParseProof reads what [Proof.Marshal] writes and nothing else.
func ParseProof(data []byte) (*Proof, error) {
	p, err := parseProof(string(data))
	if err == nil {
		var again []byte
		if again, err = p.Marshal(); err == nil && bytes.Equal(again, data) {
			return p, nil
		}
	}
	e := malformed("不是审计日志的证明", "not the proof of an audit log")
	e.Err = err
	return nil, e
}

func parseProof(text string) (*Proof, error) {
	head, note, found := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 2 || len(lines) > 200 {
		return nil, fmt.Errorf("cut")
	}
	p := new(Proof)
	if _, err := fmt.Sscanf(lines[1], "leaves %d %d", &p.From, &p.To); err != nil {
		return nil, err
	}
	for _, line := range lines[2:] {
		kind, encoded, _ := strings.Cut(line, " ")
		h, err := merkle.ParseHash(encoded)
		if err != nil {
			return nil, err
		}
		if kind == "edge" {
			p.Edge = append(p.Edge, h)
		} else {
			p.Path = append(p.Path, h)
		}
	}
	n, err := receipt.ParseNote([]byte(note))
	if err != nil {
		return nil, err
	}
	p.Note = *n
	return p, nil
}

// Verifier holds leaves, given in their order, to a proof.
type Verifier struct {
	proof *Proof
	trust *receipt.Trust
	tree  *merkle.Range
}

// NewVerifier returns a verifier that believes the notes of these keys. The note itself is verified here.
func NewVerifier(p *Proof, trust *receipt.Trust) (*Verifier, error) {
	if p.From >= p.To || p.To > p.Note.Checkpoint.Size {
		return nil, malformed("证明的范围有误", "the range of the proof is wrong")
	}
	if _, err := trust.Verify(&p.Note); err != nil {
		return nil, err
	}
	tree, err := merkle.RangeOf(p.From, p.Edge)
	if err != nil {
		return nil, err
	}
	return &Verifier{p, trust, tree}, nil
}

// Next returns the index of the leaf that is due.
func (v *Verifier) Next() uint64 { return v.tree.Size() }

// Add takes the next leaf: its lines in the canonical form.
func (v *Verifier) Add(leaf []byte) { v.tree.Add(leaf, nil) }

// Done says whether the leaves were those of the proof.
func (v *Verifier) Done() error {
	p := v.proof
	if v.tree.Size() != p.To {
		return errs.Newf(errs.Invalid, "证明涵盖到第 %d 组，文件止于第 %d 组", "the proof is of leaves up to %d, and the file ends at %d", p.To, v.tree.Size()).WithCode(CodeChanged)
	}
	c := p.Note.Checkpoint
	if err := merkle.VerifyConsistency(p.To, c.Size, v.tree.Root(), c.Root, p.Path); err != nil {
		return errs.Wrap(err, errs.Invalid, "条目与签署的检查点不符：有条目被改动、删除或添加", "the entries are not what was signed: some were changed, left out or added").WithCode(CodeChanged)
	}
	return nil
}

// CodeChanged is the code of errors that say an export is not what was signed.
const CodeChanged = "audit.changed"

// Span returns the range of leaves that may have entries of a time, of those that are cosigned and not expired; all of
// them where the bounds are 0. Where there is none, from equals to.
func (l *Log) Span(ctx context.Context, since, until beijing.Time) (from, to uint64, err error) {
	n, err := l.Note(ctx)
	if errs.Is(err, errs.NotFound) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	first, err := l.expired(ctx)
	if err != nil {
		return 0, 0, err
	}
	from, to = first, n.Checkpoint.Size
	if since != 0 {
		if from, err = l.leafAt(ctx, since, to); err != nil {
			return 0, 0, err
		}
	}
	if until != 0 {
		// An entry waits before it is written, for as long as the log can't be: a minute is far more than it ever should.
		if to, err = l.leafAt(ctx, until+60_000, to); err != nil {
			return 0, 0, err
		}
	}
	from = max(from, first)
	return from, max(from, min(to, n.Checkpoint.Size)), nil
}

// leafAt returns the first leaf that was written at a time or later.
func (l *Log) leafAt(ctx context.Context, at beijing.Time, otherwise uint64) (uint64, error) {
	idx, err := sqldb.Value[int64](ctx, l.o.DB, "SELECT idx FROM audit_leaf WHERE at >= $1 ORDER BY at, idx LIMIT 1", int64(at))
	if errors.Is(err, sqldb.ErrNoRows) {
		return otherwise, nil
	}
	return uint64(idx), err
}

// Prove returns the proof of a range of leaves under the newest note.
func (l *Log) Prove(ctx context.Context, from, to uint64) (*Proof, error) {
	n, err := l.Note(ctx)
	if err != nil {
		return nil, err
	}
	if from >= to || to > n.Checkpoint.Size {
		return nil, errs.New(errs.NotFound, "日志中没有这个范围", "the log has no such range")
	}
	p := &Proof{From: from, To: to, Note: *n}
	edge, err := l.log.RangeAt(ctx, from)
	if err != nil {
		return nil, err
	}
	p.Edge = edge.Nodes()
	p.Path, err = l.log.Consistency(ctx, to, n.Checkpoint.Size)
	return p, err
}

// Leaves returns up to limit leaves from an index on.
func (l *Log) Leaves(ctx context.Context, from uint64, limit int) ([][]byte, error) {
	entries, err := l.log.Entries(ctx, from, limit)
	if err != nil {
		return nil, err
	}
	leaves := make([][]byte, len(entries))
	for i, e := range entries {
		leaves[i] = e.Data
	}
	return leaves, nil
}
