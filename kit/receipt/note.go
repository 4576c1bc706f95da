package receipt

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/qiongdev/qiong/kit/errs"
)

// dash begins every line of a signature (C2SP signed-note): an em dash and a space.
const dash = "— "

// MaxSignatures is how many signatures a note may bear.
const MaxSignatures = 64

// Note is a checkpoint with its cosignatures: at least one, sorted by name, none of them twice.
type Note struct {
	Checkpoint Checkpoint
	Signatures []Signature
}

// Add puts a cosignature in its place and reports whether it was not there: a name signs once, and the first stays.
func (n *Note) Add(s Signature) bool {
	at, have := slices.BinarySearchFunc(n.Signatures, s.Name, func(s Signature, name string) int { return strings.Compare(s.Name, name) })
	if !have {
		n.Signatures = slices.Insert(n.Signatures, at, s)
	}
	return !have
}

// Marshal returns the note as it is served and stored.
func (n *Note) Marshal() ([]byte, error) {
	if err := n.Checkpoint.check(); err != nil {
		return nil, err
	}
	if len(n.Signatures) == 0 || len(n.Signatures) > MaxSignatures {
		return nil, bad("signatures", "应有 1 至 64 个签名", "there are 1 to 64 signatures")
	}
	b := append([]byte(n.Checkpoint.Text()), '\n')
	for i, s := range n.Signatures {
		if err := s.check(); err != nil {
			return nil, line(err, 5+i)
		}
		if i > 0 && n.Signatures[i-1].Name >= s.Name {
			return nil, bad("signatures", "签名应按名称排列，每个名称一次", "signatures are sorted by name, each name once").WithLine(5 + i)
		}
		b = append(append(append(b, dash...), s.Name...), ' ')
		b = append(base64.StdEncoding.AppendEncode(b, s.bytes()), '\n')
	}
	return b, nil
}

// ParseNote reads what [Note.Marshal] writes and nothing else.
func ParseNote(data []byte) (*Note, error) {
	text, signatures, ok := strings.Cut(string(data), "\n\n")
	signatures, ended := strings.CutSuffix(signatures, "\n")
	if !ok || !ended || len(data) > MaxSize {
		return nil, bad("checkpoint", "检查点不完整或没有签名", "the checkpoint is cut or has no signature")
	}
	n := new(Note)
	var err error
	if n.Checkpoint, err = ParseCheckpoint(text + "\n"); err != nil {
		return nil, err
	}
	for i, text := range strings.Split(signatures, "\n") {
		if i == MaxSignatures {
			return nil, bad("signatures", "签名太多", "there are too many signatures").WithLine(5 + i)
		}
		s, err := parseSignature(text)
		if err != nil {
			return nil, line(err, 5+i)
		}
		n.Signatures = append(n.Signatures, s)
	}
	return n, same(n.Marshal, data)
}

// parseSignature reads one line without its LF.
func parseSignature(text string) (Signature, error) {
	rest, ok := strings.CutPrefix(text, dash)
	name, encoded, found := strings.Cut(rest, " ")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || !found || err != nil || len(raw) != signatureSize {
		return Signature{}, errs.New(errs.Invalid, "不是签名行", "not the line of a signature").WithCode(CodeSyntax)
	}
	return newSignature(name, raw), nil
}
