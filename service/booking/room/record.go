package room

import (
	"bytes"
	"encoding/hex"
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

// Record is what is published of a draw. It grows by lines, and what was published earlier is the beginning of what is
// published later:
//
//	qiong room record v1
//	sale <id>
//	opens <time, as kit/beijing writes it>
//	commitment <SM3 of the seed, hexadecimal>
//	count <entries>                                 from here on when the list is closed
//	root <Merkle root over the entries, base64>
//	beacon <hexadecimal, or ->                      from here on when the order is drawn
//	seed <hexadecimal>
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
}

// Text returns the record as it is published.
func (r Record) Text() []byte {
	var b bytes.Buffer
	line := func(name, value string) { b.WriteString(name + " " + value + "\n") }
	b.WriteString(recordHead + "\n")
	line("sale", r.Sale)
	line("opens", beijing.Format(r.Opens))
	line("commitment", hex.EncodeToString(r.Commitment[:]))
	if !r.Closed {
		return b.Bytes()
	}
	line("count", strconv.FormatUint(r.Count, 10))
	line("root", r.Root.String())
	if !r.Drawn {
		return b.Bytes()
	}
	beacon := "-"
	if len(r.Beacon) > 0 {
		beacon = hex.EncodeToString(r.Beacon)
	}
	line("beacon", beacon)
	line("seed", hex.EncodeToString(r.Seed[:]))
	return b.Bytes()
}

// ParseRecord reads what [Record.Text] writes and nothing else: one record has one text. The error is of kind Invalid and
// code "room.record".
func ParseRecord(text []byte) (Record, error) {
	var r Record
	lines := strings.Split(string(text), "\n")
	switch len(lines) {
	case 5, 7, 9:
	default:
		return r, badRecord()
	}
	ok := lines[0] == recordHead
	value := func(i int, name string) string {
		v, found := strings.CutPrefix(lines[i], name+" ")
		ok = ok && found
		return v
	}
	take := func(good bool) { ok = ok && good }
	r.Sale = value(1, "sale")
	take(validSale(r.Sale))
	opens, err := beijing.Parse(value(2, "opens"))
	take(err == nil)
	r.Opens = opens
	take(unhex(r.Commitment[:], value(3, "commitment")))
	if r.Closed = len(lines) >= 7; r.Closed {
		r.Count, err = strconv.ParseUint(value(4, "count"), 10, 32)
		take(err == nil)
		r.Root, err = merkle.ParseHash(value(5, "root"))
		take(err == nil)
	}
	if r.Drawn = len(lines) == 9; r.Drawn {
		if beacon := value(6, "beacon"); beacon != "-" {
			r.Beacon, err = hex.DecodeString(beacon)
			take(err == nil && len(r.Beacon) <= MaxBeacon)
		}
		take(unhex(r.Seed[:], value(7, "seed")))
	}
	if !ok || !bytes.Equal(r.Text(), text) {
		return Record{}, badRecord()
	}
	return r, nil
}

func badRecord() error {
	return errs.New(errs.Invalid, "不是抽签公示文件", "not a record of a draw").WithCode("room.record")
}

func unhex(into []byte, text string) bool {
	if len(text) != hex.EncodedLen(len(into)) {
		return false
	}
	_, err := hex.Decode(into, []byte(text))
	return err == nil
}

// Continues returns nil where r says all that an earlier record said, and perhaps more; otherwise the error is of kind
// Invalid and code "room.record".
func (r Record) Continues(earlier Record) error {
	if !bytes.HasPrefix(r.Text(), earlier.Text()) {
		return errs.New(errs.Invalid, "公示内容与先前公示的不一致", "the record is not what was published before").WithCode("room.record")
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
// is not the committed one, or the list not that of the root, the error is of kind Invalid and code "room.draw", and a list
// that cannot be read is of kind Invalid and code "room.list" with its line.
func VerifyDraw(r Record, list []byte) ([]uint32, error) {
	wrong := func(zh, en string) error { return errs.New(errs.Invalid, zh, en).WithCode("room.draw") }
	if !r.Drawn {
		return nil, wrong("尚未公布种子", "the seed is not published")
	}
	if gm.SM3(r.Seed[:]) != r.Commitment {
		return nil, wrong("种子与事先公布的承诺不符", "the seed is not the one committed to")
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
	if edge.Size() != r.Count || edge.Root() != r.Root {
		return nil, wrong("名单与公示的根不符", "the list is not that of the root")
	}
	return order(r, l.numbers, func(i int) [20]byte { return entry(l.aliases[i], l.numbers[i]) }), nil
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
