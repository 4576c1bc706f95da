package shard

import (
	"bufio"
	"io"
	"iter"

	"github.com/qiongdev/qiong/kit/wal"
)

// Source is what a state is recovered from: a log, or a standby's copy of one.
type Source interface {
	Restore() (last uint64, snapshot io.ReadCloser, err error)
	Read(after uint64) iter.Seq2[wal.Record, error]
}

// Checkpoint keeps the state that a standby's copy leads to as a snapshot, and returns the last record in it. It takes
// the memory of a shard while it works.
func Checkpoint(log *wal.Standby, number uint16) (uint64, error) {
	state, last, frozen, err := Recover(log, number)
	if err != nil || last == frozen {
		return frozen, err
	}
	return last, log.Snapshot(last, func(w io.Writer) error {
		out := bufio.NewWriterSize(w, 1<<20)
		head, slots := state.AppendHead(nil, last)
		writePart(out, head)
		var part []byte
		for i := range slots {
			part = state.AppendSlot(part[:0], i)
			writePart(out, part)
		}
		return out.Flush()
	})
}
