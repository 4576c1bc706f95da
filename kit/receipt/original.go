package receipt

import (
	"bytes"
	"encoding/base64"

	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/merkle"
)

// SaltSize is the length of a salt in bytes.
const SaltSize = 16

const originalHeader = "qiong-original/v1\nsalt "

// Original is what a record commits to. Its holder keeps it: data, and the random salt without which nobody can try out
// what the commitment stands for. Where the salt is destroyed, the record says nothing any more.
type Original struct {
	Salt [SaltSize]byte // from a cryptographic random source, for this original alone
	Data []byte
}

// Marshal returns the original as a file: a line of its form, a line with the salt, an empty one, and the data as they
// are.
func (o *Original) Marshal() []byte {
	b := base64.StdEncoding.AppendEncode([]byte(originalHeader), o.Salt[:])
	return append(append(b, "\n\n"...), o.Data...)
}

// Commitment returns the SM3 of the original as a file.
func (o *Original) Commitment() merkle.Hash { return Commit(o.Marshal()) }

// Commit returns the commitment to an original's file.
func Commit(original []byte) merkle.Hash { return gm.SM3(original) }

// ParseOriginal reads what [Original.Marshal] writes. The data share the memory of the file.
func ParseOriginal(file []byte) (*Original, error) {
	rest, ok := bytes.CutPrefix(file, []byte(originalHeader))
	encoded, data, found := bytes.Cut(rest, []byte("\n\n"))
	salt, err := base64.StdEncoding.DecodeString(string(encoded))
	if !ok || !found || err != nil || len(salt) != SaltSize || base64.StdEncoding.EncodeToString(salt) != string(encoded) {
		return nil, bad("original", "不是原件：应以 qiong-original/v1 和盐开头", "not an original: it begins with qiong-original/v1 and a salt")
	}
	return &Original{[SaltSize]byte(salt), data}, nil
}
