package audit

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
)

// Gap is what a log lacks since it was put back from a backup. The house and its witness have both signed it; it stays
// beside the log for ever, and an entry of the log names it by its SM3.
type Gap struct {
	Time   beijing.Time
	Who    string // entered it
	Reason string

	// Shown is the newest checkpoint that is there and that the witness had cosigned, at ShownAt: up to it the log is what
	// it was. Found is the log when the gap was entered: what is behind Shown was written since, or never cosigned.
	Shown   receipt.Checkpoint
	ShownAt beijing.Time
	Found   receipt.Checkpoint

	// Cosigned is the newest checkpoint that is there and that a witness outside had cosigned, with its signature; nil where
	// there is none. It shows that witness, which knows its own key, that the log begins as it did.
	Cosigned *receipt.Note

	Seen []Seen // what witnesses had cosigned that is there no more; at least one

	signatures [2]string // of OperatorName and WitnessName, DER in base64
}

// Seen is the checkpoint that a witness remembers. A witness elsewhere tells no root.
type Seen struct {
	Name string
	Size uint64
	Root *merkle.Hash
}

// Lost returns the size up to which leaves were seen.
func (g *Gap) Lost() uint64 {
	most := uint64(0)
	for _, s := range g.Seen {
		most = max(most, s.Size)
	}
	return most
}

// covers reports whether a witness that has cosigned a size last has done so before the log was put back.
func (g *Gap) covers(size uint64) bool { return size > g.Shown.Size && size <= g.Lost() }

const gapHead = "qiong-audit-restored/v1\n"

// text returns what is signed.
func (g *Gap) text() []byte {
	b := fmt.Appendf([]byte(gapHead), "log %s\ntime %s\nwho %s\nreason %s\nshown %d %s %s\nfound %d %s\n",
		g.Shown.Origin, g.Time, g.Who, g.Reason, g.Shown.Size, g.Shown.Root, g.ShownAt, g.Found.Size, g.Found.Root)
	if g.Cosigned != nil {
		note, _ := g.Cosigned.Marshal() // it was parsed or verified: it has a text
		b = fmt.Appendf(b, "cosigned %s\n", strings.ReplaceAll(strings.TrimSuffix(string(note), "\n"), "\n", "\t"))
	}
	for _, s := range g.Seen {
		b = fmt.Appendf(b, "seen %s %d", s.Name, s.Size)
		if s.Root != nil {
			b = fmt.Appendf(b, " %s", s.Root)
		}
		b = append(b, '\n')
	}
	return b
}

// Marshal returns the statement: what is signed, an empty line, and a line with each signature.
func (g *Gap) Marshal() []byte {
	return fmt.Appendf(g.text(), "\n%s %s\n%s %s\n", OperatorName, g.signatures[0], WitnessName, g.signatures[1])
}

// sign signs the statement for both.
func (g *Gap) sign(operator, witness crypto.Signer) error {
	for i, key := range []crypto.Signer{operator, witness} {
		der, err := gm.Sign(key, []byte(gm.DefaultID), g.text())
		if err != nil {
			return err
		}
		g.signatures[i] = base64.StdEncoding.EncodeToString(der)
	}
	return nil
}

// Verify returns nil where both keys of the log have signed the statement.
func (g *Gap) Verify(trust *receipt.Trust) error {
	for i, name := range []string{OperatorName, WitnessName} {
		der, err := base64.StdEncoding.Strict().DecodeString(g.signatures[i])
		ok := false
		for _, k := range trust.Keys() {
			ok = ok || err == nil && k.Origin == g.Shown.Origin && k.Name == name && gm.Verify(k.Public, []byte(gm.DefaultID), g.text(), der) == nil
		}
		if !ok {
			return changed("恢复声明的签名验证不通过", "a signature of the statement of a restore does not verify")
		}
	}
	return nil
}

// ParseGap reads what [Gap.Marshal] writes and nothing else.
func ParseGap(data []byte) (*Gap, error) {
	g, err := parseGap(string(data))
	if err == nil && !bytes.Equal(g.Marshal(), data) {
		err = fmt.Errorf("not in its canonical form")
	}
	if err != nil {
		e := malformed("不是恢复声明", "not the statement of a restore")
		e.Err = err
		return nil, e
	}
	return g, nil
}

// ParseGaps reads statements that stand one behind the other.
func ParseGaps(data []byte) (all []*Gap, err error) {
	before, rest, found := strings.Cut(string(data), gapHead)
	if before != "" || !found && len(data) > 0 {
		return nil, malformed("不是恢复声明", "not the statement of a restore")
	}
	for found {
		var text string
		text, rest, found = strings.Cut(rest, gapHead)
		g, err := ParseGap([]byte(gapHead + text))
		if err != nil {
			return nil, err
		}
		all = append(all, g)
	}
	return all, nil
}

// IsEntry reports whether an entry of the log is the one that names the gap.
func (g *Gap) IsEntry(e Entry) bool { return e == g.entry() }

func parseGap(text string) (*Gap, error) {
	text, ok := strings.CutPrefix(text, gapHead)
	head, tail, found := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	if !ok || !found || len(lines) < 7 || len(lines) > 16 {
		return nil, fmt.Errorf("cut")
	}
	p := fields{lines: lines}
	g := new(Gap)
	origin := p.rest("log")
	g.Time = p.time(p.rest("time"))
	g.Who, g.Reason = p.rest("who"), p.rest("reason")
	shown := p.words("shown", 3)
	g.Shown, g.ShownAt = p.checkpoint(origin, shown), p.time(shown[2])
	g.Found = p.checkpoint(origin, p.words("found", 2))
	if len(p.lines) > 0 && strings.HasPrefix(p.lines[0], "cosigned ") {
		g.Cosigned = p.note(p.rest("cosigned"))
	}
	for len(p.lines) > 0 && p.err == nil {
		g.Seen = append(g.Seen, p.seen())
	}
	if p.err != nil {
		return nil, p.err
	}
	if _, err := fmt.Sscanf(tail, OperatorName+" %s\n"+WitnessName+" %s\n", &g.signatures[0], &g.signatures[1]); err != nil {
		return nil, err
	}
	return g, receipt.CheckOrigin(origin)
}

// fields reads lines that begin with a word, and remembers the first error.
type fields struct {
	lines []string
	err   error
}

func (p *fields) fail() {
	if p.err == nil {
		p.err = fmt.Errorf("a line is malformed")
	}
}

func (p *fields) rest(word string) string {
	if len(p.lines) == 0 {
		p.fail()
		return ""
	}
	rest, ok := strings.CutPrefix(p.lines[0], word+" ")
	if !ok {
		p.fail()
	}
	p.lines = p.lines[1:]
	return rest
}

func (p *fields) words(word string, n int) []string {
	all := strings.Split(p.rest(word), " ")
	if len(all) != n {
		p.fail()
		all = make([]string, n)
	}
	return all
}

func (p *fields) number(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		p.fail()
	}
	return n
}

func (p *fields) time(s string) beijing.Time {
	t, err := beijing.Parse(s)
	if err != nil {
		p.fail()
		return 0
	}
	return beijing.At(t)
}

func (p *fields) hash(s string) merkle.Hash {
	h, err := merkle.ParseHash(s)
	if err != nil {
		p.fail()
	}
	return h
}

func (p *fields) checkpoint(origin string, words []string) receipt.Checkpoint {
	return receipt.Checkpoint{Origin: origin, Size: p.number(words[0]), Root: p.hash(words[1])}
}

func (p *fields) note(s string) *receipt.Note {
	n, err := receipt.ParseNote([]byte(strings.ReplaceAll(s, "\t", "\n") + "\n"))
	if err != nil || len(n.Signatures) != 1 {
		p.fail()
	}
	return n
}

func (p *fields) seen() Seen {
	all := strings.Split(p.rest("seen"), " ")
	if len(all) < 2 || len(all) > 3 || receipt.CheckName(all[0]) != nil {
		p.fail()
		return Seen{}
	}
	s := Seen{Name: all[0], Size: p.number(all[1])}
	if len(all) == 3 {
		root := p.hash(all[2])
		s.Root = &root
	}
	return s
}

// entry returns the entry that stands in the log for the gap: as that of what has expired, it names a range and an SM3.
func (g *Gap) entry() Entry {
	sum := gm.SM3(g.Marshal())
	return Entry{Time: g.Time, Who: clip(g.Who), What: Restore, Outcome: Done, Object: fmt.Sprintf("%d-%d", g.Shown.Size, g.Lost()),
		Detail: clip(fmt.Sprintf("SM3 %s, shown until %s: %s", hex.EncodeToString(sum[:]), g.ShownAt, g.Reason))}
}

// maxReason is the longest reason, in characters. All of it stands in the statement, and what an entry has place for in the
// entry.
const maxReason = 200

// checkLine holds what a person has said to one line that shows on every terminal.
func checkLine(field, s string) error {
	if s == "" || utf8.RuneCountInString(s) > maxReason || !utf8.ValidString(s) || strings.TrimSpace(s) != s || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return errs.Newf(errs.Invalid, "应为一行文字，1 至 %d 个字符", "must be one line of 1 to %d characters", maxReason).WithField(field)
	}
	return nil
}
