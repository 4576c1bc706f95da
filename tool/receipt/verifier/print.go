package verifier

import (
	"fmt"
	"strings"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
)

// page collects lines, so that one error is returned at the end.
type page struct {
	Command
	b strings.Builder
}

func (p *page) line(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }

// row is a line of a name and what there is to say of it. A Chinese character is two columns wide.
func (p *page) row(zh, en, format string, args ...any) {
	name := p.say(zh, en)
	width := 0
	for _, r := range name {
		if width++; r > 0x2e80 {
			width++
		}
	}
	p.line("  %s%s"+format, append([]any{name, strings.Repeat(" ", max(1, 12-width))}, args...)...)
}

func (p *page) print() error {
	_, err := p.Out.Write([]byte(p.b.String()))
	return err
}

// print says what a receipt proves.
func (c Command) print(r *receipt.Result, trust string, beside bool) error {
	p := &page{Command: c}
	if r.State == receipt.Complete {
		p.line(c.say("回执有效，签名齐全", "the receipt is valid and complete"))
	} else {
		p.line(c.say("回执有效，签名未齐：尚缺 %s", "the receipt is valid and provisional: owed by %s"), strings.Join(r.Owed, ", "))
	}
	p.record(&r.Record, r.Act)
	p.row("日志", "log", c.say("%s，第 %d 条（自 0 起），共 %d 条", "%s, record %d (from 0) of %d"), r.Checkpoint.Origin, r.Index, r.Checkpoint.Size)
	for i, s := range r.Cosignatures {
		name := [2]string{"", ""}
		if i == 0 {
			name = [2]string{"签名", "signed by"}
		}
		p.row(name[0], name[1], "%s  %s  %s  %s%s", s.Name, p.role(s.Role), s.Time, s.Fingerprint, p.early(s.Early))
	}
	p.row("法定数", "quorum", c.say("需 %d 个，有 %d 个，共 %d 个", "%d needed, %d there, of %d"), r.Quorum.Need, r.Quorum.Have, r.Quorum.Of)
	p.row("须签名者", "needed", "%s", strings.Join(r.Record.Needs, ", "))
	if r.Original {
		p.row("原件", "original", "%s", c.say("与回执相符", "matches"))
	} else {
		p.row("原件", "original", "%s", c.say("未核对；用 --data 给出原件", "not compared; give it with --data"))
	}
	p.line("")
	p.meaning(r)
	if beside {
		p.line(c.say("注意：公钥取自回执旁边的 %s。给你这两个文件的人，可能两个都是自己做的：请把上列指纹与各单位公布的逐一核对。",
			"Mind: the public keys are those of %s, beside the receipt. Whoever gave you both files could have made both: compare the fingerprints above with those that the agencies publish."), trust)
	}
	return p.print()
}

// meaning says what is proved and what is not.
func (p *page) meaning(r *receipt.Result) {
	p.line(p.say("证明：这条记录至迟在 %s 已经存在，此后一字未改，在日志中的次序不变，并由上列各方签名。",
		"Proved: this record existed by %s at the latest, was not changed since, has its place in the log, and was signed by those above."), r.By)
	if !r.Original {
		p.line(p.say("回执只含承诺值：记录的是什么内容，要与原件核对才知道。", "The receipt holds a commitment only: what was recorded shows when the original is compared."))
	}
	p.line(p.say("不证明：回执不是公章，也不是电子印章；记录之前就不真实的内容，不会因此变得真实。",
		"Not proved: a receipt is no official seal, and what was false before it was recorded is not made true."))
}

// printUnverified says what stands in a receipt.
func (c Command) printUnverified(r *receipt.Receipt) error {
	p := &page{Command: c}
	p.line(c.say("回执的内容（未经验证；验证用 verify）", "what the receipt says (not verified; verify does)"))
	p.record(&r.Record, r.Act)
	p.row("承诺值", "commitment", "%s", r.Record.Commitment)
	p.row("须签名者", "needed", "%s", strings.Join(r.Record.Needs, ", "))
	p.row("日志", "log", c.say("%s，第 %d 条（自 0 起），共 %d 条", "%s, record %d (from 0) of %d"), r.Note.Checkpoint.Origin, r.Index, r.Note.Checkpoint.Size)
	p.row("根", "root", "%s", r.Note.Checkpoint.Root)
	p.row("路径", "path", c.say("%d 个哈希", "%d hashes"), len(r.Path))
	for i, s := range r.Note.Signatures {
		name := [2]string{"", ""}
		if i == 0 {
			name = [2]string{"签名", "signatures"}
		}
		p.row(name[0], name[1], "%s  %s  %s", s.Name, beijing.Time(s.Time*1000), s.KeyID)
	}
	return p.print()
}

// record says what was recorded.
func (p *page) record(r *receipt.Record, act *receipt.Act) {
	p.row("记录", "record", "%s  %s", r.ID, r.Type)
	p.row("受理", "accepted", "%s", r.Time)
	if r.Rule != nil {
		p.row("规则", "rule", "%s/%d  %s", r.Rule.Name, r.Rule.Version, p.outcome(r.Rule))
	}
	switch {
	case act != nil:
		p.row("批次", "batch", p.say("第 %d 项（自 0 起），共 %d 项", "act %d (from 0) of %d"), act.Index, r.Batch)
	case r.Batch > 0:
		p.row("批次", "batch", p.say("共 %d 项", "%d acts"), r.Batch)
	}
}

func (p *page) outcome(r *receipt.Rule) string {
	switch r.Outcome {
	case receipt.Passed:
		return p.say("通过", "passed")
	case receipt.Failed:
		return p.say("不符：", "failed: ") + r.Clause
	}
	return p.say("不适用", "not applicable")
}

func (p *page) role(r receipt.Role) string {
	switch r {
	case receipt.Agency:
		return p.say("部门", "agency")
	case receipt.Operator:
		return p.say("运营者", "operator")
	}
	return p.say("见证者", "witness")
}

func (p *page) early(early bool) string {
	if !early {
		return ""
	}
	return p.say("  早于受理时间：有一方的时钟不准", "  before the record was accepted: someone's clock is wrong")
}

// listed is what Show says to a program.
type listed struct {
	Record     receipt.Record     `json:"record"`
	Act        *receipt.Act       `json:"act,omitempty"`
	Index      uint64             `json:"index"`
	Path       []merkle.Hash      `json:"path"`
	Checkpoint receipt.Checkpoint `json:"checkpoint"`
	Signatures []listedSignature  `json:"signatures"`
	Verified   bool               `json:"verified"` // always false
}

type listedSignature struct {
	Name  string        `json:"name"`
	KeyID receipt.KeyID `json:"keyId"`
	Time  beijing.Time  `json:"time"`
}

func shown(r *receipt.Receipt) listed {
	l := listed{Record: r.Record, Act: r.Act, Index: r.Index, Path: r.Path, Checkpoint: r.Note.Checkpoint}
	for _, s := range r.Note.Signatures {
		l.Signatures = append(l.Signatures, listedSignature{s.Name, s.KeyID, beijing.Time(s.Time * 1000)})
	}
	return l
}
