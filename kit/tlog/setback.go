package tlog

import (
	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/receipt"
)

// SetBack has the witness remember an earlier checkpoint of a log in the place of known, the one that it has cosigned
// last: for a log that was put back from a backup, once that is on record where everybody sees it. It gives up what a
// witness is for, so whoever calls it makes sure that the earlier checkpoint was cosigned, too. Where another than known
// is remembered, the error is of kind Conflict.
func (w *Witness) SetBack(known, earlier receipt.Checkpoint) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if have, ok := w.memory.known[known.Origin]; !ok || have != known {
		return errs.New(errs.Conflict, "见证者记得的是另一个检查点", "the witness remembers another checkpoint").WithCode("log.size")
	}
	if earlier.Origin != known.Origin || earlier.Size > known.Size {
		return errs.New(errs.Invalid, "不是同一本日志更早的检查点", "not an earlier checkpoint of the same log")
	}
	return w.memory.remember(earlier)
}
