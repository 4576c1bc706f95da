package tlog

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/qiongdev/qiong/kit/errs"
	"github.com/qiongdev/qiong/kit/merkle"
	"github.com/qiongdev/qiong/kit/receipt"
)

// Seen is what a [Mirror] has verified of a foreign log, and remembers from one run to the next: all that the log must
// hold to from then on. The zero value has seen nothing.
type Seen struct {
	note *receipt.Note // the newest that the log was held to; nil where there is none
	tree merkle.Range  // over the entries that were verified
}

// Note returns the newest note that was verified; nil where there is none.
func (s *Seen) Note() *receipt.Note { return s.note }

// Size returns how many entries were verified.
func (s *Seen) Size() uint64 { return s.tree.Size() }

// size returns how many entries the log must have at least.
func (s *Seen) size() uint64 {
	if s.note == nil {
		return s.tree.Size()
	}
	return max(s.tree.Size(), s.note.Checkpoint.Size)
}

func (s *Seen) clone() Seen { return Seen{s.note, *s.tree.Clone()} }

// Marshal returns s as a text: a line with the size, one with each hash of the tree's right edge, and, where a note was
// seen, an empty line and the note.
func (s *Seen) Marshal() ([]byte, error) {
	b := fmt.Appendf(nil, "size %d\n", s.tree.Size())
	for _, h := range s.tree.Nodes() {
		b = append(append(b, h.String()...), '\n')
	}
	if s.note == nil {
		return b, nil
	}
	note, err := s.note.Marshal()
	return append(append(b, '\n'), note...), err
}

// ParseSeen reads what [Seen.Marshal] writes and nothing else.
func ParseSeen(data []byte) (Seen, error) {
	s, err := parseSeen(string(data))
	if err == nil {
		var again []byte
		if again, err = s.Marshal(); err == nil && bytes.Equal(again, data) {
			return s, nil
		}
	}
	return Seen{}, errs.Wrap(err, errs.Invalid, "不是日志镜像的记录", "not what a mirror remembers of a log").WithCode("log.seen")
}

func parseSeen(text string) (s Seen, err error) {
	head, note, found := strings.Cut(text, "\n\n")
	lines := strings.Split(strings.TrimSuffix(head, "\n"), "\n")
	size, err := strconv.ParseUint(strings.TrimPrefix(lines[0], "size "), 10, 63)
	if err != nil {
		return s, err
	}
	nodes := make([]merkle.Hash, len(lines)-1)
	for i, line := range lines[1:] {
		if nodes[i], err = merkle.ParseHash(line); err != nil {
			return s, err
		}
	}
	tree, err := merkle.RangeOf(size, nodes)
	if err != nil {
		return s, err
	}
	s.tree = *tree
	if found {
		s.note, err = receipt.ParseNote([]byte(note))
	}
	return s, err
}
