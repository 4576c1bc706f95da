package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/qiongdev/qiong"
	"github.com/qiongdev/qiong/kit/audit"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/tlog"
)

// witnessAccept is what is recorded when a statement is to be accepted, and when it was, or was refused.
const witnessAccept = "witness.accept"

// accept has the witness that this house runs for another's audit log go on after a restore. The house does not run, and
// its own log has on record that it is to be accepted before it is, and what became of that.
func (t *tool) accept(ctx context.Context, c *qiong.Console, file string) error {
	dir, _ := c.Flags.GetString("data")
	name, _ := c.Flags.GetString("trust")
	if dir == "" || name == "" {
		return errs.New(errs.Invalid, "accept 需要 --data 与 --trust", "accept needs --data and --trust")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return missing(err, "FILE")
	}
	gaps, err := audit.ParseGaps(text)
	if err != nil {
		return err
	}
	if len(gaps) == 0 {
		return errs.New(errs.Invalid, "文件中没有恢复声明", "the file has no statement of a restore").WithField("FILE")
	}
	keys, err := os.ReadFile(name)
	if err != nil {
		return missing(err, "--trust")
	}
	trust, err := receipt.ParseTrust(keys)
	if err != nil {
		return err
	}
	f, err := t.writable(ctx, c, dir)
	if err != nil {
		return err
	}
	return errors.Join(f.accept(ctx, c, gaps[len(gaps)-1], trust, dir), f.close())
}

func (w *writing) accept(ctx context.Context, c *qiong.Console, g *audit.Gap, trust *receipt.Trust, dir string) error {
	own, err := w.ring.Public("evidence.witness")
	if err != nil {
		return err
	}
	elsewhere, err := tlog.OpenWitness(tlog.WitnessOptions{Dir: filepath.Join(dir, "evidence", "witness"), Trust: trust, Now: time.Now})
	if err != nil {
		return err
	}
	defer elsewhere.Close()
	back, err := g.Back(elsewhere, trust, own)
	if err != nil {
		return errors.Join(err, w.accepted(ctx, g, audit.Refused))
	}
	if err := announce(c, back); err != nil {
		return err
	}
	to, _ := c.Flags.GetUint64("to") // declared, as all flags here are
	unsigned, _ := c.Flags.GetBool("unsigned")
	if to == 0 {
		return errs.New(errs.Invalid, "尚未认可：缺少 --to", "not accepted yet: --to is missing").WithField("--to").
			WithHint("与对方核对以上大小，无误再加 --to", "compare the sizes above with who runs that house, then add --to")
	}
	if err := w.accepted(ctx, g, audit.Begun); err != nil {
		return err
	}
	if err := back.Accept(to, unsigned); err != nil {
		return errors.Join(err, w.accepted(ctx, g, audit.Refused))
	}
	if err := w.accepted(ctx, g, audit.Done); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.Out, c.Say("已认可：改由 %d 组继续\n", "accepted: it goes on from %d leaves\n"), back.To.Size)
	return err
}

// announce tells what the witness would give up.
func announce(c *qiong.Console, b *audit.Back) error {
	how := fmt.Sprintf(c.Say("它自己于 %s 签署过", "which it has signed itself at %s"), b.Signed)
	if b.Signed == 0 {
		how = c.Say("只有该日志自己的密钥这样说，它自己没有签署过；确知无误才加 --unsigned",
			"as the log's own keys alone say: it has signed none of that itself; add --unsigned only where you know better")
	}
	_, err := fmt.Fprintf(c.Out, c.Say("对 %s 已见证 %d 组，将退回到 %d 组，%s\n", "of %s %d leaves were witnessed; the witness goes back to %d, %s\n"),
		b.From.Origin, b.From.Size, b.To.Size, how)
	return err
}

// accepted records what becomes of a statement.
func (w *writing) accepted(ctx context.Context, g *audit.Gap, outcome string) error {
	return w.log.Commit(ctx, audit.Entry{Who: operator(), What: witnessAccept, Object: g.Shown.Origin, Outcome: outcome,
		Detail: fmt.Sprintf("SM3 %x: %s", gm.SM3(g.Marshal()), g.Reason)})
}
