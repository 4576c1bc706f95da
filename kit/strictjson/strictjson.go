// Package strictjson refuses JSON that two readers could understand differently.
//
// It promises that a document it accepts is RFC 8259 to the letter, with one meaning: no name stands twice in an object
// (not even in another letter case, which encoding/json would take for the same field), every string is valid Unicode,
// nothing follows the document, and size and depth are within limits. What it refuses, it refuses as an [errs.Error]
// with a stable code, the byte offset and, where one is known, the field; never with a submitted value.
//
// [Check] reads the document once and allocates next to nothing.
package strictjson

import (
	"strings"
	"unicode/utf8"

	"github.com/qiongdev/qiong/kit/errs"
)

// Limits bound a document. The zero value of a field means its default.
type Limits struct {
	Size  int // bytes; default none (the caller has already read them)
	Depth int // nested objects and arrays; default 64
	Names int // members of one object; default 4096

	AllowNUL bool // accept \u0000 in strings; most databases cannot store it
}

const (
	defaultDepth = 64
	defaultNames = 4096
)

// The codes of what Check refuses, as they stand in errs.Error.Code.
const (
	CodeEmpty         = "json.empty"          // no document at all
	CodeSyntax        = "json.syntax"         // a byte that JSON does not allow here
	CodeTruncated     = "json.truncated"      // the document ends too early
	CodeTrailing      = "json.trailing-data"  // something follows the document
	CodeDuplicateKey  = "json.duplicate-key"  // a name stands twice in one object
	CodeCaseKey       = "json.case-key"       // two names of one object differ only in letter case
	CodeUTF8          = "json.invalid-utf8"   // a string is not UTF-8
	CodeSurrogate     = "json.lone-surrogate" // \ud800–\udfff without its other half
	CodeControl       = "json.control"        // a raw control character in a string
	CodeNUL           = "json.nul"            // \u0000 where the policy forbids it
	CodeDepth         = "json.too-deep"       // nested deeper than Limits.Depth
	CodeSize          = "json.too-large"      // longer than Limits.Size
	CodeNames         = "json.too-many-names" // more members than Limits.Names
	CodeUnknownField  = "json.unknown-field"  // Unmarshal: the target has no such field
	CodeType          = "json.wrong-type"     // Unmarshal: the field is of another type
	maxPath           = 256                   // bytes of a field path that a message carries
	maxNameInMessages = 64
)

// Check reports whether data is one strict JSON document; nil, or an *errs.Error of kind Invalid (TooLarge for size).
func Check(data []byte, lim Limits) error {
	if lim.Size > 0 && len(data) > lim.Size {
		return errs.Newf(errs.TooLarge, "JSON 文档超过 %d 字节", "the JSON document is longer than %d bytes", lim.Size).
			WithCode(CodeSize).WithOffset(int64(lim.Size))
	}
	if lim.Depth <= 0 {
		lim.Depth = defaultDepth
	}
	if lim.Names <= 0 {
		lim.Names = defaultNames
	}
	s := scanners.Get().(*scanner)
	s.reset(data, lim)
	err := s.document()
	s.release()
	if err != nil {
		return err
	}
	return nil
}

// Name returns a name of a document as a message may carry it, and whether it may: a short identifier cannot be
// somebody's number or sentence, anything else could.
func Name(name string) (string, bool) {
	if name == "" || len(name) > maxNameInMessages || !utf8.ValidString(name) {
		return "", false
	}
	if c := name[0]; c >= '0' && c <= '9' {
		return "", false
	}
	for i := range len(name) {
		if !identifier(name[i]) {
			return "", false
		}
	}
	return name, true
}

func identifier(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_-$.:", c) >= 0
}
