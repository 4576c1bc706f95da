package httpapi

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"

	"github.com/emmansun/gmsm/sm3"

	"github.com/qiongdev/qiong/kit/errs"
)

// VersionETag returns the strong entity tag of a row's version.
func VersionETag(version int64) string { return `"v` + strconv.FormatInt(version, 10) + `"` }

// ContentETag returns the strong entity tag of data: the first 16 bytes of its SM3 digest.
func ContentETag(data []byte) string {
	digest := sm3.Sum(data)
	return `"` + base64.RawURLEncoding.EncodeToString(digest[:16]) + `"`
}

// NotModified reports whether a GET with this If-None-Match may be answered 304, since it holds etag. It compares
// weakly (RFC 9110, 13.1.2).
func NotModified(ifNoneMatch, etag string) bool {
	return ifNoneMatch != "" && listed(ifNoneMatch, etag, true)
}

// Unchanged returns the error that answers 304 with etag.
func Unchanged(etag string) error {
	return Send(Stored{Status: http.StatusNotModified, Header: http.Header{"Etag": {etag}}})
}

// CheckMatch returns nil if a request with this If-Match may change what etag names (an absent header may), and an error
// of kind Precondition otherwise. It compares strongly (RFC 9110, 13.1.1).
func CheckMatch(ifMatch, etag string) error {
	if ifMatch == "" || listed(ifMatch, etag, false) {
		return nil
	}
	return errs.New(errs.Precondition, "内容已被他人修改", "it was changed in the meantime").WithCode("http.etag").
		WithField("If-Match").WithHint("请重新读取后再提交", "read it again, then send your change")
}

// listed reports whether header, "*" or a list of entity tags, holds etag.
func listed(header, etag string, weak bool) bool {
	if strings.TrimSpace(header) == "*" {
		return true
	}
	if weak {
		etag = strings.TrimPrefix(etag, "W/")
	}
	for rest := header; ; {
		rest = strings.TrimLeft(rest, " \t,")
		if rest == "" {
			return false
		}
		isWeak := strings.HasPrefix(rest, "W/")
		quoted := strings.TrimPrefix(rest, "W/")
		if !strings.HasPrefix(quoted, `"`) {
			return false
		}
		end := strings.IndexByte(quoted[1:], '"')
		if end < 0 {
			return false
		}
		if tag := quoted[:end+2]; tag == etag && (weak || !isWeak) {
			return true
		}
		rest = quoted[end+2:]
	}
}
