package httpapi

import (
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/strictjson"
)

// translate turns what huma refuses into our error: its words in both languages, its path as a field, the offset found
// in the body, and its copy of the submitted value left behind. Words of huma that are not in the table are not shown,
// since they may quote the value.
func translate(m *huma.ErrorModel, body []byte) error {
	if m.Status >= 500 {
		return errs.New(errs.Internal, "系统内部错误", "internal error").WithCode("http.encode")
	}
	var first *errs.Error
	for _, detail := range m.Errors {
		e := finding(detail, body)
		if first == nil {
			first = e
		} else {
			first.Also = append(first.Also, e)
		}
	}
	switch {
	case first != nil:
		return first
	case m.Detail == "request body is required":
		return errs.New(errs.Invalid, "缺少请求体", "the request body is missing").WithCode("http.missing-body")
	}
	return errs.New(errs.FromHTTP(m.Status), "请求有误", "the request is wrong").WithCode("http.invalid")
}

func finding(d *huma.ErrorDetail, body []byte) *errs.Error {
	zh, en := words(d.Message)
	e := errs.New(errs.Invalid, zh, en).WithCode("validation")
	in, field, _ := strings.Cut(d.Location, ".")
	if bracket := strings.IndexByte(in, '['); bracket > 0 { // the body itself is an array
		field = d.Location[bracket:]
		in = in[:bracket]
	}
	if path, ok := mistyped(d.Message); ok {
		e.Msg = lang.T("类型不符", "is of the wrong type")
		field = path
	}
	if missing, ok := required(d.Message); ok {
		e.WithCode("validation.required")
		field = strings.TrimPrefix(field+"."+missing, ".")
	} else if in == "body" {
		if at, ok := strictjson.Locate(body, field); ok {
			e.WithOffset(at)
		}
	}
	return e.WithField(safePath(in, field))
}

// safePath shows field, with what could be somebody's data in a name replaced. Parameter names are the program's own,
// unless the message is that there is no such parameter.
func safePath(in, field string) string {
	parts := strings.Split(field, ".")
	for i, part := range parts {
		name, _, _ := strings.Cut(part, "[")
		if shown, ok := strictjson.Name(name); name != "" && (!ok || shown != name) {
			parts[i] = "*" + part[len(name):]
		}
	}
	field = strings.Join(parts, ".")
	if field == "" {
		return in
	}
	return field
}

// mistyped returns the path in encoding/json's message that a value does not fit its field: the only word on types where
// an operation has rules of its own.
func mistyped(message string) (string, bool) {
	rest, ok := strings.CutPrefix(message, "json: cannot unmarshal ")
	if !ok {
		return "", false
	}
	_, rest, ok = strings.Cut(rest, " into Go struct field ")
	path, _, found := strings.Cut(rest, " of type ")
	if _, inner, dotted := strings.Cut(path, "."); dotted { // behind the name of the struct
		path = inner
	}
	return path, ok && found
}

// required returns the name in huma's message that a property is missing.
func required(message string) (string, bool) {
	rest, ok := strings.CutPrefix(message, "expected required property ")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, " to be present")
}

// phrase is one message of huma's: a prefix of it, our words, and whether the rest comes from the schema and so may be
// shown after them.
type phrase struct {
	prefix, zh, en string
	rest           bool
}

var phrases = []phrase{
	{"expected required property ", "缺少必填字段", "a required field is missing", false},
	{"required path parameter is missing", "缺少路径参数", "the path parameter is missing", false},
	{"required query parameter is missing", "缺少查询参数", "the query parameter is missing", false},
	{"required header parameter is missing", "缺少请求头", "the header is missing", false},
	{"required cookie parameter is missing", "缺少 Cookie", "the cookie is missing", false},
	{"unknown query parameter", "未知的查询参数", "there is no such query parameter", false},
	{"unexpected property", "未知字段", "there is no such field", false},
	{"expected string to be RFC 3339 date-time", "应为 RFC 3339 日期时间", "expected an RFC 3339 date and time", false},
	{"expected string to be RFC 3339 date", "应为日期（年-月-日）", "expected a date, YYYY-MM-DD", false},
	{"expected string to be RFC 3339 time", "应为时间（时:分:秒）", "expected a time, HH:MM:SS", false},
	{"expected string to be RFC 1123 date-time", "应为 HTTP 日期时间", "expected an HTTP date and time", false},
	{"expected string to be RFC 5322 email", "应为电子邮件地址", "expected an e-mail address", false},
	{"expected string to be RFC 5890 hostname", "应为主机名", "expected a host name", false},
	{"expected string to be RFC 2673 ipv4", "应为 IPv4 地址", "expected an IPv4 address", false},
	{"expected string to be RFC 2373 ipv6", "应为 IPv6 地址", "expected an IPv6 address", false},
	{"expected string to be either RFC 2673 ipv4", "应为 IP 地址", "expected an IP address", false},
	{"expected string to be RFC 3986 uri", "应为网址", "expected a URI", false},
	{"expected string to be RFC 4122 uuid", "应为 UUID", "expected a UUID", false},
	{"expected string to be base64 encoded", "应为 Base64 编码", "expected base64", false},
	{"expected string to be regex", "应为正则表达式", "expected a regular expression", false},
	{"expected string to match pattern ", "格式应符合 ", "expected the pattern ", true},
	{"expected string to be ", "应为 ", "expected ", true},
	{"expected duration", "应为时长", "expected a duration", false},
	{"expected value to be one of ", "应为下列之一：", "expected one of ", true},
	{"expected value to match at least one schema", "不符合任何一种允许的形式", "it has none of the allowed forms", false},
	{"expected value to match exactly one schema", "应恰好符合一种允许的形式", "it must have exactly one of the allowed forms", false},
	{"expected value to not match schema", "是不允许的形式", "it has a form that is not allowed", false},
	{"expected boolean", "应为 true 或 false", "expected true or false", false},
	{"expected integer", "应为整数", "expected an integer", false},
	{"expected number to be a multiple of ", "应为倍数：", "expected a multiple of ", true},
	{"expected number >= ", "不得小于 ", "must be at least ", true},
	{"expected number > ", "应大于 ", "must be above ", true},
	{"expected number <= ", "不得大于 ", "must be at most ", true},
	{"expected number < ", "应小于 ", "must be below ", true},
	{"expected number", "应为数字", "expected a number", false},
	{"expected string", "应为字符串", "expected a string", false},
	{"expected array items to be unique", "数组项不得重复", "the items must differ", false},
	{"expected array length >= ", "项数不得少于 ", "the number of items must be at least ", true},
	{"expected array length <= ", "项数不得多于 ", "the number of items must be at most ", true},
	{"expected array", "应为数组", "expected an array", false},
	{"expected length >= ", "长度不得少于 ", "the length must be at least ", true},
	{"expected length <= ", "长度不得超过 ", "the length must be at most ", true},
	{"expected object with at least ", "成员数不得少于 ", "the number of members must be at least ", true},
	{"expected object with at most ", "成员数不得多于 ", "the number of members must be at most ", true},
	{"expected object", "应为对象", "expected an object", false},
	{"expected property ", "缺少相关联的字段", "a field that belongs with this one is missing", false},
	{"invalid integer", "应为整数", "expected an integer", false},
	{"invalid float", "应为数字", "expected a number", false},
	{"invalid boolean", "应为 true 或 false", "expected true or false", false},
	{"invalid date/time", "应为日期时间", "expected a date and time", false},
}

// words translates a message of huma's.
func words(message string) (zh, en string) {
	for _, p := range phrases {
		rest, ok := strings.CutPrefix(message, p.prefix)
		if !ok {
			continue
		}
		if p.rest {
			rest = strings.TrimSuffix(rest, " properties")
			return p.zh + rest, p.en + rest
		}
		return p.zh, p.en
	}
	return "值不符合要求", "the value is not acceptable"
}
