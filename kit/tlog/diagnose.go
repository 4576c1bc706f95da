package tlog

import (
	"context"
	"fmt"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
)

func forked(known, shown *receipt.Note) error {
	e := errs.Newf(errs.Invalid, "日志在第 %d 条以内改写了历史", "the log shows another history within its first %d entries", known.Checkpoint.Size)
	e.Err = &Contradiction{known, shown}
	return e.WithCode(CodeForked).WithField(fmt.Sprintf("checkpoint %d", shown.Checkpoint.Size))
}

func rewritten(zh, en string) error {
	return errs.New(errs.Invalid, zh+"与已签署的根不符", en+" is not what the signed root stands for").WithCode(CodeRewritten)
}

// diagnose says why the entries that follow what was seen do not lead to the root of note n; last is the newest note.
// The tiles tell: they lead to the root themselves or not; from what was seen or not; and where they do, they name the
// entry that is another.
func (m *Mirror) diagnose(ctx context.Context, n, last *receipt.Note, entries [][]byte) error {
	c, from := n.Checkpoint, m.seen.Size()
	edge, err := merkle.ReadRange(c.Size, m.client.reader(ctx, c.Size))
	if err != nil {
		return err
	}
	if edge.Root() != c.Root {
		if n == m.seen.note && n != last {
			return forked(n, last)
		}
		return strange(errs.Newf(errs.Invalid, "散列块不通向检查点 %d 的根", "the tiles do not lead to the root of checkpoint %d", c.Size), "tile")
	}
	proof, err := m.client.Consistency(ctx, from, c.Size)
	if err != nil {
		return err
	}
	if merkle.VerifyConsistency(from, c.Size, m.seen.tree.Root(), c.Root, proof) != nil {
		if m.seen.note == nil {
			return rewritten(fmt.Sprintf("前 %d 条", from), fmt.Sprintf("the first %d entries", from))
		}
		return forked(m.seen.note, n)
	}
	return m.diagnoseEntries(ctx, c, entries)
}

// diagnoseEntries finds the entry that is not what the tiles hold.
func (m *Mirror) diagnoseEntries(ctx context.Context, c receipt.Checkpoint, entries [][]byte) error {
	from := m.seen.Size()
	nodes := make([]merkle.Node, min(uint64(len(entries)), c.Size-from))
	for i := range nodes {
		nodes[i].Index = from + uint64(i)
	}
	leaves, err := m.client.reader(ctx, c.Size)(nodes)
	if err != nil {
		return err
	}
	for i, leaf := range leaves {
		if leaf != merkle.LeafHash(entries[i]) {
			return rewritten(fmt.Sprintf("第 %d 条", nodes[i].Index), fmt.Sprintf("entry %d", nodes[i].Index))
		}
	}
	return strange(errs.Newf(errs.Invalid, "散列块与检查点 %d 自相矛盾", "the tiles contradict checkpoint %d", c.Size), "tile")
}
