package council

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/cometbft/cometbft/crypto"
	"github.com/cometbft/cometbft/crypto/ed25519"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/strictjson"
)

// Public is the public part of an agency's node, a small file that travels in the ceremony.
type Public struct {
	Agency    string `json:"agency"`    // its name: lower-case letters, digits and hyphens, at most 32
	Node      string `json:"node"`      // id of the node key, by which peers know it: 40 hexadecimal digits
	Consensus []byte `json:"consensus"` // Ed25519 public key, 32 bytes (in JSON as base64)
	P2P       string `json:"p2p"`       // host:port at which peers reach it
	HTTP      string `json:"http"`      // URL of its service
	Cosigning string `json:"cosigning"` // SM2 public key with which it cosigns, PEM
}

const (
	maxPublic  = 4096 // bytes of the file
	maxMembers = 32
)

var names = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

func checkName(field, name string) error {
	if !names.MatchString(name) {
		return invalid(field, "应为小写字母开头，由小写字母、数字和连字符组成，至多 32 个字符",
			"must begin with a lower-case letter and consist of lower-case letters, digits and hyphens, at most 32")
	}
	return nil
}

func invalid(field, zh, en string) *errs.Error {
	return errs.New(errs.Invalid, zh, en).WithField(field)
}

// ParsePublic reads what [Public.Marshal] wrote, and nothing else.
func ParsePublic(data []byte) (Public, error) {
	var p Public
	if err := strictjson.Check(data, strictjson.Limits{Size: maxPublic}); err != nil {
		return Public{}, err
	}
	if err := strictjson.Unmarshal(data, &p); err != nil {
		return Public{}, err
	}
	if err := p.check(""); err != nil {
		return Public{}, err
	}
	if again, err := p.Marshal(); err != nil || !bytes.Equal(again, data) {
		return Public{}, errs.New(errs.Invalid, "公开信息文件的写法不是标准写法", "the file is not written in the one form there is").
			WithCode("council.public-form")
	}
	return p, nil
}

// Marshal returns the one form of p as a file.
func (p Public) Marshal() ([]byte, error) {
	if err := p.check(""); err != nil {
		return nil, err
	}
	return indented(p)
}

func indented(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// check holds p to its limits; the field of an error begins with at.
func (p Public) check(at string) error {
	if err := checkName(at+"agency", p.Agency); err != nil {
		return err
	}
	if id, err := hex.DecodeString(p.Node); err != nil || len(id) != crypto.AddressSize || strings.ToLower(p.Node) != p.Node {
		return invalid(at+"node", "应为 40 位小写十六进制数", "must be 40 lower-case hexadecimal digits")
	}
	if len(p.Consensus) != ed25519.PubKeySize {
		return invalid(at+"consensus", "应为 32 字节的 Ed25519 公钥", "must be an Ed25519 public key of 32 bytes")
	}
	if !hostPort(p.P2P) {
		return invalid(at+"p2p", "应为 主机:端口", "must be host:port")
	}
	u, err := url.Parse(p.HTTP)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(p.HTTP) > 256 {
		return invalid(at+"http", "应为 http 或 https 地址", "must be an http or https URL")
	}
	if _, err := gm.ParsePublicKeyPEM([]byte(p.Cosigning)); err != nil {
		return invalid(at+"cosigning", "应为 SM2 公钥（PEM）", "must be an SM2 public key (PEM)")
	}
	return nil
}

func hostPort(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || len(host) > 253 || strings.ContainsAny(host, "/@, %") {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == port
}

// address names the consensus key, as CometBFT does.
func (p Public) address() string { return ed25519.PubKey(p.Consensus).Address().String() }

// CheckMembers holds a list of members to what a council needs: sorted by agency, nobody and nothing twice, at least one
// who votes. A ledger asks it before it lets a transaction change the members.
func CheckMembers(members []Member) error {
	if len(members) > maxMembers {
		return errs.Newf(errs.Invalid, "成员不得超过 %d 个", "there are at most %d members", maxMembers).WithField("members")
	}
	seen, voters := map[string]bool{}, 0
	for i, m := range members {
		at := "members[" + strconv.Itoa(i) + "]."
		if err := m.check(at); err != nil {
			return err
		}
		if i > 0 && members[i-1].Agency >= m.Agency {
			return invalid(at+"agency", "应按名称排序，不得重复", "must be sorted by name, and no name twice")
		}
		for _, unique := range []struct{ field, value string }{
			{"node", "n" + m.Node}, {"consensus", "c" + string(m.Consensus)}, {"p2p", "p" + m.P2P}, {"cosigning", "s" + m.Cosigning},
		} {
			if seen[unique.value] {
				return invalid(at+unique.field, "与另一成员相同", "is also another member's")
			}
			seen[unique.value] = true
		}
		if m.Votes {
			voters++
		}
	}
	if voters == 0 {
		return invalid("members", "至少要有一个有表决权的成员", "somebody must vote")
	}
	return nil
}
