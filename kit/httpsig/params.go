package httpsig

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// params is the value of a Signature-Input member: what is covered, and the parameters, all of them required and in
// this order. Order and spelling are fixed, so that a value has one form only and what was parsed is what was signed.
type params struct {
	components []component
	created    int64 // seconds since the Unix epoch
	nonce      string
	keyID      string
}

const (
	maxInput     = 1024 // bytes of a Signature-Input header; ours are about 250
	maxSignature = 256  // bytes of a Signature header; ours are about 100
)

// String returns the inner list with its parameters, as RFC 9421 section 2.3 serializes it.
func (p params) String() string {
	var b strings.Builder
	for i, c := range p.components {
		b.WriteString([]string{"(", " "}[min(i, 1)] + string(c))
	}
	b.WriteString(");created=" + strconv.FormatInt(p.created, 10))
	b.WriteString(`;nonce="` + p.nonce + `";keyid="` + p.keyID + `";alg="` + Algorithm + `";tag="` + Tag + `"`)
	return b.String()
}

// parseInput reads a Signature-Input header of one member labelled sig. It accepts exactly what String writes.
func parseInput(s string) (params, error) {
	malformed := refuse("malformed", "Signature-Input 格式不符合约定", "Signature-Input is not of the agreed form")
	if len(s) > maxInput {
		return params{}, malformed
	}
	s, ok := strings.CutPrefix(s, label+"=(")
	list, rest, ok2 := strings.Cut(s, ")")
	if !ok || !ok2 || list == "" {
		return params{}, malformed
	}
	var p params
	for name := range strings.SplitSeq(list, " ") {
		p.components = append(p.components, component(name))
	}
	var alg, tag, created string
	for _, want := range []struct {
		head, tail string
		value      *string
	}{
		{";created=", ";", &created}, {`nonce="`, `";`, &p.nonce}, {`keyid="`, `";`, &p.keyID}, {`alg="`, `";`, &alg}, {`tag="`, `"`, &tag},
	} {
		if rest, ok = strings.CutPrefix(rest, want.head); !ok {
			return params{}, malformed
		}
		if *want.value, rest, ok = strings.Cut(rest, want.tail); !ok {
			return params{}, malformed
		}
	}
	seconds, err := strconv.ParseInt(created, 10, 64)
	if err != nil || seconds < 0 || seconds > 1<<40 || strconv.FormatInt(seconds, 10) != created {
		return params{}, malformed
	}
	p.created = seconds
	if rest != "" || alg != Algorithm || tag != Tag || !validNonce(p.nonce) || !validKeyID(p.keyID) {
		return params{}, malformed
	}
	return p, nil
}

// parseSignature reads a Signature header of one member labelled sig.
func parseSignature(s string) ([]byte, error) {
	text, ok := strings.CutPrefix(s, label+"=:")
	text, ok2 := strings.CutSuffix(text, ":")
	sig, err := base64.StdEncoding.Strict().DecodeString(text)
	if !ok || !ok2 || err != nil || len(s) > maxSignature || strings.ContainsAny(text, "\r\n") || len(sig) == 0 {
		return nil, refuse("malformed", "Signature 格式不符合约定", "Signature is not of the agreed form")
	}
	return sig, nil
}

const base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func validNonce(s string) bool {
	return len(s) >= 16 && len(s) <= 64 && strings.Trim(s, base64URL) == ""
}

func validKeyID(s string) bool { return len(s) == 16 && strings.Trim(s, "0123456789abcdef") == "" }
