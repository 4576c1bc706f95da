package httpapi

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"

	"github.com/qiongdev/qiong/kit/errs"
)

// Page is one page of a list.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" grade:"L1" doc:"cursor of the next page; absent on the last"`
}

// PageQuery is the part of an input struct that asks for a page; embed it.
type PageQuery struct {
	Limit  int    `query:"limit" grade:"L1" minimum:"1" maximum:"200" default:"50" doc:"每页条数 / items a page"`
	Cursor string `query:"cursor" grade:"L1" maxLength:"1024" doc:"上一页的 next / next of the page before"`
}

// Position returns the position the cursor stands for; empty for the first page. The error is of kind Invalid and names
// the field cursor.
func (q PageQuery) Position() (string, error) {
	if q.Cursor == "" {
		return "", nil
	}
	return DecodeCursor(q.Cursor)
}

// PageOf returns the page of rows, which were read with limit+1: the one too many says that there is a next page, and
// position says where it starts from the last row shown.
func PageOf[T any](rows []T, limit int, position func(last T) string) Page[T] {
	if rows == nil {
		rows = []T{}
	}
	if len(rows) <= limit || limit < 1 {
		return Page[T]{Items: rows}
	}
	rows = rows[:limit]
	return Page[T]{Items: rows, Next: EncodeCursor(position(rows[limit-1]))}
}

// EncodeCursor returns position as an opaque cursor: base64url of it behind its CRC-32. The checksum finds cursors that
// were cut or typed; it is no secret, and a position must show nothing that its reader may not know.
func EncodeCursor(position string) string {
	sum := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(position)))
	return base64.RawURLEncoding.EncodeToString(append(sum, position...))
}

// DecodeCursor returns the position in cursor, or an error of kind Invalid that names the field cursor.
func DecodeCursor(cursor string) (string, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(raw) < 4 || binary.BigEndian.Uint32(raw) != crc32.ChecksumIEEE(raw[4:]) {
		return "", errs.New(errs.Invalid, "翻页游标无效", "the cursor is not valid").WithCode("http.cursor").
			WithField("cursor").WithHint("请使用上一页返回的 next，或从第一页开始", "use next of the page before, or start at the first page")
	}
	return string(raw[4:]), nil
}
