package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/audit"
	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/receipt"
)

// restored is a restore as a report tells it.
type restored struct {
	Time    beijing.Time `json:"time"`
	Who     string       `json:"who"`
	Reason  string       `json:"reason"`
	Shown   uint64       `json:"shown"`            // leaves that are there as they were
	ShownAt beijing.Time `json:"shownAt,omitzero"` // when the last of them was cosigned
	Lost    uint64       `json:"lost"`             // leaves that witnesses had seen
	Found   uint64       `json:"found"`            // leaves that were there when it was entered
	Detail  string       `json:"detail,omitempty"` // of an entry whose statement is not at hand
}

func viewOf(g *audit.Gap) restored {
	return restored{Time: g.Time, Who: g.Who, Reason: g.Reason, Shown: g.Shown.Size, ShownAt: g.ShownAt, Lost: g.Lost(), Found: g.Found.Size}
}

func (r *restored) print(c *qiong.Console, b *bytes.Buffer) {
	if r.Detail != "" {
		fmt.Fprintf(b, c.Say("  曾由备份恢复，%s 于 %s 登记：%s\n", "  put back from a backup, as %s entered at %s: %s\n"), r.Who, r.Time, r.Detail)
		return
	}
	fmt.Fprintf(b, c.Say("  曾由备份恢复，%s 于 %s 登记：%s\n    至 %s 的前 %d 组可证明未变；见证者曾见过 %d 组，其后的已失去或被替换；登记时有 %d 组\n",
		"  put back from a backup, as %s entered at %s: %s\n    up to %s the first %d leaves are shown to be what they were; witnesses had seen %d, and those behind are gone or replaced; %d were there when it was entered\n"),
		r.Who, r.Time, r.Reason, r.ShownAt, r.Shown, r.Lost, r.Found)
}

// verified returns the restores that both keys of the log have signed.
func verified(gaps []*audit.Gap, trust *receipt.Trust) (all []restored, err error) {
	for _, g := range gaps {
		if err := g.Verify(trust); err != nil {
			return nil, err
		}
		all = append(all, viewOf(g))
	}
	return all, nil
}

// restoredIn returns the restores that an exported file tells of: in the statements beside it, and in entries of its own.
func restoredIn(file io.ReadSeeker, name string, trust *receipt.Trust) ([]restored, error) {
	text, err := os.ReadFile(name + statements)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, missing(err, "FILE"+statements)
	}
	gaps, err := audit.ParseGaps(text)
	if err != nil {
		return nil, err
	}
	all, err := verified(gaps, trust)
	if err != nil {
		return nil, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	entries, err := audit.Restores(file)
	if err != nil {
		return nil, err
	}
next:
	for _, e := range entries {
		for _, g := range gaps {
			if g.IsEntry(e) {
				continue next
			}
		}
		all = append(all, restored{Time: e.Time, Who: e.Who, Detail: e.Object + ", " + e.Detail})
	}
	return all, nil
}

// statements ends the name of the file with the statements of restores, beside an export.
const statements = ".restored"

// exportGaps leaves the statements of restores beside an export, where there are any.
func exportGaps(ctx context.Context, from source, name string) error {
	text, err := marshalled(ctx, from)
	if err != nil || len(text) == 0 {
		return err
	}
	return os.WriteFile(name+statements, text, 0o600)
}

func marshalled(ctx context.Context, from source) (text []byte, err error) {
	all, err := from.Gaps(ctx)
	for _, g := range all {
		text = append(text, g.Marshal()...)
	}
	return text, err
}

// gaps prints the statements.
func gaps(ctx context.Context, c *qiong.Console, from source) error {
	text, err := marshalled(ctx, from)
	if err != nil {
		return err
	}
	if len(text) == 0 {
		return errs.New(errs.NotFound, "日志从未由备份恢复", "the log was never put back from a backup")
	}
	_, err = c.Out.Write(text)
	return err
}

// witness is how far a witness in another house has cosigned.
type witness struct {
	Name    string       `json:"name"`
	Leaves  uint64       `json:"leaves"`
	Behind  uint64       `json:"behind"`
	At      beijing.Time `json:"at,omitzero"`
	Problem string       `json:"problem,omitempty"`
}

func witnesses(c *qiong.Console, s *state) (all []witness) {
	for _, w := range s.witnesses {
		all = append(all, witness{w.Name, w.Size, s.Leaves - min(w.Size, s.Leaves), w.At, w.Problem.In(c.Lang)})
	}
	return all
}

func (w *witness) print(c *qiong.Console, b *bytes.Buffer) {
	if w.Leaves == 0 {
		fmt.Fprintf(b, c.Say("  外部见证者 %s 尚未联署", "  the witness %s in another house has cosigned nothing yet"), w.Name)
	} else {
		fmt.Fprintf(b, c.Say("  外部见证者 %s 已联署 %d 组（%s），差 %d 组", "  the witness %s in another house has cosigned %d leaves (%s), %d behind"), w.Name, w.Leaves, w.At, w.Behind)
	}
	if w.Problem != "" {
		fmt.Fprintf(b, c.Say("：%s", ": %s"), w.Problem)
	}
	b.WriteByte('\n')
}
