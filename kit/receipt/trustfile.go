package receipt

import (
	"encoding/base64"
	"strings"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

const (
	beginKey = "-----BEGIN PUBLIC KEY-----"
	endKey   = "-----END PUBLIC KEY-----"
	maxTrust = 1 << 20
	maxKeys  = 1024
)

// Marshal returns the keys as a file of PEM blocks.
func (t *Trust) Marshal() []byte {
	var b strings.Builder
	for i, k := range t.keys {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(beginKey + "\nName: " + k.Name + "\nOrigin: " + k.Origin + "\nRole: " + string(k.Role) + "\n")
		if k.From != 0 {
			b.WriteString("From: " + k.From.String() + "\n")
		}
		if k.Until != 0 {
			b.WriteString("Until: " + k.Until.String() + "\n")
		}
		b.WriteByte('\n')
		for text := base64.StdEncoding.EncodeToString(k.Public.PKIX()); text != ""; {
			n := min(64, len(text))
			b.WriteString(text[:n] + "\n")
			text = text[n:]
		}
		b.WriteString(endKey + "\n")
	}
	return []byte(b.String())
}

// ParseTrust reads a file of PEM blocks "PUBLIC KEY" with the headers Name, Origin, Role and, where a key was replaced,
// From and Until. People write such files: headers may stand in any order, empty lines and lines that begin with # may
// stand between the blocks, and lines may end with CR LF. Anything else is refused with its line, so that no key is
// passed over in silence.
func ParseTrust(file []byte) (*Trust, error) {
	if len(file) > maxTrust {
		return nil, errs.Newf(errs.TooLarge, "公钥文件超过 %d 字节", "the file of keys is longer than %d bytes", maxTrust).WithCode(CodeSyntax)
	}
	var keys []Key
	var block []string
	begun := 0 // line of the open block; 0 outside of blocks
	for i, text := range strings.Split(string(file), "\n") {
		text = strings.TrimRight(text, " \t\r")
		switch {
		case begun == 0 && text == beginKey:
			begun, block = i+1, nil
		case begun == 0 && text != "" && text[0] != '#':
			return nil, bad("", "不属于任何公钥", "it belongs to no key").WithLine(i + 1)
		case begun > 0 && text == endKey:
			k, err := parseKey(block, begun)
			if err != nil {
				return nil, err
			}
			if keys, begun = append(keys, *k), 0; len(keys) > maxKeys {
				return nil, bad("", "公钥太多", "there are too many keys").WithLine(i + 1)
			}
		case begun > 0:
			block = append(block, text)
		}
	}
	if begun > 0 {
		return nil, bad("", "公钥没有结尾", "the key has no end").WithLine(begun)
	}
	if len(keys) == 0 {
		return nil, bad("", "没有公钥", "there is no key")
	}
	return NewTrust(keys)
}

// parseKey reads the lines between BEGIN, which stands at the given line, and END.
func parseKey(lines []string, begin int) (*Key, error) {
	k, seen := new(Key), map[string]bool{}
	for i, text := range lines {
		if text == "" {
			if !seen["Name"] || !seen["Origin"] || !seen["Role"] {
				return nil, bad("", "需要 Name、Origin 和 Role", "Name, Origin and Role are needed").WithLine(begin)
			}
			return k, k.parsePublic(strings.Join(lines[i+1:], ""), begin+i+2)
		}
		name, value, ok := strings.Cut(text, ":")
		if !ok || seen[name] {
			return nil, bad("", "公钥的说明行有误或重复", "a header is wrong, or stands there twice").WithLine(begin + i + 1)
		}
		seen[name] = true
		if err := k.set(name, strings.TrimSpace(value)); err != nil {
			return nil, line(err, begin+i+1)
		}
	}
	return nil, bad("", "需要 Name、Origin 和 Role，之后一个空行", "Name, Origin and Role are needed, and an empty line after them").WithLine(begin)
}

func (k *Key) set(name, value string) error {
	switch name {
	case "Name":
		k.Name = value
		return CheckName(value)
	case "Origin":
		k.Origin = value
		return CheckOrigin(value)
	case "Role":
		k.Role = Role(value)
		return nil
	case "From", "Until":
		at := &k.From
		if name == "Until" {
			at = &k.Until
		}
		t, err := beijing.Parse(value)
		if err != nil {
			return bad(name, "不是北京时间", "not a Beijing time")
		}
		*at = beijing.At(t)
		return nil
	}
	return bad("", "没有这种说明行", "there is no such header")
}

func (k *Key) parsePublic(text string, at int) error {
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil || base64.StdEncoding.EncodeToString(der) != text {
		return bad("", "公钥不是 base64", "the key is not base64").WithLine(at)
	}
	if k.Public, err = gm.ParsePKIX(der); err != nil {
		return line(err, at)
	}
	if err := k.check(); err != nil {
		return line(err, at)
	}
	return nil
}
