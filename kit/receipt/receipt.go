// Package receipt promises that anyone can verify, offline and years later, that a record stands in a log: when it was
// accepted, that nothing of it was changed since, and which agencies stood behind it with their SM2 signatures.
//
// A [Record] is one leaf of the log. It holds a commitment only: the SM3 of an [Original], whose salt nobody can guess,
// so the log tells nothing about the data, and without the salt nothing ever will. A [Checkpoint] states a log's size and
// root; a [Note] is a checkpoint with the cosignatures of agencies, operator and witnesses. A [Receipt] joins the record
// and the way from it to the checkpoint with the note, in one small text file (C2SP tlog-proof). [Verify] holds it to a
// [Trust]: the public keys that its reader believes.
//
// Every text has exactly one form: what is parsed is written again as the very same bytes, or refused. A receipt has no
// byte that could be changed unnoticed. The formats stand in doc/formats/receipt.md, checkpoint.md and trust.md.
//
// A receipt proves existence, integrity, order and who cosigned. It is no official seal, and it proves nothing about
// what was false before it was recorded.
package receipt

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/merkle"
)

// MaxSize is the longest receipt, in bytes, that is read.
const MaxSize = 64 << 10

// header is the first line of a C2SP tlog-proof.
const header = "c2sp.org/tlog-proof@v1\n"

// maxPath is the longest way from a leaf to a root: a tree has at most 2^63 leaves.
const maxPath = 63

// Receipt is a record, its way to the root of a tree, and the note with that root.
type Receipt struct {
	Record Record
	Act    *Act // one act of a record that is a batch; nil where the receipt is of the record as a whole
	Index  uint64
	Path   []merkle.Hash
	Note   Note
}

// Act is one act of a batch: its place among the leaves of the tree whose root is the record's commitment. The leaf's
// data are the 32 bytes of the act's own commitment.
type Act struct {
	Index      uint64        `json:"index"`
	Commitment merkle.Hash   `json:"commitment"`
	Path       []merkle.Hash `json:"-"`
}

// Marshal returns the receipt as a file.
func (r *Receipt) Marshal() ([]byte, error) {
	extra, err := r.Record.Append(nil)
	if err != nil {
		return nil, err
	}
	if extra, err = r.appendAct(extra); err != nil {
		return nil, err
	}
	note, err := r.Note.Marshal()
	if err != nil {
		return nil, err
	}
	if len(r.Path) > maxPath || r.Index >= r.Note.Checkpoint.Size {
		return nil, bad("index", "序号超出日志的大小", "the index is outside the log")
	}
	b := append([]byte(header), "extra "...)
	b = base64.StdEncoding.AppendEncode(b, extra)
	b = append(b, "\nindex "...)
	b = append(strconv.AppendUint(b, r.Index, 10), '\n')
	b = append(appendHashes(b, r.Path), '\n')
	if b = append(b, note...); len(b) > MaxSize {
		return nil, tooLarge()
	}
	return b, nil
}

// appendAct appends the second part of the extra data.
func (r *Receipt) appendAct(b []byte) ([]byte, error) {
	if r.Act == nil {
		return b, nil
	}
	if r.Act.Index >= r.Record.Batch || len(r.Act.Path) > maxPath {
		return nil, bad("act", "不是该批次中的一项", "not an act of this batch")
	}
	b = append(b, "\nact "...)
	b = strconv.AppendUint(b, r.Act.Index, 10)
	b = append(b, "\ncommitment "...)
	b = append(append(b, r.Act.Commitment.String()...), '\n')
	return appendHashes(b, r.Act.Path), nil
}

func appendHashes(b []byte, hashes []merkle.Hash) []byte {
	for _, h := range hashes {
		b = append(base64.StdEncoding.AppendEncode(b, h[:]), '\n')
	}
	return b
}

// Parse reads what [Receipt.Marshal] writes and nothing else. It says nothing about whether the receipt is true: that is
// for [Verify].
func Parse(data []byte) (*Receipt, error) {
	if len(data) > MaxSize {
		return nil, tooLarge()
	}
	if !bytes.HasPrefix(data, []byte(header)) {
		return nil, bad("", "不是回执", "not a receipt").WithLine(1)
	}
	proof, note, ok := strings.Cut(string(data[len(header):]), "\n\n")
	lines := strings.Split(proof, "\n")
	if !ok || len(lines) < 2 {
		return nil, bad("", "回执不完整", "the receipt is cut")
	}
	r := new(Receipt)
	var err error
	if err = r.parseExtra(lines[0]); err != nil {
		return nil, line(err, 2)
	}
	if r.Index, err = number(lines[1], "index"); err != nil {
		return nil, line(err, 3)
	}
	if r.Path, err = parseHashes(lines[2:]); err != nil {
		return nil, errs.As(err).WithLine(errs.As(err).Line + 3)
	}
	parsed, err := ParseNote([]byte(note))
	if err != nil {
		e := errs.As(err)
		return nil, e.WithLine(e.Line + 2 + len(lines))
	}
	r.Note = *parsed
	return r, same(r.Marshal, data)
}

// parseExtra reads the line of the record, and of the act where there is one.
func (r *Receipt) parseExtra(text string) error {
	encoded, ok := strings.CutPrefix(text, "extra ")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil {
		return bad("extra", "不是 base64", "not base64")
	}
	record, act, found := strings.Cut(string(raw), "\n\n")
	if found {
		record += "\n"
	}
	parsed, err := ParseRecord([]byte(record))
	if err != nil {
		return err
	}
	r.Record = *parsed
	if !found {
		return nil
	}
	lines := strings.Split(strings.TrimSuffix(act, "\n"), "\n")
	if len(lines) < 2 {
		return bad("act", "批次中的一项不完整", "the act is cut")
	}
	r.Act = new(Act)
	if r.Act.Index, err = number(lines[0], "act"); err != nil {
		return err
	}
	if r.Act.Commitment, err = hash(lines[1], "commitment"); err != nil {
		return err
	}
	if r.Act.Path, err = parseHashes(lines[2:]); err != nil {
		return bad("act", "路径有误", "its path is wrong")
	}
	return nil
}

// parseHashes reads one hash a line; the line of an error counts from 1.
func parseHashes(lines []string) ([]merkle.Hash, error) {
	if len(lines) > maxPath {
		return nil, bad("path", "路径太长", "the path is too long").WithLine(maxPath + 1)
	}
	var hashes []merkle.Hash
	for i, text := range lines {
		h, err := merkle.ParseHash(text)
		if err != nil {
			return nil, bad("path", "不是 32 字节的 base64", "not 32 bytes in base64").WithLine(i + 1)
		}
		hashes = append(hashes, h)
	}
	return hashes, nil
}

// Leaf returns the hash of the record as a leaf of the log.
func (r *Receipt) Leaf() (merkle.Hash, error) {
	record, err := r.Record.Append(nil)
	if err != nil {
		return merkle.Hash{}, err
	}
	return merkle.LeafHash(record), nil
}
