package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/qiongdev/qiong/kit/beijing"
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/folder"
	"github.com/qiongdev/qiong/kit/gm"
	"github.com/qiongdev/qiong/kit/receipt"
	"github.com/qiongdev/qiong/kit/sqldb"
)

// Restored enters that the log was put back from a backup, by whom and why, and has the witness go on from there. It does
// so only where what is there holds together and bears, at its newest cosigned checkpoint, the witness's own signature:
// then that is an earlier state of the very log, and what was rewritten is refused. What followed is gone or replaced, of
// which nothing can be shown; that is what the [Gap] states, in the log and beside it, for every later check to tell.
//
// First the entry and the statement are written, in one transaction, then the statement to the witness's folder, and then
// the witness is set back: killed in between, it is found unfinished by the next call, which finishes it.
func (l *Log) Restored(ctx context.Context, who, reason string) (*Gap, error) {
	if err := errors.Join(checkLine("who", who), checkLine("reason", reason)); err != nil {
		return nil, err
	}
	if l.witness == nil {
		return nil, errs.New(errs.Conflict, "见证者失去了记忆，无从得知缺少什么", "the witness has lost its memory: what is missing can't be known").
			WithHint("把 witness 文件夹一并从备份恢复", "restore the folder witness from a backup, too")
	}
	if err := l.flush(ctx, sqldb.Durable); err != nil {
		return nil, err
	}
	l.keeping.Lock()
	defer l.keeping.Unlock()
	s, err := l.unfinished(ctx)
	if err == nil && s == nil {
		err = l.whole(ctx)
	}
	if err != nil {
		return nil, err
	}
	l.signing.Lock()
	g, err := l.restore(ctx, s, who, reason)
	l.signing.Unlock()
	if err != nil {
		return nil, err
	}
	if err := l.Sign(ctx); err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.status.Broken = nil
	l.mu.Unlock()
	err = l.check(ctx, func(uint64, uint64) {})
	l.found(ctx, err)
	return g, err
}

// whole computes the log anew, which takes a while on a long one: signing goes on meanwhile.
func (l *Log) whole(ctx context.Context) error {
	expired, err := l.expired(ctx)
	if err == nil {
		err = l.log.CheckFrom(ctx, expired, nil)
	}
	return refused(err)
}

// restore finishes what is stated, or states what is missing.
func (l *Log) restore(ctx context.Context, s *stated, who, reason string) (*Gap, error) {
	if s == nil {
		g, err := l.gap(ctx, who, reason)
		if err != nil {
			return nil, err
		}
		if s, err = l.state(ctx, g); err != nil {
			return nil, err
		}
	}
	return s.Gap, l.goOn(s)
}

// gap finds out what is missing, and has it signed.
func (l *Log) gap(ctx context.Context, who, reason string) (g *Gap, err error) {
	g = &Gap{Time: beijing.At(l.o.Now()), Who: who, Reason: reason, Found: l.log.Last()}
	if g.Shown, g.ShownAt, err = l.shown(ctx); err != nil {
		return nil, refused(err)
	}
	if g.Cosigned, err = l.shownOutside(ctx); err != nil {
		return nil, refused(err)
	}
	if g.Seen, err = l.seen(ctx); err != nil {
		return nil, err
	}
	if len(g.Seen) == 0 {
		return nil, errs.New(errs.Conflict, "日志没有缺少见证者见过的内容，不必登记", "the log lacks nothing that a witness has seen: there is nothing to enter")
	}
	if g.Lost() <= g.Shown.Size {
		return nil, refused(changed("见证者见过的与已联署的部分不符", "what the witness has seen is not what it has cosigned"))
	}
	return g, g.sign(l.o.Operator, l.o.Witness)
}

// refused says of a log that is not an earlier state of what was signed that it stays broken.
func refused(err error) error {
	if err == nil {
		return nil
	}
	e := errs.As(err)
	if !broken(err) && e.Kind != errs.NotFound && e.Code != "log.unsigned" {
		return err // it can't be read at the moment
	}
	return errs.Wrap(err, errs.Conflict, "现存的日志不是已签署日志的较早状态，不能作为恢复登记："+e.Msg.ZH,
		"what is there is not an earlier state of the log that was signed, and can't be entered as a restore: "+e.Msg.EN).WithCode(CodeChanged)
}

// shown returns the newest checkpoint that the witness has cosigned, and when, having verified that the log is that.
func (l *Log) shown(ctx context.Context) (c receipt.Checkpoint, at beijing.Time, err error) {
	n, err := l.Note(ctx)
	if err != nil {
		return c, 0, err
	}
	a, err := l.attested(ctx, n)
	if err != nil {
		return c, 0, err
	}
	for _, s := range a.Cosignatures {
		if s.Name == WitnessName {
			at = s.Time
		}
	}
	return n.Checkpoint, at, nil
}

// shownOutside is shown for the witness outside: its own signature alone; nil where it has signed nothing that is there,
// with a key that is believed.
func (l *Log) shownOutside(ctx context.Context) (*receipt.Note, error) {
	if l.outside == "" {
		return nil, nil
	}
	size, err := l.believedUpTo(ctx)
	if err != nil || size == 0 {
		return nil, err
	}
	n, err := l.log.Note(ctx, size)
	if err != nil {
		return nil, err
	}
	n.Signatures = slices.DeleteFunc(n.Signatures, func(s receipt.Signature) bool { return s.Name != l.outside })
	if _, err := l.trust.VerifySignature(n.Checkpoint, n.Signatures[0]); err != nil {
		return nil, err
	}
	here, err := l.has(ctx, n.Checkpoint)
	if err == nil && !here {
		err = changed("日志与外部见证者签署的不符", "the log is not what the witness outside has signed")
	}
	return n, err
}

// believedUpTo returns the size of the newest checkpoint that the witness outside has signed with a key that is believed;
// 0 where there is none. It may have changed its key since.
func (l *Log) believedUpTo(ctx context.Context) (size uint64, err error) {
	for _, k := range l.trust.Keys() {
		if k.Name != l.outside {
			continue
		}
		id := k.ID()
		n, err := sqldb.Value[int64](ctx, l.o.DB, "SELECT coalesce(max(size), 0) FROM log_cosignature WHERE name = $1 AND key_id = $2", k.Name, id[:])
		if err != nil {
			return 0, err
		}
		size = max(size, uint64(n))
	}
	return size, nil
}

// seen returns what witnesses remember that is not in the log.
func (l *Log) seen(ctx context.Context) (all []Seen, err error) {
	if known, ok := l.witness.Last(l.log.Origin()); ok {
		if here, err := l.has(ctx, known); err != nil {
			return nil, err
		} else if !here {
			all = append(all, Seen{WitnessName, known.Size, &known.Root})
		}
	}
	if l.o.Outside == nil {
		return all, nil
	}
	if size, err := l.ask(ctx); broken(err) { // one that is away is asked again later
		covered, err := l.covered(ctx, size)
		if err != nil {
			return nil, err
		}
		if !covered || len(all) > 0 { // beside what else is missing, so that the newest statement alone can be accepted
			all = append(all, Seen{Name: l.outside, Size: size})
		}
	}
	return all, nil
}

// covered reports whether a gap that is stated is why the witness outside remembers a size that is not in the log. It is
// not where that witness has cosigned the statement itself, and so has gone on from there: what it remembers is newer.
// Before a second restore is entered the first is stated in the witness's folder alone: that it stands in the log, too, is
// for [Log.Gaps].
func (l *Log) covered(ctx context.Context, size uint64) (bool, error) {
	all, err := l.statements(ctx)
	if err != nil {
		return false, err
	}
	kept, err := l.kept()
	if err != nil {
		return false, err
	}
	believed, err := l.believedUpTo(ctx)
	return slices.ContainsFunc(append(all, kept...), func(s *stated) bool { return s.covers(size) && believed <= s.leaf }), err
}

// has reports whether a checkpoint is one of the log.
func (l *Log) has(ctx context.Context, c receipt.Checkpoint) (bool, error) {
	if c.Size > l.log.Last().Size {
		return false, nil
	}
	root, err := l.log.RootAt(ctx, c.Size)
	return root == c.Root, err
}

// state writes the entry and the statement.
func (l *Log) state(ctx context.Context, g *Gap) (*stated, error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	s := &stated{g, l.log.Last().Size, string(g.Marshal())}
	return s, l.write(ctx, sqldb.Durable, []*item{{entry: g.entry()}}, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO audit_restored (leaf, statement) VALUES ($1, $2)", int64(s.leaf), s.text)
		return err
	})
}

// unfinished returns a gap that was stated, and after which the witness was not set back, or, where it missed nothing, the
// statement was not put into its folder; nil where there is none.
func (l *Log) unfinished(ctx context.Context) (*stated, error) {
	all, err := l.statements(ctx)
	if err != nil {
		return nil, err
	}
	kept, err := l.kept()
	if err != nil {
		return nil, err
	}
	known, _ := l.witness.Last(l.log.Origin())
	for _, s := range all {
		if seen := s.local(); seen != nil && seen.Size == known.Size && *seen.Root == known.Root {
			return s, nil
		} else if seen == nil && !slices.ContainsFunc(kept, func(k *stated) bool { return k.text == s.text }) {
			return s, nil
		}
	}
	return nil, nil
}

// local returns what the local witness had seen; nil where it missed nothing.
func (g *Gap) local() *Seen {
	i := slices.IndexFunc(g.Seen, func(s Seen) bool { return s.Name == WitnessName && s.Root != nil })
	if i < 0 {
		return nil
	}
	return &g.Seen[i]
}

// goOn keeps the statement where the witness remembers, and sets it back to what is shown.
func (l *Log) goOn(s *stated) error {
	sum := gm.SM3([]byte(s.text)) // the same leaf may say so again, after another restore
	name := filepath.Join(l.o.Memory, fmt.Sprintf("%s%012d-%x", gapFile, s.leaf, sum[:4]))
	if err := folder.Place(name, func(w io.Writer) error { _, err := io.WriteString(w, s.text); return err }); err != nil {
		return err
	}
	seen := s.local()
	if seen == nil {
		return nil
	}
	return l.witness.SetBack(receipt.Checkpoint{Origin: l.log.Origin(), Size: seen.Size, Root: *seen.Root}, s.Shown)
}
