package recordio

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// Writer writes records. What it appends is UTF-8; a file in another encoding is the encoding of it.
type Writer struct {
	Format  Format
	Columns *Columns
	Root    string       // of XML: the name of the root element
	Row     string       // of XML: the name of a record's element
	Charset string       // of XML: what the declaration says; UTF-8 where empty
	Bare    map[int]bool // of JSON and NDJSON: the columns whose texts are numbers or truth values
}

// AppendHead appends what stands before the first record.
func (w *Writer) AppendHead(dst []byte) []byte {
	switch w.Format {
	case JSON:
		return append(dst, '[')
	case CSV:
		for i, name := range w.Columns.names {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendCSV(dst, []byte(name))
		}
		return append(dst, '\n')
	case XML:
		charset := w.Charset
		if charset == "" {
			charset = "UTF-8"
		}
		return append(dst, `<?xml version="1.0" encoding="`+charset+`"?>`+"\n<"+w.Root+">\n"...)
	}
	return dst
}

// AppendTail appends what stands after the last record.
func (w *Writer) AppendTail(dst []byte) []byte {
	switch w.Format {
	case JSON:
		return append(dst, "]\n"...)
	case XML:
		return append(dst, "</"+w.Root+">\n"...)
	}
	return dst
}

// Append appends a record; first says that it is the first of its file.
func (w *Writer) Append(dst []byte, values []Value, first bool) []byte {
	switch w.Format {
	case CSV:
		for i, v := range values {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendCSV(dst, v.Text)
		}
		if len(values) == 1 && len(values[0].Text) == 0 {
			dst = append(dst, `""`...) // a blank line would be no record
		}
		return append(dst, '\n')
	case XML:
		dst = append(dst, "<"+w.Row+">"...)
		for i, v := range values {
			if v.Set {
				dst = append(append(append(dst, '<'), w.Columns.names[i]...), '>')
				dst = appendXML(dst, v.Text)
				dst = append(append(append(dst, "</"...), w.Columns.names[i]...), '>')
			}
		}
		return append(dst, "</"+w.Row+">\n"...)
	case JSON:
		if !first {
			dst = append(dst, ",\n"...)
		}
		return w.object(dst, values)
	}
	return append(w.object(dst, values), '\n')
}

func (w *Writer) object(dst []byte, values []Value) []byte {
	dst = append(dst, '{')
	some := false
	for i, v := range values {
		if !v.Set {
			continue
		}
		if some {
			dst = append(dst, ',')
		}
		some = true
		dst = append(appendJSON(dst, []byte(w.Columns.names[i])), ':')
		if w.Bare[i] {
			dst = append(dst, v.Text...)
		} else {
			dst = appendJSON(dst, v.Text)
		}
	}
	return append(dst, '}')
}

// appendCSV quotes where it must.
func appendCSV(dst, text []byte) []byte {
	if bytes.IndexAny(text, ",\"\r\n") < 0 && (len(text) == 0 || text[0] != ' ' && text[len(text)-1] != ' ') {
		return append(dst, text...)
	}
	dst = append(dst, '"')
	for _, c := range text {
		if c == '"' {
			dst = append(dst, '"')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}

const hex = "0123456789abcdef"

func appendJSON(dst, text []byte) []byte {
	dst = append(dst, '"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c < 0x20 || c == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// appendXML escapes marks, and line ends that reading would change. Characters that XML has no place for must not be
// there: see XMLAllows.
func appendXML(dst, text []byte) []byte {
	for _, c := range text {
		switch c {
		case '<':
			dst = append(dst, "&lt;"...)
		case '>':
			dst = append(dst, "&gt;"...)
		case '&':
			dst = append(dst, "&amp;"...)
		case '\r':
			dst = append(append(append(dst, "&#"...), strconv.Itoa('\r')...), ';')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// XMLAllows returns the offset of the first character of text that can't stand in XML; -1 where there is none.
func XMLAllows(text []byte) int {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if !xmlChar(r) {
			return i
		}
		i += n
	}
	return -1
}
