package receipt

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/merkle"
)

// CodeSyntax is the code of whatever is not in the one form that it must have.
const CodeSyntax = "receipt.syntax"

func bad(field, zh, en string) *errs.Error {
	return errs.New(errs.Invalid, zh, en).WithField(field).WithCode(CodeSyntax)
}

func tooLarge() *errs.Error {
	return errs.Newf(errs.TooLarge, "回执超过 %d 字节", "the receipt is longer than %d bytes", MaxSize).WithCode(CodeSyntax)
}

// line says at which line err stands.
func line(err error, n int) error { return errs.As(err).WithLine(n) }

// same returns an error unless what was parsed is written as the very same bytes.
func same(marshal func() ([]byte, error), data []byte) error {
	again, err := marshal()
	if err != nil {
		return err
	}
	if bytes.Equal(again, data) {
		return nil
	}
	at := 0
	for at < min(len(again), len(data)) && again[at] == data[at] {
		at++
	}
	return bad("", "不是唯一规定的写法", "not in the one form that it must have").WithOffset(int64(at))
}

// value cuts "key value".
func value(text, key string) (string, error) {
	rest, ok := strings.CutPrefix(text, key+" ")
	if !ok {
		return "", bad(key, "缺少这一行", "this line is missing")
	}
	return rest, nil
}

// number reads "key 123": no leading zeros, no sign, below 2^63.
func number(text, key string) (uint64, error) {
	digits, err := value(text, key)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || strconv.FormatUint(n, 10) != digits {
		return 0, bad(key, "不是数", "not a number")
	}
	return n, nil
}

// hash reads "key base64".
func hash(text, key string) (merkle.Hash, error) {
	encoded, err := value(text, key)
	if err != nil {
		return merkle.Hash{}, err
	}
	h, err := merkle.ParseHash(encoded)
	if err != nil {
		return merkle.Hash{}, bad(key, "不是 32 字节的 base64", "not 32 bytes in base64")
	}
	return h, nil
}

// made reports whether text is 1 to most bytes of lower-case letters, digits and the marks, beginning and ending with a
// letter or digit.
func made(text, marks string, most int) bool {
	for i := range len(text) {
		c := text[i]
		plain := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !plain && (i == 0 || i == len(text)-1 || strings.IndexByte(marks, c) < 0) {
			return false
		}
	}
	return len(text) > 0 && len(text) <= most
}

// CheckName returns nil where name can be that of a cosigner: 1 to 64 lower-case letters, digits, '.', '/' and '-', the
// first and the last a letter or digit.
func CheckName(name string) error {
	if !made(name, "./-", 64) {
		return bad("name", "名称应为 1 至 64 个小写字母、数字或 . / -", "a name is 1 to 64 lower-case letters, digits or . / -")
	}
	return nil
}

// CheckOrigin returns nil where origin can be that of a log: 1 to 200 visible ASCII characters without '+'.
func CheckOrigin(origin string) error {
	for _, c := range []byte(origin) {
		if c <= ' ' || c > '~' || c == '+' {
			origin = ""
		}
	}
	if origin == "" || len(origin) > 200 {
		return bad("origin", "日志名应为 1 至 200 个可见 ASCII 字符，不含 +", "an origin is 1 to 200 visible ASCII characters without +")
	}
	return nil
}
