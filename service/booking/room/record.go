package room

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/merkle"
)

// recordHead is the first line of a record.
const recordHead = "qiong room record v1"

// MaxRecord is longer than any record in bytes.
const MaxRecord = 4096

// Record is what is published of a draw. It grows by lines, and what was published earlier is the beginning of what is
// published later; doc/formats/draw.md has it byte by byte.
//
//	qiong room record v1
//	sale <id>
//	opens <time, as kit/beijing writes it>
//	commitment <SM3 of the seed, hexadecimal>
//	count <entries>                                 from here on when the list is closed
//	root <Merkle root over the entries, base64>
//	beacon <hexadecimal, or ->                      from here on when the order is drawn
//	seed <hexadecimal>
//	order <SM3 of all lines above and the numbers in their order, hexadecimal>
type Record struct {
	Sale       string
	Opens      time.Time
	Commitment [32]byte
	Closed     bool
	Count      uint64
	Root       merkle.Hash
	Drawn      bool
	Beacon     []byte
	Seed       [32]byte
	Order      [32]byte
}

// Text returns the record as it is published.
func (r Record) Text() []byte {
	text := r.ground()
	if r.Drawn {
		text = fmt.Appendf(text, "order %x\n", r.Order)
	}
	return text
}

// ground is all that an order is made from.
func (r Record) ground() []byte {
	text := fmt.Appendf(nil, "%s\nsale %s\nopens %s\ncommitment %x\n", recordHead, r.Sale, beijing.Format(r.Opens), r.Commitment)
	if r.Closed {
		text = fmt.Appendf(text, "count %d\nroot %s\n", r.Count, r.Root)
	}
	if r.Drawn {
		beacon := "-"
		if len(r.Beacon) > 0 {
			beacon = hex.EncodeToString(r.Beacon)
		}
		text = fmt.Appendf(text, "beacon %s\nseed %x\n", beacon, r.Seed)
	}
	return text
}

// seal returns what binds an order to its record: with it no byte of a record or a list can be changed, by mistake or by
// somebody between the house and a reader, and another order come out unnoticed.
func (r Record) seal(order []uint32) [32]byte {
	numbers := make([]byte, 0, 4*len(order))
	for _, n := range order {
		numbers = binary.BigEndian.AppendUint32(numbers, n)
	}
	return gm.SM3(r.ground(), numbers)
}

// ParseRecord reads what [Record.Text] writes and nothing else: one record has one text. The error is of kind Invalid and
// code "room.record", with the line.
func ParseRecord(text []byte) (Record, error) {
	if len(text) > MaxRecord {
		return Record{}, badRecord(0, "过长", "it is too long")
	}
	lines := strings.SplitAfter(string(text), "\n")
	end := len(lines) - 1 // what stands behind the last newline
	switch {
	case lines[0] != recordHead+"\n":
		return Record{}, badRecord(1, "首行应为 "+recordHead, "the first line must be "+recordHead)
	case lines[end] != "":
		return Record{}, badRecord(end+1, "该行没有以换行符结束", "the line does not end with a newline")
	}
	var r Record
	fields := r.fields()
	for i, f := range fields[:min(end-1, len(fields))] {
		value, ok := strings.CutPrefix(lines[i+1], f.name+" ")
		if !ok || !f.read(strings.TrimSuffix(value, "\n")) {
			return Record{}, badRecord(i+2, "该行应为 "+f.name+" 及其值", "the line must be "+f.name+" and its value").WithField(f.name)
		}
	}
	switch end - 1 {
	case 3, 5, len(fields):
	default:
		return Record{}, badRecord(min(end, 9)+1, "行数应为 4、6 或 9", "it must have 4, 6 or 9 lines")
	}
	r.Closed, r.Drawn = end > 4, end > 6
	if !bytes.Equal(r.Text(), text) {
		return Record{}, badRecord(0, "写法不是唯一的那一种", "it is not written in its one form")
	}
	return r, nil
}

// field is a line of a record: read takes its value, where it is one and in its one form.
type field struct {
	name string
	read func(value string) bool
}

// fields returns the lines of r behind the first.
func (r *Record) fields() []field {
	return []field{
		{"sale", func(v string) bool { r.Sale = v; return validSale(v) }},
		{"opens", func(v string) (ok bool) { r.Opens, ok = parsed(beijing.Parse(v)); return ok }},
		{"commitment", func(v string) bool { return unhex(r.Commitment[:], v) }},
		{"count", func(v string) (ok bool) {
			r.Count, ok = parsed(strconv.ParseUint(v, 10, 32))
			return ok && strconv.FormatUint(r.Count, 10) == v
		}},
		{"root", func(v string) (ok bool) { r.Root, ok = parsed(merkle.ParseHash(v)); return ok }},
		{"beacon", r.readBeacon},
		{"seed", func(v string) bool { return unhex(r.Seed[:], v) }},
		{"order", func(v string) bool { return unhex(r.Order[:], v) }},
	}
}

func (r *Record) readBeacon(v string) bool {
	if v == "-" {
		return true
	}
	r.Beacon = make([]byte, len(v)/2)
	return v != "" && len(r.Beacon) <= MaxBeacon && unhex(r.Beacon, v)
}

func parsed[T any](v T, err error) (T, bool) { return v, err == nil }

func badRecord(line int, zh, en string) *errs.Error {
	return errs.New(errs.Invalid, "不是抽签记录："+zh, "not the record of a draw: "+en).WithCode("room.record").WithLine(line)
}

// unhex reads lower-case hexadecimal of just that length.
func unhex(into []byte, text string) bool {
	if len(text) != hex.EncodedLen(len(into)) || strings.ToLower(text) != text {
		return false
	}
	_, err := hex.Decode(into, []byte(text))
	return err == nil
}

// Continues returns nil where r says all that an earlier record said, and perhaps more; otherwise the error is of kind
// Invalid and code "room.record", with the first line that differs.
func (r Record) Continues(earlier Record) error {
	lines := strings.SplitAfter(string(r.Text()), "\n")
	for i, line := range strings.SplitAfter(strings.TrimSuffix(string(earlier.Text()), "\n"), "\n") {
		if strings.TrimSuffix(lines[min(i, len(lines)-1)], "\n") != strings.TrimSuffix(line, "\n") {
			return errs.New(errs.Invalid, "与先前公布的不一致", "it is not what was published before").WithCode("room.record").WithLine(i + 1)
		}
	}
	return nil
}

// VerifyEntry returns nil where proof shows that the entry of a number and alias is on the closed list of r.
func (r Record) VerifyEntry(number uint32, alias Alias, proof Proof) error {
	if !r.Closed {
		return errs.New(errs.Invalid, "名单尚未公示", "the list is not closed").WithCode("room.record")
	}
	e := entry(alias, number)
	return merkle.VerifyInclusion(merkle.LeafHash(e[:]), proof.Index, r.Count, proof.Path, r.Root)
}

// VerifyDraw returns the numbers in the order that follows from a record and its list (see [List.WriteTo]). Where the seed
// is not the committed one, the list not that of the root, or the order not the one that was published, the error is of kind
// Invalid and code "room.draw" and names the line of the record by its field; a list that cannot be read is of kind Invalid
// and code "room.list" with its line.
func VerifyDraw(r Record, list []byte) ([]uint32, error) {
	wrong := func(field, zh, en string, args ...any) error {
		return errs.Newf(errs.Invalid, zh, en, args...).WithCode("room.draw").WithField(field)
	}
	if !r.Drawn {
		return nil, wrong("seed", "尚未公布种子", "the seed is not published")
	}
	if gm.SM3(r.Seed[:]) != r.Commitment {
		return nil, wrong("seed", "种子与事先公布的承诺不符", "the seed is not the one committed to")
	}
	l, err := parseList(list)
	if err != nil {
		return nil, err
	}
	var edge merkle.Range
	for i := range l.numbers {
		e := entry(l.aliases[i], l.numbers[i])
		edge.Add(e[:], nil)
	}
	if edge.Size() != r.Count {
		return nil, wrong("count", "名单有 %d 人，记录为 %d 人", "the list has %d entries, and the record says %d", edge.Size(), r.Count)
	}
	if edge.Root() != r.Root {
		return nil, wrong("root", "名单与公示的根不符", "the list is not that of the root")
	}
	sorted := order(r, l.numbers, func(i int) [20]byte { return entry(l.aliases[i], l.numbers[i]) })
	if r.seal(sorted) != r.Order {
		return nil, wrong("order", "由种子、名单与信标得出的次序，与公布的不符", "what follows from seed, list and beacon is not the order that was published")
	}
	return sorted, nil
}

// published is a list as it was read: the i-th alias belongs to the i-th number.
type published struct {
	aliases []Alias
	numbers []uint32
}

func parseList(text []byte) (published, error) {
	var l published
	last := uint64(0)
	for line := range bytes.Lines(text) {
		number, alias, found := bytes.Cut(line, []byte(" "))
		n, err := strconv.ParseUint(string(number), 10, 32)
		var a Alias
		hexed, ended := bytes.CutSuffix(alias, []byte("\n"))
		canonical := err == nil && number[0] != '0' && number[0] != '+' && bytes.Equal(hexed, bytes.ToLower(hexed))
		if !found || !ended || !canonical || n <= last || !unhex(a[:], string(hexed)) {
			return l, errs.New(errs.Invalid, "名单该行格式不对或次序不对", "the line of the list is malformed or out of order").
				WithCode("room.list").WithLine(len(l.numbers) + 1)
		}
		l.aliases, l.numbers, last = append(l.aliases, a), append(l.numbers, uint32(n)), n
	}
	return l, nil
}
