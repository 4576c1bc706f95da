package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/audit"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/lang"
	"github.com/qiongdev/qiong/kit/receipt"
)

// list prints entries, one a line.
func list(ctx context.Context, c *qiong.Console, from source, f audit.Filter) error {
	limit, _ := c.Flags.GetInt("limit")
	n := 0
	return from.List(ctx, f, func(e *audit.Entry) (bool, error) {
		var err error
		if c.JSON {
			_, err = c.Out.Write(e.Append(nil))
		} else {
			_, err = fmt.Fprintf(c.Out, "%s\t%s\t%s\t%s\t%s\t%s\n", e.Time, e.Who, e.What, e.Outcome, strings.TrimSpace(e.Route+" "+e.Object), e.Detail)
		}
		n++
		return n != limit, err
	})
}

// export writes entries, their proof and the keys.
func export(ctx context.Context, c *qiong.Console, from source, f audit.Filter, name string) error {
	if f.Who != "" || f.What != "" || f.Outcome != "" {
		return errs.New(errs.Invalid, "导出只能按时间，否则无法证明没有遗漏", "an export is of a time, or nobody could prove that nothing is left out").WithField("--who, --what, --outcome")
	}
	first, to, p, err := from.Span(ctx, f)
	if err != nil {
		return err
	}
	if first >= to || p == nil {
		return errs.New(errs.NotFound, "这段时间没有条目", "there are no entries of this time")
	}
	keys, err := from.Trust(ctx)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return errs.New(errs.Conflict, "文件已存在", "the file exists").WithField("FILE")
	}
	if err != nil {
		return errs.Wrap(err, errs.Invalid, "无法写文件", "the file can't be written").WithField("FILE")
	}
	if err := errors.Join(copyLeaves(ctx, from, writerOf(name, file), first, to), file.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	proof, err := p.Marshal()
	if err != nil {
		return err
	}
	if err := os.WriteFile(name+".proof", proof, 0o600); err != nil {
		return err
	}
	if err := exportGaps(ctx, from, name); err != nil {
		return err
	}
	trust := filepath.Join(filepath.Dir(name), "trust.pem")
	if _, err := os.Stat(trust); err != nil { // keys that somebody has put there are theirs
		if err := os.WriteFile(trust, keys, 0o600); err != nil {
			return err
		}
	}
	return verifyFile(c, name)
}

func writerOf(name string, w io.Writer) audit.Writer {
	if strings.EqualFold(filepath.Ext(name), ".csv") {
		return audit.NewCSV(w)
	}
	return audit.NewNDJSON(w)
}

func copyLeaves(ctx context.Context, from source, w audit.Writer, at, to uint64) error {
	for at < to {
		leaves, err := from.Leaves(ctx, at, int(min(to-at, 200)))
		if err != nil {
			return err
		}
		if len(leaves) == 0 {
			return errs.New(errs.Conflict, "审计日志缺少条目", "the audit log lacks entries").WithCode(audit.CodeChanged)
		}
		for _, leaf := range leaves {
			if err := w.Leaf(at, leaf); err != nil {
				return err
			}
			at++
		}
	}
	return w.Flush()
}

// report is what a verification says.
type report struct {
	Whole   bool              `json:"whole"`
	Found   string            `json:"found,omitempty"` // what is wrong
	Entries int               `json:"entries,omitempty"`
	Leaves  [2]uint64         `json:"leaves"`
	Expired uint64            `json:"expired,omitempty"`
	Signed  *receipt.Attested `json:"signed,omitempty"`

	Restored  []restored `json:"restored,omitempty"`
	Witnesses []witness  `json:"witnesses,omitempty"`
}

// verify has the whole log computed anew, and verifies the note here, with the keys that the caller believes.
func verify(ctx context.Context, c *qiong.Console, from source) error {
	s, err := from.Check(ctx)
	if err != nil {
		return err
	}
	if !s.Broken.IsZero() {
		return tampered(c, s.Broken)
	}
	r := report{Whole: true, Leaves: [2]uint64{s.Expired, s.Leaves}, Expired: s.Expired, Witnesses: witnesses(c, s)}
	if s.Note == "" {
		return show(c, r)
	}
	keys, err := from.Trust(ctx)
	if err != nil {
		return err
	}
	if name, _ := c.Flags.GetString("trust"); name != "" {
		if keys, err = os.ReadFile(name); err != nil {
			return missing(err, "--trust")
		}
	}
	trust, err := receipt.ParseTrust(keys)
	if err != nil {
		return err
	}
	note, err := receipt.ParseNote([]byte(s.Note))
	if err != nil {
		return err
	}
	if r.Signed, err = trust.Verify(note); err != nil {
		return tampered(c, errs.As(err).Msg)
	}
	if r.Restored, err = verified(s.gaps, trust); err != nil {
		return tampered(c, errs.As(err).Msg)
	}
	return show(c, r)
}

// verifyFile verifies an exported file by what lies beside it.
func verifyFile(c *qiong.Console, name string) error {
	proofName := name + ".proof"
	if _, err := os.Stat(proofName); err != nil { // an archived file has its proof under the same name
		proofName = strings.TrimSuffix(name, filepath.Ext(name)) + ".proof"
	}
	text, err := os.ReadFile(proofName)
	if err != nil {
		return missing(err, "FILE.proof")
	}
	p, err := audit.ParseProof(text)
	if err != nil {
		return tampered(c, errs.As(err).Msg)
	}
	keysName, _ := c.Flags.GetString("trust")
	if keysName == "" {
		keysName = filepath.Join(filepath.Dir(name), "trust.pem")
	}
	keys, err := os.ReadFile(keysName)
	if err != nil {
		return missing(err, "--trust")
	}
	trust, err := receipt.ParseTrust(keys)
	if err != nil {
		return err
	}
	file, err := os.Open(name)
	if err != nil {
		return missing(err, "FILE")
	}
	defer file.Close()
	v, err := audit.NewVerifier(p, trust)
	if err != nil {
		return tampered(c, errs.As(err).Msg)
	}
	n, err := audit.VerifyExport(file, v)
	if err != nil {
		return tampered(c, lang.T(errs.As(err).In(lang.ZH), errs.As(err).In(lang.EN)))
	}
	signed, err := trust.Verify(&p.Note)
	if err != nil {
		return tampered(c, errs.As(err).Msg)
	}
	restored, err := restoredIn(file, name, trust)
	if err != nil {
		return tampered(c, errs.As(err).Msg)
	}
	return show(c, report{Whole: true, Entries: n, Leaves: [2]uint64{p.From, p.To}, Signed: signed, Restored: restored})
}

// tampered says what was found, and ends with the status of a conflict.
func tampered(c *qiong.Console, what lang.Text) error {
	if c.JSON {
		if err := json.NewEncoder(c.Out).Encode(report{Found: what.In(c.Lang)}); err != nil {
			return err
		}
	}
	return errs.New(errs.Conflict, "审计日志被改动过："+what.ZH, "the audit log was tampered with: "+what.EN).WithCode(audit.CodeChanged)
}

// show prints a report.
func show(c *qiong.Console, r report) error {
	if c.JSON {
		return json.NewEncoder(c.Out).Encode(r)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, c.Say("完好：第 %d 至 %d 组", "whole: leaves %d to %d"), r.Leaves[0], r.Leaves[1])
	if r.Entries > 0 {
		fmt.Fprintf(&b, c.Say("，%d 条", ", %d entries"), r.Entries)
	}
	if r.Expired > 0 {
		b.WriteString(c.Say("；此前的已归档，其散列一并核验", "; what was before is in the archive, and its hashes were checked too"))
	}
	b.WriteByte('\n')
	for _, v := range r.Restored {
		v.print(c, &b)
	}
	for _, w := range r.Witnesses {
		w.print(c, &b)
	}
	if r.Signed == nil {
		b.WriteString(c.Say("尚无签署的检查点\n", "nothing is signed yet\n"))
	} else {
		for _, s := range r.Signed.Cosignatures {
			fmt.Fprintf(&b, c.Say("  %s 于 %s 签署，公钥指纹 %s\n", "  signed by %s at %s, key fingerprint %s\n"), s.Name, s.Time, s.Fingerprint)
		}
		b.WriteString(c.Say("请将指纹与另行保存的核对：给出文件的人也能给出公钥。\n", "Compare the fingerprints with those you keep elsewhere: who gave the files could have made the keys too.\n"))
	}
	_, err := c.Out.Write(b.Bytes())
	return err
}

// progress returns what tells a person how far a check is; nil where nobody sees it.
func progress(c *qiong.Console) func(done, size uint64) {
	if !c.Live || c.JSON {
		return nil
	}
	return func(done, size uint64) {
		end := ""
		if done == size {
			end = "\n"
		}
		_, _ = fmt.Fprintf(c.Err, "\r%d / %d%s", done, size, end) // it only keeps a person company
	}
}
