package httpsig

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
)

// component names a part of a message as RFC 9421 does: `"@method"`, or `"signature";req` for that of the request.
type component string

const requestSignature component = `"signature";req`

// message is a request or an answer as the signature base sees it.
type message struct {
	header  http.Header
	derived []derived     // what does not stand in header, in the order in which it is signed
	request *http.Request // that an answer answers; nil for a request
}

type derived struct {
	name  component
	value string
}

// Header fields that are covered wherever they are present.
var optional = []string{"content-type", "idempotency-key"}

func requestMessage(r *http.Request) message {
	if r.Header == nil {
		r.Header = http.Header{}
	}
	method := r.Method
	if method == "" {
		method = http.MethodGet // as net/http reads it
	}
	path, query := target(r)
	return message{header: r.Header, derived: []derived{
		{`"@method"`, method},
		{`"@authority"`, authority(r)},
		{`"@path"`, path},
		{`"@query"`, "?" + query},
	}}
}

func responseMessage(header http.Header, status int, r *http.Request) message {
	return message{header: header, request: r, derived: []derived{{`"@status"`, strconv.Itoa(status)}}}
}

// target returns path and query as they are on the wire. A server reads them from the request line, which no
// middleware (such as http.StripPrefix) has rewritten.
func target(r *http.Request) (path, query string) {
	if strings.HasPrefix(r.RequestURI, "/") {
		path, query, _ = strings.Cut(r.RequestURI, "?")
		return path, query
	}
	path = r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	return path, r.URL.RawQuery
}

// authority returns the host in lower case without a default port. Both default ports are cut, since a server behind a
// proxy cannot know which scheme its client used.
func authority(r *http.Request) string {
	host := r.Host
	if host == "" && r.URL != nil {
		host = r.URL.Host
	}
	host = strings.ToLower(host)
	if rest, ok := strings.CutSuffix(host, ":443"); ok {
		return rest
	}
	return strings.TrimSuffix(host, ":80")
}

// covered returns the components that this message's signature must cover: no more, no less.
func (m message) covered() []component {
	var names []component
	for _, d := range m.derived {
		names = append(names, d.name)
	}
	names = append(names, field("content-digest"))
	for _, name := range optional {
		if len(m.header.Values(name)) > 0 {
			names = append(names, field(name))
		}
	}
	if m.request != nil && len(m.request.Header.Values(headerSignature)) > 0 {
		names = append(names, requestSignature)
	}
	return names
}

func field(name string) component { return component(strconv.Quote(name)) }

// base returns the signature base (RFC 9421, section 2.5).
func (m message) base(p params) ([]byte, error) {
	var b strings.Builder
	for _, c := range p.components {
		value, err := m.value(c)
		if err != nil {
			return nil, err
		}
		b.WriteString(string(c) + ": " + value + "\n")
	}
	b.WriteString(`"@signature-params": ` + p.String())
	return []byte(b.String()), nil
}

func (m message) value(c component) (string, error) {
	for _, d := range m.derived {
		if d.name == c {
			return clean(d.value)
		}
	}
	if c == requestSignature {
		return single(m.request.Header, headerSignature)
	}
	return m.single(strings.Trim(string(c), `"`))
}

func (m message) single(name string) (string, error) { return single(m.header, name) }

// single returns the one value of a header field. Two would be joined by some and taken apart by others on the way.
func single(h http.Header, name string) (string, error) {
	switch values := h.Values(name); len(values) {
	case 0:
		return "", missing(name)
	case 1:
		return clean(strings.Trim(values[0], " \t"))
	}
	return "", refuse("malformed", "消息头 "+name+" 出现多次", "the header "+name+" occurs more than once")
}

// clean refuses what could pass for the end of a line of the signature base.
func clean(value string) (string, error) {
	if strings.ContainsAny(value, "\r\n\x00") {
		return "", refuse("malformed", "签名内容含有换行", "what is signed contains a line break")
	}
	return value, nil
}

// signature returns the message's only signature, parsed and not yet verified.
func (m message) signature() (params, []byte, error) {
	input, err := m.single(headerInput)
	if err != nil {
		return params{}, nil, err
	}
	p, err := parseInput(input)
	if err != nil {
		return params{}, nil, err
	}
	text, err := m.single(headerSignature)
	if err != nil {
		return params{}, nil, err
	}
	sig, err := parseSignature(text)
	return p, sig, err
}

func missing(name string) error {
	return errs.New(errs.Unauthenticated, "缺少消息头 "+name, "the header "+name+" is missing").WithCode("signature.missing")
}

// contentDigest returns the one Content-Digest that is accepted for body.
func contentDigest(body []byte) string {
	digest := gm.SM3(body)
	return Digest + "=" + byteSequence(digest[:])
}

func byteSequence(b []byte) string { return ":" + base64.StdEncoding.EncodeToString(b) + ":" }

func sameSet(a, b []component) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
