package label

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/label"
)

// finding is one thing to see to.
type finding struct {
	Where    string `json:"where"` // a file, a URL, or an operation
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"` // in code points
	Kind     string `json:"kind"`             // "ungraded" or a category
	Field    string `json:"field,omitempty"`
	Suggests string `json:"suggests,omitempty"` // a tag
	Masked   string `json:"masked,omitempty"`
}

func (f finding) print(c *qiong.Console) error {
	if c.JSON {
		return json.NewEncoder(c.Out).Encode(f)
	}
	place, what := f.Where, f.Masked
	if f.Line > 0 {
		place += ":" + strconv.Itoa(f.Line) + ":" + strconv.Itoa(f.Column)
	}
	if f.Field != "" {
		if what = f.Field; f.Suggests != "" {
			what += c.Say("，建议 ", ", perhaps ") + f.Suggests
		}
	}
	_, err := fmt.Fprintf(c.Out, "%s: %s %s\n", place, f.Kind, what)
	return err
}

// longLine is how much of a line is looked at in one piece.
const longLine = 1 << 20

// detect tells the numbers in a text: JSON, CSV, code, whatever has lines. Files that are no text are passed over. Escapes
// \uXXXX hide nothing.
func detect(r io.Reader, where string, tell func(finding) error) error {
	in := bufio.NewReaderSize(r, longLine)
	head, err := in.Peek(8000)
	if err != nil && !errors.Is(err, io.EOF) || bytes.IndexByte(head, 0) >= 0 {
		return nil
	}
	line, column := 1, 1
	for {
		piece, err := in.ReadSlice('\n')
		whole := err == nil
		if errors.Is(err, bufio.ErrBufferFull) {
			// Cut after the last mark, and read the rest again with what follows.
			if cut := bytes.LastIndexAny(piece, "\",;:{}[]|\t"); cut > len(piece)/2 {
				back := append([]byte(nil), piece[cut+1:]...)
				piece = append([]byte(nil), piece[:cut+1]...)
				in = bufio.NewReaderSize(io.MultiReader(bytes.NewReader(back), in), longLine)
			}
			err = nil
		}
		if tellErr := detectLine(piece, func(at int, m label.Match, masked string) error {
			return tell(finding{Where: where, Line: line, Column: column + at, Kind: m.Category, Masked: masked})
		}); tellErr != nil {
			return tellErr
		}
		column += utf8.RuneCount(piece)
		if whole {
			line, column = line+1, 1
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return unreadable(err, where)
		}
	}
}

// detectLine tells the numbers in a piece of a line, and how many code points stand before each.
func detectLine(piece []byte, tell func(at int, m label.Match, masked string) error) error {
	text, places := decoded(piece)
	for from := 0; ; {
		m, ok := label.Find(text, from)
		if !ok {
			return nil
		}
		from = m.End
		if label.IsFake(text[m.Start:m.End]) {
			continue
		}
		start := m.Start
		if places != nil {
			start = places[m.Start]
		}
		if err := tell(utf8.RuneCount(piece[:start]), m, m.Mask.Apply(text[m.Start:m.End])); err != nil {
			return err
		}
	}
}

// decoded returns piece with escapes \uXXXX of the ASCII range decoded, and where each byte came from; nil where there
// are none.
func decoded(piece []byte) (text string, places []int) {
	if !bytes.Contains(piece, []byte(`\u00`)) {
		return string(piece), nil
	}
	out := make([]byte, 0, len(piece))
	for i := 0; i < len(piece); {
		places = append(places, i)
		if bytes.HasPrefix(piece[i:], []byte(`\u00`)) && i+6 <= len(piece) {
			if c, err := strconv.ParseUint(string(piece[i+4:i+6]), 16, 7); err == nil {
				out = append(out, byte(c))
				i += 6
				continue
			}
		}
		out = append(out, piece[i])
		i++
	}
	return string(out), append(places, len(piece))
}
