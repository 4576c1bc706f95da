package exchange

import (
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// Manifest is what a sender says of a file before it sends it, under its signature. Its text is described in
// doc/formats/manifest.md.
type Manifest struct {
	Feed    string
	ID      string // the sender's own name of the file, used once
	Day     string // the business day, 2006-01-02
	Records int64
	Bytes   int64 // of the file as it is, not compressed
	SM3     [32]byte
}

const (
	manifestHead = "qiong/exchange-manifest/1"
	maxManifest  = 4 << 10
	// signerID is what manifests are signed as, so that no signature for another purpose is one of a manifest.
	signerID = "qiong/exchange-manifest"
)

var manifestID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// body is what is signed.
func (m Manifest) body() string {
	return fmt.Sprintf("%s\nfeed %s\nid %s\nday %s\nrecords %d\nbytes %d\nsm3 %x\n", manifestHead, m.Feed, m.ID, m.Day, m.Records, m.Bytes, m.SM3)
}

// Sign returns the manifest's text with the signature of the sender.
func (m Manifest) Sign(key crypto.Signer) ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	pub, err := gm.PublicKeyOf(key.Public())
	if err != nil {
		return nil, err
	}
	sig, err := gm.Sign(key, []byte(signerID), []byte(m.body()))
	if err != nil {
		return nil, err
	}
	return []byte(m.body() + "\n" + gm.KeyID(pub) + " " + base64.StdEncoding.EncodeToString(sig) + "\n"), nil
}

// signature of a manifest.
type signature struct {
	keyID string
	bytes []byte
}

// verify checks that the manifest was signed with the key.
func (s signature) verify(m Manifest, pub *gm.PublicKey) error {
	if gm.KeyID(pub) != s.keyID || gm.Verify(pub, []byte(signerID), []byte(m.body()), s.bytes) != nil {
		return errs.New(errs.Forbidden, "清单的签名不是约定发送方的", "the manifest is not signed by the feed's sender").WithCode("manifest.signature")
	}
	return nil
}

// parseManifest reads a manifest's text. It is read in one way only: what is signed is what was read.
func parseManifest(text []byte) (m Manifest, s signature, err error) {
	bad := func(line int, zh, en string) (Manifest, signature, error) {
		return Manifest{}, signature{}, errs.New(errs.Invalid, zh, en).WithLine(line).WithCode("manifest.syntax")
	}
	if len(text) > maxManifest {
		return bad(1, "清单过长", "the manifest is too long")
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) != 10 || lines[0] != manifestHead || lines[7] != "" || lines[9] != "" {
		return bad(1, "不是一份清单："+manifestHead, "not a manifest: "+manifestHead)
	}
	var sum string
	var records, size string
	for i, field := range []struct {
		name string
		into *string
	}{{"feed", &m.Feed}, {"id", &m.ID}, {"day", &m.Day}, {"records", &records}, {"bytes", &size}, {"sm3", &sum}} {
		value, ok := strings.CutPrefix(lines[i+1], field.name+" ")
		if !ok {
			return bad(i+2, "此行应为 "+field.name, "this line must be "+field.name)
		}
		*field.into = value
	}
	var numbers [2]error
	m.Records, numbers[0] = strconv.ParseInt(records, 10, 64)
	m.Bytes, numbers[1] = strconv.ParseInt(size, 10, 64)
	digest, err := hex.DecodeString(sum)
	if numbers[0] != nil || numbers[1] != nil || err != nil || len(digest) != 32 {
		return bad(5, "条数、字节数或摘要不正确", "records, bytes or sm3 is malformed")
	}
	m.SM3 = [32]byte(digest)
	var encoded string
	var ok bool
	if s.keyID, encoded, ok = strings.Cut(lines[8], " "); !ok {
		return bad(9, "应为密钥标识与签名", "a key id and a signature are wanted")
	}
	if s.bytes, err = base64.StdEncoding.Strict().DecodeString(encoded); err != nil {
		return bad(9, "签名不是 base64", "the signature is not base64")
	}
	if err := m.check(); err != nil {
		return Manifest{}, signature{}, err
	}
	if m.body() != strings.Join(lines[:7], "\n")+"\n" {
		return bad(5, "数字写法不规范", "a number is not written plainly")
	}
	return m, s, nil
}

func (m Manifest) check() error {
	bad := func(field, zh, en string) error {
		return errs.New(errs.Invalid, zh, en).WithField(field).WithCode("manifest." + field)
	}
	switch {
	case !feedName.MatchString(m.Feed):
		return bad("feed", nameRule, nameRuleEN)
	case !manifestID.MatchString(m.ID):
		return bad("id", "应为 1 至 64 个字母、数字、点、下划线或连字符", "must be 1 to 64 letters, digits, dots, underscores or hyphens")
	case m.Records < 0 || m.Bytes < 0:
		return bad("records", "不能为负", "must not be negative")
	}
	if _, err := beijing.ParseDate(m.Day); err != nil {
		return bad("day", "应为日期，如 2024-06-15", "must be a date such as 2024-06-15")
	}
	return nil
}
